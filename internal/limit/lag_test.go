package limit_test

import (
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
)

func TestYoung(t *testing.T) {
	for age, want := range map[time.Duration]bool{
		0: true, time.Second: true, 4999 * time.Millisecond: true, 5 * time.Second: false, time.Hour: false,
		-time.Second: true, -5 * time.Second: false, -24 * time.Hour: false,
	} {
		if got := limit.Young(begin.Add(-age), begin); got != want {
			t.Errorf("%v old: young %v", age, got)
		}
	}
	if limit.Young(time.Time{}, begin) {
		t.Error("young, though nobody knows when it was made")
	}
}

// TestLagTimetable: one request asks all the time, and each try takes so long and is refused.
func TestLagTimetable(t *testing.T) {
	ms := func(list ...int) (all []time.Duration) {
		for _, n := range list {
			all = append(all, time.Duration(n)*time.Millisecond)
		}
		return all
	}
	for takes, want := range map[time.Duration][]time.Duration{
		0:                       ms(100, 300, 700, 1500),
		50 * time.Millisecond:   ms(100, 300, 700, 1500),
		300 * time.Millisecond:  ms(100, 400, 800, 1600),
		1200 * time.Millisecond: ms(100, 1300),
		time.Minute:             ms(100),
	} {
		var l limit.Lag
		var tried []time.Duration
		now := begin
		for {
			a, until := l.Ask("here", true, now)
			if a == limit.LagOver {
				break
			}
			if a == limit.LagTry {
				tried = append(tried, now.Sub(begin))
				now = now.Add(takes)
				l.Tried("here", limit.LagRefused)
				continue
			}
			if a != limit.LagWait || !until.After(now) {
				t.Fatalf("answer %d, until %v, at %v", a, until, now)
			}
			now = until
		}
		if len(tried) != len(want) {
			t.Fatalf("tries that take %v: %v, want %v", takes, tried, want)
		}
		for i := range want {
			if tried[i] != want[i] {
				t.Errorf("tries that take %v: %v, want %v", takes, tried, want)
				break
			}
		}
		if last := begin.Add(want[len(want)-1] + takes); now != last {
			t.Errorf("tries that take %v: over at %v, want %v, when the last one was refused", takes, now.Sub(begin), last.Sub(begin))
		}
		if a, _ := l.Ask("here", true, now); a != limit.LagOver {
			t.Errorf("it begins again: %d", a)
		}
	}
}

// TestLagShared: of many who were refused one tries at a time, and all learn of it.
func TestLagShared(t *testing.T) {
	var l limit.Lag
	if l.Knows("here") {
		t.Error("a Lag that nobody has asked knows a server")
	}
	ask := func(server string, canTry bool, after time.Duration, want limit.LagAnswer) {
		t.Helper()
		if a, _ := l.Ask(server, canTry, begin.Add(after)); a != want {
			t.Errorf("%s after %v: answer %d, want %d", server, after, a, want)
		}
	}
	const ms = time.Millisecond
	ask("here", false, 0, limit.LagOver) // there is nobody who tries
	ask("here", true, 0, limit.LagWait)
	ask("here", false, 0, limit.LagWait)
	ask("here", true, 100*ms, limit.LagTry)
	ask("here", true, 100*ms, limit.LagWait) // somebody else
	ask("here", true, 400*ms, limit.LagWait) // as long as that one is at it
	ask("there", true, 400*ms, limit.LagWait)
	l.Tried("here", limit.LagFailed)
	ask("here", false, 400*ms, limit.LagWait)
	ask("here", true, 400*ms, limit.LagTry)
	ask("there", true, 500*ms, limit.LagTry) // has nothing to do with it
	l.Tried("there", limit.LagRefused)
	l.Tried("here", limit.LagAccepted)
	ask("here", true, 500*ms, limit.LagKnown)
	ask("here", false, time.Hour, limit.LagKnown)
	ask("there", true, 600*ms, limit.LagWait)
	ask("there", true, 2400*ms, limit.LagOver)
	for server, want := range map[string]bool{"here": true, "there": true, "nowhere": false} {
		if got := l.Knows(server); got != want {
			t.Errorf("there were waits for %s: %v", server, got)
		}
	}
	l.Tried("nowhere", limit.LagAccepted)
	ask("nowhere", false, 0, limit.LagOver)
	for i := range 100 {
		ask(string(rune('a'+i)), true, 0, map[bool]limit.LagAnswer{true: limit.LagWait, false: limit.LagOver}[i < 6])
	}
}

// TestLagHangs: nobody waits for longer than 2 seconds for one whose answer does not come.
func TestLagHangs(t *testing.T) {
	var l limit.Lag
	l.Ask("here", true, begin)
	l.Ask("here", true, begin.Add(100*time.Millisecond))
	if a, until := l.Ask("here", true, begin.Add(time.Second)); a != limit.LagWait || until.Sub(begin) != 2*time.Second {
		t.Errorf("answer %d until %v", a, until)
	}
	if a, _ := l.Ask("here", true, begin.Add(2*time.Second)); a != limit.LagOver {
		t.Errorf("answer %d", a)
	}
}
