package tokenclient

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
)

var drawStates = flag.Bool("draw", false, "write the diagram of a session's states into docs/architecture.md")

// stateEpoch is when the histories of these tests take place.
var stateEpoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// history is a state that a test leads along, with what the test knows of the world.
type history struct {
	state  state
	now    time.Time
	tokens int    // issued so far
	eras   byte   // begun so far
	stored Record // what the store has
}

func newHistory() *history {
	h := &history{now: stateEpoch}
	h.state.held = new(held)
	return h
}

// clone returns a copy that may go another way.
func (h *history) clone() *history {
	c := *h
	if t := h.state.trouble; t != nil {
		c.state.trouble = new(*t)
	}
	if s := h.state.storm; s != nil {
		c.state.storm = new(*s)
	}
	if d := h.state.doubt; d != nil {
		c.state.doubt = &doubt{slices.Clone(d.at), d.lag.Clone(), d.changed}
	}
	return &c
}

// issue returns a token that no other is like.
func (h *history) issue() *Token {
	h.tokens++
	h.now = h.now.Add(time.Minute)
	return &Token{
		AccessToken:  fmt.Sprintf("access-%d", h.tokens),
		RefreshToken: fmt.Sprintf("refresh-%d", h.tokens),
		Issued:       h.now, Expiry: h.now.Add(time.Hour),
	}
}

// begin is a login (a token) or a logout (nil) in the store.
func (h *history) begin(t *Token) Record {
	h.eras++
	h.stored = Record{State: LoggedOut, Era: [16]byte{h.eras}}
	if t != nil {
		h.stored = Record{State: Active, Token: t, Era: [16]byte{h.eras}, Number: 1}
	}
	return h.stored
}

// follow stores t as the next number.
func (h *history) follow(t *Token) Record {
	h.stored.Number++
	h.stored.State, h.stored.Token = Active, t
	return h.stored
}

// refresh is a refresh of what is held, if one can begin, that ends with what end says.
func (h *history) refresh(end func(seen Record) result) {
	was := h.state.held
	f, instead, _, err := h.state.refreshBegins(was, CauseForced, h.now)
	if instead == nil && err == nil {
		h.state.refreshEnds(f, end(f.seen), h.now)
	}
}

// look is a look at the store, by whoever looks in that state.
func (h *history) look(r Record, err error) {
	now := h.now.Add(2 * lookInterval)
	if h.state.held.usable() {
		h.state.lookedForNewer(h.state.fence, r, err, now)
	} else if may, _ := h.state.mayLook(now); may {
		_, _ = h.state.looked(h.state.fence, r, err, now)
	}
}

