package processes_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/processes"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// The instants at which a process can be killed during a refresh.
const (
	beforePresentation = iota // the server never acted on its token
	insideWindow              // the server has rotated, and the new pair is not stored
	afterSave                 // the new pair is stored
	classes
)

var classNames = [classes]string{"before the presentation", "inside the window", "after the save"}

// verdict is what one kill did.
type verdict struct {
	class int
	late  bool // inside the window because the request was under way when the process died
	heard bool // inside the window, and the answer was on its way to the process
	lost  bool
	spent int // reuses that the server saw

	// disturbed: the machine was so busy that a process ran into its
	// RefreshTimeout. That says nothing about kills.
	disturbed bool
}

// aim is when to kill.
type aim struct {
	delay time.Duration // after the request was ordered
	at    int           // a class to hit for certain; negative: by delay alone
}

// span is how long a refresh takes, as far as known. It follows the load of the
// machine: about a fifth of the kills are to come after the save.
type span struct {
	mu sync.Mutex // guards d
	d  time.Duration
}

func (s *span) draw(r *rand.Rand) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(r.Int64N(int64(s.d)))
}

func (s *span) learn(v verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v.class == afterSave {
		s.d = s.d * 92 / 100
	} else {
		s.d = s.d * 102 / 100
	}
}

// TestLostAnswerKillNine kills a process with kill -9 at random instants of
// a refresh, against a server that ends the session when a refresh token comes
// twice, and then uses the session from a new process. Between the server's
// rotation and the rename of the file nothing can save the session: the new refresh
// token died with the process. At every other instant it must survive.
//
// That a kill fell into that window is proved by two witnesses who do not know of
// each other: the gate, which saw the server rotate for the killed process, and the
// file, which afterwards still had the number from before. If they say so the
// session must be lost, and otherwise it must be kept. A request that was in the
// server's hands when its process died may be carried out a moment later: that is
// the same loss, and counted apart.
func TestLostAnswerKillNine(t *testing.T) {
	t.Parallel()
	const lanes = 8
	kills := rounds(200, 40)
	seed := uint64(time.Now().UnixNano())
	t.Logf("%d kills, seed %d", kills, seed)

	scale := &span{d: refreshTime(t)}
	t.Logf("a refresh takes about %v", scale.d.Round(time.Microsecond))
	scale.d += scale.d / 4

	var mu sync.Mutex // guards all, disturbed
	var all []verdict
	var disturbed int
	t.Run("lanes", func(t *testing.T) {
		for lane := range lanes {
			t.Run(fmt.Sprint(lane), func(t *testing.T) {
				t.Parallel()
				random := rand.New(rand.NewPCG(seed, uint64(lane)))
				w := newKillWorld(t)
				seen := 0
				for round := 0; round < kills/lanes; {
					a := aim{at: -1, delay: scale.draw(random)}
					if round == 0 { // so that each class is hit even in a short run
						a.at = lane % classes
					}
					v := w.killOnce(t, a)
					if t.Failed() {
						t.Fatalf("in round %d, killed %v after the order", round, a.delay)
					}
					seen += v.spent
					if v.disturbed {
						w.login(t, "alice")
						mu.Lock()
						disturbed++
						slow := disturbed > kills
						mu.Unlock()
						if slow {
							t.Fatal("no refresh gets done within its RefreshTimeout")
						}
						continue
					}
					round++
					if a.at < 0 {
						scale.learn(v)
					}
					mu.Lock()
					all = append(all, v)
					mu.Unlock()
				}
				if c := w.Server.Counters(); c.Reuses != seen {
					t.Errorf("%d reuses, %d of them in the rounds", c.Reuses, seen)
				}
			})
		}
	})

	var count, lost [classes]int
	late, heard, reuses := 0, 0, 0
	for _, v := range all {
		reuses += v.spent
		count[v.class]++
		if v.lost {
			lost[v.class]++
		}
		if v.late {
			late++
		}
		if v.heard && v.class == insideWindow {
			heard++
		}
	}
	for c, name := range classNames {
		t.Logf("kills %s: %d, sessions lost: %d", name, count[c], lost[c])
		if count[c] == 0 {
			t.Errorf("no kill fell %s: the instants are not covered", name)
		}
	}
	t.Logf("of those inside the window, answered before the save: %d, rotated just after the kill: %d", heard, late)
	t.Logf("reuses at the servers: %d", reuses)
	if disturbed > 0 {
		t.Logf("rounds repeated because a process was slower than its RefreshTimeout: %d", disturbed)
	}
	if len(all) != kills {
		t.Errorf("%d kills, want %d", len(all), kills)
	}
	if reuses != lost[insideWindow] {
		t.Errorf("%d reuses for %d lost sessions: something else was presented twice", reuses, lost[insideWindow])
	}
}

// upTo draws times below most.
func upTo(most time.Duration) func() time.Duration {
	return func() time.Duration { return rand.N(most) }
}

func newKillWorld(t *testing.T) *world {
	w := newWorld(t)
	w.Base.RefreshTimeout = 300 * time.Millisecond
	w.Gate.Delay = upTo(8 * time.Millisecond)
	w.login(t, "alice")
	return w
}

