package store

import (
	"crypto/x509"
	"net"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// An unplacedError is an error of a KV without what it says about where the engine is. Those
// who ask for its cause get it whole.
type unplacedError struct {
	text string
	err  error
}

func (e *unplacedError) Error() string { return e.text }
func (e *unplacedError) Unwrap() error { return e.err }

// withoutPlace keeps hosts and addresses out of the text of err: it goes into the errors of
// requests, which users may see. A KV that knows more, such as the engine's users, has to keep
// that out itself.
func withoutPlace(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	places := placesIn(err)
	slices.SortFunc(places, func(a, b string) int { return len(b) - len(a) }) // one may be part of another
	for _, place := range places {
		text = leaveOut(text, place)
	}
	if text == err.Error() {
		return err
	}
	return &unplacedError{text, err}
}

// leaveOut puts … in the place of what in text, where it is not part of a longer word: a host
// may be called "redis".
func leaveOut(text, what string) string {
	inWord := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	var b strings.Builder
	for {
		before, after, found := strings.Cut(text, what)
		b.WriteString(before)
		if !found {
			return b.String()
		}
		last, _ := utf8.DecodeLastRuneInString(before)
		next, _ := utf8.DecodeRuneInString(after)
		if inWord(last) || inWord(next) {
			b.WriteString(what)
		} else {
			b.WriteString("…")
		}
		text = after
	}
}

// placesIn returns what the errors in err's tree name.
func placesIn(err error) (places []string) {
	add := func(host string) {
		if host != "" {
			places = append(places, host)
		}
	}
	switch e := err.(type) {
	case *net.OpError:
		for _, a := range []net.Addr{e.Source, e.Addr} {
			if a == nil {
				continue
			}
			add(a.String())
			if host, _, err := net.SplitHostPort(a.String()); err == nil {
				add(host)
			}
		}
	case *net.DNSError:
		add(e.Name)
		add(e.Server)
	case *net.AddrError:
		add(e.Addr)
	case *url.Error:
		add(e.URL)
		if u, err := url.Parse(e.URL); err == nil {
			add(u.Host)
			add(u.Hostname())
		}
	case x509.HostnameError:
		add(e.Host)
		if e.Certificate != nil { // its text says for whom that is
			for _, name := range e.Certificate.DNSNames {
				add(name)
			}
			for _, ip := range e.Certificate.IPAddresses {
				add(ip.String())
			}
		}
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if next := e.Unwrap(); next != nil {
			places = append(places, placesIn(next)...)
		}
	case interface{ Unwrap() []error }:
		for _, next := range e.Unwrap() {
			places = append(places, placesIn(next)...)
		}
	}
	return places
}
