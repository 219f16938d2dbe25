package simulation_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	apiHost   = "api.example.com"
	otherHost = "other.example.com"
	authHost  = "auth.example.com"
)

// A wire is the network as a process sees it: a RoundTripper without sockets.
type wire struct{ p *process }

var errCut error = &net.OpError{Op: "read", Net: "tcp", Err: errors.New("connection reset by peer")}

var apiRisks = []risk{
	{"the connection breaks before the request is there", 0.02}, {"the connection breaks before the answer is there", 0.02},
	{"the request is swallowed", 0.01}, {"the request arrives twice", 0.02}, {"the answer is cut short", 0.02},
	{"403", 0.02}, {"429", 0.02}, {"500", 0.02}, {"an HTML page", 0.01}, {"insufficient scope", 0.02}, {"a late answer", 0.08},
}

const early = "the API answers before it has read the body"

// RoundTrip is http.RoundTripper.
func (n wire) RoundTrip(req *http.Request) (*http.Response, error) {
	switch {
	case req.URL.Host == authHost:
		return n.token(req)
	case req.URL.Host != apiHost && req.URL.Host != secondHost && req.URL.Host != otherHost:
		return nil, fmt.Errorf("no host %q", req.URL.Host)
	}
	w, c := n.p.w, callOf(req.Context())
	c.sendings++
	key := fmt.Sprintf("step %03d sending %d", c.step.n, c.sendings)
	x := &sending{call: c, host: req.URL.Host, path: req.URL.Path, method: req.Method, number: c.sendings, token: bearer(req), proof: readProof(req.Header), decided: w.now()}
	sent, err := n.readBody(req, key)
	if err != nil {
		return nil, err
	}
	var a answer
	body := new(answerBody)
	err = w.perform(req.Context(), key, nil, func(o *operation) {
		w.judge.sent(x, sent)
		risks := scaled(apiRisks, w.plan.set.apiTrouble)
		what := w.fate(key, append(risks, risk{"401 for no reason", w.plan.set.refusals}))
		if sent.early && what == "" {
			what = early
		}
		there, back := w.plan.between(key+" there", time.Millisecond, 20*time.Millisecond), w.plan.between(key+" back", time.Millisecond, 20*time.Millisecond)
		if what == "a late answer" {
			back = w.plan.between(key+" late", time.Second, 8*time.Second)
		}
		w.after(there, func() {
			switch what {
			case "the connection breaks before the request is there":
				c.cut = true
				w.note(c.who(), "%s: %s", x, what)
				w.hears(o, func() { w.end(o, errCut) })
				return
			case "the request is swallowed":
				w.note(c.who(), "%s: %s", x, what)
				w.after(30*time.Second, func() { c.cut = true; w.hears(o, func() { w.end(o, errCut) }) })
				return
			case "the request arrives twice":
				_ = w.server.api(x, sent, "")
			}
			a = w.server.proofs.gives(x.host, w.server.api(x, sent, what))
			w.after(back, func() {
				w.hears(o, func() {
					if what == "the connection breaks before the answer is there" {
						c.cut = true
						w.end(o, errCut)
						return
					}
					body.cut = what == "the answer is cut short"
					c.cutAnswer = c.cutAnswer || body.cut
					w.judge.answered(x, a)
					w.end(o, nil)
				})
			})
		})
	})
	if err != nil {
		return nil, err
	}
	return n.p.response(req, a, body), nil
}

// sentBody is what arrived of a request's body.
type sentBody struct {
	data  []byte
	whole bool
	early bool // the server did not read on
}

// readBody reads what the server reads of the body, and closes it as a RoundTripper must.
func (n wire) readBody(req *http.Request, key string) (sentBody, error) {
	if req.Body == nil {
		return sentBody{whole: true}, nil
	}
	defer req.Body.Close()
	s := sentBody{}
	s.early = n.p.w.plan.unit(key+" early") < 0.1
	if s.early {
		s.data = make([]byte, 5)
		n, _ := io.ReadFull(req.Body, s.data)
		s.data = s.data[:n]
		return s, nil
	}
	var err error
	s.data, err = io.ReadAll(req.Body)
	s.whole = err == nil
	return s, err
}

