package processes_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

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

// TestHard01LostAnswerKillNine kills a process with kill -9 at random instants of
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
func TestHard01LostAnswerKillNine(t *testing.T) {
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
				if c := w.srv.Counters(); c.Reuses != seen {
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

func newKillWorld(t *testing.T) *world {
	w := newWorld(t)
	w.base.RefreshTimeout = 300 * time.Millisecond
	w.gate.slow(8*time.Millisecond, 8*time.Millisecond)
	w.login(t, "alice")
	return w
}

// refreshTime measures a request that needs a refresh.
func refreshTime(t *testing.T) time.Duration {
	w := newKillWorld(t)
	w.base.RefreshTimeout = patience
	var sum time.Duration
	const samples = 4
	for range samples {
		w.srv.RevokeAccess("alice")
		p := w.start(t, nil)
		a := p.get(t)
		a.wantOK(t, p.name, "alice")
		sum += a.Took
		p.kill()
	}
	return sum / samples
}

// slow reports whether a process ran into its RefreshTimeout: callers in this test
// have no deadline of their own.
func (a answer) slow() bool { return a.is("DeadlineExceeded") }

// killOnce is one round: a process is killed at a, and another one goes on.
func (w *world) killOnce(t *testing.T, a aim) (v verdict) {
	before := w.wantStored(t, tokenclient.Active, w.stored(t).Number)
	reuses := w.srv.Counters().Reuses
	w.srv.RevokeAccess("alice")
	victim, heir := w.launch(t, nil), w.launch(t, nil)
	victim.waitReady(t)
	heir.waitReady(t)

	var held *hold
	switch a.at {
	case beforePresentation:
		held = w.gate.holdNext(beforeServer)
	case insideWindow:
		held = w.gate.holdNext(afterServer)
	}
	get := victim.order(t, order{Do: "get"})
	switch {
	case held != nil:
		v.disturbed = !w.gate.reaches(t, held, get)
	case a.at == afterSave:
		if first := get.wait(t); first.slow() {
			v.disturbed = true
		} else {
			first.wantOK(t, victim.name, "alice")
		}
	default:
		timer := time.NewTimer(a.delay) // not to wait for anything: the instant is what is tried
		<-timer.C
	}
	victim.kill()
	killed := time.Now()
	saved := w.stored(t)

	got := heir.get(t)
	heir.kill()
	v.disturbed = v.disturbed || got.slow() || get.failed()
	var byVictim, byHeir int
	var rotated bool
	for _, c := range w.gate.history() {
		switch c.Agent {
		case victim.name:
			byVictim++
			rotated = rotated || c.rotated()
			v.late = c.rotated() && c.Passed.After(killed)
			v.heard = c.rotated() && c.Answered
		case heir.name:
			byHeir++
		}
	}
	v.spent = w.srv.Counters().Reuses - reuses
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

	v.lost = got.is("ErrLoginRequired")
	switch {
	case v.class == insideWindow:
		got.wantKind(t, "killed inside the window, "+heir.name, "ErrLoginRequired")
		if byHeir != 1 || v.spent != 1 {
			t.Errorf("killed inside the window: %d presentations and %d reuses afterwards, want one try", byHeir, v.spent)
		}
		w.login(t, "alice") // a session that is lost must not stay lost
	case v.class == beforePresentation:
		got.wantOK(t, "killed before the presentation: "+heir.name, "alice")
		if byHeir != 1 || v.spent != 0 {
			t.Errorf("killed before the presentation: %d presentations and %d reuses afterwards, want 1 and 0", byHeir, v.spent)
		}
	default:
		got.wantOK(t, "killed after the save: "+heir.name, "alice")
		if byHeir != 0 || v.spent != 0 {
			t.Errorf("killed after the save: %d presentations and %d reuses afterwards, want none", byHeir, v.spent)
		}
	}
	return v
}
