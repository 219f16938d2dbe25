package tokenclient

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/check"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/limit"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
	"github.com/seed-fbfaa0ec/silentrefresh/internal/stepup"
)

// Config is what [New] makes a [Session] from. Refresher (or Renewed) and Origins
// (or AnyOrigin) are required.
type Config struct {
	// Refresher exchanges the refresh token. What can be seen to be wrong with it, New
	// says; see the documentation of Refresher.
	//
	// Nil: only the server renews the token, and Renewed must be set. The token
	// is then sent as it is, expired or not, and a 401 is final: it is handed
	// back, unless the session has got a newer token since the request was sent,
	// with which it is sent again.
	Refresher Refresher

	// Store keeps the token beyond the life of the process, and lets several
	// processes share it. Nil: the token lives in memory only.
	Store Store

	// Key says whose token in the Store this is: an account name, for example.
	// Required with a Store, and only used with one. It is not a secret: it is
	// in logs, as the value of "key", which a handler may hide, and in errors, as
	// key "…".
	Key string

	// Attacher puts the token on requests. Nil: "Authorization: Bearer" (RFC
	// 6750, section 2.1).
	Attacher Attacher

	// Origins lists where the token may go, each like "https://api.example.com"
	// or "http://localhost:8080": scheme, host and port must match, and there
	// are no wildcards. Requests to other origins are sent without a token, as
	// are those that a redirect led to if any step of it was elsewhere.
	//
	// ASCII letters of a host match in either case. A host that is not ASCII
	// matches in its own spelling only; better write it as it is dialed, "xn--…".
	Origins []string

	// Hosts lists further values of the Host header with which requests to Origins
	// may carry the token, each like "api.example.com" or "api.example.com:8443",
	// without wildcards. By the Host header a server chooses which of its virtual
	// hosts sees the request, token and all. So a request to an allowed origin is an
	// error, and is not sent, if its Host is neither that of its URL nor listed here.
	// AnyOrigin does not lift that. List the name of a server that is reached by its
	// address, for example. See "Where tokens may go" in the package documentation.
	Hosts []string

	// Audiences are parts of what the login is good for that have access tokens of their
	// own. A request to an origin of one gets that one's token. Nil: the login has one
	// access token for all of Origins. [Session.KeepFresh] and Heartbeat are about that of the
	// login alone.
	Audiences []Audience

	// AnyOrigin lets the token go wherever the program sends a request, and
	// Origins must be empty then. Even so it does not follow a redirect to
	// another origin.
	AnyOrigin bool

	// InsecureHTTP allows plain http beyond this machine, where everybody on
	// the way can read the token. Refreshers and logins have a field of their
	// own for it. Without it a request over plain http to this machine is an error
	// if Transport.Base is an [http.Transport] whose Proxy is elsewhere.
	InsecureHTTP bool

	// ReplaceHeader has the token go out also on a request on which the caller set its
	// header already, whatever to: ours wins.
	//
	// Without it such a request is sent as it is, and Hooks.HeaderKept told, unless what
	// was set is a token of this session: the access token that it holds, or one of the 16
	// that it held before, of this login and in this process; by itself or behind
	// a scheme. Many clients insist on setting the header (the Transport of
	// golang.org/x/oauth2 does, and SDKs that ask for a token) and go on with a token that
	// has expired. They get the one that is good now, with a refresh and a replay like
	// everybody. So a gateway must delete the header of those whose requests it sends on:
	// who has an old token of the session would get the use of the new one.
	ReplaceHeader bool

	// RefreshBefore is how long before expiry a token is refreshed in the
	// background, at most half its lifetime. 0: a fifth of the lifetime, at most
	// 5 minutes. It is jittered by a quarter each way. Negative: never early.
	//
	// Unless it is negative, requests wait for a refresh during the last
	// twentieth of the lifetime, at most 10 seconds, so that a token does not
	// expire on its way.
	RefreshBefore time.Duration

	// RefreshTimeout bounds one call of the Refresher. 0: 20 seconds; at most 1 hour,
	// for if this process dies, others wait for it. Like the other times here it is at
	// least 1 millisecond, for less has mostly lost its unit. It should be at least as
	// long as the server works on a request whose client has left. Waiting for the Store is bounded by the contexts of those who wait.
	RefreshTimeout time.Duration

	// Heartbeat makes KeepFresh refresh at least this often, counted from when
	// the token that is held was asked for. 0: by expiry only.
	Heartbeat time.Duration

	// Rejected reports whether the server refused the token: a 401 and, with some servers,
	// a redirect to a login page, or a 200 that says so in its body, at which it may look
	// by [PeekBody]. It must not read the body otherwise. It is asked by many goroutines at
	// the same time. The answer that it refuses is dropped if the request is sent again: up
	// to 64 KiB of it are read, for a quarter of a second at most, and it is closed. Nil: the
	// status is 401.
	Rejected func(*http.Response) bool

	// Renewed returns the token that an answer brings, for servers that renew the
	// token by themselves, and whether there is one; see [RenewedHeader]. It is
	// asked about each answer to a request that carried the token and was not
	// rejected, by many goroutines at the same time, and must not read the body but by
	// [PeekBody].
	// Every server in Origins can so replace the token. Nil: none does.
	//
	// The session takes the token over if it still has the one that the request
	// was sent with, so that late answers bring no older token back, and unless a
	// refresh is under way, which brings a newer one. It uses the token at once
	// and stores it in the background. What is empty in it stays as it was, the
	// refresh token above all; its lifetime counts from when the request was
	// sent, and is read from the access token if Expiry is zero and that is a
	// JWT. The access token that the request was sent with is no renewal, nor is
	// one that cannot be sent in a header.
	//
	// Beside a Refresher, of a token that is about to expire: one that has a refresh
	// token, or a Grant that needs none, is taken to the Refresher first. One without,
	// that only a heartbeat could exchange, is sent with the next request: the server
	// may renew it even if it has just expired, where a heartbeat refuses it and so ends
	// the session. Only if the server refuses it, too, the Refresher is asked.
	Renewed func(*http.Response) (*Token, bool)

	// StepUp is asked when an API wants more than a token that is good: a wider scope, a fresh
	// or stronger login, or other claims (see [Demand]). It has the person log in again, say, by
	// package login, and returns nil when s has a token that will do; then the request is sent
	// again with it, once, with the same body. What it returns means:
	//
	//   - nil: s has another token, of the same user. The program vouches for that: requests
	//     of the one who was logged in are sent as those of the one who is. That goes for the
	//     login that StepUp made by [Session.SetToken] with ctx, or else for the one that s has
	//     when StepUp returns; for none if there was a logout meanwhile, and for no later one.
	//     Requests whose earlier token is refused after SetToken with ctx, or that waited for a
	//     refresh then, go on with it when StepUp has returned.
	//   - an error, [ErrReplaced] for somebody else who logged in: the request gets the
	//     server's answer untouched, as without a StepUp. The error is logged.
	//
	// Of all requests of a session with the same demand of the same origin one asks, and the
	// others wait for the outcome. ctx lasts as long as one of them waits, for 20 minutes at
	// most, and ends when the session is closed. Whatever comes of it, the same is not asked
	// again within 30 seconds, nor are more than 10 demands of one user by one origin, whatever
	// they are for; calls that have not returned count among these. What is not asked for is
	// handed back. After a [Session.Logout] meanwhile SetToken with ctx is ErrLoggedOut, and after
	// the login of somebody else ErrReplaced: who logged in last stays.
	//
	// StepUp is called on a goroutine of its own, may be called by several at the same time for
	// other demands, and must return soon after ctx ends. Requests with ctx through the
	// session's own client ask for nothing; one that drops ctx may wait for itself, for those
	// 20 minutes. A request whose body cannot be sent again, or which Transport.NoReplay is
	// about, gets the server's answer after StepUp, and the next one the new token.
	// [Session.Do] does not look at answers: see [DemandOf]. Nil: such answers are handed back.
	StepUp func(ctx context.Context, s *Session, d Demand) error

	// Hooks are told what happens. Nil: nobody is. The struct is copied.
	Hooks *Hooks

	// Logger gets refreshes at level Debug, failures at Warn, and failures to
	// save at Error, without any secret; the package documentation lists the
	// messages and their keys. It is called as Hooks are. Its handler is asked first whether it
	// wants a line (Enabled), also on goroutines of requests; of others nothing is made. Nil:
	// nothing is logged.
	Logger *slog.Logger
}

