package simulation_test

import (
	"fmt"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/chance"
)

// What is drawn for one message does not depend on what was drawn for others: each draw is a
// hash of the seed and of a key that says what it is for. So a step or a misfortune can be
// taken out of a history, and the rest stays as it was.

func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

func (p *plan) hash(key string) uint64 {
	h := p.seed*0x9e3779b97f4a7c15 + 0x51ed27
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 0x100000001b3
	}
	return mix(h)
}

// unit is a draw from [0, 1).
func (p *plan) unit(key string) float64 { return float64(p.hash(key)>>11) / (1 << 53) }

// between draws a duration, never on a round number: two things at the same time are rare then.
func (p *plan) between(key string, from, to time.Duration) time.Duration {
	return from + time.Duration(p.hash(key+" long")%uint64(to-from+1000))
}

// A risk is something that may happen to one message.
type risk struct {
	what string
	p    float64
}

// fate draws which of the risks comes true for the message of that key; "": none. What was
// taken out of the plan does not.
func (w *world) fate(key string, risks []risk) string {
	if w.quiet {
		return ""
	}
	u := w.plan.unit(key)
	for _, r := range risks {
		if u -= r.p; u < 0 {
			if w.plan.off[key] {
				return ""
			}
			w.struck[key] = r.what
			return r.what
		}
	}
	return ""
}

// scaled returns the risks, times f.
func scaled(risks []risk, f float64) []risk {
	list := make([]risk, len(risks))
	for i, r := range risks {
		list[i] = risk{r.what, r.p * f}
	}
	return list
}

// count returns the key of the next operation of that name.
func (w *world) count(name string) string {
	w.counts[name]++
	return fmt.Sprintf("%s %d", name, w.counts[name])
}

// The library's own chance depends on the time, and so on the seed: a history does not begin
// on a round second.
func init() {
	chance.Simulate(func(below time.Duration) time.Duration {
		return time.Duration(mix(uint64(time.Now().UnixNano())*0x9e3779b97f4a7c15+uint64(below)) % uint64(below))
	})
}
