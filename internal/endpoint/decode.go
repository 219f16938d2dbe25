package endpoint

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"strings"
	"unicode/utf16"
)

const (
	// maxAnswer is the longest answer of a token endpoint that is read.
	maxAnswer = 1 << 20

	// maxStarts is how many braces are tried that may begin an object behind junk.
	maxStarts = 16
)

// What is wrong with an answer. The text of the answer is not shown: it may hold
// tokens, and logs are read by many.
var (
	errTooLong = errors.New("answer is longer than 1 MiB")
	errEmpty   = errors.New("answer is empty")
	errHTML    = errors.New("answer is HTML, not JSON")
	errNoJSON  = errors.New("answer is not a JSON object")
	errCut     = errors.New("answer is cut off: its JSON has no end")
	errInvalid = errors.New("answer is not valid JSON")
)

// A document is what a body turned out to hold, whatever its Content-Type claims.
type document struct {
	objects []Members // the form or the JSON objects in it, in their order
	part    Members   // what could be read of an object that breaks off, or has a mistake in it
	rest    []byte    // what could not, after part
	text    string    // what it says if it is plain text
	err     error     // what is wrong; nil if there are objects
}

// read finds out what body holds: a JSON object, a form, or objects with something else
// before or after them.
func read(body []byte) document {
	body, whole := plainText(body)
	var d document
	switch {
	case len(body) == 0:
		d.err = errEmpty
	case body[0] == '"': // JSON in a JSON string, as gateways make of it
		var inner string
		if json.Unmarshal(body, &inner) == nil {
			if strings.Contains(inner, "{") {
				return read([]byte(inner))
			}
			d.text = inner
		}
		d.err = errNoJSON
	case isHTML(body):
		d.err = errHTML
		d.scan(body, true)
	default:
		d.err = errNoJSON
		if form := parseForm(body); form != nil {
			d.objects, d.err = append(d.objects, form), nil
		}
		if d.scan(body, false); d.objects == nil && d.part == nil {
			d.text = string(body)
		}
	}
	if !whole {
		d.tooLong()
	}
	return d
}

// tooLong turns d, which was cut at maxAnswer, into what it may count for.
func (d *document) tooLong() {
	if d.part == nil && len(d.objects) > 0 {
		d.part = d.objects[0]
	}
	d.objects, d.rest, d.text, d.err = nil, nil, "", errTooLong
}

// scan finds the JSON objects in body. atEnd: only one with nothing after it counts, as
// warnings of the server's own are followed by, and a page for people is not.
func (d *document) scan(body []byte, atEnd bool) {
	list := body[0] == '[' // of several objects there, none is the first
	for range maxStarts {
		start := bytes.IndexByte(body, '{')
		if start < 0 {
			break
		}
		body = body[start:]
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.UseNumber() // large numbers stay exact
		var m Members
		err := dec.Decode(&m)
		if err == nil {
			body = body[dec.InputOffset():]
			if !atEnd || len(bytes.TrimSpace(body)) == 0 {
				d.objects, d.err = append(d.objects, m), nil
			}
			continue
		}
		if !atEnd && len(d.objects) == 0 { // what was read before is as good
			d.readPart(body, err)
		}
		if len(d.part) > 0 {
			return // what is inside of a broken object is not an object of its own
		}
		body = body[1:]
	}
	if list && len(d.objects) > 1 {
		d.objects, d.err = nil, errors.New("answer is a list of several JSON objects")
	}
}

// readPart reads the members of an object up to where err is.
func (d *document) readPart(body []byte, err error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	_, _ = dec.Token() // the brace
	part, _ := objectOf(dec, 1)
	d.err = errInvalid
	if errors.Is(err, io.ErrUnexpectedEOF) {
		d.err = errCut
	}
	if len(part) > 0 {
		d.part, d.rest = part, body[min(dec.InputOffset(), int64(len(body))):]
	}
}