const (
	defaultRefreshTimeout = 20 * time.Second
	maxRefreshTimeout     = time.Hour
)

// New makes a Session. It does no I/O: the token is loaded from the Store with
// the first request. An error says which field of the Config cannot work, or which field
// of what is in it, and what to write there. It shows no secret and no endpoint's URL.
func New(c Config) (*Session, error) {
	set, err := c.settings()
	if err != nil {
		return nil, err
	}
	return newSession(set, c.Store, c.Key), nil
}

// settings checks c and returns what it says.
func (c *Config) settings() (*settings, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := c.checkParts(); err != nil {
		return nil, fmt.Errorf("tokenclient: %w", err)
	}
	return newSettings(c)
}

// check looks at which fields are set, and at figures.
func (c *Config) check() error {
	switch {
	case c.Renewed != nil && isUnnamed(c.Renewed):
		return errors.New(`tokenclient: Config.Renewed: the name that RenewedHeader was given cannot be a header's (RFC 9110, section 5.1); write it like RenewedHeader("X-Auth-Token")`)
	case c.Refresher == nil && c.Renewed == nil:
		return errors.New("tokenclient: Config.Refresher is nil; use a *JSONRefresher or an *OAuth2Refresher, for example, or set Config.Renewed if only the server renews the token")
	case c.Store != nil && check.Nil(c.Store):
		return fmt.Errorf("tokenclient: Config.Store holds a nil pointer, a %T; assign one that was made, or leave it nil for a token in memory", c.Store)
	case c.Store != nil && c.Key == "":
		return errors.New("tokenclient: Config.Key is empty; with a Store it says whose token this is")
	case c.Store == nil && c.Key != "":
		return errors.New("tokenclient: Config.Key is set without a Store; set Config.Store, or leave Key empty for a token in memory")
	case c.AnyOrigin && len(c.Origins) > 0:
		return errors.New("tokenclient: Config has both Origins and AnyOrigin; leave one of them out")
	case !c.AnyOrigin && len(c.Origins) == 0:
		return errors.New(`tokenclient: Config.Origins is empty; list where the token may go, like Origins: []string{"https://api.example.com"}`)
	case c.RefreshTimeout < 0:
		return fmt.Errorf("tokenclient: Config.RefreshTimeout is negative: %v; 0 means %v", c.RefreshTimeout, defaultRefreshTimeout)
	case c.RefreshTimeout > maxRefreshTimeout:
		return fmt.Errorf("tokenclient: Config.RefreshTimeout is %v, more than %v: others wait for it if this process dies", c.RefreshTimeout, maxRefreshTimeout)
	case c.Heartbeat < 0:
		return fmt.Errorf("tokenclient: Config.Heartbeat is negative: %v; 0 means that there is none", c.Heartbeat)
	case c.Logger != nil && c.Logger.Handler() == nil:
		return errors.New("tokenclient: Config.Logger has no Handler; make it with slog.New, or leave it nil to log nothing")
	}
	return nil
}