// stateEvents are all that can happen to a session. The name is what the diagram says.
var stateEvents = []struct {
	name string
	do   func(h *history)
}{
	{"login", func(h *history) {
		if fence, ok := h.state.loginBegins(); ok {
			_, _ = h.state.loginStored(fence, h.begin(h.issue()), h.now)
		}
	}},
	{"login, overtaken by another process's logout", func(h *history) {
		if fence, ok := h.state.loginBegins(); ok {
			_, _ = h.state.loginStored(fence, h.begin(nil), h.now)
		}
	}},
	{"login, overtaken by Logout", func(h *history) {
		if fence, ok := h.state.loginBegins(); ok {
			r := h.begin(h.issue())
			_, _, _, _ = h.state.logoutBegins(h.now)
			_, _ = h.state.loginStored(fence, r, h.now)
		}
	}},
	{"Logout", func(h *history) {
		if fence, _, _, err := h.state.logoutBegins(h.now); err == nil {
			h.begin(nil)
			h.state.logoutStored(fence)
		}
	}},
	{"Logout, store down", func(h *history) { _, _, _, _ = h.state.logoutBegins(h.now) }},
	{"Close", func(h *history) { h.state.close() }},
	{"the store has a login", func(h *history) { h.look(h.begin(h.issue()), nil) }},
	{"the store has a newer token", func(h *history) {
		if h.stored.holdsToken() {
			h.look(h.follow(h.issue()), nil)
		}
	}},
	{"the store has no token", func(h *history) { h.look(h.begin(nil), ErrNoToken) }},
	{"the store cannot be read", func(h *history) { h.look(Record{}, ErrStoreUnavailable) }},
	{"refreshed", func(h *history) {
		h.refresh(func(Record) result {
			t := h.issue()
			return result{h.follow(t), nil, t, false}
		})
	}},
	{"refreshed, not saved", func(h *history) {
		h.refresh(func(Record) result {
			t := h.issue()
			return result{h.stored, NewNotSavedError("key", t, ErrStoreUnavailable, nil), t, false}
		})
	}},
	{"another process refreshed", func(h *history) {
		h.refresh(func(Record) result { return result{h.follow(h.issue()), nil, nil, false} })
	}},
	{"refresh token refused", func(h *history) {
		h.refresh(func(seen Record) result {
			seen.State = Refused
			return result{seen, fmt.Errorf("%w", ErrRefused), nil, false}
		})
	}},
	{"refresh failed", func(h *history) {
		h.refresh(func(Record) result { return result{h.stored, &TokenError{StatusCode: 503}, nil, false} })
	}},
	{"refresh found no record", func(h *history) {
		h.refresh(func(Record) result { return result{Record{}, ErrNoToken, nil, false} })
	}},
	{"refresh overtaken by Logout", func(h *history) {
		h.refresh(func(Record) result {
			_, _, _, _ = h.state.logoutBegins(h.now)
			t := h.issue()
			return result{h.stored, ErrReplaced, t, false}
		})
	}},
	{"an answer refused the token", func(h *history) {
		if h.state.held.usable() {
			h.state.rejected(h.state.held, place{"https://api.example.com", "/things"}, true, h.now)
		}
	}},
	{"an answer refused the token, which is young", func(h *history) {
		now := h.state.held
		if a, _, _ := h.state.askLag(now, "https://api.example.com", true, false, h.now); a == limit.LagWait {
			h.state.askLag(now, "https://api.example.com", true, false, h.now.Add(time.Second))
		}
	}},
	{"the young token was tried", func(h *history) {
		h.state.triedLag(h.state.held, "https://api.example.com", limit.LagAccepted)
	}},
	{"an answer brought a token", func(h *history) {
		if h.state.held.usable() {
			t := h.issue()
			t.RefreshToken = h.state.held.record.Token.RefreshToken
			h.state.renewedBy(h.state.held, t, true, h.now)
		}
	}},
	{"saved", func(h *history) { h.save(func(u *held) (Record, error) { return h.follow(u.record.Token), nil }) }},
	{"not saved: another process refreshed", func(h *history) {
		h.save(func(*held) (Record, error) { return h.follow(h.issue()), ErrOvertaken })
	}},
	{"not saved: no token there", func(h *history) {
		h.save(func(*held) (Record, error) { return h.begin(nil), ErrNoToken })
	}},
	{"not saved: somebody may be refreshing", func(h *history) {
		h.save(func(*held) (Record, error) { return h.stored, ErrAnnounced })
	}},
}

// save is the end of a save of a renewed token, if there is one to save.
func (h *history) save(end func(*held) (Record, error)) {
	if fence, u, due := h.state.saveBegins(); due {
		r, err := end(u)
		_, _ = h.state.saveEnds(fence, u, r, err, h.now)
	}
}

// phase names what st is in the diagram.
func phase(st *state) string {
	left := st.troubleNow().left
	switch {
	case st.closed:
		return "closed"
	case st.held.usable() && st.renewal.due:
		return "active_unsaved"
	case st.held.usable():
		return "active"
	case left.reason == nil:
		return "empty"
	case left.unstored:
		return "logged_out_here"
	case errors.Is(left.reason, ErrLoggedOut):
		return "logged_out"
	}
	return "ended"
}

// walkStates leads sessions along all histories of so many events, and tells visit of each
// step.
func walkStates(depth int, visit func(before, after *history, event string)) {
	todo := []*history{newHistory()}
	for range depth {
		var next []*history
		seen := make(map[string]int)
		for _, h := range todo {
			for _, e := range stateEvents {
				after := h.clone()
				e.do(after)
				visit(h, after, e.name)
				// Few histories of a kind tell all: what they differ in is only how
				// often a thing was done.
				if id := fmt.Sprint(phase(&h.state), e.name, phase(&after.state), after.stored.State); seen[id] < 4 {
					seen[id]++
					next = append(next, after)
				}
			}
		}
		todo = next
	}
}

