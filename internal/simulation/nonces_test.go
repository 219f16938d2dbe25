package simulation_test

import (
	"fmt"
	"time"
)

// A nonceKind is what nonces a server wants.
type nonceKind int

const (
	noNonces nonceKind = iota
	changingNonces
	singleNonces // each is good for one proof
	nonceKinds
)

// A nonceHost is what a server has for nonces.
type nonceHost struct {
	kind    nonceKind
	name    string
	n       int // nonces
	asked   int // proofs
	current string
	often   float64         // how often it changes
	issued  map[string]bool // true: it was not used
}

func (h *nonceHost) change() string {
	h.n++
	h.current = fmt.Sprintf("nonce-%s-%d", h.name, h.n)
	h.issued[h.current] = true
	return h.current
}

// wants returns the nonce that the server wants in the place of that in p; "": it takes it.
func (x *proofWorld) wants(host string, p *proof) (nonce string) {
	h := x.hosts[host]
	h.asked++
	key := fmt.Sprintf("nonce of %s %d", h.name, h.asked)
	switch {
	case x.w.plan.off[key]:
		return ""
	case h.kind == changingNonces:
		if !x.w.quiet && x.w.plan.unit(key) < h.often {
			h.change()
		}
		if p.Nonce == h.current {
			return ""
		}
		nonce = h.current
	case h.kind == singleNonces:
		if h.issued[p.Nonce] {
			h.issued[p.Nonce] = false
			return ""
		}
		nonce = h.change()
	default:
		return ""
	}
	x.w.struck[key] = "another nonce is wanted"
	if host == authHost {
		x.w.struck[key] += " at the token endpoint"
	}
	return nonce
}

// gives returns the answer with the nonce of the next proof, if the server says one.
func (x *proofWorld) gives(host string, a answer) answer {
	if x == nil {
		return a
	}
	h := x.hosts[host]
	for _, nv := range a.header {
		if nv[0] == "DPoP-Nonce" {
			return a
		}
	}
	u := x.w.plan.unit(fmt.Sprint("a nonce ", host, x.w.total))
	switch {
	case h == nil || h.kind == noNonces || u > 0.8:
		return a
	case h.kind == singleNonces || u < 0.1 && !x.w.quiet:
		h.change()
	}
	a.header = append(a.header[:len(a.header):len(a.header)], [2]string{"DPoP-Nonce", h.current})
	return a
}

// wantsNonce is the answer of a host that wants another nonce.
func wantsNonce(host, nonce string) answer {
	if host == authHost {
		return answer{400, [][2]string{{"Content-Type", "application/json"}, {"DPoP-Nonce", nonce}}, `{"error":"use_dpop_nonce"}`}
	}
	return answer{401, [][2]string{{"Www-Authenticate", `DPoP error="use_dpop_nonce", algs="ES256"`}, {"DPoP-Nonce", nonce}}, "no\n"}
}

// takes reports whether the API takes the proof of a request; if not, a is its answer.
func (x *proofWorld) takes(s *sending) (a answer, ok bool) {
	if x == nil || s.proof == nil {
		return a, true
	}
	if s.wanted = x.wants(s.host, s.proof); s.wanted == "" {
		return a, true
	}
	x.w.note("API", "wants %s in the proof of %s, not %q", s.wanted, s, s.proof.Nonce)
	return wantsNonce(s.host, s.wanted), false
}

// takesCall returns the nonce that the token endpoint wants in the proof of c; "": it takes it.
func (x *proofWorld) takesCall(c *tokenCall) (wanted string) {
	if x == nil || c.proof == nil {
		return ""
	}
	if wanted = x.wants(authHost, c.proof); wanted != "" {
		x.w.note("server", "wants %s in the proof of %s, not %q", wanted, c, c.proof.Nonce)
	}
	return wanted
}

// hears notes that the news of that has reached the process.
func (x *proofWorld) hears(c *tokenCall, asked int, wanted string) {
	x.calls[c.name()] = &provedCall{x.w.now(), asked, wanted}
}

// wantsNonce has the token endpoint refuse q for its nonce, unless what goes wrong keeps that from
// its process.
func (w *world) wantsNonce(o *operation, q *presentation, c *tokenCall, nonce, what string, lose func(string), back time.Duration, answered func(answer, bool)) {
	switch what {
	case "the answer is lost":
		lose(what)
	case "an answer that is too late":
	default:
		w.hearsAfter(back, o, func() {
			if o.over {
				return
			}
			q.ends(w)
			q.wanted, q.why = true, "another nonce is wanted"
			w.server.proofs.hears(c, q.asked, nonce)
			answered(wantsNonce(authHost, nonce), false)
		})
	}
}
