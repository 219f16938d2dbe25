package tokenclient

import (
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/origin"
)

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
	isRefusal     func(*http.Response) bool           // nil: the status is 401
	findRenewed   func(*http.Response) (*Token, bool) // nil: no answer brings a token
	hooks         *observers                          // never nil
	host          host                                // never nil
}

// observers are whom a session tells what happens.
type observers struct {
	Hooks
	log *slog.Logger // nil: nobody
}

// noObservers is for sessions whose Config has none. Nobody writes to it.
var noObservers observers

// newSettings does not look at c's Store and Key.
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
		isRefusal:     c.Rejected,
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
	if err := checkAttacher("Config.Attacher", s.attacher); err != nil {
		return nil, err
	}
	s.header = http.CanonicalHeaderKey(s.attacher.HeaderName())
	if c.Hooks != nil || c.Logger != nil {
		s.hooks = &observers{log: c.Logger}
		if c.Hooks != nil {
			s.hooks.Hooks = *c.Hooks
		}
	}
	return s, nil
}

// alike reports whether c and d make the same settings, as far as that can be known:
// functions cannot be compared. Store and Key do not matter.
func (c *Config) alike(d *Config) bool {
	return identical(c.Refresher, d.Refresher) && identical(c.Attacher, d.Attacher) &&
		slices.Equal(c.Origins, d.Origins) && slices.Equal(c.Hosts, d.Hosts) &&
		c.AnyOrigin == d.AnyOrigin && c.InsecureHTTP == d.InsecureHTTP &&
		c.RefreshBefore == d.RefreshBefore && c.RefreshTimeout == d.RefreshTimeout && c.Heartbeat == d.Heartbeat &&
		c.Rejected == nil && d.Rejected == nil && c.Renewed == nil && d.Renewed == nil &&
		c.Hooks == d.Hooks && c.Logger == d.Logger
}

// identical is a == b for all that can be compared. A RefresherFunc cannot.
func identical(a, b any) bool {
	if a == nil || b == nil {
		return a == b
	}
	return reflect.ValueOf(a).Comparable() && reflect.ValueOf(b).Comparable() && a == b
}

// refusedBy reports whether resp says that the server refused the token.
func (s *settings) refusedBy(resp *http.Response) bool {
	if s.isRefusal != nil {
		return s.isRefusal(resp)
	}
	return resp.StatusCode == http.StatusUnauthorized
}