// checkParts looks into what c is made of.
func (c *Config) checkParts() error {
	if c.Refresher != nil {
		if err := check.Part("Config.Refresher", c.Refresher); err != nil {
			return err
		}
	}
	if c.Attacher != nil {
		if err := checkAttacher("Config.Attacher", c.Attacher); err != nil {
			return err
		}
	}
	return cmp.Or(
		c.checkAudiences(),
		check.Duration("Config.RefreshTimeout", c.RefreshTimeout),
		check.Duration("Config.RefreshBefore", c.RefreshBefore),
		check.Duration("Config.Heartbeat", c.Heartbeat),
	)
}

// settings is what a [Config] says, checked and made ready. It does not change, and
// says nothing about whose token it is: sessions that differ only in their Store and
// key can share one, which saves a third of what an idle session takes. Whoever
// makes many sessions keeps the settings of the first, and hands them to newSession
// for each other whose Config is alike.
type settings struct {
	refresher     Refresher // nil: only the server renews
	attacher      Attacher
	header        string // the header that attacher sets, canonical; "": none
	rules         origin.Rules
	refreshBefore time.Duration
	timeout       time.Duration
	heartbeat     time.Duration
	isRejected    func(*http.Response) bool           // nil: the status is 401
	findRenewed   func(*http.Response) (*Token, bool) // nil: no answer brings a token
	hooks         *observers                          // never nil
	host          host                                // never nil
	audiences     []audienceSettings
}

// setHost is for who makes s.
func (s *settings) setHost(h host) {
	s.host = h
	for _, a := range s.audiences {
		a.host = partHost{h}
	}
}

// ofAudiences are those of the parts.
func (s *settings) ofAudiences() []audienceSettings { return s.audiences }

// forAudience returns the settings of a, whose tokens go where rules say.
func (s settings) forAudience(a Audience, rules origin.Rules) *settings {
	s.rules, s.refresher, s.heartbeat, s.audiences = rules, a.Refresher, 0, nil
	if a.Attacher != nil {
		s.attacher, s.header = a.Attacher, headerOf(a.Attacher)
	}
	return &s
}

// A stepUp is a Config.StepUp, and what it was asked for.
type stepUp struct {
	hook   func(context.Context, *Session, Demand) error
	group  stepup.Group[demanded]
	logins stepup.Logins[era]

	mu      sync.Mutex // guards running
	running map[*stepping]bool
}

// demanded is what one user of a session is asked for.
type demanded struct {
	session *Session
	user    era // with which that user began
	demand  Demand
}

