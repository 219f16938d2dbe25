package replay

import (
	"errors"
	"hash/maphash"
	"io"
	"os"
	"reflect"
	"time"
)

// A rewinder reads a body that can seek another time, from where it stood, without a copy.
// Whoever calls it reads the body, or has seen to it that nobody does.
//
// That a body has a method Seek does not prove that what it reads again is the same: a file
// may be written to meanwhile, and Seek may be that of an embedded file, whose Read is
// another. So what the first reading brings is hashed, and the second one is compared: it
// ends with an error before its last byte is given out if it is not the same.
type rewinder struct {
	body   io.ReadCloser
	seeker io.Seeker // nil: at is read instead
	start  int64     // where the body stood
	at     io.ReaderAt
	length int64     // of what at is to give
	plain  bool      // Seek and Read are known to belong together
	file   *os.File  // nil: it is none
	size   int64     // of file
	time   time.Time // of file

	sum   maphash.Hash // of what was read first
	n     int64        // bytes that were read first
	ended bool         // that was all

	rewound bool
	again   maphash.Hash // of what was read again, up to n
	left    int64        // of n
	err     error        // that ended the second reading
}

var errChanged = errors.New("tokenclient: the request's body is not the same when it is read again")

// newRewinder returns nil for a body that cannot be rewound. length is the request's
// ContentLength.
func newRewinder(body io.ReadCloser, length int64) *rewinder {
	r := &rewinder{body: body}
	source := unwrap(body)
	switch source := source.(type) {
	case io.Seeker:
		at, err := position(source)
		if err != nil || at < 0 {
			return nil
		}
		r.seeker, r.start = source, at
	case io.ReaderAt:
		if length <= 0 { // unknown, as there is a body
			return nil
		}
		r.at, r.length = source, length
	default:
		return nil
	}
	switch source := source.(type) {
	case *io.SectionReader:
		r.plain = true
	case *os.File:
		info, err := source.Stat()
		if err != nil || !info.Mode().IsRegular() { // of a device nothing comes twice
			return nil
		}
		r.plain, r.file, r.size, r.time = true, source, info.Size(), info.ModTime()
	}
	return r
}

// position returns where s stands. A struct may have a method Seek only because of what is
// embedded in it, and that may be nil; nobody but us calls it.
func position(s io.Seeker) (at int64, err error) {
	defer func() {
		if recover() != nil {
			err = errNoSeek
		}
	}()
	return s.Seek(0, io.SeekCurrent)
}

var errNoSeek = errors.New("tokenclient: the request's body cannot seek")

// read is told what a Read of the body brought, and returns what to make of it.
func (r *rewinder) read(p []byte, err error) (int, error) {
	if !r.rewound {
		_, _ = r.sum.Write(p)
		r.n += int64(len(p))
		r.ended = r.ended || err == io.EOF //nolint:errorlint // io.Reader: the end is io.EOF itself
		return len(p), err
	}
	if r.err == nil && !r.same(p, err) {
		r.err = errChanged
	}
	if r.err != nil {
		return 0, r.err
	}
	return len(p), err
}

// same reports whether what comes again may be what came first.
func (r *rewinder) same(p []byte, err error) bool {
	old := min(r.left, int64(len(p)))
	_, _ = r.again.Write(p[:old])
	r.left -= old
	switch {
	case r.left > 0:
		return err != io.EOF //nolint:errorlint // as above
	case old > 0 && r.again.Sum64() != r.sum.Sum64():
		return false
	}
	return !r.ended || int(old) == len(p)
}

// rewind returns the body as it was at first. Nobody reads it.
func (r *rewinder) rewind() (io.ReadCloser, error) {
	if r.n == 0 {
		return r.body, nil
	}
	if r.file != nil {
		info, err := r.file.Stat()
		if err != nil || info.Size() != r.size || !info.ModTime().Equal(r.time) {
			return nil, errors.Join(errChanged, err)
		}
	}
	body := r.body
	if r.seeker != nil {
		if at, err := r.seeker.Seek(r.start, io.SeekStart); err != nil || at != r.start {
			return nil, errors.Join(errChanged, err)
		}
	} else {
		section := io.NewSectionReader(r.at, 0, r.length)
		if !r.begins(section) {
			return nil, errChanged
		}
		body = io.NopCloser(section) // r.body is closed beside it
	}
	r.rewound, r.left, r.err = true, r.n, nil
	r.again.SetSeed(r.sum.Seed()) // which resets it
	return body, nil
}

// begins reports whether section begins with what was read first, and rewinds it. Where
// the body stood cannot be asked of an io.ReaderAt; mostly it was the beginning.
func (r *rewinder) begins(section *io.SectionReader) bool {
	var sum maphash.Hash
	sum.SetSeed(r.sum.Seed())
	if n, err := io.CopyN(&sum, section, r.n); err != nil || n != r.n || sum.Sum64() != r.sum.Sum64() {
		return false
	}
	_, err := section.Seek(0, io.SeekStart)
	return err == nil
}

// unwrap returns what http.NewRequest, or its caller, made body of by io.NopCloser, as
// net/http itself does.
func unwrap(body io.Reader) io.Reader {
	switch t := reflect.TypeOf(body); t {
	case nopCloser, nopCloserWriterTo:
		if t.Kind() == reflect.Struct && t.NumField() == 1 {
			if r, ok := reflect.ValueOf(body).Field(0).Interface().(io.Reader); ok {
				return r
			}
		}
	}
	return body
}

var (
	nopCloser         = reflect.TypeOf(io.NopCloser(nil))
	nopCloserWriterTo = reflect.TypeOf(io.NopCloser(struct {
		io.Reader
		io.WriterTo
	}{}))
)
