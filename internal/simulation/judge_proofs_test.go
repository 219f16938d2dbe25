package simulation_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// How often a message is sent again because the server wants another nonce in its proof.
const (
	maxAsked      = 3 // a request to the API: see tokenclient.Attacher
	maxAskedCalls = 2 // a call of the token endpoint: see tokenclient.Binder
)

// proves judges the proof of a message to target with an access token ("": none), by the key of f,
// that by has sent.
func (x *proofWorld) proves(by *process, what fmt.Stringer, p *proof, method, target, token string, f *family) {
	w, hash := x.w, ""
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		hash = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	if p == nil {
		w.violated("own proofs", "%s has no proof, and its token is bound to a key", what)
		return
	}
	u, err := url.Parse(p.Target)
	if err != nil {
		p.wrong = err.Error()
	}
	h := (*nonceHost)(nil)
	if p.wrong == "" {
		h = x.hosts[u.Host]
	}
	switch {
	case p.wrong != "":
		w.violated("own proofs", "%s has a proof that is none: %s", what, p.wrong)
	case x.ids[p.ID] || p.ID == "":
		w.violated("own proofs", "%s has a proof that was sent before", what)
	case p.Method != method || p.Target != target:
		w.violated("own proofs", "%s has a proof for %s %s", what, p.Method, p.Target)
	case p.TokenHash != hash:
		w.violated("own proofs", "%s has a proof for another token", what)
	case f != nil && p.key != f.key:
		w.violated("own proofs", "%s has a proof by another key", what)
	case by.ran(w.now()-time.Since(time.Unix(p.At, 0))).Abs() > 2*time.Second:
		w.violated("own proofs", "%s has a proof of another time", what)
	case p.Nonce != "" && (h == nil || !strings.HasPrefix(p.Nonce, "nonce-"+h.name+"-")):
		w.violated("own proofs", "%s has a proof with the nonce of another server, %q", what, p.Nonce)
	}
	x.ids[p.ID] = true
}

// sent judges the proof of a request that leaves its process.
func (x *proofWorld) sent(s *sending) {
	if x == nil || s.token == "" {
		return
	}
	asked, last := 0, ""
	for _, y := range s.call.seen {
		if y == s || y.host != s.host || y.path != s.path {
			continue
		}
		if last = y.wanted; last != "" {
			asked++
		}
	}
	if asked > maxAsked && s.call.step.kind == request { // of a Do it is the program that asks
		x.w.violated("nothing too often", "%s is sent for the %dth time because of a nonce", s, asked)
	}
	if s.access == nil {
		return
	}
	x.proves(s.call.p, s, s.proof, s.method, "https://"+s.host+s.path, s.token, s.access.family)
	if s.proof != nil && last != "" && s.proof.Nonce != last {
		x.w.violated("own proofs", "%s has another nonce than it was sent again for", s)
	}
}

// asks judges the proof of a call that leaves its process. It returns how often that was made
// again.
func (x *proofWorld) asks(c *tokenCall, f *family) (asked int) {
	if x == nil {
		return 0
	}
	last := x.calls[c.name()]
	if last != nil && x.w.now()-last.at < time.Millisecond {
		asked = last.asked + 1
	}
	if asked > maxAskedCalls {
		x.w.violated("nothing too often", "%s is made again for the %dth time because of a nonce", c, asked)
	}
	x.proves(c.p, c, c.proof, http.MethodPost, "https://"+authHost+c.path, "", f)
	if asked > 0 && c.proof != nil && c.proof.Nonce != last.wanted {
		x.w.violated("own proofs", "%s has another nonce than it is made again for", c)
	}
	return asked
}

// readsOutput looks for keys in what was said.
func (x *proofWorld) readsOutput(text string) {
	if x == nil {
		return
	}
	for _, k := range x.keys {
		if strings.Contains(text, k) {
			x.w.violated("no secret", "a key is in %q", text)
		}
	}
}