// TestStateInvariants: what holds at each step of each history.
func TestStateInvariants(t *testing.T) {
	steps := 0
	walkStates(5, func(before, after *history, event string) {
		steps++
		was, is := &before.state, &after.state
		complain := func(what string) { t.Errorf("%s: %s -> %s: %s", event, phase(was), phase(is), what) }
		if is.held.generation < was.held.generation || is.fence < was.fence || is.held.logouts < was.held.logouts {
			complain("a counter went down")
		}
		if is.held != was.held && is.held.record.Token != was.held.record.Token && is.held.generation == was.held.generation {
			complain("another token has the same generation")
		}
		if was.closed && (!is.closed || is.held.usable()) {
			complain("a closed session came back")
		}
		if left := was.troubleNow().left; errors.Is(left.reason, ErrLoggedOut) && is.held.usable() {
			if is.held.record.Era == left.record.Era || left.unstored && event != "login" {
				complain("a session that was logged out came back without a login")
			}
		}
		if was.held.usable() && !is.held.usable() && !is.closed && is.troubleNow().left.reason == nil {
			complain("a session ended, and nobody knows why")
		}
		if is.held.usable() && is.trouble != nil && is.troubleNow().left.reason != nil {
			complain("a session with a token has a reason why it has none")
		}
		if is.renewal.unstored != nil && !is.closed && is.renewal.unstored != is.held {
			complain("what is to be stored is not what is held")
		}
		if is.doubt != nil && (!is.held.usable() || is.doubt == was.doubt && is.held.generation != was.held.generation) {
			complain("there is a doubt about what is not held")
		}
		if is.refusedGeneration() != 0 && strings.HasPrefix(event, "refresh") && event != "refresh overtaken by Logout" {
			complain("requests wait for a refresh that has ended")
		}
		if is.renewal.refreshing {
			complain("a refresh that has ended runs")
		}
	})
	if steps < 1000 {
		t.Errorf("%d steps", steps)
	}
}

// TestStateWaits: who waits for the refresh of a token that was refused.
func TestStateWaits(t *testing.T) {
	h := newHistory()
	h.state.adopt(h.begin(h.issue()))
	now, good := h.state.held, place{"https://api.example.com", "/good"}
	refused := []place{{}, {"https://api.example.com", "/bad"}, {"https://other.example.com", "/good"}}
	if h.state.waits(now, good, false) {
		t.Error("a request waits though nothing was refused")
	}
	for _, at := range refused {
		h.state.rejected(now, at, true, h.now)
	}
	for _, tc := range []struct {
		name       string
		h          *held
		at         place
		replayable bool
		want       bool
	}{
		{"another place", now, good, true, false},
		{"another place, cannot be sent again", now, good, false, true},
		{"another path", now, place{"https://api.example.com", "/"}, true, false},
		{"the place", now, refused[1], true, true},
		{"another origin", now, refused[2], true, true},
		{"unknown place", now, place{}, false, true},
		{"another generation", &held{generation: now.generation + 1}, refused[1], false, false},
	} {
		if got := h.state.waits(tc.h, tc.at, tc.replayable); got != tc.want {
			t.Errorf("%s: waits %v", tc.name, got)
		}
	}
	for i := range 100 {
		h.state.rejected(now, place{path: fmt.Sprint(i)}, true, h.now)
	}
	if n := len(h.state.doubt.at); n != maxRefused {
		t.Errorf("%d places are remembered", n)
	}
}

