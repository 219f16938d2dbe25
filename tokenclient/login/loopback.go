package login

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// A loopback is a port of this machine that a browser on it can be sent to (RFC 8252,
// section 7.3).
type loopback struct {
	redirectURL string // with its port
	path        string // as requests have it
	hosts       []string
	listeners   []net.Listener
}

// listen opens the port of Config.RedirectURL. Nobody is answered yet.
func listen(ctx context.Context, rawURL string) (*loopback, error) {
	if rawURL == "" {
		l, err := listenAt(ctx, "http://127.0.0.1/callback")
		if err != nil {
			if six, err := listenAt(ctx, "http://[::1]/callback"); err == nil {
				return six, nil
			}
		}
		return l, err
	}
	return listenAt(ctx, rawURL)
}

func listenAt(ctx context.Context, rawURL string) (*loopback, error) {
	u, err := parseRedirect(rawURL)
	if err != nil {
		return nil, fmt.Errorf(`login: Config.RedirectURL %w; write it like "http://127.0.0.1/callback"`, err)
	}
	listeners, err := listenOn(ctx, strings.ToLower(u.Hostname()), u.Port())
	if err != nil {
		return nil, fmt.Errorf("login: Config.RedirectURL: %w", err)
	}
	port := strconv.Itoa(listeners[0].Addr().(*net.TCPAddr).Port)
	host := strings.TrimSuffix(u.Host, ":"+u.Port())
	l := &loopback{path: u.EscapedPath(), hosts: []string{host + ":" + port}, listeners: listeners}
	if port == "80" { // browsers leave it out
		l.hosts = append(l.hosts, host)
	}
	u.Host = host + ":" + port
	l.redirectURL = u.String()
	if l.path == "" {
		l.path = "/"
	}
	return l, nil
}

// parseRedirect reads a Config.RedirectURL.
func parseRedirect(rawURL string) (*url.URL, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("is not a URL")
	}
	_, err = strconv.ParseUint(u.Port(), 10, 16)
	switch host := strings.ToLower(u.Hostname()); {
	case u.Scheme != "http":
		return nil, errors.New("does not begin with http://, as addresses within this machine do")
	case host != "127.0.0.1" && host != "::1" && host != "localhost":
		return nil, errors.New("has a host other than 127.0.0.1, [::1] and localhost")
	case u.User != nil:
		return nil, errors.New("has user information in it")
	case strings.Contains(rawURL, "?") || strings.Contains(rawURL, "#"):
		return nil, errors.New("has a query or a fragment, which are for the answer")
	case u.Port() != "" && err != nil, strings.HasSuffix(u.Host, ":"):
		return nil, errors.New("has a port that is not one of 0 to 65535")
	}
	return u, nil
}

// listenOn listens at that host. "" is any port.
func listenOn(ctx context.Context, host, port string) ([]net.Listener, error) {
	port = cmp.Or(port, "0")
	if host == "localhost" {
		return listenLocalhost(ctx, port)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, err
	}
	return []net.Listener{l}, nil
}

// mostPorts is how many free ports are tried for one that is free at both addresses.
const mostPorts = 10

// listenLocalhost listens at both addresses of localhost, or at the one that the machine
// has: a browser may use either.
func listenLocalhost(ctx context.Context, port string) ([]net.Listener, error) {
	var c net.ListenConfig
	for try := 1; ; try++ {
		same := port
		four, err4 := c.Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", port))
		if err4 == nil {
			_, same, _ = net.SplitHostPort(four.Addr().String())
		}
		six, err6 := c.Listen(ctx, "tcp6", net.JoinHostPort("::1", same))
		switch {
		case err4 == nil && err6 == nil:
			return []net.Listener{four, six}, nil
		case err4 == nil && !has(ctx, "[::1]:0"):
			return []net.Listener{four}, nil
		case err6 == nil && !has(ctx, "127.0.0.1:0"):
			return []net.Listener{six}, nil
		}
		// Somebody else has the port at one of them, and might get the code.
		err := cmp.Or(err4, err6)
		if err4 == nil {
			err = errors.Join(err, four.Close())
		}
		if err6 == nil {
			err = errors.Join(err, six.Close())
		}
		if port != "0" || try == mostPorts {
			return nil, err
		}
	}
}

// has reports whether the machine has that address.
func has(ctx context.Context, address string) bool {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err == nil {
		_ = l.Close()
	}
	return err == nil
}
