package tokenclient

import (
	"context"
	"time"
)

// Hooks are told what happens to a session. Nil fields are skipped. [JoinHooks]
// makes one of several, and package otelhooks makes some that measure.
//
// All but Attached are called one at a time, in the order in which things happened,
// on a goroutine that the session starts when there is something to tell. No lock
// is held and no refresh waits for them, so they may call the session. A hook that
// does not return holds up later hooks, which are kept in memory, and nothing else;
// Session.Close does not wait for it. Hooks that several sessions share are called
// by each of them, and must be safe for concurrent use.
//
// A hook that panics ends the program, as a goroutine of its own would. Those that are not
// told a RefreshInfo do not say whose session it is; in a Pool, use ForKey where that matters.
//
// No hook is told a secret. Errors are those of requests; they may name the key,
// the token endpoint and where the token is stored.
type Hooks struct {
	// Attached is called when the token was put on a request, a replay included,
	// or on a gRPC call, or is given to the f of Session.Do, with its generation. Unlike the others it is
	// called on the goroutine of the request and with its context, by many
	// requests at the same time: what it costs, each request pays. If nil it
	// costs nothing; calling it takes no lock and allocates nothing.
	Attached func(ctx context.Context, generation uint64)

	// RefreshStarted is called when a refresh begins, before it waits for its turn
	// in a Pool and for the Store. One of Refreshed, Adopted, RefreshFailed and RefreshOvertaken
	// follows, with the same Cause and Began, when it ends. Requests that join
	// a refresh start none.
	//
	// A pair from a Refresher that answered too late is stored by a refresh of
	// its own, with the cause of the one that had given up.
	RefreshStarted func(RefreshInfo)

	// Refreshed is called when this session exchanged the refresh token.
	Refreshed func(RefreshInfo)

	// Adopted is called when the session took over a token that another session
	// or process put into the Store, or that the server sent in an answer (see
	// Config.Renewed). Its Cause is CauseNone unless a refresh found the token.
	Adopted func(RefreshInfo)

	// RefreshFailed is called when a refresh failed, whether or not a request
	// had to fail with it. The error is what such a request gets.
	RefreshFailed func(RefreshInfo, error)

	// StillRefused is called, after RefreshFailed, when the token endpoint refused the third
	// refresh in a row, not for good as far as is known, and not again until one succeeds. The
	// error is ErrStillRefused and holds a [*TokenError] with what the server said.
	StillRefused func(RefreshInfo, error)

	// RefreshOvertaken is called when a refresh came to nothing because something
	// else came first. That is no failure. The error is ErrReplaced after a login
	// or logout of this session, ErrLoginRequired if another process logged out,
	// ErrOvertaken if the session had the token by then, ErrNotPresented if
	// another process may be presenting the refresh token and nobody waits, and
	// ErrClosed after Close.
	RefreshOvertaken func(RefreshInfo, error)

	// Rejected is called when an answer to a request of a Transport refused the
	// token (see Config.Rejected), whatever is done about it, with the request's
	// method and the origin it went to.
	Rejected func(method, origin string)

	// Replayed is called when a request was sent again, with its method and the origin
	// it went to.
	Replayed func(method, origin string)

	// NotInOrigins is called when a request went out without the token because its
	// origin is none of Config.Origins: once for each such origin, and for the first 32
	// of a session. near is the allowed origin that it may have been meant to be, and
	// differs what they differ in: "scheme", "port", "name of this machine" (localhost
	// is not 127.0.0.1), "trailing dot" or "subdomain"; both are empty if there is none.
	// Requests with WithoutToken and those to the Refresher's URL are none of these, nor
	// are those whose redirect chain has been elsewhere.
	NotInOrigins func(origin, near, differs string)

	// HeaderKept is called when a request to an allowed origin went out as it was because
	// the caller had set the header that carries the token, and that was none of the
	// session's own tokens: once for each such origin, and for the first 32 of a session.
	// What the server makes of it, a 401 included, goes to the caller. header is the name;
	// see Config.ReplaceHeader. Requests with WithoutToken are none of these.
	HeaderKept func(origin, header string)

	// StormGuarded is called when the server refuses refreshed tokens so often
	// that it is not asked for another one, and not before until. Refused
	// requests get the 401 as it is meanwhile. It is called once for each time
	// that this begins, not for each request. A refresh after which the refused request is
	// accepted does not count.
	StormGuarded func(info RefreshInfo, until time.Time)

	// SaveFailed is called when a refreshed or renewed token could not be
	// stored: at first with a [*NotSavedError], and after each further attempt
	// that failed, the next of which begins within a minute. The token is in
	// use, and is lost if the process ends.
	SaveFailed func(RefreshInfo, error)

	// SessionEnded is called once when a session that had a token has none any
	// more, with all its audiences. The error is ErrLoginRequired; it is ErrRefused too if the server
	// refused the refresh token, and ErrLoggedOut after Logout.
	SessionEnded func(error)

	// ForKey is called with Config.Key each time that there is something to tell Rejected,
	// Replayed, NotInOrigins, HeaderKept or SessionEnded, which are not told whose session it
	// is. It gets that key for an Audience too, without the name. The hook of that name in what it
	// returns is called after the one in these Hooks; its other fields are not used, and nil is
	// none. So one Hooks will do for all users of a Pool:
	//
	//	ForKey: func(key string) *tokenclient.Hooks {
	//		return &tokenclient.Hooks{SessionEnded: func(err error) { askForLogin(key, err) }}
	//	},
	ForKey func(key string) *Hooks
}

