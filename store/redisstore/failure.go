package redisstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// A failure is an error of Redis or its client in words of this package. Theirs name the
// account, the host, and what of a command they did not understand, the record among it; and
// they become part of the errors of requests, which users may see. Those who ask for the
// cause get it whole.
type failure struct {
	text string
	err  error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.err }

// A mishap is what this package itself has to say about a client.
type mishap string

func (m mishap) Error() string { return string(m) }

// told returns err with a text that names neither user nor host.
func told(err error) error {
	var own mishap
	if errors.As(err, &own) {
		return err
	}
	return &failure{words(err), err}
}

func words(err error) string {
	var reply redis.Error
	switch {
	case errors.Is(err, redis.ErrClosed):
		return "the client is closed"
	case errors.Is(err, redis.ErrPoolTimeout):
		return "no connection of the client became free in time"
	case errors.As(err, &reply):
		return replied(reply.Error())
	}
	return network(err)
}

// code is the word that tells errors of Redis apart. What follows it is for people, and may
// say anything.
var code = regexp.MustCompile(`^[A-Z]+`)

func replied(text string) string {
	word := code.FindString(text)
	means := replies[word]
	if word == "ERR" || word == "" {
		means = "it refused the command"
		for _, p := range phrases {
			if strings.Contains(strings.ToLower(text), p.said) {
				means = p.means
			}
		}
	}
	switch {
	case means == "":
		return "Redis answered with " + word
	case word == "":
		return "Redis answered: " + means
	}
	return "Redis answered with " + word + ": " + means
}

var replies = map[string]string{
	"NOAUTH":      "it wants a password, and the client has none",
	"WRONGPASS":   "it refused the user or the password",
	"NOPERM":      "the user lacks the right to this command or key",
	"READONLY":    "it takes no writes: it is a replica",
	"LOADING":     "it is starting, and still loads its data",
	"OOM":         "its memory is full",
	"MISCONF":     "it cannot write to its disk",
	"NOREPLICAS":  "it has too few replicas to take writes",
	"MASTERDOWN":  "it is a replica that has lost its master",
	"CLUSTERDOWN": "the cluster is down",
	"MOVED":       "the key is on another node of the cluster: use a ClusterClient",
	"ASK":         "the key is moving to another node of the cluster",
	"TRYAGAIN":    "keys are moving between nodes of the cluster",
	"CROSSSLOT":   "the keys are on several nodes of the cluster",
	"BUSY":        "it is busy with a script",
	"WRONGTYPE":   "the key holds something that is no record",
}

// phrases tell errors apart that have no word of their own.
var phrases = []struct{ said, means string }{
	{"unknown command", "it does not know the command: it is older than 6.2, or the command was renamed"},
	{"max number of clients", "it has no connection left"},
	{"without any password configured", "it has no password, and the client sends one"},
	{"no password is set", "it has no password, and the client sends one"},
	{"invalid password", "it refused the user or the password"},
	{"db index is out of range", "there is no such database"},
}

// network says what became of the connection, or else of what type the innermost error is.
func network(err error) string {
	const unreachable = "Redis cannot be reached"
	var (
		dns   *net.DNSError
		errno syscall.Errno
		op    *net.OpError
		wait  interface{ Timeout() bool }
	)
	switch {
	case errors.As(err, &dns):
		return unreachable + ": its name cannot be looked up"
	case errors.As(err, &op) && errors.As(err, &errno):
		return unreachable + ": " + errno.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time: " + context.DeadlineExceeded.Error()
	case errors.Is(err, context.Canceled):
		return context.Canceled.Error()
	case errors.As(err, &wait) && wait.Timeout():
		return unreachable + ": no answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection broke"
	case errors.As(err, &op):
		return unreachable
	case strings.Contains(err.Error(), "sentinels"):
		return "no Sentinel knows a master that can be reached"
	case strings.Contains(err.Error(), "tls: "), strings.Contains(err.Error(), "x509: "):
		return "there is no TLS with the server as it is set up"
	}
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return fmt.Sprintf("the client failed with a %T, whose text may name user and host", err)
		}
		err = next
	}
}
