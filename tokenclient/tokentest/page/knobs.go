package page

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest/dialect"
)

// A knob is one of tokentest.Options, as text.
type knob struct {
	Name, Label, Help string
	Flag              bool     // "true" or "false"; else a text
	Choices           []string // nil: any text that set takes

	get func(*tokentest.Options) string
	set func(*tokentest.Options, string) error
}

type knobGroup struct {
	Title string
	Knobs []knob
}

// dialectKnob is the one knob that cannot be read back: a dialect is made of functions.
const (
	dialectKnob = "dialect"
	standard    = "RFC 6749"
	otherwise   = "the program's own"
)

var knobGroups = slices.Concat([]knobGroup{
	{"Lifetimes", []knob{
		timeKnob("access-lifetime", "Access token", "of tokens to come; 0s: 15m", func(o *tokentest.Options) *time.Duration { return &o.AccessLifetime }),
		timeKnob("refresh-lifetime", "Refresh token", "of tokens to come; 0s: 720h", func(o *tokentest.Options) *time.Duration { return &o.RefreshLifetime }),
		timeKnob("clock-skew", "Clock skew", "added to the server's clock", func(o *tokentest.Options) *time.Duration { return &o.ClockSkew }),
	}},
	{"Rotation", []knob{
		flagKnob("no-rotation", "No rotation", "refresh tokens stay good when used", func(o *tokentest.Options) *bool { return &o.NoRotation }),
		timeKnob("reuse-grace", "Reuse grace", "how long a spent refresh token is taken again; 0s: reuse revokes its family", func(o *tokentest.Options) *time.Duration { return &o.ReuseGrace }),
		countKnob("max-uses", "Refreshes a login", "0: no limit", func(o *tokentest.Options) *int { return &o.MaxUses }),
	}},
	{"Slow and late", []knob{
		timeKnob("latency", "Latency", "of every call but the API's", func(o *tokentest.Options) *time.Duration { return &o.Latency }),
		timeKnob("lag", "Replication lag", "until the API knows a new token", func(o *tokentest.Options) *time.Duration { return &o.Lag }),
	}},
	{"Wording", []knob{
		{
			Name: dialectKnob, Label: "Dialect", Help: "how a well-known server answers; the clients here speak " + standard, Choices: dialectNames(),
			get: func(o *tokentest.Options) string {
				d := o.Dialect
				if d.RefreshToken == nil && d.Granted == nil && d.Refused == nil && d.Rejected == nil {
					return standard
				}
				return otherwise
			},
			set: func(o *tokentest.Options, v string) error {
				worded, ok := dialects[v]
				if !ok {
					return errors.New("no such dialect")
				}
				o.Dialect = worded()
				return nil
			},
		},
		{
			Name: "header", Label: "Header", Help: "of the bare access token, such as X-Auth-Token; empty: Authorization",
			get: func(o *tokentest.Options) string { return o.Header },
			set: func(o *tokentest.Options, v string) error {
				if strings.ContainsFunc(v, func(r rune) bool { return r != '-' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z') }) {
					return errors.New("want the name of a header")
				}
				o.Header = http.CanonicalHeaderKey(v)
				return nil
			},
		},
		flagKnob("sliding-header", "Sliding", "API answers bring a new access token", func(o *tokentest.Options) *bool { return &o.SlidingHeader }),
		flagKnob("opaque", "Opaque tokens", "random strings, not JWTs", func(o *tokentest.Options) *bool { return &o.Opaque }),
		flagKnob("no-expires-in", "No expires_in", "answers do not say how long tokens live", func(o *tokentest.Options) *bool { return &o.NoExpiresIn }),
		flagKnob("milliseconds", "Milliseconds", "in iat and exp of JWTs", func(o *tokentest.Options) *bool { return &o.Milliseconds }),
	}},
}, wantGroups)

var dialects = map[string]func() tokentest.Dialect{
	standard:    func() tokentest.Dialect { return tokentest.Dialect{} },
	"Atlassian": dialect.Atlassian, "Auth0": dialect.Auth0, "Directus": dialect.Directus, "Firebase": dialect.Firebase,
	"GitHub": dialect.GitHub, "GitHub, as a form": dialect.GitHubForm, "Google": dialect.Google, "HubSpot": dialect.HubSpot,
	"Keycloak": dialect.Keycloak, "Microsoft": dialect.Microsoft, "Notion": dialect.Notion, "Okta": dialect.Okta,
	"Salesforce": dialect.Salesforce, "SimpleJWT": dialect.SimpleJWT, "Slack": dialect.Slack, "Spotify": dialect.Spotify,
	"Strava": dialect.Strava, "Supabase": dialect.Supabase, "Twitch": dialect.Twitch, "UAA": dialect.UAA,
	"Withings": dialect.Withings, "Zoho": dialect.Zoho,
}

// dialectNames has the standard first.
func dialectNames() []string {
	var names []string
	for name := range dialects {
		if name != standard {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return append([]string{standard}, names...)
}

func timeKnob(name, label, help string, field func(*tokentest.Options) *time.Duration) knob {
	return knob{
		Name: name, Label: label, Help: help,
		get: func(o *tokentest.Options) string { return field(o).String() },
		set: func(o *tokentest.Options, v string) error {
			d, err := time.ParseDuration(v)
			if err != nil {
				return errors.New("want a time, such as 90s, 200ms or 1h30m")
			}
			*field(o) = d
			return nil
		},
	}
}

func countKnob(name, label, help string, field func(*tokentest.Options) *int) knob {
	return knob{
		Name: name, Label: label, Help: help,
		get: func(o *tokentest.Options) string { return strconv.Itoa(*field(o)) },
		set: func(o *tokentest.Options, v string) error {
			n, err := strconv.ParseUint(v, 10, 31)
			if err != nil {
				return errors.New("want a number, such as 3")
			}
			*field(o) = int(n)
			return nil
		},
	}
}

func flagKnob(name, label, help string, field func(*tokentest.Options) *bool) knob {
	return knob{
		Name: name, Label: label, Help: help, Flag: true,
		get: func(o *tokentest.Options) string { return strconv.FormatBool(*field(o)) },
		set: func(o *tokentest.Options, v string) error {
			on, err := strconv.ParseBool(v)
			if err != nil {
				return errors.New("want true or false")
			}
			*field(o) = on
			return nil
		},
	}
}

// state is what the script is told beside events, as JSON.
func (p *page) state() []byte {
	values := map[string]string{}
	p.srv.Set(func(o *tokentest.Options) {
		for _, g := range knobGroups {
			for _, k := range g.Knobs {
				values[k.Name] = k.get(o)
			}
		}
	})
	counters := p.srv.Counters()
	p.mu.Lock()
	defer p.mu.Unlock()
	if values[dialectKnob] == otherwise {
		values[dialectKnob] = cmp.Or(p.dialect, otherwise)
	}
	b, err := json.Marshal(map[string]any{
		"counters": counters, "knobs": values, "held": p.release != nil, "running": p.running, "outcomes": p.outcomes,
	})
	if err != nil {
		panic("page: " + err.Error()) // numbers and strings always marshal
	}
	return b
}

// serveSet is POST /page/set, with the name of a knob and its value.
func (p *page) serveSet(w http.ResponseWriter, r *http.Request) {
	name, value := r.PostFormValue("name"), strings.TrimSpace(r.PostFormValue("value"))
	for _, g := range knobGroups {
		for _, k := range g.Knobs {
			if k.Name != name {
				continue
			}
			var err error
			p.srv.Set(func(o *tokentest.Options) { err = k.set(o, value) })
			if err != nil {
				http.Error(w, k.Label+": "+err.Error(), http.StatusBadRequest)
				return
			}
			if name == dialectKnob {
				p.mu.Lock()
				p.dialect = value
				p.mu.Unlock()
			}
			p.feed.note("%s: %s", k.Label, cmp.Or(value, "as usual"))
			w.WriteHeader(http.StatusNoContent)
			return
		}
	}
	http.Error(w, "there is no such knob", http.StatusBadRequest)
}

// serveDo is POST /page/do, with what to do and, for some, more.
func (p *page) serveDo(w http.ResponseWriter, r *http.Request) {
	user := r.PostFormValue("user")
	var err error
	switch r.PostFormValue("what") {
	case "expire":
		p.srv.ExpireAccess()
	case "revoke-access", "revoke-all":
		if user == "" {
			err = errors.New("say whose tokens")
		} else if r.PostFormValue("what") == "revoke-all" {
			p.srv.RevokeAll(user)
		} else {
			p.srv.RevokeAccess(user)
		}
	case "hold":
		p.hold()
	case "fail":
		err = p.fail(r)
	default:
		err = errors.New("there is no such button")
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// hold holds the answers of the API, or releases them.
func (p *page) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.release == nil {
		p.release = p.srv.Hold()
		p.feed.note("the API's answers are held")
		return
	}
	p.release()
	p.release = nil
	p.feed.note("the API's answers are released")
}

// fail plans faults.
func (p *page) fail(r *http.Request) error {
	n, err := strconv.ParseInt(r.PostFormValue("n"), 10, 32)
	if err != nil || n < -1 {
		return errors.New("how many: want a number, or -1 for all")
	}
	f := tokentest.Fault{Cut: r.PostFormValue("cut") == "true", AfterCommit: r.PostFormValue("after") == "true", Header: http.Header{}}
	if f.Status, err = strconv.Atoi(r.PostFormValue("status")); err != nil || f.Status < 200 || f.Status > 999 {
		return errors.New("status: want a number from 200 to 999")
	}
	if after := r.PostFormValue("retry-after"); after != "" {
		if _, err := strconv.ParseUint(after, 10, 31); err != nil {
			return errors.New("Retry-After: want a number of seconds")
		}
		f.Header.Set("Retry-After", after)
	}
	what, plan := "refreshes", p.srv.FailRefresh
	if r.PostFormValue("api") == "true" {
		what, plan = "API requests", p.srv.FailAPI
	}
	plan(int(n), f)
	how := fmt.Sprintf("fail with %d", f.Status)
	if f.Cut {
		how = "are cut off"
	}
	if f.AfterCommit {
		how += " after they took effect"
	}
	switch n {
	case 0:
		p.feed.note("%s fail no more", what)
	case -1:
		p.feed.note("all %s %s", what, how)
	default:
		p.feed.note("the next %d %s %s", n, what, how)
	}
	return nil
}