// objectOf reads members until the end of the object or a mistake. A value that is not
// whole is left out, but for the members of an object.
func objectOf(dec *json.Decoder, depth int) (Members, error) {
	m := Members{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return m, err
		}
		v, err := valueOf(dec, depth)
		if s, ok := name.(string); ok && v != nil {
			m[s] = v
		}
		if err != nil {
			return m, err
		}
	}
	_, err := dec.Token()
	return m, err
}

func valueOf(dec *json.Decoder, depth int) (any, error) {
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch {
	case depth > 16:
		return nil, errInvalid
	case t == json.Delim('{'):
		m, err := objectOf(dec, depth+1)
		return map[string]any(m), err
	case t == json.Delim('['):
		var list []any
		for dec.More() {
			v, err := valueOf(dec, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := dec.Token()
		return list, err
	}
	if _, number := t.(json.Number); number && !dec.More() {
		if _, err := dec.Buffered().Read(make([]byte, 1)); err != nil {
			return nil, io.ErrUnexpectedEOF // more of its digits may have been cut off
		}
	}
	return t, nil
}

// parseForm returns the form that body is, nil if it does not look like one.
func parseForm(body []byte) Members {
	text := strings.TrimLeft(string(body), "?#&")
	name, _, ok := strings.Cut(text, "=")
	if !ok || name == "" || strings.Trim(name, formName) != "" {
		return nil
	}
	// What parses is kept, whatever the error. A form has no line breaks, so that those
	// of a list with one member a line separate.
	values, _ := url.ParseQuery(strings.NewReplacer("\r\n", "&", "\n", "&").Replace(text))
	m := make(Members, len(values))
	for name, list := range values {
		m[name] = list[0]
	}
	return m
}

// formName are the characters that a name in a form is likely to have.
const formName = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.%[]"

// unpack undoes gzip that net/http did not, as when somebody else had asked for it. There is
// one byte over maxAnswer if there is more than that.
func unpack(body []byte) []byte {
	for range 2 {
		var r io.Reader
		var err error
		switch {
		case bytes.HasPrefix(body, []byte("\x1f\x8b\x08")):
			r, err = gzip.NewReader(bytes.NewReader(body))
		case len(body) > 2 && body[0] == 0x78 && bytes.IndexByte([]byte{0x01, 0x5e, 0x9c, 0xda}, body[1]) >= 0:
			r, err = zlib.NewReader(bytes.NewReader(body))
		}
		if r == nil || err != nil {
			break
		}
		// What can be read is kept, whatever the error: a checksum may have been cut off.
		unpacked, _ := io.ReadAll(io.LimitReader(r, maxAnswer+1))
		if len(unpacked) == 0 {
			break
		}
		body = unpacked
	}
	return body
}

// plainText is body in UTF-8, without gzip, a byte order mark, and space around it. whole is
// false if there is more than maxAnswer of it.
func plainText(body []byte) (text []byte, whole bool) {
	body = unpack(body)
	if whole = len(body) <= maxAnswer; !whole {
		body = body[:maxAnswer]
	}
	switch {
	case bytes.HasPrefix(body, []byte("\xff\xfe")):
		body = fromUTF16(body[2:], binary.LittleEndian)
	case bytes.HasPrefix(body, []byte("\xfe\xff")):
		body = fromUTF16(body[2:], binary.BigEndian)
	}
	body = bytes.TrimPrefix(bytes.TrimSpace(body), []byte("\xef\xbb\xbf"))
	return bytes.TrimSpace(body), whole
}

// isWhole reports whether body is a JSON object from its first to its last brace, so that
// it was read in full whatever came after that.
func isWhole(body []byte) bool {
	text, whole := plainText(body)
	return whole && len(text) > 0 && text[0] == '{' && json.Valid(text)
}

func fromUTF16(body []byte, order binary.ByteOrder) []byte {
	units := make([]uint16, len(body)/2)
	for i := range units {
		units[i] = order.Uint16(body[2*i:])
	}
	return []byte(string(utf16.Decode(units)))
}

// isHTML reports whether body is a page for people: then it is from a proxy or a
// portal on the way, more likely than from a token endpoint.
func isHTML(body []byte) bool {
	text, _ := plainText(body)
	return bytes.HasPrefix(text, []byte("<"))
}
