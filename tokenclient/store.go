package tokenclient

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"
)

// A Store keeps one [Record] for each key beyond the life of the process, and
// lets exactly one process at a time exchange a refresh token. Package store has
// implementations; to keep tokens elsewhere, implement store.KV, which is two
// methods over bytes, and get a Store for it.
//
// A Store is safe for concurrent use. Records that it returns belong to the
// caller; it keeps no reference to a [Token] passed in. A key is any string.
//
// Three failures are told apart: a record that is absent ([ErrNoToken]), a store
// that is locked or cannot be reached ([ErrStoreUnavailable]), and a record that
// cannot be understood ([ErrStoreCorrupt]). Only the first means "logged out".
type Store interface {
	// Load returns the record of key. If the record is absent or a tombstone it
	// returns an error that is ErrNoToken, along with a Record whose State tells
	// which. It never waits for a refresh in progress, and reads the newest
	// write, never a replica's.
	Load(ctx context.Context, key string) (Record, error)

	// Replace writes a login (a token) or a logout (nil) over whatever is
	// stored, without waiting for a refresh in progress, and begins a new era.
	// It is done at most once, even if replies are lost. It returns what is
	// stored now and what was there before, whose refresh token a logout
	// revokes. If a later login or logout overtook this one, now is that. If this one was
	// stored, its reply lost, and it was refreshed since, now is this one as it was written.
	//
	// t may be empty: such a token undoes the logout of a session that needs no login.
	//
	// A record that cannot be understood, because it is corrupt or of a newer
	// format, is replaced by a login only, and kept aside where the store can.
	Replace(ctx context.Context, key string, t *Token) (now, was Record, err error)

	// Refresh lets exactly one process at a time exchange the token that follows
	// seen.
	//
	// If the stored record is not seen any more (another era or a higher
	// number), Refresh returns it without calling fn; it looks before, while and
	// after it waits, so most waiters never hold the key. If the record is
	// absent or a tombstone, the error is ErrNoToken and the Record tells which.
	// If the stored number is lower than seen's in the same era, the store was
	// rolled back and seen is written again first.
	//
	// Otherwise it waits, as long as ctx allows, until this caller holds the
	// key, writes down that the token is about to be presented, and calls fn at
	// most once, with the record that it has just written: its Token is the one
	// to present, its Announced counts this presentation too.
	//
	// timeout is the longest that fn may run, at most an hour. fn's context ends after timeout,
	// not with ctx, and not when the hold is lost, because an answer must not be
	// thrown away; it carries ctx's values. fn makes one presentation; for a
	// second one, call Refresh again. fn must not call the store for the same
	// key: with the context it was given, that returns ErrReentrant at once.
	//
	// What fn returns decides:
	//
	//   - A token is saved as the next number, even if the hold was lost, unless
	//     another era or a higher number is stored; then that record is returned
	//     with ErrReplaced (another era: revoke the new token) or ErrOvertaken (a
	//     higher number: drop it).
	//   - An error that is ErrRefused makes the record a tombstone, if it still
	//     holds the token that was refused; the tombstone and fn's error are
	//     returned. If it holds a newer token, that is returned with a nil error.
	//   - An error that is ErrNotPresented, or a [*TokenError] with a complete
	//     answer of status 4xx other than 408, takes the announcement back.
	//   - Any other error counts as "may have been spent": the announcement
	//     stays. So does a panic, which becomes an error.
	//
	// fn's error is returned as it is. If the save fails, Refresh tries again for
	// a few seconds and then returns a [*NotSavedError]. The end of ctx after fn
	// was called does not stop the save: Refresh returns late rather than lose a
	// pair.
	Refresh(ctx context.Context, key string, seen Record, timeout time.Duration,
		fn func(ctx context.Context, current Record) (*Token, error)) (Record, error)

	// Save stores t as the token that follows seen, without presenting anything:
	// a pair that came when Refresh had given it up, or a token that the server
	// sent by itself. It never waits for a refresh in progress, and is
	// done at most once, even if replies are lost.
	//
	// t becomes the next number, over whatever claim there is, over a tombstone
	// of seen's token that was refused, and over a store that was rolled back.
	// The new record, with no announcements, is returned, unless
	//
	//   - the record is absent, or a logout: the error is ErrNoToken;
	//   - another login is stored: that record is returned with ErrReplaced;
	//   - a higher number is stored: that record is returned with ErrOvertaken;
	//   - t keeps the refresh token that is stored, and more presentations of it
	//     are announced than seen's Announced says: the error is ErrAnnounced.
	//     Somebody may be exchanging it; a save would take the number that the
	//     new pair needs, and hide that the refresh token may be spent;
	//   - t keeps the refresh token of seen, and that was refused: the error is
	//     ErrNoToken.
	//
	// In the first two cases a pair that was made from the old one should be
	// revoked; in the others it should be dropped. If the save fails, Save tries
	// again for a few seconds, as long as ctx lasts. Then the error of a pair, whose
	// refresh token is another than seen's, is a [*NotSavedError]. After any other
	// error go on with seen, and call Save again; if t was stored after all, it is
	// found as the token that overtook it.
	//
	// An empty t that follows a zero Record is the start of a session that needs no login
	// (see [Refresher]). It is stored if the record is absent at that moment, and begins an
	// era; it never goes over anything. If there is a token instead, its record is returned
	// with ErrReplaced or ErrOvertaken; if there is a tombstone, with ErrNoToken.
	Save(ctx context.Context, key string, seen Record, t *Token) (Record, error)
}

