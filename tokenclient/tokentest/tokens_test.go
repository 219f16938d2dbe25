package tokentest_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// inMemory runs f with a server in a bubble.
func inMemory(t *testing.T, o tokentest.Options, f func(t *testing.T, srv *tokentest.Server)) {
	t.Helper()
	o.InMemory = true
	synctest.Test(t, func(t *testing.T) { f(t, tokentest.NewServer(t, &o)) })
}

// claims reads a JWT without checking it.
func claims(t *testing.T, text string) jwt.MapClaims {
	t.Helper()
	c := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(text, c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestIssue(t *testing.T) {
	srv := tokentest.NewServer(t, &tokentest.Options{AccessLifetime: time.Hour})
	before := time.Now().Round(0)
	token := srv.Issue("alice")
	if token.TokenType != "Bearer" || token.Issued.Before(before) || token.Issued.After(time.Now()) ||
		token.Expiry.Sub(token.Issued) != time.Hour || token.RefreshExpiry.Sub(token.Issued) != 30*24*time.Hour {
		t.Errorf("%v, issued %v, expiry %v, refresh expiry %v",
			token, token.Issued, token.Expiry, token.RefreshExpiry)
	}
	r := get(t, srv, token.AccessToken)
	wantStatus(t, "API", r, 200)
	if got := r.member("subject"); got != "alice" {
		t.Errorf("the token is of %q", got)
	}
	if got := srv.Counters().Logins; got != 0 {
		t.Errorf("%d logins counted", got)
	}

	srv.Set(func(o *tokentest.Options) { o.NoExpiresIn = true })
	if token = srv.Issue("alice"); !token.Expiry.IsZero() || !token.RefreshExpiry.IsZero() {
		t.Errorf("NoExpiresIn: expiry %v, refresh expiry %v", token.Expiry, token.RefreshExpiry)
	}
	srv.Set(func(o *tokentest.Options) { o.AccessLifetime = -time.Second })
	wantStatus(t, "API with a negative lifetime", get(t, srv, srv.Issue("alice").AccessToken), 401)
}

func TestClaims(t *testing.T) {
	inMemory(t, tokentest.Options{}, func(t *testing.T, srv *tokentest.Server) {
		token := srv.Issue("alice")
		access, refresh := claims(t, token.AccessToken), claims(t, token.RefreshToken)
		if got := slices.Sorted(maps.Keys(access)); !slices.Equal(got, []string{"exp", "family", "iat", "jti", "sub"}) {
			t.Errorf("claims %v", got)
		}
		if access["sub"] != "alice" || access["family"] != refresh["family"] || access["jti"] == refresh["jti"] {
			t.Errorf("access %v, refresh %v", access, refresh)
		}
		now := float64(time.Now().Unix())
		if access["iat"] != now || access["exp"] != now+900 || refresh["exp"] != now+30*24*3600 {
			t.Errorf("at %v: access %v, refresh %v", now, access, refresh)
		}

		srv.Set(func(o *tokentest.Options) { o.Milliseconds = true })
		token = srv.Issue("alice")
		if access = claims(t, token.AccessToken); access["iat"] != now*1000 || access["exp"] != (now+900)*1000 {
			t.Errorf("Milliseconds: %v", access)
		}
		r := get(t, srv, token.AccessToken)
		wantStatus(t, "API with milliseconds", r, 200)
		time.Sleep(15 * time.Minute)
		wantStatus(t, "API with expired milliseconds", get(t, srv, token.AccessToken), 401)
	})
}

func TestForgedTokens(t *testing.T) {
	srv := tokentest.NewServer(t, nil)
	token := srv.Issue("alice")
	good := claims(t, token.AccessToken)
	sign := func(method jwt.SigningMethod, key any) string {
		text, err := jwt.NewWithClaims(method, good).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	head, rest, _ := strings.Cut(token.AccessToken, ".")
	for what, forged := range map[string]string{
		"another key":             sign(jwt.SigningMethodHS256, make([]byte, 32)),
		"no signature":            sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType),
		"changed claims":          head + ".e30" + rest[strings.IndexByte(rest, '.'):],
		"the jti alone":           good["jti"].(string) + ".",
		"refresh token":           token.RefreshToken,
		"another server's token":  tokentest.NewServer(t, nil).Issue("alice").AccessToken,
		"text that is not ASCII":  "\u00e9.\u00e9.\u00e9",
		"token with text behind":  token.AccessToken + "x",
		"token with a text added": token.AccessToken + ".x",
	} {
		wantStatus(t, what, get(t, srv, forged), 401)
	}
	wantStatus(t, "the token itself", get(t, srv, token.AccessToken), 200)
}

func TestOpaque(t *testing.T) {
	srv := tokentest.NewServer(t, &tokentest.Options{Opaque: true})
	token := srv.Issue("alice")
	if strings.Contains(token.AccessToken+token.RefreshToken, ".") {
		t.Errorf("tokens look like JWTs: %q, %q", token.AccessToken, token.RefreshToken)
	}
	wantStatus(t, "API", get(t, srv, token.AccessToken), 200)
	wantStatus(t, "API with the refresh token", get(t, srv, token.RefreshToken), 401)
	wantStatus(t, "refresh with the access token", refresh(t, srv, token.AccessToken), 401)
	wantStatus(t, "refresh", refresh(t, srv, token.RefreshToken), 200)
	wantStatus(t, "refresh again", refresh(t, srv, token.RefreshToken), 401)
	wantStatus(t, "API after reuse", get(t, srv, token.AccessToken), 401)
}

func TestNoExpiresIn(t *testing.T) {
	srv := tokentest.NewServer(t, &tokentest.Options{NoExpiresIn: true})
	r := refresh(t, srv, srv.Issue("alice").RefreshToken)
	wantStatus(t, "refresh", r, 200)
	if strings.Contains(r.body, "expires_in") {
		t.Errorf("answer %s", r.body)
	}
}

func TestExpiry(t *testing.T) {
	inMemory(t, tokentest.Options{AccessLifetime: time.Hour}, func(t *testing.T, srv *tokentest.Server) {
		token := srv.Issue("alice")
		time.Sleep(time.Hour - time.Nanosecond)
		wantStatus(t, "API at the last moment", get(t, srv, token.AccessToken), 200)
		time.Sleep(time.Nanosecond)
		r := get(t, srv, token.AccessToken)
		wantError(t, "API after an hour", r, 401, "invalid_token")
		want := `Bearer error="invalid_token", error_description="the access token expired"`
		if got := r.header.Get("WWW-Authenticate"); got != want {
			t.Errorf("challenge %s, want %s", got, want)
		}
		r = refresh(t, srv, token.RefreshToken)
		wantStatus(t, "refresh", r, 200)
		time.Sleep(30*24*time.Hour - time.Nanosecond)
		r = refresh(t, srv, r.member("refresh_token"))
		wantStatus(t, "refresh at the last moment", r, 200)
		time.Sleep(30 * 24 * time.Hour)
		wantError(t, "refresh after a month", refresh(t, srv, r.member("refresh_token")), 401, "invalid_grant")
		if got := srv.Counters().Reuses; got != 0 {
			t.Errorf("%d reuses counted", got)
		}
	})
}

func TestClockSkew(t *testing.T) {
	inMemory(t, tokentest.Options{ClockSkew: time.Hour}, func(t *testing.T, srv *tokentest.Server) {
		token := srv.Issue("alice")
		now := time.Now()
		if got := claims(t, token.AccessToken)["iat"]; got != float64(now.Add(time.Hour).Unix()) {
			t.Errorf("iat is %v at %v", got, now.Unix())
		}
		if token.Expiry.Sub(now) != 15*time.Minute {
			t.Errorf("the client would see an expiry of %v at %v", token.Expiry, now)
		}
		wantStatus(t, "API", get(t, srv, token.AccessToken), 200)
		srv.Set(func(o *tokentest.Options) { o.ClockSkew += time.Hour })
		wantStatus(t, "API after a jump", get(t, srv, token.AccessToken), 401)
		srv.Set(func(o *tokentest.Options) { o.ClockSkew = -time.Hour })
		wantStatus(t, "API after a jump back", get(t, srv, token.AccessToken), 200)
		r := refresh(t, srv, token.RefreshToken)
		if r.member("expires_in") != "900" {
			t.Errorf("refresh under skew: %s", r.body)
		}
	})
}

func TestReuseRevokesTheFamily(t *testing.T) {
	srv := tokentest.NewServer(t, nil)
	token, other := srv.Issue("alice"), srv.Issue("alice")
	second := refresh(t, srv, token.RefreshToken)
	third := refresh(t, srv, second.member("refresh_token"))
	wantStatus(t, "third pair", third, 200)
	if got := srv.Counters().Reuses; got != 0 {
		t.Errorf("%d reuses counted before there was one", got)
	}

	wantError(t, "reuse", refresh(t, srv, token.RefreshToken), 401, "invalid_grant")
	for what, access := range map[string]string{
		"first": token.AccessToken, "second": second.member("access_token"), "third": third.member("access_token"),
	} {
		wantStatus(t, "API with the "+what, get(t, srv, access), 401)
	}
	wantError(t, "newest refresh token", refresh(t, srv, third.member("refresh_token")), 401, "invalid_grant")
	wantStatus(t, "API with another login", get(t, srv, other.AccessToken), 200)
	if got := srv.Counters().Reuses; got != 1 {
		t.Errorf("%d reuses counted, want 1", got)
	}
}

func TestReuseGrace(t *testing.T) {
	o := tokentest.Options{ReuseGrace: 10 * time.Second, MaxUses: 1}
	inMemory(t, o, func(t *testing.T, srv *tokentest.Server) {
		token := srv.Issue("alice")
		first := refresh(t, srv, token.RefreshToken)
		time.Sleep(10*time.Second - time.Nanosecond)
		sibling := refresh(t, srv, token.RefreshToken)
		wantStatus(t, "within the grace", sibling, 200)
		srv.Set(func(o *tokentest.Options) { o.MaxUses = 0 })
		for what, r := range map[string]reply{"first": first, "sibling": sibling} {
			wantStatus(t, "API with "+what, get(t, srv, r.member("access_token")), 200)
			wantStatus(t, "refresh of "+what, refresh(t, srv, r.member("refresh_token")), 200)
		}
		if got := srv.Counters().Reuses; got != 0 {
			t.Errorf("%d reuses counted within the grace", got)
		}

		time.Sleep(time.Nanosecond) // the grace begins with the first use, not the last
		wantStatus(t, "after the grace", refresh(t, srv, token.RefreshToken), 401)
		wantStatus(t, "API with sibling", get(t, srv, sibling.member("access_token")), 401)
		if got := srv.Counters().Reuses; got != 1 {
			t.Errorf("%d reuses counted, want 1", got)
		}

		// A grace does not bring a dead family back.
		token = srv.Issue("alice")
		wantStatus(t, "refresh", refresh(t, srv, token.RefreshToken), 200)
		srv.RevokeAll("alice")
		wantStatus(t, "revoked, within the grace", refresh(t, srv, token.RefreshToken), 401)
		if got := srv.Counters().Reuses; got != 1 {
			t.Errorf("%d reuses counted, want 1", got)
		}
	})
}

func TestNoRotation(t *testing.T) {
	srv := tokentest.NewServer(t, &tokentest.Options{NoRotation: true})
	token := srv.Issue("alice")
	for range 3 {
		r := refresh(t, srv, token.RefreshToken)
		wantStatus(t, "refresh", r, 200)
		if strings.Contains(r.body, "refresh") {
			t.Errorf("a refresh token in %s", r.body)
		}
		wantStatus(t, "API", get(t, srv, r.member("access_token")), 200)
	}
}

func TestMaxUses(t *testing.T) {
	srv := tokentest.NewServer(t, &tokentest.Options{MaxUses: 2})
	first := refresh(t, srv, srv.Issue("alice").RefreshToken)
	second := refresh(t, srv, first.member("refresh_token"))
	wantStatus(t, "second use", second, 200)
	wantError(t, "third use", refresh(t, srv, second.member("refresh_token")), 401, "invalid_grant")
	wantStatus(t, "API", get(t, srv, second.member("access_token")), 200)
	srv.Set(func(o *tokentest.Options) { o.MaxUses = 3 })
	wantStatus(t, "third use with a higher limit", refresh(t, srv, second.member("refresh_token")), 200)
}

func TestRevokeAccessAndAll(t *testing.T) {
	srv := tokentest.NewServer(t, nil)
	one, two, bob := srv.Issue("alice"), srv.Issue("alice"), srv.Issue("bob")
	srv.RevokeAccess("alice")
	wantError(t, "one", get(t, srv, one.AccessToken), 401, "invalid_token")
	wantError(t, "two", get(t, srv, two.AccessToken), 401, "invalid_token")
	r := refresh(t, srv, one.RefreshToken)
	wantStatus(t, "API with a later token", get(t, srv, r.member("access_token")), 200)

	srv.RevokeAll("alice")
	wantStatus(t, "API after RevokeAll", get(t, srv, r.member("access_token")), 401)
	wantError(t, "refresh after RevokeAll", refresh(t, srv, two.RefreshToken), 401, "invalid_grant")
	wantStatus(t, "bob", get(t, srv, bob.AccessToken), 200)
	wantStatus(t, "bob's refresh", refresh(t, srv, bob.RefreshToken), 200)
	wantStatus(t, "a new login", get(t, srv, srv.Issue("alice").AccessToken), 200)
	if got := srv.Counters(); got.Revocations != 0 || got.Reuses != 0 {
		t.Errorf("%+v", got)
	}
}