// RefreshInfo tells about one refresh, or about the token that is held now. It holds
// no secret.
type RefreshInfo struct {
	Key        string        // Config.Key
	Generation uint64        // of the token that is held now; it goes up by one with each
	Cause      Cause         // why the refresh was started; CauseNone: this is not about one
	Began      time.Time     // when the refresh started; zero: this is not about one
	Duration   time.Duration // how long the refresh took so far, waiting for the Store, and in a Pool's line, included
	Waiters    int           // callers that are waiting for a refresh, at that moment
	Expiry     time.Time     // of the access token that is held now; zero: unknown
}

// Cause says why a refresh was started. One that others join keeps its cause,
// however much more urgent theirs are.
type Cause uint8

const (
	CauseNone     Cause = iota // no refresh
	CauseSoft                  // the token expires soon, and a request started a refresh in the background
	CauseHard                  // the token has expired or is about to, and a request waits
	CauseRejected              // the server refused the token
	CauseForced                // Session.Refresh was called
	CauseTimer                 // KeepFresh of a Session or Pool found that it is time
)

// String returns the cause's name in lower case: "none", "soft", "hard", "rejected",
// "forced" or "timer".
func (c Cause) String() string {
	switch c {
	case CauseNone:
		return "none"
	case CauseSoft:
		return "soft"
	case CauseHard:
		return "hard"
	case CauseRejected:
		return "rejected"
	case CauseForced:
		return "forced"
	case CauseTimer:
		return "timer"
	}
	return "invalid cause"
}

// JoinHooks returns hooks that call those of all of hooks, in their order. Nil
// ones are skipped, and a field that is nil in all of them is nil.
func JoinHooks(hooks ...*Hooks) *Hooks {
	j := new(Hooks)
	for _, h := range hooks {
		if h == nil {
			continue
		}
		j.Attached = join2(j.Attached, h.Attached)
		j.RefreshStarted = join1(j.RefreshStarted, h.RefreshStarted)
		j.Refreshed = join1(j.Refreshed, h.Refreshed)
		j.Adopted = join1(j.Adopted, h.Adopted)
		j.RefreshFailed = join2(j.RefreshFailed, h.RefreshFailed)
		j.StillRefused = join2(j.StillRefused, h.StillRefused)
		j.RefreshOvertaken = join2(j.RefreshOvertaken, h.RefreshOvertaken)
		j.Rejected = join2(j.Rejected, h.Rejected)
		j.Replayed = join2(j.Replayed, h.Replayed)
		j.NotInOrigins = join3(j.NotInOrigins, h.NotInOrigins)
		j.HeaderKept = join2(j.HeaderKept, h.HeaderKept)
		j.StormGuarded = join2(j.StormGuarded, h.StormGuarded)
		j.SaveFailed = join2(j.SaveFailed, h.SaveFailed)
		j.SessionEnded = join1(j.SessionEnded, h.SessionEnded)
		j.ForKey = joinForKey(j.ForKey, h.ForKey)
	}
	return j
}

func join1[A any](f, g func(A)) func(A) {
	switch {
	case f == nil:
		return g
	case g == nil:
		return f
	}
	return func(a A) { f(a); g(a) }
}

func join2[A, B any](f, g func(A, B)) func(A, B) {
	switch {
	case f == nil:
		return g
	case g == nil:
		return f
	}
	return func(a A, b B) { f(a, b); g(a, b) }
}

func join3[A, B, C any](f, g func(A, B, C)) func(A, B, C) {
	switch {
	case f == nil:
		return g
	case g == nil:
		return f
	}
	return func(a A, b B, c C) { f(a, b, c); g(a, b, c) }
}

func joinForKey(f, g func(string) *Hooks) func(string) *Hooks {
	switch {
	case f == nil:
		return g
	case g == nil:
		return f
	}
	return func(key string) *Hooks { return JoinHooks(f(key), g(key)) }
}

// effects are what a transition asks its Session for.
type effects struct {
	events  []event // to tell, in their order
	release bool    // those who wait for something are let go: it has become pointless
}

// An event is what there is to tell.
type event struct {
	kind   eventKind
	info   RefreshInfo // without its Key and Waiters
	err    error
	origin string    // that refused the token; "": unknown
	until  time.Time // when it may be asked for another one
	times  int       // refusals in a row
}

type eventKind uint8

const (
	refreshStarted eventKind = iota
	tokenRefreshed
	tokenAdopted
	tokenRenewed
	refreshOvertaken
	refreshFailed
	refreshStillRefused
	rejectedTooOften
	tokenNotSaved
	sessionEnded
)

func (fx *effects) tell(kind eventKind, info RefreshInfo, err error) {
	fx.events = append(fx.events, event{kind: kind, info: info, err: err})
}
