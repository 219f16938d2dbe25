package simulation_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// A plan is a history before it runs: what the program and the servers are like, and steps.
// off are the keys of fates that do not come true; a plan is drawn without any.
type plan struct {
	seed  uint64
	set   settings
	steps []*step
	off   map[string]bool
}

// A storeKind is what tokens are kept in.
type storeKind string

const (
	storeNone   storeKind = "no store"
	storeMemory storeKind = "a store.Memory"
	storeShared storeKind = "a store.Shared over an engine"
	storeFile   storeKind = "a store.File"
)

// settings are what a history is about.
type settings struct {
	processes, users int
	store            storeKind
	keys             keyPlan
	skew             time.Duration // by which wall clocks differ
	pool             bool
	keepFresh        bool
	heartbeat        time.Duration
	json             bool // JSONRefresher, else OAuth2Refresher
	logs             bool

	lifetime    time.Duration // of access tokens
	tellsExpiry bool
	oldDies     bool          // an access token is dead once its successor was issued
	bound       bool          // tokens are bound to a key
	stepUp      bool          // the API wants more at times, and the program has a StepUp
	audiences   bool          // there are two APIs, and a token for each
	keepsToken  bool          // the server does not rotate refresh tokens
	grace       time.Duration // for which a spent refresh token is taken once more
	lag         time.Duration // for which the API does not know a new access token
	slides      float64       // answers that bring a new access token

	apiTrouble, tokenTrouble, storeTrouble float64 // 1: as much as is usual in a bad hour
	refusals                               float64 // answers 401 that there is no reason for

	horizon time.Duration
}

const refreshTimeout = 2 * time.Second

func (s *settings) String() string {
	text := fmt.Sprintf("%d process(es), %d user(s), %s, access tokens for %v", s.processes, s.users, s.store, s.lifetime)
	for _, also := range []struct {
		is   bool
		text string
	}{
		{s.store == storeShared || s.store == storeFile, s.keys.name}, {s.skew > 0, fmt.Sprintf("clocks that differ by up to %v", s.skew)}, {s.pool, "a Pool"}, {s.keepFresh, "KeepFresh"}, {s.heartbeat > 0, fmt.Sprintf("Heartbeat %v", s.heartbeat)},
		{!s.tellsExpiry, "no expires_in"}, {s.oldDies, "a new access token ends the old one"},
		{s.bound, "tokens that are bound to a key"}, {s.stepUp, "a StepUp"}, {s.audiences, "two audiences"}, {s.keepsToken, "no rotation"}, {s.grace > 0, fmt.Sprintf("a grace of %v", s.grace)},
		{s.lag > 0, fmt.Sprintf("an API that learns of tokens after %v", s.lag)}, {s.slides > 0, "an API that renews tokens"},
	} {
		if also.is {
			text += ", " + also.text
		}
	}
	return text
}

// A stepKind is what a step does.
type stepKind string

const (
	request      stepKind = "requests"
	askToken     stepKind = "asks for the token"
	forceRefresh stepKind = "refreshes by hand"
	callDo       stepKind = "calls another protocol"
	login        stepKind = "logs in"
	logout       stepKind = "logs out"
	restart      stepKind = "restarts"
	kill         stepKind = "is killed"
	stand        stepKind = "stands still"
	rekey        stepKind = "restarts with other keys"
	revokeAccess stepKind = "the server revokes access tokens"
	endSession   stepKind = "the server ends the session"
	tokenOutage  stepKind = "the token endpoint is down"
	apiRefuses   stepKind = "the API refuses every token"
	storeOutage  stepKind = "the store is down"
)

// How the body of a request is.
const (
	noBody    = iota
	givenAnew // it has GetBody
	keptCopy  // a stream, short enough for a copy
	tooLong   // a stream that cannot be sent again
	bodyKinds
)

// Where a request goes.
const (
	toAPI       = iota
	toElsewhere // an origin that is not allowed
	ledAway     // the API redirects there
	ledBack     // and from there back to the API
)

// A step is one thing that happens.
type step struct {
	n        int
	at       time.Duration
	proc     int
	user     string
	kind     stepKind
	patience time.Duration // of its context; 0: endless
	cancels  bool          // its context is cancelled then, rather than at its deadline
	body     int
	to       int
	lasts    time.Duration // of an outage or a standstill, or until a process that was killed is started again
	moment   moment        // when a process is killed, or stands still
	stage    int           // of the keys that a process gets
}

var users = []string{"alice", "bob"}

