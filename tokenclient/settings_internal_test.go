package tokenclient

import (
	"context"
	"log/slog"
	"net/http"
	"reflect"
	"testing"
	"time"
)

// TestConfigsAlike: sessions share settings only if nothing that a Config can say
// differs. A field that is added later must be compared, too.
func TestConfigsAlike(t *testing.T) {
	one, other := &JSONRefresher{TokenURL: "https://a"}, &JSONRefresher{TokenURL: "https://a"}
	hooks, logger := new(Hooks), slog.New(slog.DiscardHandler)
	same := Config{
		Refresher: one, Attacher: HeaderAttacher("X-Auth-Token"), Origins: []string{"https://a"}, Hooks: hooks, Logger: logger,
		RefreshBefore: time.Minute, RefreshTimeout: time.Second, Heartbeat: time.Hour, InsecureHTTP: true,
	}
	changes := map[string]func(*Config){
		"Refresher":      func(c *Config) { c.Refresher = other },
		"Attacher":       func(c *Config) { c.Attacher = HeaderAttacher("X-Other") },
		"Origins":        func(c *Config) { c.Origins = []string{"https://b"} },
		"Hosts":          func(c *Config) { c.Hosts = []string{"a"} },
		"Audiences":      func(c *Config) { c.Audiences = []Audience{{Name: "mail"}} },
		"AnyOrigin":      func(c *Config) { c.AnyOrigin = true },
		"InsecureHTTP":   func(c *Config) { c.InsecureHTTP = false },
		"ReplaceHeader":  func(c *Config) { c.ReplaceHeader = true },
		"RefreshBefore":  func(c *Config) { c.RefreshBefore = 0 },
		"RefreshTimeout": func(c *Config) { c.RefreshTimeout = 0 },
		"Heartbeat":      func(c *Config) { c.Heartbeat = 0 },
		"Rejected":       func(c *Config) { c.Rejected = func(*http.Response) bool { return false } },
		"Renewed":        func(c *Config) { c.Renewed = RenewedHeader("X-Auth-Token") },
		"StepUp":         func(c *Config) { c.StepUp = func(context.Context, *Session, Demand) error { return nil } },
		"Hooks":          func(c *Config) { c.Hooks = nil },
		"Logger":         func(c *Config) { c.Logger = nil },
	}
	fields := reflect.TypeFor[Config]()
	for i := range fields.NumField() {
		name := fields.Field(i).Name
		c := same
		if name == "Store" || name == "Key" {
			c.Store, c.Key = new(ownStore), "key"
			if !same.alike(&c) {
				t.Errorf("settings differ by the %s", name)
			}
			continue
		}
		change := changes[name]
		if change == nil {
			t.Errorf("Config.%s is not in this test", name)
			continue
		}
		change(&c)
		if same.alike(&c) || c.alike(&same) {
			t.Errorf("settings are shared although %s differs", name)
		}
	}
	mail := Audience{Name: "mail", Refresher: one, Origins: []string{"https://m"}, Attacher: Bearer{}}
	for _, change := range []func(*Audience){
		func(a *Audience) { a.Name = "other" },
		func(a *Audience) { a.Refresher = other },
		func(a *Audience) { a.Origins = []string{"https://o"} },
		func(a *Audience) { a.Attacher = nil },
	} {
		next := mail
		change(&next)
		if !mail.alike(mail) || mail.alike(next) {
			t.Errorf("audiences %v and %v: alike is wrong", mail, next)
		}
	}
	f := RefresherFunc(func(context.Context, *Token) (*Token, error) { return nil, nil })
	wraps := struct {
		Attacher
		now func() time.Time
	}{Bearer{}, time.Now}
	for _, c := range []Config{{Refresher: f}, {Attacher: wraps}} {
		if c.alike(&c) {
			t.Error("what cannot be compared is taken to be the same")
		}
	}
	if c := same; !c.alike(&same) {
		t.Error("equal Configs share no settings")
	}
}
