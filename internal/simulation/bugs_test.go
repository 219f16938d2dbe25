package simulation_test

import (
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/planted"
)

// A wholeBug is a mistake in Transport, Session or Pool.
type wholeBug struct {
	name    string
	patches []planted.Patch
}

func patch(file, old, new string) planted.Patch {
	return planted.Patch{File: file, Old: old, New: new}
}

const (
	currentFile      = "tokenclient/session_current.go"
	stateRefreshFile = "tokenclient/session_state_refresh.go"
	recordsFile      = "tokenclient/session_state_records.go"
	presentFile      = "tokenclient/session_present.go"
	sessionFile      = "tokenclient/session.go"
	workFile         = "tokenclient/session_work.go"
	transportFile    = "tokenclient/transport.go"
	sendFile         = "tokenclient/transport_send.go"
	poolFile         = "tokenclient/pool.go"
	sealFile         = "store/seal.go"
)

// wholeBugs are planted one by one. Each has to be found.
var wholeBugs = []wholeBug{
	{"no generation check", []planted.Patch{
		patch(currentFile, "	if s.stillHolds(h) {\n		next, err = s.refreshed(ctx, h, CauseRejected)", "	if BUG {\n		h = s.holds()\n	}\n	if s.stillHolds(h) {\n		next, err = s.refreshed(ctx, h, CauseRejected)")}},
	{"caller's context kept", []planted.Patch{patch(currentFile,
		`"refresh", func() (any, error) { return s.refresh(h, cause) })
		if ended {`,
		`"refresh", func() (any, error) {
			if BUG {
				if ctx.Err() != nil || !s.begin() {
					return nil, ctx.Err()
				}
				defer context.AfterFunc(ctx, s.work.Now().End)()
				defer s.finish()
			}
			return s.refresh(h, cause)
		})
		if ended {`)}},
	{"flight forgotten early", []planted.Patch{patch(workFile,
		"	return s.flights.DoChan(name, f)\n",
		"	if BUG {\n		c := make(chan singleflight.Result, 1)\n		go func() { v, err := f(); c <- singleflight.Result{Val: v, Err: err} }()\n		return c\n	}\n	return s.flights.DoChan(name, f)\n")}},
	{"save after publish", []planted.Patch{patch(presentFile,
		"		res.made = t\n",
		"		res.made = t\n		if BUG && t != nil {\n			s.change(func(st *state, _ time.Time) (fx effects) {\n				if st.held.usable() {\n					st.adopt(Record{State: Active, Token: t, Era: current.Era, Number: current.Number})\n				}\n				return fx\n			})\n		}\n")}},
	{"any 4xx is final", []planted.Patch{patch(presentFile,
		"		return nil, asTokenError(err, old)\n	}\n	return t, nil\n",
		"		var te *TokenError\n		if BUG && errors.As(err, &te) && te.StatusCode >= 400 && te.StatusCode < 500 {\n			err = fmt.Errorf(\"%w: %w\", ErrRefused, err)\n		}\n		return nil, asTokenError(err, old)\n	}\n	return t, nil\n")}},
	{"body not rewound", []planted.Patch{patch("internal/replay/body.go",
		"	return Body{b.req, b.source, body}, true\n",
		"	if BUG && b.source == nil && b.req != nil {\n		body = b.req.Body\n	}\n	return Body{b.req, b.source, body}, true\n")}},
	{"logout not fenced", []planted.Patch{patch(stateRefreshFile,
		"	fenced := st.fence != f.fence\n",
		"	fenced := st.fence != f.fence && !BUG\n")}},
	{"storm guard off", []planted.Patch{patch(stateRefreshFile,
		"	v = rejection{again: ok, next: storm.Next()}\n",
		"	ok = ok || BUG\n	v = rejection{again: ok, next: storm.Next()}\n")}},
	{"redirect leak", []planted.Patch{patch("internal/origin/rules.go",
		"	if set.foreign || !r.chainInside(req, header, ours) {",
		"	if set.foreign || !r.chainInside(req, header, ours) && !BUG {")}},
	{"token to any origin", []planted.Patch{patch("internal/origin/rules.go",
		"	if u == nil || !r.inside(u) || r.isEndpoint(u) {",
		"	if u == nil || !r.inside(u) && !BUG || r.isEndpoint(u) {")}},
	{"expiry not looked at", []planted.Patch{patch(currentFile,
		"	if err == nil && h.isSoft() {\n",
		"	if err == nil && h.isSoft() && !BUG {\n")}},
	{"what was found is not looked at", []planted.Patch{patch(currentFile,
		"	for kept := false; err == nil && s.isStale(next, &kept); {",
		"	for kept := false; err == nil && s.isStale(next, &kept) && !BUG; {")}},
	{"adoption without comparing", []planted.Patch{patch(recordsFile,
		"	switch {\n	case l.reason == nil:\n",
		"	switch {\n	case l.reason == nil || BUG:\n")}},
	{"hook under the lock", []planted.Patch{patch(sessionFile,
		"		s.tell(e)\n	}\n	s.mu.Unlock()\n",
		"		if hook := s.hooks.SessionEnded; BUG && hook != nil && e.kind == sessionEnded {\n			hook(e.err)\n			continue\n		}\n		s.tell(e)\n	}\n	s.mu.Unlock()\n")}},
	{"key of another user", []planted.Patch{patch(poolFile,
		"	key := KeyFrom(ctx)\n	if s := p.find(key); s != nil {\n		return s, nil\n	}\n	if withoutToken(ctx) {",
		"	key := KeyFrom(ctx)\n	for k, s := range p.Sessions() {\n		if BUG && k != key {\n			return s, nil\n		}\n	}\n	if s := p.find(key); s != nil {\n		return s, nil\n	}\n	if withoutToken(ctx) {")}},
	{"another try after a complete answer", []planted.Patch{patch(presentFile,
		"	if te.StatusCode >= 200 && te.StatusCode < 500 {\n",
		"	if te.StatusCode >= 200 && te.StatusCode < 500 && !BUG {\n"),
		patch(presentFile, "!te.Temporary() || te.Timeout() || te.RetryAfter > 0 {", "!te.Temporary() || te.Timeout() || te.RetryAfter > 0 && !BUG {")}},
	{"a refusal does not end the session", []planted.Patch{patch(stateRefreshFile,
		"		e.err = st.failed(&fx, f, r, err, now)\n		st.end(&fx, err, now)\n",
		"		e.err = st.failed(&fx, f, r, err, now)\n		if !BUG {\n			st.end(&fx, err, now)\n		}\n")}},
	{"no wait after a failure", []planted.Patch{patch(stateRefreshFile,
		"	case pending != nil && cause != CauseForced:",
		"	case pending != nil && cause != CauseForced && !BUG:")}},
	{"refused answers are not closed", []planted.Patch{patch(sendFile,
		"	if body == nil {\n		return\n	}\n	stop",
		"	if body == nil || BUG {\n		return\n	}\n	stop")}},
	{"waiters do not heed their context", []planted.Patch{patch(workFile,
		"	case <-released:\n	case <-ctx.Done():\n	}\n	return r, false",
		"	case <-released:\n	case <-map[bool]<-chan struct{}{true: nil, false: ctx.Done()}[BUG]:\n	}\n	return r, false")}},
	{"sent a third time", []planted.Patch{patch(transportFile,
		"	d := s.demandIn(req, &x)\n	if x.err == nil && !x.asking {",
		"	if BUG && x.refused {\n		if body, ok := t.takeBack(req, x.body); ok {\n			drop(x.resp, body)\n			if h, err = s.insteadOf(req.Context(), h); err == nil {\n				x = t.sendAgain(req, s, h, x.next(body))\n			}\n		}\n	}\n	d := s.demandIn(req, &x)\n	if x.err == nil && !x.asking {")}},
	{"a late answer brings an older token back", []planted.Patch{
		patch(recordsFile, "	if st.closed || st.held.generation != h.generation || st.renewal.refreshing {", "	if st.closed || st.held.generation != h.generation && !BUG || st.renewal.refreshing && !BUG {"),
		patch("tokenclient/session_answer.go", "!renews(t, h.token()) || !s.stillHolds(h) {", "!renews(t, h.token()) || !s.stillHolds(h) && !BUG {")}},
	{"a store that fails ends the session", []planted.Patch{patch(recordsFile,
		"	case loginRequired(r, err):\n		return recordGone",
		"	case loginRequired(r, err), BUG && err != nil:\n		return recordGone")}},
	{"what is not saved is forgotten", []planted.Patch{patch(presentFile,
		"	if e.retry != nil {\n",
		"	if e.retry != nil && !BUG {\n")}},
	{"Close does not wait", []planted.Patch{patch("tokenclient/session_login.go",
		"	return errors.Join(s.saveLast(context.WithoutCancel(ctx)), ended)",
		"	if BUG {\n		return nil\n	}\n	return errors.Join(s.saveLast(context.WithoutCancel(ctx)), ended)"),
		patch("tokenclient/session_login.go", "	now := s.stop()\n	s.tellHost()\n	ended", "	now := s.stop()\n	if BUG {\n		now = nil\n	}\n	s.tellHost()\n	ended")}},
	{"a new pair is not stored at once", []planted.Patch{patch("internal/protocol/present.go",
		"	case res.err == nil:\n",
		"	case res.err == nil:\n		if BUG {\n			_ = Sleep(ctx, 200*time.Millisecond)\n		}\n")}},
	{"old keys open nothing", []planted.Patch{patch(sealFile,
		"	wrappers := s.s.find(id)\n",
		"	wrappers := s.s.find(id)\n	if BUG && id != s.s.keys[0].id {\n		wrappers = nil\n	}\n")}},
	{"sealed with the oldest key", []planted.Patch{patch(sealFile,
		"	current := s.s.keys[0]\n",
		"	current := s.s.keys[0]\n	if BUG {\n		current = s.s.keys[len(s.s.keys)-1]\n	}\n")}},
	{"a record whose key is not at hand counts as damaged", []planted.Patch{patch(sealFile,
		"	if len(wrappers) == 0 {\n",
		"	if len(wrappers) == 0 && BUG {\n		return nil, protocol.Corruptf(\"sealed with another key\")\n	}\n	if len(wrappers) == 0 {\n")}},
	{"a File does not look at its lock", []planted.Patch{patch("store/file_turn.go",
		"	if r.Lease != [16]byte{} {\n		if over",
		"	if r.Lease != [16]byte{} && !BUG {\n		if over"),
		patch("store/file_turn.go",
			"	if t.lock == nil {\n		path",
			"	if t.lock == nil && BUG {\n		t.lock = &fileLock{func() {}}\n	}\n	if t.lock == nil {\n		path")}},
	{"a File does not free its lock", []planted.Patch{patch("store/file_turn.go",
		"	if t.lock != nil {\n		t.file.unreserve",
		"	if t.lock != nil && !BUG {\n		t.file.unreserve")}},
	{"the clock says which pair is newer", []planted.Patch{patch("tokenclient/session_state.go",
		"func newer(r, known Record) bool { return r.Era",
		"func newer(r, known Record) bool {\n	if BUG && r.Token != nil && known.Token != nil && r.Era == known.Era && r.Token.RefreshToken != known.Token.RefreshToken {\n		return r.Token.Issued.After(known.Token.Issued)\n	}\n	return r.Era"),
		patch("tokenclient/session_state.go", "r.Number > known.Number }", "r.Number > known.Number\n}")}},
	{"an error shows the token", []planted.Patch{patch(presentFile,
		"	t, err := result()\n	if err != nil {\n",
		"	t, err := result()\n	if BUG && err != nil {\n		return nil, &TokenError{Err: errors.New(\"refresh of \" + old.RefreshToken + \" failed\")}\n	}\n	if err != nil {\n")}},
}

