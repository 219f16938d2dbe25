package protocol_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A strictServer rotates refresh tokens and ends the family of one that is
// presented after it was exchanged.
type strictServer struct {
	mu      sync.Mutex
	current map[string]string // refresh token of a family
	sent    map[string]int    // presentations of a token
	revoked []string          // what was presented too late
}

func (s *strictServer) issue(family string, n int) *tokenclient.Token {
	t := tok(fmt.Sprintf("%s-%d", family, n))
	t.Extra = map[string]any{"family": family}
	s.current[family] = t.RefreshToken
	return t
}

// exchange answers t, or loses the request on the way if lose is true.
func (s *strictServer) exchange(t *tokenclient.Token, number uint64, announced int, lose bool) (*tokenclient.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent[t.RefreshToken]++
	if s.sent[t.RefreshToken] > announced {
		s.revoked = append(s.revoked, t.RefreshToken+" not announced")
	}
	if lose {
		return nil, errors.New("EOF")
	}
	family := t.Extra["family"].(string)
	if s.current[family] != t.RefreshToken {
		s.revoked = append(s.revoked, t.RefreshToken)
		return nil, tokenclient.ErrRefused
	}
	return s.issue(family, int(number)+1), nil
}

// TestChaos lets processes refresh, log in and log out through a medium that loses
// replies and writes, delays others and fails for a while. The judge is the server,
// and the order of what was written.
func TestChaos(t *testing.T) {
	seeds := uint64(100)
	if testing.Short() {
		seeds = 30
	}
	presented := 0
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { presented += chaos(t, seed) })
		})
	}
	if presented < 10*int(seeds) {
		t.Errorf("only %d tokens presented in %d runs", presented, seeds)
	}
}

// chaos makes one run and returns how many tokens were presented.
func chaos(t *testing.T, seed uint64) int {
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 1))
	chance := func(percent int) bool {
		mu.Lock()
		defer mu.Unlock()
		return random.IntN(100) < percent
	}
	delay := func(d time.Duration) {
		mu.Lock()
		d = time.Duration(random.Int64N(int64(d)))
		mu.Unlock()
		<-time.After(d)
	}
	server := &strictServer{current: map[string]string{}, sent: map[string]int{}}
	m := &faultyMedium{}
	var last header
	past := map[[16]byte]bool{}
	m.onCommit = func(_, raw []byte) {
		h, err := decodeHeader(raw)
		if err != nil {
			t.Errorf("wrote %v", err)
			return
		}
		if h.Era != last.Era {
			if past[last.Era] = true; past[h.Era] {
				t.Errorf("an era that was over came back as number %d, %v", h.Number, h.State)
			}
		} else if h.Number < last.Number || h.Number > last.Number+1 {
			t.Errorf("number %d after %d", h.Number, last.Number)
		} else if h.Number == last.Number && last.State != tokenclient.Active && h.WriteID != last.WriteID {
			t.Errorf("%v after %v", h.State, last.State)
		}
		last = h
	}
	quiet := false
	m.onWrite = func(int, []byte, []byte) fault {
		delay(20 * time.Millisecond)
		switch {
		case quiet || chance(70):
			return fine
		case chance(40):
			return lostReply
		case chance(50):
			return dropped
		case chance(20):
			return refused
		default:
			go func() {
				delay(3 * time.Second)
				m.land()
			}()
			return delayed
		}
	}
	m.onRead = func() error {
		if !quiet && chance(20) {
			return errDown
		}
		return nil
	}
	locks := &locks{}
	if seed%3 == 0 {
		locks = nil // by leases; requests end well within them here
	}
	logins := 0
	login := func(p tokenclient.Store) {
		mu.Lock()
		logins++
		family := fmt.Sprintf("f%d", logins)
		mu.Unlock()
		server.mu.Lock()
		first := server.issue(family, 1)
		server.mu.Unlock()
		_, _, _ = p.Replace(t.Context(), "k", first)
	}
	quiet = true
	login(newEngine(m, locks, &testSealer{}))
	quiet = false
	var wg sync.WaitGroup
	for range 3 {
		p := newEngine(m, locks, &testSealer{})
		wg.Go(func() {
			var seen tokenclient.Record
			for range 30 {
				delay(2 * time.Second)
				switch {
				case chance(3):
					login(p)
				case chance(2):
					_, _, _ = p.Replace(t.Context(), "k", nil)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				rec, err := p.Refresh(ctx, "k", seen, 2*time.Second, func(_ context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
					delay(time.Second)
					switch {
					case chance(10):
						return nil, tokenclient.ErrNotPresented
					case chance(10):
						return server.exchange(cur.Token, cur.Number, cur.Announced, true)
					}
					fresh, err := server.exchange(cur.Token, cur.Number, cur.Announced, false)
					delay(900 * time.Millisecond)
					return fresh, err
				})
				cancel()
				var pending *tokenclient.NotSavedError
				switch {
				case err == nil, errors.Is(err, tokenclient.ErrReplaced), errors.Is(err, tokenclient.ErrOvertaken), errors.Is(err, tokenclient.ErrNoToken):
					seen = rec
				case errors.As(err, &pending):
					seen = rec
					for e := pending.Save(t.Context()); e != nil && !errors.Is(e, tokenclient.ErrReplaced) && !errors.Is(e, tokenclient.ErrOvertaken); e = pending.Save(t.Context()) {
						delay(time.Second)
					}
				case errors.Is(err, tokenclient.ErrRefused):
					t.Errorf("refused: %v", err)
				}
			}
		})
	}
	wg.Wait()
	quiet = true
	<-time.After(time.Minute)
	if len(server.revoked) > 0 {
		t.Errorf("presented to the server, but spent: %q", server.revoked)
	}
	rec, err := newEngine(m, locks, &testSealer{}).Load(t.Context(), "k")
	if err != nil && !errors.Is(err, tokenclient.ErrNoToken) {
		t.Fatal(err)
	}
	if err == nil && server.current[rec.Token.Extra["family"].(string)] != rec.Token.RefreshToken {
		t.Errorf("%s is stored, number %d, but the server has gone on", rec.Token.RefreshToken, rec.Number)
	}
	return len(server.sent)
}