// bearer returns the token that a request carries; "": none.
func bearer(req *http.Request) string {
	return strings.TrimPrefix(strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "), "DPoP ")
}

// answerBody is the body of an answer.
type answerBody struct {
	p      *process
	rest   *bytes.Reader
	cut    bool
	closed bool
}

func (b *answerBody) Read(p []byte) (int, error) {
	n, err := b.rest.Read(p)
	if err == io.EOF && b.cut {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (b *answerBody) Close() error {
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	if !b.closed {
		b.closed = true
		b.p.openBodies--
	}
	return nil
}

// response makes one of an answer.
func (p *process) response(req *http.Request, a answer, body *answerBody) *http.Response {
	text := a.body
	if body.cut {
		text = text[:len(text)/2]
	}
	body.p, body.rest = p, bytes.NewReader([]byte(text))
	h := make(http.Header, len(a.header))
	for _, nv := range a.header {
		h.Set(nv[0], nv[1])
	}
	p.mu.Lock()
	p.openBodies++
	p.mu.Unlock()
	return &http.Response{
		StatusCode: a.status, Status: http.StatusText(a.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: body, ContentLength: int64(len(a.body)), Request: req,
	}
}

// api is the API, or the server elsewhere, at work on a request. what goes wrong with it.
func (s *server) api(x *sending, sent sentBody, what string) answer {
	w, c := s.w, x.call
	w.judge.arrived(x, sent)
	x.demand, x.wanted = "", "" // it may have arrived before
	ok := answer{200, nil, "ok " + c.user + "\n"}
	switch {
	case x.host == otherHost && c.step.to == ledBack:
		return answer{307, [][2]string{{"Location", "https://" + apiHost + "/back"}}, ""}
	case x.host == otherHost, x.path == "/back", x.ledAcross():
		return ok
	}
	if a, ok := s.proofs.takes(x); !ok {
		return a
	}
	a := s.access[x.token]
	takes, lags := false, false
	if a != nil {
		takes, lags = s.takes(a)
		takes = takes && a.audience == w.plan.set.audienceOf(x.host)
	}
	switch {
	case !takes:
		w.note("API", "says 401 to %s", x)
		w.judge.refuses(x, a, lags)
		return challenge(x)
	case what == "401 for no reason":
		w.note("API", "says 401 to %s, for no reason", x)
		w.judge.refuses(x, a, false)
		return challenge(x)
	}
	a.taken = true
	if demand, ok := s.demands(x); !ok {
		return demand
	}
	if what != "" {
		w.note("API", "%s: %s", x, what)
	} else {
		w.note("API", "takes %s", x)
	}
	switch what {
	case "403":
		return answer{403, nil, "no\n"}
	case "429":
		return answer{429, [][2]string{{"Retry-After", "3"}}, "slower\n"}
	case "500":
		return answer{500, nil, "oops\n"}
	case "an HTML page":
		return answer{502, [][2]string{{"Content-Type", "text/html"}}, "<html><h1>Bad Gateway</h1></html>\n"}
	case "insufficient scope":
		c.stepUp, x.demand = true, "insufficient_scope "
		return answer{401, [][2]string{{"Www-Authenticate", x.scheme() + ` error="insufficient_scope"`}}, "no\n"}
	}
	if s.across(x) {
		w.met["a request is led to the API of another audience"]++
		return answer{307, [][2]string{{"Location", "https://" + secondHost + "/" + c.user}}, ""}
	}
	if c.step.to == ledAway || c.step.to == ledBack {
		return answer{307, [][2]string{{"Location", "https://" + otherHost + "/there"}}, ""}
	}
	if set := &w.plan.set; set.slides > 0 && !w.quiet && w.plan.unit(fmt.Sprintf("step %d sending %d slides", c.step.n, x.number)) < set.slides {
		next := s.issue(a.pair, fmt.Sprintf("%s-r%d", a.text, len(s.access)), a.audience, w.now())
		next.renewed, next.told = true, next.expires
		if set.oldDies {
			a.dead = true
		}
		ok.header = append(ok.header, [2]string{"X-Renewed", next.text})
		w.note("API", "renews %s to %s", a, next)
	}
	return ok
}

// token is a call of the token endpoint.
func (n wire) token(req *http.Request) (*http.Response, error) {
	w, p := n.p.w, n.p
	if strings.HasSuffix(req.URL.Path, "/nothing") {
		return nil, errCut
	}
	form, err := readForm(req)
	if err != nil {
		return nil, err
	}
	var a answer
	body := new(answerBody)
	name := fmt.Sprintf("p%d %s %s", p.id, strings.TrimPrefix(req.URL.Path, "/"), userOf(form)+form.Get(resourceParam))
	q := &presentation{p: p, audience: form.Get(resourceParam)}
	call := &tokenCall{p: p, path: req.URL.Path, token: form.Get("refresh_token") + form.Get("token"), proof: readProof(req.Header)}
	err = w.perform(req.Context(), name, func() { w.judge.lost(q, "it took too long") }, func(o *operation) {
		key := w.count(name)
		back := w.plan.between(key+" back", time.Millisecond, 40*time.Millisecond)
		if req.URL.Path == "/revoke" {
			asked := w.server.proofs.asks(call, w.server.familyOf(call.token))
			w.after(back, func() {
				if nonce := w.server.proofs.takesCall(call); nonce != "" {
					w.server.proofs.hears(call, asked, nonce)
					a = wantsNonce(authHost, nonce)
				} else {
					w.server.revoke(p, form.Get("token"))
					a = w.server.proofs.gives(authHost, answer{200, nil, ""})
				}
				w.hears(o, func() { w.end(o, nil) })
			})
			return
		}
		w.present(o, q, key, call, func(got answer, cut bool) {
			a, body.cut = got, cut
			w.end(o, nil)
		})
	})
	if err != nil {
		return nil, err
	}
	return p.response(req, a, body), nil
}

// readForm reads what is sent to the token endpoint, a form or JSON.
func readForm(req *http.Request) (url.Values, error) {
	defer req.Body.Close()
	b, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	if req.Header.Get("Content-Type") == "application/json" {
		_, rest, _ := strings.Cut(string(b), `"refresh_token":"`)
		token, _, _ := strings.Cut(rest, `"`)
		return url.Values{"refresh_token": {token}}, nil
	}
	return url.ParseQuery(string(b))
}

// userOf returns whose token is sent.
func userOf(form url.Values) string {
	token := form.Get("refresh_token") + form.Get("token")
	for _, user := range users {
		if strings.Contains(token, "-"+user+"-") {
			return user
		}
	}
	return ""
}
