package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A body is what a request sends. It can be opened again, so that a refused request is sent
// a second time, but for one from standard input that is not kept.
type body struct {
	open        func() (io.ReadCloser, error)
	again       bool
	size        int64 // -1: unknown
	contentType string
}

func bytesBody(b []byte, contentType string) *body {
	return &body{
		open:  func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil },
		again: true, size: int64(len(b)), contentType: contentType,
	}
}

// A dataFlag adds to what several flags add to, in their order.
type dataFlag struct {
	list  *[]datum
	read  bool // @file is read
	strip bool // without line breaks and NULs, as curl -d reads files
}

type datum struct {
	text        string
	file, strip bool
}

func (f *dataFlag) String() string { return "" }
func (f *dataFlag) Type() string   { return "data" }
func (f *dataFlag) Set(s string) error {
	d := datum{text: s}
	if name, ok := strings.CutPrefix(s, "@"); ok && f.read {
		d = datum{name, true, f.strip}
	}
	*f.list = append(*f.list, d)
	return nil
}

// joined reads the data and joins it by by.
func (r *request) joined(list []datum, by string) ([]byte, error) {
	var parts [][]byte
	for _, d := range list {
		b := []byte(d.text)
		if d.file {
			var err error
			if b, err = r.readInput(d.text); err != nil {
				return nil, err
			}
			if d.strip {
				// Not bytes.Map, which takes bytes for UTF-8 and replaces those that are none.
				b = slices.DeleteFunc(b, func(c byte) bool { return c == '\n' || c == '\r' || c == 0 })
			}
		}
		parts = append(parts, b)
	}
	return bytes.Join(parts, []byte(by)), nil
}

// readInput reads a file as a whole; "-" is standard input.
func (r *request) readInput(name string) ([]byte, error) {
	read := func() ([]byte, error) { return os.ReadFile(name) }
	if name == "-" {
		read = func() ([]byte, error) { return io.ReadAll(r.stdin) }
	}
	b, err := read()
	if err != nil {
		return nil, &exitError{exitRead, err}
	}
	return b, nil
}

// uploadBody is the file of -T.
func (r *request) uploadBody() (*body, error) {
	if r.upload == "-" {
		return &body{open: func() (io.ReadCloser, error) { return io.NopCloser(r.in), nil }, size: -1}, nil
	}
	info, err := os.Stat(r.upload)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New(r.upload + " is no regular file")
	}
	if err != nil {
		return nil, &exitError{exitRead, err}
	}
	file := []section{{file: r.upload, size: info.Size()}}
	return &body{open: func() (io.ReadCloser, error) { return openSections(file) }, again: true, size: info.Size()}, nil
}

// A section is a piece of a form: bytes, or a file that is opened when it is sent.
type section struct {
	bytes []byte
	file  string
	size  int64
}

