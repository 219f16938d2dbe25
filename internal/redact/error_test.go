package redact_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/redact"
)

func TestError(t *testing.T) {
	cause := &fs.PathError{Op: "open", Path: "/a secret", Err: context.DeadlineExceeded}
	err := fmt.Errorf("refresh: %w", redact.Error("cannot read", cause))
	if err.Error() != "refresh: cannot read" || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		t.Errorf("%v is not what its cause is", err)
	}
	var path *fs.PathError
	if !errors.As(err, &path) || path != cause {
		t.Errorf("%v does not show its cause to who asks for it", err)
	}
	if inner := errors.Unwrap(errors.Unwrap(err)); inner != nil {
		t.Errorf("unwrapped it says %v", inner)
	}
}

func TestURLs(t *testing.T) {
	at := func(u string) error { return &url.Error{Op: "Post", URL: u, Err: io.ErrUnexpectedEOF} }
	const said = `Post "https://auth.example.com/token": unexpected EOF`
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"nothing to hide": {at("https://auth.example.com/token"), said},
		"query":           {at("https://auth.example.com/token?key=planted"), said},
		"user":            {at("https://app:planted@auth.example.com/token"), said},
		"fragment":        {at("https://auth.example.com/token#planted"), said},
		"not a URL":       {at("https://auth.example.com:planted/token"), `Post "": unexpected EOF`},
		"opaque":          {at("mailto:planted"), `Post "": unexpected EOF`},
		"quoted":          {at("https://auth.example.com/token?\"key\"=planted\n"), `Post "": unexpected EOF`},
		"quotes":          {at(`https://auth.example.com/token?"key"=planted`), said},
		"wrapped":         {fmt.Errorf("refresh: %w", at("https://auth.example.com/token?key=planted")), "refresh: " + said},
		"joined":          {errors.Join(io.EOF, at("https://auth.example.com/token?planted"), at("https://x/?planted")), "EOF\n" + said + "\n" + `Post "https://x/": unexpected EOF`},
		"nested":          {&url.Error{Op: "Get", URL: "https://a/?planted", Err: at("https://auth.example.com/token?planted")}, `Get "https://a/": ` + said},
		"no URL":          {at(""), `Post "": unexpected EOF`},
		"another error":   {errors.New("see https://example.com/?a=b"), "see https://example.com/?a=b"},
	} {
		if got := redact.URLs(c.err.Error(), c.err); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if got := redact.URLs("x", nil); got != "x" {
		t.Errorf("of no error: %q", got)
	}
}
