package tokenclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
)

// errAbandoned is the result of a refresh that Close came before.
var errAbandoned = fmt.Errorf("%w: %w", ErrNotPresented, ErrClosed)

// exchangeWithRetry has the store let this session exchange the refresh token, and once more if the
// answer was lost. presented says whether the server may have it: Close waits then.
func (s *Session) exchangeWithRetry(f flight) (res result, presented bool) {
	tries := 0
	present := func(ctx context.Context, stored Record) (*Token, error) {
		current := f.current(stored)
		if presented = presented || s.mayPresent(); !presented {
			return nil, asTokenError(errAbandoned, current.Token)
		}
		if tries = current.Announced; tries > 1 && s.waiters() == 0 {
			res.yields = true
			return nil, asTokenError(ErrAnnounced, current.Token)
		}
		t, err := s.present(ctx, f, current)
		res.made = t
		return t, err
	}
	lifetime := s.lifetime()
	res.record, res.err = s.exchangeInTurn(lifetime, f.seen, false, present)
	if f.fresh && answerLost(res.err) {
		// Some servers answer the same again for a while, and if the request was what got
		// lost the session is saved; if it was the answer, and the server is strict, the
		// session was lost before.
		s.noteErr(slog.LevelWarn, "answer to a refresh lost, trying once more", res.err)
		res.record, res.err = s.exchangeInTurn(lifetime, f.seen, true, present)
	}
	res.record.Announced = max(res.record.Announced, tries)
	return res, presented
}

// answerLost reports whether err calls for one more try at once: the refresh
// token may have arrived, and no answer told what became of it. After a timeout
// the first request may still be on its way, and must not land behind a second.
// A success that cannot be read is no lost answer: the server is done with the
// token, and has most likely spent it.
func answerLost(err error) bool {
	var te *TokenError
	if !errors.As(err, &te) || !te.Temporary() || te.Timeout() || te.RetryAfter > 0 {
		return false
	}
	if te.StatusCode >= 200 && te.StatusCode < 500 {
		return false
	}
	var unsaved *NotSavedError
	return !errors.Is(err, ErrNotPresented) && !errors.Is(err, ErrReentrant) &&
		!errors.Is(err, errBroken) && !errors.As(err, &unsaved)
}

// present shows old's refresh token to the server, once, and returns the token to
// store. Every error is a *TokenError that holds neither of old's secrets; if the
// refresh token was refused it is ErrRefused.
//
// A Refresher that does not return when its context ends is left behind; if it
// brings a token in the end, that is saved and used all the same.
func (s *Session) present(ctx context.Context, f flight, current Record) (*Token, error) {
	old := current.Token
	sent := time.Now().Round(0)
	call, ended := s.callRefresher(ctx, old)
	result := func() (*Token, error) {
		t, err := call.Result()
		if err != nil {
			return nil, notAStores(err)
		}
		return complete(t.usable(), old, sent)
	}
	if !ended {
		s.awaitLate(result, f, current)
		return nil, asTokenError(errHangs("Refresher.Refresh"), old)
	}
	t, err := result()
	if err != nil {
		return nil, asTokenError(err, old)
	}
	return t, nil
}

// notAStores returns err, of a Refresher, as one that is no verdict of a Store. It may come
// from another session, through whose client the Refresher makes its request, and then the token
// of a NotSavedError is that one's.
func notAStores(err error) error {
	is := func(target error) bool { return errors.Is(err, target) }
	var te *TokenError
	var unsaved *NotSavedError
	switch {
	case !slices.ContainsFunc([]error{ErrReplaced, ErrOvertaken, ErrNoToken, ErrAnnounced}, is) && !errors.As(err, &unsaved):
		return err
	case errors.As(err, &te):
		c := *te
		c.Err = notAStores(te.Err)
		return &c
	case is(ErrLoginRequired): // what the Refresher says by that holds all the same
		return &kindError{err.Error(), ErrLoginRequired}
	case is(ErrNotPresented):
		return &notPresented{errors.New(err.Error())}
	}
	return errors.New(err.Error())
}

// awaitLate saves what a Refresher brings that was left behind in f, unless a logout has come
// since. By its contract the Refresher ends; until then Close waits.
func (s *Session) awaitLate(result func() (*Token, error), f flight, current Record) {
	s.inBackground(func() {
		t, err := result()
		if err != nil {
			return
		}
		var late flight
		var ok bool
		s.change(func(st *state, now time.Time) (fx effects) {
			late, fx, ok = st.lateBegins(f, now)
			return fx
		})
		if !ok {
			s.revokeOrphan(t)
			return
		}
		late.seen = current
		res := s.saveLate(t, current)
		if res.made == nil && (errors.Is(res.err, ErrNoToken) || res.err == nil && res.record.Era != current.Era) {
			s.revokeOrphan(t)
		}
		_, _ = s.finishRefresh(late, res)
	})
}