// formBody is multipart/form-data (RFC 7578) of the parts of -F, of known length: many
// servers take no other.
func (r *request) formBody() (*body, error) {
	var head bytes.Buffer
	w := multipart.NewWriter(&head)
	var sections []section
	flush := func() {
		sections = append(sections, section{bytes: bytes.Clone(head.Bytes()), size: int64(head.Len())})
		head.Reset()
	}
	for _, part := range r.form {
		header, s, err := r.formPart(part)
		if err != nil {
			return nil, err
		}
		if _, err := w.CreatePart(header); err != nil {
			return nil, err
		}
		flush()
		sections = append(sections, s)
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	flush()
	b := &body{again: true, contentType: w.FormDataContentType(), open: func() (io.ReadCloser, error) { return openSections(sections) }}
	for _, s := range sections {
		b.size += s.size
	}
	return b, nil
}

// formPart takes one -F apart.
func (r *request) formPart(part string) (textproto.MIMEHeader, section, error) {
	name, value, ok := strings.Cut(part, "=")
	if !ok || name == "" {
		return nil, section{}, usage(errors.New("-F takes name=value, not " + strings.SplitN(part, "=", 2)[0]))
	}
	value, mime, fileName := formOptions(value)
	var s section
	switch {
	case strings.HasPrefix(value, "@-"), strings.HasPrefix(value, "<"):
		b, err := r.readInput(value[1:])
		if err != nil {
			return nil, section{}, err
		}
		s = section{bytes: b, size: int64(len(b))}
		if value[0] == '@' && fileName == "" {
			fileName = "-"
		}
	case strings.HasPrefix(value, "@"):
		var err error
		if s, err = r.fileSection(value[1:]); err != nil {
			return nil, section{}, err
		}
		if fileName == "" {
			fileName = filepath.Base(value[1:])
		}
	default:
		s = section{bytes: []byte(value), size: int64(len(value))}
	}
	header := textproto.MIMEHeader{}
	disposition := `form-data; name="` + escapeQuotes(name) + `"`
	if fileName != "" {
		disposition += `; filename="` + escapeQuotes(fileName) + `"`
		header.Set("Content-Type", "application/octet-stream")
	}
	header.Set("Content-Disposition", disposition)
	if mime != "" {
		header.Set("Content-Type", mime)
	}
	return header, s, nil
}

// fileSection is a file of -F. A pipe has no size to ask for and is read once: it is kept.
func (r *request) fileSection(name string) (section, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return section{}, &exitError{exitRead, err}
	case info.Mode().IsRegular():
		return section{file: name, size: info.Size()}, nil
	}
	b, err := r.readInput(name)
	return section{bytes: b, size: int64(len(b))}, err
}

// formOptions cuts ;type= and ;filename= off.
func formOptions(value string) (rest, mime, fileName string) {
	for {
		i := strings.LastIndexByte(value, ';')
		if i < 0 {
			return value, mime, fileName
		}
		switch option := strings.TrimSpace(value[i+1:]); {
		case strings.HasPrefix(option, "type="):
			mime = option[len("type="):]
		case strings.HasPrefix(option, "filename="):
			fileName = strings.Trim(option[len("filename="):], `"`)
		default:
			return value, mime, fileName
		}
		value = value[:i]
	}
}

// escapeQuotes is how browsers write names (WHATWG, multipart/form-data encoding).
func escapeQuotes(s string) string {
	return strings.NewReplacer(`"`, "%22", "\r", "%0D", "\n", "%0A").Replace(s)
}

// openSections reads the sections one after another.
func openSections(sections []section) (io.ReadCloser, error) {
	var all sectionReader
	var readers []io.Reader
	for _, s := range sections {
		if s.file == "" {
			readers = append(readers, bytes.NewReader(s.bytes))
			continue
		}
		f, err := os.Open(s.file)
		if err != nil {
			_ = all.Close()
			return nil, &exitError{exitRead, err}
		}
		all.files = append(all.files, f)
		readers = append(readers, &exactly{f, s.size})
	}
	all.Reader = io.MultiReader(readers...)
	return &all, nil
}

// exactly reads a file as long as it was when its size was asked for, which was announced: a log that
// grew meanwhile to there, and one that became shorter not at all.
type exactly struct {
	file *os.File
	left int64
}

func (e *exactly) Read(p []byte) (int, error) {
	if e.left == 0 {
		return 0, io.EOF
	}
	n, err := e.file.Read(p[:min(int64(len(p)), e.left)])
	e.left -= int64(n)
	switch {
	case err == io.EOF && e.left > 0:
		err = &exitError{exitRead, fmt.Errorf("%s has become shorter by %d bytes", e.file.Name(), e.left)}
	case err == io.EOF:
		err = nil // the next call says so
	case err != nil:
		err = &exitError{exitRead, err}
	}
	return n, err
}

type sectionReader struct {
	io.Reader
	files []*os.File
}

func (r *sectionReader) Close() error {
	var errs []error
	for _, f := range r.files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
