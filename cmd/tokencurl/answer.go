package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
)

// write writes the answer where it belongs.
func (r *request) write(resp *http.Response) (err error) {
	var failed error
	if resp.StatusCode >= 400 && (r.fail || r.failWithBody) {
		failed = &exitError{exitStatus, errors.New("the server answered " + resp.Status)}
		if !r.failWithBody {
			return failed
		}
	}
	out := io.Writer(r.out)
	if r.output != "" && r.output != "-" {
		f, err := os.Create(r.output)
		if err != nil {
			return &exitError{exitWrite, err}
		}
		defer func() {
			if e := f.Close(); e != nil && err == nil {
				err = &exitError{exitWrite, e}
			}
		}()
		out = f
	}
	out = writer{out}
	if r.include || r.head {
		if _, err := io.WriteString(out, headOf(resp)); err != nil {
			return err
		}
	}
	r.meter.begin(resp.ContentLength)
	defer r.meter.end()
	_, err = io.Copy(out, &metered{resp.Body, &r.meter})
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = &exitError{exitPartial, fmt.Errorf("the answer broke off: %w", err)}
	}
	return cmp.Or(err, failed)
}

// headOf is an answer's status line and headers, as HTTP/1.1 has them.
func headOf(resp *http.Response) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\r\n", resp.Proto, resp.Status)
	for _, name := range sortedNames(resp.Header) {
		for _, value := range resp.Header[name] {
			fmt.Fprintf(&b, "%s: %s\r\n", name, value)
		}
	}
	return b.String() + "\r\n"
}

func sortedNames(h http.Header) []string {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// writer tells errors of writing from those of reading.
type writer struct{ io.Writer }

func (w writer) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if err != nil {
		err = &exitError{exitWrite, err}
	}
	return n, err
}
