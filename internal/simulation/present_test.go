package simulation_test

import (
	"fmt"
	"time"
)

// A presentation is one request with a refresh token.
type presentation struct {
	p        *process
	pair     *pair
	audience string
	key      string
	sent     time.Duration

	over    bool // its process knows what there is to know
	overAt  time.Duration
	why     string // why there is no answer that can be read; "": there is one
	said    int    // its status
	result  *pair  // what came of it
	access  *access
	gone    bool // what came of it was dropped for a login or logout
	again   time.Duration
	forced  bool // somebody asked for it
	reason  string
	unsaved bool   // a store said so of what came of it
	killed  bool   // what came of it ended with its process
	asked   int    // how often it was made again because of a nonce
	wanted  bool   // it was refused for its nonce alone
	claim   *claim // by which its process had announced it; nil: that is not known
}

var tokenRisks = []risk{
	{"the request does not arrive", 0.03}, {"the answer is lost", 0.04}, {"503", 0.03}, {"500 after the exchange", 0.03},
	{"429", 0.03}, {"HTML in the place of an answer", 0.02}, {"an answer that is cut short", 0.02}, {"invalid_client", 0.02},
	{"an answer that is too late", 0.02}, {"a request that is swallowed", 0.02}, {"an answer without a token", 0.01}, {"a slow answer", 0.1},
	{"502 with HTML", 0.02},
}

// present lets a refresh token go to the server. answered is called when an answer is back.
func (w *world) present(o *operation, q *presentation, key string, call *tokenCall, answered func(answer, bool)) {
	q.pair, q.key, q.sent = w.server.pairs[call.token], key, w.now()
	if q.pair == nil {
		w.violated("own tokens", "a refresh token was presented that no server issued")
		w.end(o, errCut)
		return
	}
	what := w.fate(key, scaled(tokenRisks, w.plan.set.tokenTrouble))
	if w.now() < w.server.down {
		what = "the token endpoint is down"
	}
	w.note(q.p.name(), "presents %s%s", q.pair, saying(what))
	w.judge.presents(q)
	q.asked = w.server.proofs.asks(call, q.pair.family)
	there, back := w.plan.between(key+" there", time.Millisecond, 50*time.Millisecond), w.plan.between(key+" back", time.Millisecond, 50*time.Millisecond)
	if what == "a slow answer" {
		there = w.plan.between(key+" slow", 500*time.Millisecond, refreshTimeout-100*time.Millisecond)
	}
	say := func(a answer) {
		w.hearsAfter(back, o, func() {
			if !o.over {
				w.judge.said(q, a)
				answered(w.server.proofs.gives(authHost, a), false)
			}
		})
	}
	lose := func(why string) {
		w.hearsAfter(back, o, func() {
			if !o.over {
				w.judge.lost(q, why)
				w.end(o, errCut)
			}
		})
	}
	w.after(there, func() {
		if a, ok := plainAnswers[what]; ok {
			say(a)
			return
		}
		switch what {
		case "the request does not arrive", "the token endpoint is down":
			lose(what)
			return
		case "a request that is swallowed":
			return
		}
		if nonce := w.server.proofs.takesCall(call); nonce != "" {
			w.wantsNonce(o, q, call, nonce, what, lose, back, answered)
			return
		}
		next := w.server.exchange(q)
		if q.result = next; next != nil {
			q.access = next.access
		}
		switch {
		case what == "the answer is lost":
			lose(what)
		case what == "500 after the exchange":
			say(answer{500, nil, "oops\n"})
		case what == "an answer that is too late":
		case next == nil:
			say(answer{400, [][2]string{{"Content-Type", "application/json"}}, `{"error":"invalid_grant"}`})
		case what == "an answer that is cut short":
			w.hearsAfter(back, o, func() {
				if !o.over {
					w.judge.lost(q, what)
					answered(w.server.tokens(next), true)
				}
			})
		case what == "an answer without a token":
			w.hearsAfter(back, o, func() {
				if !o.over {
					w.judge.lost(q, what)
					answered(answer{200, [][2]string{{"Content-Type", "application/json"}}, `{"ok":true}`}, false)
				}
			})
		default:
			a := w.server.proofs.gives(authHost, w.server.tokens(next))
			w.hearsAfter(back, o, func() {
				if !o.over {
					w.judge.heard(q)
					answered(a, false)
				}
			})
		}
	})
}

// plainAnswers are those that change nothing at the server.
var plainAnswers = map[string]answer{
	"503":                            {503, nil, "busy\n"},
	"429":                            {429, [][2]string{{"Retry-After", "4"}}, "slower\n"},
	"HTML in the place of an answer": {200, [][2]string{{"Content-Type", "text/html"}}, "<html>Welcome to the hotel</html>\n"},
	"502 with HTML":                  {502, [][2]string{{"Content-Type", "text/html"}}, "<html><h1>Bad Gateway</h1></html>\n"},
	"invalid_client":                 {401, [][2]string{{"Content-Type", "application/json"}}, `{"error":"invalid_client"}`},
}

func saying(what string) string {
	if what == "" {
		return ""
	}
	return fmt.Sprintf(" (%s)", what)
}

// revoke is the revocation endpoint.
func (s *server) revoke(p *process, token string) {
	pair := s.pairs[token]
	if pair == nil {
		if a := s.access[token]; a != nil {
			a.dead = true
		}
		return
	}
	s.w.note(p.name(), "has %s revoked", pair)
	s.w.judge.revokes(p, pair)
	pair.family.revoked = true
	for _, a := range s.access {
		if a.family == pair.family {
			a.dead = true
		}
	}
}
