package dpop

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// claims are what a proof says (RFC 9449, section 4.2).
type claims struct {
	method, target string // htm, htu
	at             time.Time
	tokenHash      string // ath; "": no token goes with it
	nonce          string // "": the server wants none
}

// proof returns a new proof of c by k.
func (k *key) proof(c claims) (string, error) {
	if c.method == "" {
		c.method = http.MethodGet // as net/http has it
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	body := make([]byte, 0, 512)
	body = append(body, `{"jti":"`...)
	body = b64.AppendEncode(body, id[:])
	body = appendString(append(body, `","htm":`...), c.method)
	body = appendString(append(body, `,"htu":`...), c.target)
	body = strconv.AppendInt(append(body, `,"iat":`...), c.at.Unix(), 10)
	if c.tokenHash != "" {
		body = appendString(append(body, `,"ath":`...), c.tokenHash)
	}
	if c.nonce != "" {
		body = appendString(append(body, `,"nonce":`...), c.nonce)
	}
	body = append(body, '}')
	text := make([]byte, 0, len(k.head)+b64.EncodedLen(len(body))+128)
	text = b64.AppendEncode(append(text, k.head...), body)
	text, err := k.signer.AppendSignature(text)
	if errors.Is(err, tokenclient.ErrLoginRequired) { // of a session of the signer's own
		err = errors.New(err.Error())
	}
	if err != nil {
		return "", fmt.Errorf("dpop: no proof can be made: %w", err)
	}
	return string(text), nil
}

// appendString appends s as JSON.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string always can be
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

var (
	errNoHost  = errors.New("dpop: no proof can be made: the request's URL has no host; a proof is for one HTTP request (RFC 9449, section 4.2)")
	errNotHTTP = errors.New("dpop: no proof can be made: the request's URL is not of https or http")
	errNoASCII = errors.New(`dpop: no proof can be made: the host of the request is not ASCII; write it as it is dialed, like "xn--…"`)
	errNoPath  = errors.New("dpop: no proof can be made: the path of the request's URL does not begin with a slash")
)

// targetOf returns the URL of req as the server sees it, without query and fragment: the htu of
// a proof (RFC 9449, section 4.2), normalized as RFC 3986, sections 6.2.2.1 and 6.2.3, have it.
// The path is as it is on the wire. n bytes of it are the origin.
func targetOf(req *http.Request) (target string, n int, err error) {
	u := req.URL
	scheme := strings.ToLower(u.Scheme)
	if scheme != "https" && scheme != "http" {
		if u.Host == "" {
			return "", 0, errNoHost
		}
		return "", 0, errNotHTTP
	}
	host := req.Host // what the server is told
	if host == "" {
		host = u.Host
	}
	if host, err = hostOf(scheme, host); err != nil {
		return "", 0, err
	}
	path := pathOf(u)
	if !strings.HasPrefix(path, "/") {
		return "", 0, errNoPath
	}
	target = scheme + "://" + host + path
	return target, len(target) - len(path), nil
}

// hostOf returns a host in lower case, without what the scheme says by itself.
func hostOf(scheme, host string) (string, error) {
	for i := range len(host) {
		c := host[i]
		if c >= 0x80 {
			return "", errNoASCII
		}
		if c <= ' ' || c == 0x7f || strings.IndexByte("\"#/<>?@\\^`{|}", c) >= 0 { // RFC 3986, section 3.2.2
			return "", errNoHost
		}
	}
	if i := strings.IndexByte(host, '%'); i >= 0 && strings.HasPrefix(host, "[") { // the zone is for this machine alone
		if end := strings.LastIndexByte(host, ']'); end > i {
			host = host[:i] + host[end:]
		}
	}
	host = strings.TrimSuffix(strings.ToLower(host), ":")
	if scheme == "https" {
		host = strings.TrimSuffix(host, ":443")
	} else {
		host = strings.TrimSuffix(host, ":80")
	}
	if host == "" || host[0] == ':' {
		return "", errNoHost
	}
	return host, nil
}

// pathOf returns the path of u as net/http writes it.
func pathOf(u *url.URL) string {
	if u.Opaque == "" {
		if path := u.EscapedPath(); path != "" {
			return path
		}
		return "/"
	}
	path, _, _ := strings.Cut(u.Opaque, "?")
	path, _, _ = strings.Cut(path, "#")
	if rest, whole := strings.CutPrefix(path, "//"); whole { // a whole URL, without the scheme
		i := strings.IndexByte(rest, '/')
		if i < 0 {
			return "/"
		}
		path = rest[i:]
	}
	return path
}