// saveLate stores t as the token that follows current. It waits for nobody: those who hold the
// key by now are about to present a token that is spent. Until it is stored the pair exists
// nowhere else, so it is tried as long as the session lives and once after that. If
// it turns out to be of no use, the result says that this session made none.
func (s *Session) saveLate(t *Token, current Record) result {
	var retry limit.Retry
	for {
		open := s.isOpen()
		ctx, cancel := s.storeTime(context.Background())
		r, err := s.save(ctx, current, t)
		cancel()
		var unsaved *NotSavedError
		switch {
		case err == nil, errors.As(err, &unsaved), errors.Is(err, ErrReplaced):
			return result{record: r, err: err, made: t}
		case errors.Is(err, ErrOvertaken), errors.Is(err, ErrAnnounced), errors.Is(err, ErrNoToken), !open:
			return result{record: r, err: err}
		}
		s.pause(&retry)
	}
}

// finishRefresh ends f with what it came to.
func (s *Session) finishRefresh(f flight, res result) (*held, error) {
	var e ending
	s.change(func(st *state, now time.Time) (fx effects) {
		e, fx = st.refreshEnds(f, res, now)
		return fx
	})
	if e.retry != nil {
		s.keepTrying(e.retry)
	}
	if e.orphan != nil {
		s.revokeOrphan(e.orphan)
	}
	return e.held, e.err
}

// complete checks what a Refresher returned and fills in what it left out.
func complete(t, old *Token, sent time.Time) (*Token, error) {
	if t == nil {
		return nil, fmt.Errorf("%w: Refresher.Refresh returned neither a token nor an error", errBroken)
	}
	t = t.Clone()
	t.dropType()
	err := t.check()
	switch {
	case t.AccessToken == "":
		err = errors.New("token has no access token")
	case t.AccessToken == old.RefreshToken && old.AccessToken != "" && old.AccessToken != old.RefreshToken:
		// An answer that says what it was sent. The API must not get it.
		err = errors.New("access token is the refresh token that was sent")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBroken, err)
	}
	if t.RefreshToken == "" { // RFC 6749, section 6: the old one stays
		t.RefreshToken = old.RefreshToken
		if t.RefreshExpiry.IsZero() {
			t.RefreshExpiry = old.RefreshExpiry
		}
	}
	if t.Audiences == nil {
		t.Audiences = old.Audiences
	}
	if t.TokenType == "" {
		t.TokenType = old.TokenType
	}
	if t.Binding == "" {
		t.Binding = old.Binding
	}
	if t.Scope == "" { // section 5.1: as before
		t.Scope = old.Scope
	}
	t.keepExtra(old)
	if !t.Issued.After(old.Issued) {
		t.Issued = sent // also if the same token came back
	}
	if t.Expiry.IsZero() {
		t.Expiry, _ = endpoint.JWTExpiry(t.AccessToken, t.Issued)
	}
	if !t.Expiry.After(time.Now()) {
		// The server would not issue a token that is dead: a clock is wrong, or
		// the expiry. Without this every request would refresh.
		t.Expiry = time.Time{}
	}
	t.stripMonotonic()
	return t, nil
}

// usable returns t without what cannot be used of it but the access token. The old token
// was spent for it, so that nothing but the lack of that may cost it.
func (t *Token) usable() *Token {
	if t = t.Clone(); t == nil {
		return nil
	}
	if !printable(t.RefreshToken) {
		t.RefreshToken = ""
	}
	if !isHeaderName(t.TokenType) {
		t.TokenType = ""
	}
	if !printable(t.Binding) {
		t.Binding = ""
	}
	return t
}

// maxExtra is how many members Extra may grow to. A server that makes up a name for each
// answer would make records grow without end.
const maxExtra = 64

// keepExtra takes over what old's Extra has and t's has not, but for what is of one answer
// only: a login may bring what no refresh does, such as an id_token.
func (t *Token) keepExtra(old *Token) {
	var once []string
	if t.once != nil {
		once = t.once.Once
	}
	for _, name := range slices.Sorted(maps.Keys(old.Extra)) {
		if _, has := t.Extra[name]; has || slices.Contains(once, name) || len(t.Extra) >= maxExtra {
			continue
		}
		if t.Extra == nil {
			t.Extra = make(map[string]any, len(old.Extra))
		}
		t.Extra[name] = old.Extra[name]
	}
	t.once = nil // the token is as any other from here on
}

// dropType drops a type that is no scheme but may be what a server wrote in the place of one
// ([ParseToken] keeps that), such as a URN: it means what no type means. What no server writes
// is for check to refuse.
func (t *Token) dropType() {
	if printable(t.TokenType) && !strings.Contains(t.TokenType, " ") && !isHeaderName(t.TokenType) {
		t.TokenType = ""
	}
}

// check reports why t cannot be held, without showing it.
func (t *Token) check() error {
	switch {
	case !printable(t.AccessToken):
		return errors.New("access token has a character in it that cannot be sent in a header")
	case !printable(t.RefreshToken):
		return errors.New("refresh token has a character in it that RFC 6749 does not allow")
	case t.TokenType != "" && !isHeaderName(t.TokenType):
		return errors.New("token type is not a valid authentication scheme")
	case !printable(t.Binding):
		return errors.New("binding has a character in it that no Binder writes")
	}
	return nil
}

// printable reports whether s consists of the characters that RFC 6749, appendix
// A.12 and A.17, allows in tokens.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// stripMonotonic leaves wall clock readings alone: the monotonic clock stops
// while a machine sleeps, and means nothing in another process.
func (t *Token) stripMonotonic() {
	t.Expiry, t.RefreshExpiry, t.Issued = t.Expiry.Round(0), t.RefreshExpiry.Round(0), t.Issued.Round(0)
}