// refreshTime measures a request that needs a refresh.
func refreshTime(t *testing.T) time.Duration {
	w := newKillWorld(t)
	w.Base.RefreshTimeout = processes.Patience
	var sum time.Duration
	const samples = 4
	for range samples {
		w.Server.RevokeAccess("alice")
		p := w.Start(t, nil)
		a := p.Get(t)
		a.WantServed(t, p.Name, "alice")
		sum += a.Took
		p.Kill()
	}
	return sum / samples
}

// slow reports whether a process ran into its RefreshTimeout: callers in this test
// have no deadline of their own.
func slow(a processes.Answer) bool { return a.Is("DeadlineExceeded") }

// reaches blocks until h holds a refresh, or until the request that was to bring it
// has failed: then h is over, and reaches is false.
func reaches(t *testing.T, h *processes.Hold, get *processes.Pending) bool {
	t.Helper()
	select {
	case <-h.Reached:
		return true
	case a := <-get.C:
		if !slow(a) {
			t.Errorf("the request came to its end: status %d, error %q", a.Status, a.Err)
		}
	case <-time.After(processes.Patience):
		t.Fatal("no refresh came to be held")
	}
	h.Cancel()
	return false
}

// failed reports whether there was an answer, and an error in it, before the agent was
// killed.
func failed(get *processes.Pending) bool {
	select {
	case a := <-get.C:
		return a.Err != ""
	default:
		return false
	}
}

// killOnce is one round: a process is killed at a, and another one goes on.
func (w *world) killOnce(t *testing.T, a aim) (v verdict) {
	before := w.wantStored(t, tokenclient.Active, w.stored(t).Number)
	reuses := w.Server.Counters().Reuses
	w.Server.RevokeAccess("alice")
	both := w.StartAll(t, 2, nil)
	victim, heir := both[0], both[1]

	var held *processes.Hold
	switch a.at {
	case beforePresentation:
		held = w.Gate.HoldNext(processes.BeforeServer)
	case insideWindow:
		held = w.Gate.HoldNext(processes.AfterServer)
	}
	get := victim.Order(t, processes.Order{Do: "get"})
	switch {
	case held != nil:
		v.disturbed = !reaches(t, held, get)
	case a.at == afterSave:
		if first := get.Wait(t); slow(first) {
			v.disturbed = true
		} else {
			first.WantServed(t, victim.Name, "alice")
		}
	default:
		timer := time.NewTimer(a.delay) // not to wait for anything: the instant is what is tried
		<-timer.C
	}
	victim.Kill()
	killed := time.Now()
	saved := w.stored(t)

	got := heir.Get(t)
	heir.Kill()
	v.disturbed = v.disturbed || slow(got) || failed(get)
	var byVictim, byHeir int
	var rotated bool
	for _, c := range w.Gate.History() {
		switch c.Agent {
		case victim.Name:
			byVictim++
			rotated = rotated || c.Rotated()
			v.late = c.Rotated() && c.Passed.After(killed)
			v.heard = c.Rotated() && c.Delivered
		case heir.Name:
			byHeir++
		}
	}
	v.spent = w.Server.Counters().Reuses - reuses
	if v.disturbed {
		return v
	}
	switch {
	case saved.Number == before.Number+1:
		v.class = afterSave
	case saved.Number != before.Number || saved.Era != before.Era || saved.State != tokenclient.Active:
		t.Fatalf("stored after the kill: %v, number %d; before it number %d", saved.State, saved.Number, before.Number)
	case rotated:
		v.class = insideWindow
	default:
		v.class = beforePresentation
	}
	if a.at >= 0 && v.class != a.at {
		t.Errorf("the kill fell %s, aimed at %s", classNames[v.class], classNames[a.at])
	}
	if byVictim > 0 && saved.Number == before.Number && saved.Announced == 0 {
		t.Error("the token was presented, and not announced before that")
	}
	if byVictim > 1 {
		t.Errorf("%d presentations by the process that was killed, want at most 1", byVictim)
	}

	v.lost = got.Is("ErrLoginRequired")
	switch {
	case v.class == insideWindow:
		got.WantKind(t, "killed inside the window, "+heir.Name, "ErrLoginRequired")
		if byHeir != 1 || v.spent != 1 {
			t.Errorf("killed inside the window: %d presentations and %d reuses afterwards, want one try", byHeir, v.spent)
		}
		w.login(t, "alice") // a session that is lost must not stay lost
	case v.class == beforePresentation:
		got.WantServed(t, "killed before the presentation: "+heir.Name, "alice")
		if byHeir != 1 || v.spent != 0 {
			t.Errorf("killed before the presentation: %d presentations and %d reuses afterwards, want 1 and 0", byHeir, v.spent)
		}
	default:
		got.WantServed(t, "killed after the save: "+heir.Name, "alice")
		if byHeir != 0 || v.spent != 0 {
			t.Errorf("killed after the save: %d presentations and %d reuses afterwards, want none", byHeir, v.spent)
		}
	}
	return v
}