// era is that of a Record.
type era = [16]byte

func newStepUp(hook func(context.Context, *Session, Demand) error) *stepUp {
	if hook == nil {
		return nil
	}
	return &stepUp{hook: hook}
}

// steps is who steps up; nil: nobody does.
func (s *settings) steps() *stepUp { return s.hooks.stepUp }

// observers are whom a session tells what happens, and whom it asks.
type observers struct {
	Hooks
	log    *slog.Logger // nil: nobody
	stepUp *stepUp      // nil: nobody steps up
}

// noObservers is for sessions whose Config has none. Nobody writes to it.
var noObservers observers

// newSettings does not look at c's Store and Key. The rest of c was checked, but for Origins
// and Hosts.
func newSettings(c *Config) (*settings, error) {
	rules, err := newRules(c)
	if err != nil {
		return nil, err
	}
	s := &settings{
		refresher:     c.Refresher,
		attacher:      c.Attacher,
		rules:         rules,
		refreshBefore: c.RefreshBefore,
		timeout:       c.RefreshTimeout,
		heartbeat:     c.Heartbeat,
		isRejected:    c.Rejected,
		findRenewed:   c.Renewed,
		host:          alone{},
		hooks:         &noObservers,
	}
	if s.timeout == 0 {
		s.timeout = defaultRefreshTimeout
	}
	if s.attacher == nil {
		s.attacher = Bearer{}
	}
	s.header = headerOf(s.attacher)
	if c.Hooks != nil || c.Logger != nil || c.StepUp != nil {
		s.hooks = &observers{log: c.Logger, stepUp: newStepUp(c.StepUp)}
		if c.Hooks != nil {
			s.hooks.Hooks = *c.Hooks
		}
	}
	if s.audiences, err = newAudiences(c, s); err != nil {
		return nil, err
	}
	s.setHost(s.host)
	return s, nil
}

// alike reports whether c and d make the same settings, as far as that can be known:
// functions cannot be compared. Store and Key do not matter.
func (c *Config) alike(d *Config) bool {
	return identical(c.Refresher, d.Refresher) && identical(c.Attacher, d.Attacher) &&
		slices.Equal(c.Origins, d.Origins) && slices.Equal(c.Hosts, d.Hosts) &&
		c.AnyOrigin == d.AnyOrigin && c.InsecureHTTP == d.InsecureHTTP && c.ReplaceHeader == d.ReplaceHeader &&
		c.RefreshBefore == d.RefreshBefore && c.RefreshTimeout == d.RefreshTimeout && c.Heartbeat == d.Heartbeat &&
		c.Rejected == nil && d.Rejected == nil && c.Renewed == nil && d.Renewed == nil && c.StepUp == nil && d.StepUp == nil &&
		c.Hooks == d.Hooks && c.Logger == d.Logger && slices.EqualFunc(c.Audiences, d.Audiences, Audience.alike)
}

func (a Audience) alike(b Audience) bool {
	return a.Name == b.Name && slices.Equal(a.Origins, b.Origins) &&
		identical(a.Refresher, b.Refresher) && identical(a.Attacher, b.Attacher)
}

// identical is a == b for all that can be compared. A RefresherFunc cannot.
func identical(a, b any) bool {
	if a == nil || b == nil {
		return a == b
	}
	return reflect.ValueOf(a).Comparable() && reflect.ValueOf(b).Comparable() && a == b
}

// rejectedBy reports whether resp says that the server refused the token.
func (s *settings) rejectedBy(resp *http.Response) bool {
	if s.isRejected != nil {
		return s.isRejected(resp)
	}
	return resp.StatusCode == http.StatusUnauthorized
}

// findsRenewed reports whether an answer may bring a token, and renewedIn which one resp brings.
func (s *settings) findsRenewed() bool { return s.findRenewed != nil }

func (s *settings) renewedIn(resp *http.Response) (*Token, bool) { return s.findRenewed(resp) }

// sendTime is when a request is sent, if anybody is going to ask.
func (s *settings) sendTime() time.Time {
	if s.findRenewed == nil {
		return time.Time{}
	}
	return time.Now().Round(0)
}

func (s *settings) hasRefresher() bool { return s.refresher != nil }

// canRefresh reports whether the Refresher can do anything with t, as far as is known.
func (s *settings) canRefresh(t *Token) bool { return canRefresh(s.refresher, t) }

// beat is how often the token is refreshed at least; 0: by expiry only.
func (s *settings) beat() time.Duration { return s.heartbeat }

// windows are those of a token that lives for lifetime.
func (s *settings) windows(lifetime time.Duration) limit.Windows {
	return limit.NewWindows(lifetime, s.refreshBefore)
}