// TestStateYoung: which tokens a server is thought not to know.
func TestStateYoung(t *testing.T) {
	const here = "https://api.example.com"
	second := func(h *history, number uint64, issued time.Duration) {
		token := h.issue()
		token.Issued = h.now.Add(issued)
		h.stored = Record{State: Active, Token: token, Era: [16]byte{1}, Number: number}
		h.state.adopt(h.stored)
	}
	for _, tc := range []struct {
		name     string
		begin    func(h *history)
		accepted bool
		want     limit.LagAnswer
	}{
		{"nothing held", func(*history) {}, false, limit.LagOver},
		{"a login", func(h *history) { second(h, 1, 0) }, false, limit.LagOver},
		{"a login that cannot be exchanged", func(h *history) { second(h, 1, 0); h.stored.Token.RefreshToken = "" }, false, limit.LagWait},
		{"refreshed by another process", func(h *history) { second(h, 2, 0) }, false, limit.LagWait},
		{"accepted here", func(h *history) { second(h, 2, 0) }, true, limit.LagOver},
		{"refreshed a minute ago", func(h *history) { second(h, 2, -time.Minute) }, false, limit.LagOver},
		{"refreshed in a minute, by another clock", func(h *history) { second(h, 2, time.Minute) }, false, limit.LagOver},
		{"came late", func(h *history) { second(h, 2, -time.Minute); h.state.comes(h.now) }, false, limit.LagWait},
		{"came in an answer to a request with a login's", func(h *history) { second(h, 1, 0); h.state.comes(h.now) }, false, limit.LagWait},
		{"closed", func(h *history) { second(h, 2, 0); h.state.close() }, false, limit.LagOver},
	} {
		h := newHistory()
		tc.begin(h)
		if a, _, _ := h.state.askLag(h.state.held, here, true, tc.accepted, h.now); a != tc.want {
			t.Errorf("%s: answer %d, want %d", tc.name, a, tc.want)
		}
	}
}

// TestStateDiagram: docs/architecture.md shows the transitions that there are, and no others.
func TestStateDiagram(t *testing.T) {
	edges := make(map[[2]string][]string)
	walkStates(4, func(before, after *history, event string) {
		edge := [2]string{phase(&before.state), phase(&after.state)}
		if edge[0] != edge[1] && !slices.Contains(edges[edge], event) {
			edges[edge] = append(edges[edge], event)
		}
	})
	var b strings.Builder
	b.WriteString("```mermaid\nstateDiagram-v2\n")
	for _, name := range [][2]string{
		{"active_unsaved", "active, a renewed token is not stored yet"},
		{"logged_out_here", "logged out, the store does not know yet"},
		{"logged_out", "logged out"},
		{"ended", "ended: a login is needed"},
	} {
		fmt.Fprintf(&b, "    state %q as %s\n", name[1], name[0])
	}
	b.WriteString("    [*] --> empty\n")
	order := func(e stateEdge) int {
		return slices.IndexFunc(stateEvents, func(x struct {
			name string
			do   func(h *history)
		}) bool {
			return x.name == e.event
		})
	}
	var list []stateEdge
	for edge, events := range edges {
		for _, e := range events {
			list = append(list, stateEdge{edge[0], edge[1], e})
		}
	}
	slices.SortFunc(list, func(x, y stateEdge) int {
		if c := strings.Compare(x.from+" "+x.to, y.from+" "+y.to); c != 0 {
			return c
		}
		return order(x) - order(y)
	})
	for i := 0; i < len(list); {
		e := list[i]
		var events []string
		for ; i < len(list) && list[i].from == e.from && list[i].to == e.to; i++ {
			events = append(events, list[i].event)
		}
		fmt.Fprintf(&b, "    %s --> %s: %s\n", e.from, e.to, strings.Join(events, "<br/>"))
	}
	b.WriteString("    closed --> [*]\n```\n")

	const file = "../docs/architecture.md"
	const start, end = "<!-- drawn by go test ./tokenclient -run TestStateDiagram -draw -->\n", "<!-- end of the drawing -->\n"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), start)
	drawn, after, ok2 := strings.Cut(rest, end)
	switch {
	case !ok || !ok2:
		t.Fatalf("%s has no place for the diagram", file)
	case drawn == b.String():
	case *drawStates:
		if err := os.WriteFile(file, []byte(before+start+b.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the diagram in %s is not that of the code, which is\n%s\nDraw it with -draw.", file, b.String())
	}
}

type stateEdge struct{ from, to, event string }