// drawPlan draws that of a seed.
func drawPlan(seed uint64) *plan {
	rng := rand.New(rand.NewPCG(seed, 7))
	p := &plan{seed: seed, off: map[string]bool{}}
	maybe := func(f float64) bool { return rng.Float64() < f }
	some := func(values ...float64) float64 { return values[rng.IntN(len(values))] }
	within := func(d time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(d))) }
	s := &p.set
	s.store = []storeKind{storeNone, storeMemory, storeShared, storeShared}[rng.IntN(4)]
	s.drawFile(seed)
	s.drawClocks(seed)
	s.processes, s.users = 1, 1
	if s.store != storeNone {
		s.processes = 1 + rng.IntN(3)
		s.pool = maybe(0.3)
	}
	if s.pool {
		s.users = 2
	}
	s.keepFresh = maybe(0.2)
	if maybe(0.1) {
		s.keepFresh, s.heartbeat = true, 10*time.Second+within(20*time.Second)
	}
	s.json, s.logs = maybe(0.3), maybe(0.15)
	s.lifetime = []time.Duration{20 * time.Second, time.Minute, 5 * time.Minute}[rng.IntN(3)]
	s.tellsExpiry = maybe(0.8) || s.keepFresh
	s.oldDies, s.keepsToken = maybe(0.4), maybe(0.1)
	if maybe(0.15) {
		s.grace = time.Second + within(10*time.Second)
	}
	if maybe(0.1) {
		s.lag = 50*time.Millisecond + within(1500*time.Millisecond)
	}
	if maybe(0.15) {
		s.slides = 0.3
	}
	s.apiTrouble, s.tokenTrouble = some(0, 0, 1, 3), some(0, 0, 1, 3)
	s.storeTrouble, s.refusals = some(0, 0, 0, 1, 3), some(0, 0, 0, 0.1)
	if s.store == storeFile {
		s.storeTrouble = 0
	}
	s.stepUp = p.unit("there is a StepUp") < 0.18
	s.bound = !s.json && p.unit("tokens are bound") < 0.08
	p.drawAudiences()
	s.horizon = time.Duration(float64(s.lifetime) * (1.5 + 2*rng.Float64()))

	add := func(st step) { p.steps = append(p.steps, &st) }
	for _, user := range users[:s.users] {
		if maybe(0.95) {
			add(step{kind: login, user: user})
		}
	}
	for range 2 + rng.IntN(8) {
		at := time.Second + within(s.horizon)
		if len(p.steps)%3 == 0 { // when tokens expire
			at = min(s.lifetime-s.lifetime/10+within(s.lifetime/5), s.horizon)
		}
		if maybe(0.03) {
			add(step{at: at, kind: apiRefuses, user: users[0], lasts: 20 * time.Second})
			for i := range 8 {
				st := drawStep(rng, s, at+time.Duration(i)*2500*time.Millisecond+within(time.Second))
				st.kind, st.to, st.patience, st.user, st.proc = request, toAPI, 0, users[0], 0
				add(st)
			}
			continue
		}
		burst := 1
		if maybe(0.25) {
			burst = 2 + rng.IntN(6)
		}
		for range burst {
			add(drawStep(rng, s, at+within(60*time.Millisecond)))
		}
	}
	for _, st := range slices.Concat(drawKills(seed, s), drawKeys(seed, s), drawStands(seed, s)) {
		add(st)
	}
	slices.SortStableFunc(p.steps, func(a, b *step) int { return int(a.at - b.at) })
	for i, st := range p.steps {
		st.n = i
	}
	return p
}

// drawStep draws what happens at some time.
func drawStep(rng *rand.Rand, s *settings, at time.Duration) step {
	st := step{at: at, proc: rng.IntN(s.processes), user: users[rng.IntN(s.users)], kind: request}
	switch u := rng.Float64(); {
	case u < 0.03:
		st.kind = askToken
	case u < 0.07:
		st.kind = forceRefresh
	case u < 0.11:
		st.kind = callDo
	case u < 0.14:
		st.kind = login
	case u < 0.17:
		st.kind = logout
	case u < 0.19 && s.store != storeNone:
		st.kind = restart
	case u < 0.26:
		st.kind = revokeAccess
	case u < 0.28:
		st.kind = endSession
	case u < 0.31 && s.tokenTrouble > 0:
		st.kind, st.lasts = tokenOutage, time.Duration(rng.Int64N(int64(20*time.Second)))
	case u < 0.34 && s.storeTrouble > 0:
		st.kind, st.lasts = storeOutage, time.Duration(rng.Int64N(int64(20*time.Second)))
	}
	if rng.Float64() < 0.3 {
		st.patience, st.cancels = time.Duration(rng.Int64N(int64(3*time.Second))), rng.Float64() < 0.5
	}
	if u := rng.Float64(); u < 0.5 {
		st.body = rng.IntN(bodyKinds)
	} else if u < 0.65 {
		st.to = 1 + rng.IntN(ledBack)
	}
	return st
}

// String says what the step does, for a story.
func (st *step) String() string {
	text := fmt.Sprintf("%v p%d %s %s", st.at.Round(time.Millisecond), st.proc, st.user, st.kind)
	switch {
	case st.kind == kill:
		text += fmt.Sprintf("%v, and is started again after %v", st.moment, st.lasts.Round(time.Millisecond))
	case st.lasts > 0:
		text += st.moment.String()
		text += fmt.Sprintf(" for %v", st.lasts.Round(time.Millisecond))
	case st.kind == request:
		text += []string{"", ", a body with GetBody", ", a stream that fits a copy", ", a stream that is too long"}[st.body]
		text += []string{"", ", elsewhere", ", and is led elsewhere", ", and is led elsewhere and back"}[st.to]
	}
	if st.patience > 0 {
		text += fmt.Sprintf(", within %v", st.patience.Round(time.Millisecond))
	}
	return text
}
