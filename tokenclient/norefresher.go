package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
)

// errNoRefresher is why a session cannot do what only a Refresher can.
var errNoRefresher = errors.New("Config.Refresher is nil, and only the server renews the token")

// unrefreshed is current for a session without a Refresher, whose token h expires
// soon or has. Whether the token still works is for the server to say; but another
// process may have been sent a newer one.
func (s *Session) unrefreshed(ctx context.Context, h *held, now time.Time) (*held, error) {
	if !h.overdue(now) {
		return h, nil
	}
	s.lookForNewer(ctx)
	return s.asItIs(ctx)
}

// foundNewer is RefreshRejected for a session without a Refresher.
func (s *Session) foundNewer(ctx context.Context, h *held) (*Token, error) {
	s.lookForNewer(ctx)
	now, err := s.asItIs(ctx)
	switch {
	case err != nil:
		return nil, err
	case now.logouts != h.logouts:
		return nil, ErrLoggedOut
	case now.generation == h.generation:
		return nil, fmt.Errorf("%w: the server refused the token; %w", ErrLoginRequired, errNoRefresher)
	}
	return now.record.Token.Clone(), nil
}

// lookForNewer waits for a look at the store, at most one per lookInterval. It
// changes what is held, or nothing.
func (s *Session) lookForNewer(ctx context.Context) {
	if s.inside(ctx) {
		return
	}
	s.mu.Lock()
	s.watchers++
	may, turned := s.mayLookLocked(), s.turnedLocked()
	s.mu.Unlock()
	defer s.unwatch()
	if !may {
		return
	}
	select {
	case <-s.flights.DoChan("newer", s.takeNewer):
	case <-turned:
	case <-ctx.Done():
	}
}

// lookForNewerLocked is lookForNewer for those who come later.
func (s *Session) lookForNewerLocked() {
	if !s.mayLookLocked() {
		return
	}
	s.beginLocked()
	go func() {
		defer s.finish()
		<-s.flights.DoChan("newer", s.takeNewer)
	}()
}

func (s *Session) mayLookLocked() bool {
	return !s.closed && s.held.Load().usable() &&
		!s.renewals.now().due && // then the save looks
		limit.Remaining(s.trouble.now().lookAt, time.Now(), lookInterval) == 0
}

// takeNewer takes a token over that another process put into the store. That the
// store cannot be read is no matter as long as there is a token to send.
func (s *Session) takeNewer() (any, error) {
	if !s.begin() {
		return nil, nil
	}
	defer s.finish()
	s.mu.Lock()
	epoch := s.epoch
	s.mu.Unlock()
	r, err := s.load(s.lifetime())
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.held.Load()
	switch {
	case s.closed, s.epoch != epoch, !now.usable():
	case errors.Is(err, ErrNoToken):
		s.endLocked(ErrLoginRequired, false)
	case err == nil && newer(r, now.record) && s.supersededLocked(r):
		s.adoptLocked(r, true)
	}
	s.troubleLocked().lookAt = time.Now().Round(0).Add(lookInterval)
	return nil, nil
}
