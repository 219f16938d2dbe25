package tokentest

import (
	"crypto/rand"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A family is all tokens that descend from one login.
type family struct {
	id, user string
	uses     int // refreshes that counted against MaxUses
	issued   int // generations
	revoked  bool
	jkt      string // of the key that the tokens are bound to; "": of none
	strength strength
}

// A grant is what the server remembers of one token that it issued.
type grant struct {
	family     *family
	refresh    bool      // else it is an access token
	generation int       // of its family
	expiry     time.Time // by the server's clock
	known      time.Time // when the API learns of it
	spent      time.Time // when a refresh token was first exchanged; zero: not yet
	revoked    bool
}

// Issue makes a pair for user, as a login would, without the network. Expiry,
// RefreshExpiry and Issued are by the local clock, as a client would have set
// them; with Options.NoExpiresIn the first two are zero. The user need not be
// known; without [Server.AddUser] there is just no password to log in with.
// Counters do not show it.
func (s *Server) Issue(user string) *tokenclient.Token {
	e := Event{Kind: "issue", User: user}
	defer func() { s.tell(e) }()
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &family{id: rand.Text(), user: user, issued: 1, strength: s.strengthLocked(nil)}
	t := &tokenclient.Token{
		AccessToken:  s.mintLocked(f, false),
		RefreshToken: s.mintLocked(f, true),
		TokenType:    "Bearer",
		Issued:       time.Now().Round(0),
	}
	if !s.options.NoExpiresIn {
		t.Expiry = t.Issued.Add(s.options.accessLifetime())
		t.RefreshExpiry = t.Issued.Add(s.options.refreshLifetime())
	}
	if len(s.observers) > 0 {
		e.Access, e.Refresh = s.nameLocked(t.AccessToken), s.nameLocked(t.RefreshToken)
	}
	return t
}

// mintLocked makes one token of f.
func (s *Server) mintLocked(f *family, refresh bool) string {
	o := &s.options
	lifetime := o.accessLifetime()
	if refresh {
		lifetime = o.refreshLifetime()
	}
	issued := o.now()
	expiry := issued.Add(lifetime)
	id := rand.Text()
	s.grants[id] = &grant{family: f, refresh: refresh, generation: f.issued, expiry: expiry, known: time.Now().Add(o.Lag)}
	if o.Opaque {
		return id
	}
	unit := time.Time.Unix
	if o.Milliseconds {
		unit = time.Time.UnixMilli
	}
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": f.user, "iat": unit(issued), "exp": unit(expiry), "jti": id, "family": f.id,
	}).SignedString(s.key)
	if err != nil {
		panic("tokentest: " + err.Error()) // strings and integers always marshal
	}
	return text
}

// findLocked returns the grant of a token, nil if this server did not issue it.
func (s *Server) findLocked(text string) *grant {
	if !strings.Contains(text, ".") {
		return s.grants[text]
	}
	claims := jwt.MapClaims{}
	// The grant knows the exact expiry, and exp may be in milliseconds.
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithoutClaimsValidation())
	if _, err := parser.ParseWithClaims(text, claims, func(*jwt.Token) (any, error) {
		return s.key, nil
	}); err != nil {
		return nil
	}
	id, _ := claims["jti"].(string)
	return s.grants[id]
}

// judgeLocked returns the family of an access token, or why it is not accepted.
func (s *Server) judgeLocked(text string) (f *family, refused string) {
	g := s.findLocked(text)
	switch {
	case g == nil || g.refresh || time.Now().Before(g.known):
		return nil, "not an access token of this server"
	case g.revoked || g.family.revoked:
		return nil, "the access token was revoked"
	case !s.options.now().Before(g.expiry):
		return nil, "the access token expired"
	}
	return g.family, ""
}

// login answers a pair of a new family.
func (s *Server) login(user, password string) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if want, ok := s.passwords[user]; !ok || password != want {
		return refusal(http.StatusUnauthorized, "invalid_grant", "wrong user name or password")
	}
	return s.pairLocked(&family{id: rand.Text(), user: user, strength: s.strengthLocked(nil)}, true)
}

