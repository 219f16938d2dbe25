package dpop

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	proofHeader = "Dpop" // "DPoP" as net/http spells it; names of fields have no case
	nonceHeader = "Dpop-Nonce"
)

const (
	// maxNonce is the longest nonce that is kept, in bytes.
	maxNonce = 2 << 10

	// maxServers is how many servers of a kind are remembered.
	maxServers = 1024

	// maxOffset is how much a server's clock may differ to be believed.
	maxOffset = 24 * time.Hour

	// farOff is how much it may differ before any proof was refused for it.
	farOff = 10 * time.Second

	// off is how much it may differ when a proof was: a Date has no fractions of a second.
	off = 2 * time.Second
)

// A refusal is what an answer is to the proof of its request.
type refusal uint8

const (
	accepted refusal = iota // it says nothing against it
	perhaps                 // something is wrong with the token or the proof
	badProof                // the proof is wrong: its time, mostly
	badNonce                // the server wants its nonce in it
)

// refusalOf is what an error code says (RFC 9449, section 12.2).
func refusalOf(code string) refusal {
	switch code {
	case "use_dpop_nonce":
		return badNonce
	case "invalid_dpop_proof":
		return badProof
	}
	return accepted
}

// A server is what is known of one.
type server struct {
	nonce  string        // for the next proof; "": none
	offset time.Duration // its clock, less ours; 0: not known to differ
	since  time.Time     // when that was learned; zero: never

	// spare is a nonce that came with a refusal, and when. It is for the request that was
	// refused, which is likely to be sent again with it at once: where a nonce is good for
	// one proof, no other request is to use it up. If spareTime has passed it is for all.
	spare   string
	spareAt time.Time
	wants   bool // it has sent nonces
}

const spareTime = 500 * time.Millisecond

// servers are what is known of those of one kind, by origin.
type servers struct {
	mu   sync.RWMutex // guards list
	list map[string]server
}

func (s *servers) of(origin string) server {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.list[origin]
}

// prove puts a proof by k on req. It has the nonce of the answer that req is sent again for, if
// there is one.
func (s *servers) prove(req *http.Request, k *key, tokenHash string) error {
	target, n, err := targetOf(req)
	if err != nil {
		return err
	}
	known, now := s.of(target[:n]), time.Now()
	if known.nonce == "" && known.spare != "" && now.Sub(known.spareAt) > spareTime {
		known.nonce = known.spare
	}
	if because := req.Response; because != nil && because.Request != nil && because.Request.URL != nil {
		if other, m, err := targetOf(because.Request); err == nil && other[:m] == target[:n] {
			if nonce := nonceIn(because); nonce != "" {
				known.nonce = nonce
			}
		}
	}
	proof, err := k.proof(claims{
		method: req.Method, target: target, at: now.Add(known.offset), tokenHash: tokenHash, nonce: known.nonce,
	})
	if err == nil {
		req.Header[proofHeader] = []string{proof}
	}
	return err
}

// learn takes the nonce and the clock from the answer to req, and reports whether another proof
// may be taken where r has refused this one.
func (s *servers) learn(req *http.Request, resp *http.Response, r refusal) (again bool) {
	nonce, date, dated := nonceIn(resp), time.Time{}, false
	if resp.Header["Age"] == nil { // else it is a cache's, and may be old
		var err error
		date, err = http.ParseTime(resp.Header.Get("Date"))
		dated = err == nil
	}
	target, n, err := targetOf(req)
	if err != nil {
		return false
	}
	now := time.Now()
	measured := date.Add(time.Second / 2).Sub(now) // it was cut to the second
	dated = dated && measured.Abs() <= maxOffset
	limit := farOff
	if r == badProof {
		limit = off
	}
	known := s.of(target[:n])
	differs := func(x server) bool { return dated && (measured-x.offset).Abs() > limit }
	var sent sentClaims
	if r != accepted || known.wants && known.nonce == "" && nonce == "" || differs(known) {
		sent = sentWith(req)
	}
	// A Date that is late may be of when the request came, or long on its way.
	early := date.Before(time.Unix(sent.At-1, 0))
	learned := func(x server) server {
		x.learnNonce(nonce, sent.Nonce, r, now)
		if differs(x) && (measured > x.offset || early) {
			x.offset, x.since = measured, now
		}
		return x
	}
	next := learned(known)
	if next != known {
		next = s.change(target[:n], learned)
	}
	if r == accepted || sent.At == 0 { // it had no proof: the token is not bound
		return false
	}
	other := nonce != "" && nonce != sent.Nonce && r >= badProof
	wrong := dated && r != badNonce && next.misdated(sent.At, now, r, limit)
	return other || wrong
}

// misdated reports whether a proof with iat at, which r has refused by now, would have another one
// if it were made anew. That its answer took long is a reason only if the proof is what is wrong.
func (x *server) misdated(at int64, now time.Time, r refusal, limit time.Duration) bool {
	made := time.Unix(at, 0).Add(-x.offset) // by our clock, if it was made with this offset
	if now.Sub(made).Abs() <= limit {
		return false
	}
	return r == badProof || made.After(now) || made.Before(x.since.Add(-time.Second))
}

// learnNonce takes nonce from an answer to a proof that had the nonce sent. "": there is none.
func (x *server) learnNonce(nonce, sent string, r refusal, now time.Time) {
	x.wants = x.wants || nonce != ""
	switch {
	case r == badNonce && sent == x.nonce:
		x.nonce = ""
	case r == accepted && nonce != "":
		x.nonce = nonce
	case r != badNonce && nonce == "" && x.nonce == "" && sent != "":
		x.nonce = sent // it was taken, and there is no other
	}
	if r != accepted && nonce != "" {
		x.spare, x.spareAt = nonce, now
	}
}

// change makes what f makes of what is known of the server at origin.
func (s *servers) change(origin string, f func(server) server) server {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.list == nil {
		s.list = make(map[string]server)
	}
	was, known := s.list[origin]
	for some := range s.list {
		if known || len(s.list) < maxServers {
			break
		}
		delete(s.list, some) // any: it is learned again
	}
	x := f(was)
	s.list[strings.Clone(origin)] = x
	return x
}

// nonceIn returns the nonce of an answer (RFC 9449, section 8.1), "" if it has none that can be
// used.
func nonceIn(resp *http.Response) string {
	values := resp.Header[nonceHeader]
	if len(values) != 1 || len(values[0]) > maxNonce {
		return ""
	}
	nonce := values[0]
	for i := range len(nonce) {
		if c := nonce[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' { // NQCHAR of RFC 6749
			return ""
		}
	}
	return nonce
}

type sentClaims struct {
	Nonce string `json:"nonce"`
	At    int64  `json:"iat"`
}

// sentWith returns what the proof of req said.
func sentWith(req *http.Request) (sent sentClaims) {
	parts := strings.Split(req.Header.Get(proofHeader), ".")
	if len(parts) != 3 {
		return sent
	}
	if b, err := b64.DecodeString(parts[1]); err == nil {
		_ = json.Unmarshal(b, &sent) // it is ours
	}
	return sent
}