// A Record is what a [Store] holds for one key.
type Record struct {
	// Token is nil unless State is Active.
	Token *Token

	// Era identifies the login or logout that began this. It is zero in an
	// absent record.
	Era [16]byte

	// Number is 1 at login and goes up by one with each refresh of the era.
	Number uint64

	// Announced counts the presentations of this token's refresh token that
	// were written down so far, less those that were taken back. It stops at 255.
	Announced int

	// State says whether there is a token and, if not, why.
	State State
}

// State says what a [Record] is.
type State uint8

const (
	Absent    State = iota // never written
	Active                 // holds a token
	LoggedOut              // tombstone of a logout
	Refused                // tombstone of a refresh token that the server refused
)

// String returns the state's name in lower case.
func (s State) String() string {
	switch s {
	case Absent:
		return "absent"
	case Active:
		return "active"
	case LoggedOut:
		return "logged out"
	case Refused:
		return "refused"
	}
	return "invalid state"
}

// ownStore is the Store of a session without one: it holds the record of this
// session alone, so that there is one way to refresh and not two. Nobody else
// holds the key, hence nothing to wait for or to announce. Package store cannot
// be used here: it imports this one.
type ownStore struct {
	mu     sync.Mutex // guards the rest, which is of a Record
	token  *Token
	era    [16]byte
	number uint64
	state  State

	turn chan struct{} // holds one element while a session with audiences presents; nil: there are none
}

func (s *ownStore) recordLocked() Record {
	return Record{State: s.state, Token: s.token, Era: s.era, Number: s.number}
}

func (s *ownStore) setLocked(r Record) {
	s.state, s.token, s.era, s.number = r.State, r.Token, r.Era, r.Number
}

func (s *ownStore) load() (Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != Active {
		return s.recordLocked(), ErrNoToken
	}
	return s.recordLocked(), nil
}

// share makes the store hold r's token in the place of its own, which says the same.
func (s *ownStore) share(r Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == Active && s.era == r.Era && s.number == r.Number && s.token.AccessToken == r.Token.AccessToken {
		s.token = r.Token
	}
}

func (s *ownStore) Load(context.Context, string) (Record, error) { return s.load() }

func (s *ownStore) Replace(_ context.Context, _ string, t *Token) (now, was Record, err error) {
	now = firstOf(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	was = s.recordLocked()
	s.setLocked(now)
	return now, was, nil
}

// firstOf returns a record that begins an era: with t, or with a logout if t is nil.
func firstOf(t *Token) (r Record) {
	r.State = LoggedOut
	if t != nil {
		r = Record{State: Active, Token: t.Clone(), Number: 1}
	}
	_, _ = rand.Read(r.Era[:]) // never fails: it ends the process instead
	return r
}

func (s *ownStore) Refresh(ctx context.Context, _ string, seen Record, timeout time.Duration,
	fn func(context.Context, Record) (*Token, error)) (Record, error) {
	if s.turn != nil {
		select {
		case s.turn <- struct{}{}:
			defer func() { <-s.turn }()
		case <-ctx.Done():
			return Record{}, ctx.Err()
		}
	}
	current, err := s.load()
	if err != nil || current.Era != seen.Era || current.Number > seen.Number {
		return current, err
	}
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	current.Announced = 1
	t, err := fn(call, current)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil:
		return s.followLocked(seen, t)
	case errors.Is(err, ErrRefused) && s.state == Active && s.era == current.Era && s.number == current.Number:
		s.token, s.state = nil, Refused // also for the other audiences
	}
	return current, err
}

func (s *ownStore) Save(_ context.Context, _ string, seen Record, t *Token) (Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch begins := seen.Era == [16]byte{} && t.empty(); {
	case s.state == Absent && begins:
		s.setLocked(firstOf(t))
		return s.recordLocked(), nil
	case s.state != Active:
		return s.recordLocked(), ErrNoToken
	}
	return s.followLocked(seen, t)
}

// followLocked makes t the token that follows seen, unless there is another by now.
func (s *ownStore) followLocked(seen Record, t *Token) (Record, error) {
	switch {
	case s.era != seen.Era:
		return s.recordLocked(), ErrReplaced
	case s.number > seen.Number:
		return s.recordLocked(), ErrOvertaken
	}
	s.setLocked(Record{State: Active, Token: t, Era: seen.Era, Number: seen.Number + 1})
	return s.recordLocked(), nil
}