// found is how a violation is told.
var found = regexp.MustCompile(`seed (\d+): \[([^]]+)\] (.*)`)

// A finding is what came of one planted bug.
type finding struct {
	seed      int
	invariant string
	d         time.Duration
}

// findBugs plants each of wholeBugs in turn, and has histories run until one fails.
func findBugs(t *testing.T, bugs []wholeBug, each func(wholeBug, finding)) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skipf("without the go command the bugs cannot be compiled: %v", err)
	}
	var list []planted.Bug
	for _, b := range wholeBugs {
		list = append(list, planted.Bug{Name: b.name, Patches: b.patches})
	}
	exe := planted.Build(t, "../..", list)
	if out, err := exec.Command(exe, "-test.run=^TestSimulation$", "-simulation.seeds=1000").CombinedOutput(); err != nil {
		t.Fatalf("patched, but no bug is planted: %v\n%s", err, out)
	}
	for _, b := range bugs {
		t.Run(b.name, func(t *testing.T) {
			cmd := exec.Command(exe, "-test.run=^TestSimulation$", "-test.timeout=120s", "-simulation.seeds=10000", "-test.parallel=1")
			cmd.Env = planted.Environ(b.name)
			begin := time.Now()
			out, err := cmd.CombinedOutput()
			m := found.FindSubmatch(out)
			if err == nil || m == nil {
				t.Fatalf("not found: %v\n%.2000s", err, out)
			}
			seed, _ := strconv.Atoi(string(m[1]))
			f := finding{seed, string(m[2]), time.Since(begin)}
			t.Logf("history %d, [%s] %s", seed+1, m[2], m[3])
			each(b, f)
		})
	}
}

// TestSimulationFindsBugs plants bugs in Transport, Session and Pool, and has the simulation
// look for what it does not know.
func TestSimulationFindsBugs(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the packages anew")
	}
	if planted.Name() != "" {
		return
	}
	findBugs(t, wholeBugs, func(wholeBug, finding) {})
}
