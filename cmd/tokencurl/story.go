package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A story tells what happens to a request, for -v, and no secret. A nil story tells nothing.
// All of it is told by those who do it, on their goroutines, and not by hooks, which come
// later: the order is that of the events.
type story struct {
	mu         sync.Mutex
	out        io.Writer
	carries    string   // the header that has the token
	secrets    []string // tokens that were sent
	generation uint64
	refreshed  bool // by us, since generation
}

func newStory(out io.Writer) *story { return &story{out: out, carries: "Authorization"} }

func (s *story) about(p *profile) {
	if s != nil && p.Header != "" {
		s.carries = p.Header
	}
}

func (s *story) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(s.out, plain(fmt.Sprintf(format, args...)))
}

// plain is text without what steers a terminal.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) && r != utf8.RuneError {
			return r
		}
		return '?'
	}, text)
}

// hooks tell of the token that a request gets.
func (s *story) hooks() *tokenclient.Hooks {
	if s == nil {
		return nil
	}
	return &tokenclient.Hooks{Attached: func(_ context.Context, generation uint64) {
		s.mu.Lock()
		before, ours := s.generation, s.refreshed
		s.generation, s.refreshed = generation, false
		s.mu.Unlock()
		switch {
		case before == 0 && !ours:
			s.say("* token attached")
		case before == generation:
			s.say("* the same token attached, and the request sent again: it is new, and the server may learn of it late")
		case ours && before == 0:
			s.say("* new token attached")
		case ours:
			s.say("* new token attached, and the request sent again")
		default:
			s.say("* another process has refreshed: its token attached, and the request sent again")
		}
	}}
}

// endpointClient makes the calls of token endpoints; nil lets the library make its own.
func (s *story) endpointClient() *http.Client {
	if s == nil {
		return nil
	}
	return &http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
		began, where := time.Now(), req.URL.Scheme+"://"+req.URL.Host+req.URL.EscapedPath()
		s.say("* token endpoint: %s %s", req.Method, where)
		resp, err := endpoints().RoundTrip(req)
		took := time.Since(began).Round(time.Millisecond)
		if err != nil {
			s.say("* token endpoint: no answer, %v", took)
			return nil, err
		}
		s.say("* token endpoint: %s, %v", resp.Status, took)
		if req.Method == http.MethodPost && resp.StatusCode < 300 {
			s.mu.Lock()
			s.refreshed = true
			s.mu.Unlock()
		}
		return resp, nil
	})}
}

// endpoints makes the connections of all stories.
var endpoints = sync.OnceValue(func() http.RoundTripper { return newTransport(true) })

// transport tells of each sending and each answer.
func (s *story) transport(base http.RoundTripper) http.RoundTripper {
	if s == nil {
		return base
	}
	return roundTrip(func(req *http.Request) (*http.Response, error) {
		s.remember(req.Header)
		s.say("> %s %s", req.Method, s.redact(req.URL.RequestURI()))
		s.say("> Host: %s", cmp.Or(req.Host, req.URL.Host))
		s.headers("> ", req.Header)
		if req.Header.Get(s.carries) == "" {
			s.say("* sent without the token, which is not for %s", originOf(req.URL))
		}
		resp, err := base.RoundTrip(req)
		if err != nil {
			return nil, err
		}
		s.say("< %s %s", resp.Proto, s.redact(resp.Status))
		s.headers("< ", resp.Header)
		if resp.StatusCode == http.StatusUnauthorized && req.Header.Get(s.carries) != "" {
			s.say("* the server refused the token")
		}
		return resp, nil
	})
}

// remember keeps the token, to find it where a server repeats it.
func (s *story) remember(h http.Header) {
	token := h.Get(s.carries)
	if _, bare, ok := strings.Cut(token, " "); ok {
		token = bare
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if token != "" && !slices.Contains(s.secrets, token) {
		s.secrets = append(s.secrets, token)
	}
}

const redacted = "[redacted]"

// secretWords are in the names of headers whose values are secrets, whoever sets them. Not
// "auth": WWW-Authenticate says why a token was refused.
var secretWords = []string{"authorization", "cookie", "dpop", "token", "secret", "password", "credential", "signature", "api-key", "apikey", "access-key", "subscription-key"}

func (s *story) headers(prefix string, h http.Header) {
	for _, name := range sortedNames(h) {
		for _, value := range h[name] {
			lower := strings.ToLower(name)
			if strings.EqualFold(name, s.carries) || slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(lower, word) }) {
				value = redacted
			}
			s.say("%s%s: %s", prefix, name, s.redact(value))
		}
	}
	s.say("%s", strings.TrimSpace(prefix))
}

func (s *story) redact(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, secret := range s.secrets {
		text = strings.ReplaceAll(text, secret, redacted)
	}
	return text
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