// exchange answers a new pair for a refresh token, or an invalid_grant with the
// status that the protocol has for it. jkt is of the key that the call has a proof of.
func (s *Server) exchange(text string, refused int, jkt string) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, g := &s.options, s.findLocked(text)
	if g == nil || !g.refresh {
		return refusal(refused, "invalid_grant", "not a refresh token of this server")
	}
	if why := s.bindLocked(g.family, jkt); why != "" {
		return refusal(refused, "invalid_grant", why)
	}
	now := o.now()
	again := !g.spent.IsZero()
	if again && now.Sub(g.spent) >= o.ReuseGrace {
		// Even of a dead family: that a token came twice is worth knowing.
		s.counters.Reuses++
		g.family.revoked = true
		a := refusal(refused, "invalid_grant", "the refresh token was used before; its family is revoked")
		a.reuse = true
		return a
	}
	switch {
	case g.revoked || g.family.revoked:
		return refusal(refused, "invalid_grant", "the refresh token was revoked")
	case !now.Before(g.expiry):
		return refusal(refused, "invalid_grant", "the refresh token expired")
	case again: // within the grace
		return s.pairLocked(g.family, true)
	case o.MaxUses > 0 && g.family.uses >= o.MaxUses:
		return refusal(refused, "invalid_grant", "the login was refreshed too often")
	}
	g.family.uses++
	if !o.NoRotation {
		g.spent = now
	}
	return s.pairLocked(g.family, !o.NoRotation)
}

// pairLocked is a successful answer (RFC 6749, section 5.1).
func (s *Server) pairLocked(f *family, refresh bool) answer {
	o := &s.options
	f.issued++
	body := map[string]any{"access_token": s.mintLocked(f, false), "token_type": "Bearer"}
	if f.jkt != "" {
		body["token_type"] = "DPoP"
	}
	if !o.NoExpiresIn {
		body["expires_in"] = int64(o.accessLifetime() / time.Second)
	}
	if refresh {
		body["refresh_token"] = s.mintLocked(f, true)
		if !o.NoExpiresIn {
			body["refresh_expires_in"] = int64(o.refreshLifetime() / time.Second)
		}
	}
	return answer{status: http.StatusOK, body: body, granted: s.grantedLocked(f, body)}
}

// grantedLocked is what body says, for a Dialect.
func (s *Server) grantedLocked(f *family, body map[string]any) *Granted {
	o := &s.options
	g := &Granted{User: f.user, Issued: o.now()}
	g.AccessToken, _ = body["access_token"].(string)
	g.RefreshToken, _ = body["refresh_token"].(string)
	if !o.NoExpiresIn {
		g.Lifetime, g.RefreshLifetime = o.accessLifetime(), o.refreshLifetime()
	}
	return g
}

// prolong answers a new access token for one that is accepted.
func (s *Server) prolong(r *http.Request) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	token := s.accessTokenLocked(r)
	if token == "" {
		return refusal(http.StatusUnauthorized, "invalid_token", "no access token")
	}
	f, refused := s.judgeLocked(token)
	if f == nil {
		return refusal(http.StatusUnauthorized, "invalid_token", refused)
	}
	return s.pairLocked(f, false)
}

// revoke ends one token as RFC 7009, section 2.1 has it.
func (s *Server) revoke(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch g := s.findLocked(text); {
	case g == nil:
	case g.refresh:
		g.family.revoked = true
	default:
		g.revoked = true
	}
}

// RevokeAccess makes the API refuse all access tokens that user has so far.
// Refresh tokens still buy new ones. Counters do not show it.
func (s *Server) RevokeAccess(user string) {
	defer s.tell(Event{Kind: "revoke access", User: user})
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.grants {
		if g.family.user == user && !g.refresh {
			g.revoked = true
		}
	}
}

// ExpireAccess has all access tokens that anybody has so far expire now, before the time that
// their holders were told. Refresh tokens still buy new ones. Counters do not show it.
func (s *Server) ExpireAccess() {
	defer s.tell(Event{Kind: "expire"})
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.options.now()
	for _, g := range s.grants {
		if !g.refresh && now.Before(g.expiry) {
			g.expiry = now
		}
	}
}

// RevokeAll ends all families that user has so far: access tokens and refresh
// tokens. Only a new login helps. Counters do not show it.
func (s *Server) RevokeAll(user string) {
	defer s.tell(Event{Kind: "revoke all", User: user})
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.grants {
		if g.family.user == user {
			g.family.revoked = true
		}
	}
}
