package endpoint_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
)

// TestStatedLifetimes is the rule by which lifetimes and times are read. jwt is how long the
// token itself says that it lives, in seconds; 0: it is opaque.
func TestStatedLifetimes(t *testing.T) {
	sent := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at, cap := sent.Unix(), int(endpoint.MaxLifetime/time.Second)
	const day = 86400
	for _, c := range []struct {
		name, value string
		jwt, want   int // seconds
	}{
		{"seconds", `3600`, 0, 3600},
		{"the shortest", `1`, 0, 1},
		{"less than that", `0.9`, 0, 0},
		{"a string", `"3600"`, 0, 3600},
		{"a float", `3600.9`, 0, 3600},
		{"an exponent", `3.6e3`, 0, 3600},
		{"60 days", `5184000`, 0, 60 * day},
		{"60 days, less the way", `5183944`, 0, 5183944},
		{"a year", `31536000`, 0, 365 * day},
		{"ten years", `315360000`, 0, 3650 * day},
		{"too long to count", `9223372037`, 0, cap},
		{"longer", `1e300`, 0, cap},
		{"seconds, shorter than the token", `60`, 900, 60},
		{"seconds, longer than the token", `3600`, 600, 600},
		{"seconds, about the token's", `3600`, 3599, 3599},

		{"an hour in milliseconds", `3600000`, 0, 3600},
		{"a quarter in milliseconds", `900000`, 0, 900},
		{"a day in milliseconds", `86400000`, 0, day},
		{"12 hours in milliseconds", `43200000`, 0, day / 2},
		{"30 days in milliseconds", `2592000000`, 0, 30 * day},
		{"a year in milliseconds", `31536000000`, 0, 365 * day},
		{"milliseconds, not round", `3599123`, 0, 3599123}, // nothing tells
		{"milliseconds, not round, by the token", `3599123`, 3600, 3599},
		{"10 minutes in milliseconds, by the token", `600000`, 600, 600},
		{"a week and more in seconds, by the token", `900000`, 900000, 900000},

		{"an epoch", fmt.Sprint(at + 600), 0, 600},
		{"an epoch beside a token", fmt.Sprint(at + 600), 600, 600},
		{"an epoch as a string", fmt.Sprintf("%q", fmt.Sprint(at+600)), 0, 600},
		{"an epoch as a float", fmt.Sprintf("%d.25", at+600), 0, 600},
		{"an epoch in milliseconds", fmt.Sprint((at + 600) * 1000), 0, 600},
		{"an epoch that is over", fmt.Sprint(at - 600), 0, 0},
		{"an epoch in milliseconds that is over", fmt.Sprint((at - 600) * 1000), 0, 0},
		{"an epoch that is over beside a token", fmt.Sprint(at - 600), 900, 900},
		{"an epoch later than the token", fmt.Sprint(at + 86400), 900, 900},

		{"RFC 3339", `"2026-03-01T12:10:00Z"`, 0, 600},
		{"with a zone", `"2026-03-01T14:10:00+02:00"`, 0, 600},
		{"with a fraction", `"2026-03-01T12:10:00.123456Z"`, 0, 600},
		{"without a zone", `"2026-03-01T12:10:00"`, 0, 600},
		{"as databases write it", `"2026-03-01 12:10:00"`, 0, 600},
		{"zone without a colon", `"2026-03-01T12:10:00+0000"`, 0, 600},
		{"as HTTP writes it", `"Sun, 01 Mar 2026 12:10:00 GMT"`, 0, 600},
		{"a date that is over", `"2026-03-01T11:59:59Z"`, 0, 0},
		{"an hour", `"1h"`, 0, 3600},
		{"seconds with a unit", `"3600s"`, 0, 3600},
		{"days", `"7d"`, 0, 7 * day},

		{"zero", `0`, 900, 900},
		{"negative", `-5`, 900, 900},
		{"less than a second", `0.9`, 0, 0},
		{"a word", `"soon"`, 900, 900},
		{"hexadecimal", `"0x10"`, 0, 0},
		{"underscores", `"1_000"`, 0, 0},
		{"null", `null`, 900, 900},
		{"true", `true`, 0, 0},
		{"a list", `[3600]`, 0, 0},
		{"an object", `{"seconds":3600}`, 0, 0},
	} {
		token := "opaque"
		if c.jwt > 0 {
			token = testJWT(fmt.Sprintf(`{"iat":%d,"exp":%d}`, at, at+int64(c.jwt)))
		}
		for _, name := range []string{"expires_in", "expiresIn", "expires_at", "expires"} {
			body := fmt.Sprintf(`{"access_token":%q,%q:%s}`, token, name, c.value)
			got, err := endpoint.Read([]byte(body), endpoint.Names{}, endpoint.Clock{Sent: sent})
			if err != nil {
				t.Fatal(err)
			}
			checkLifetime(t, c.name+" as "+name, got.Expiry, sent, c.want)
		}
		if c.jwt > 0 {
			continue
		}
		for _, members := range []string{`"refresh_expires_in":%s`, `"refresh_token_expires_in":%s`, `"x_refresh_token_expires_in":%s`, `"refreshTokenExpiresAt":%s`, `"till":%s`} {
			body := fmt.Sprintf(`{"access_token":"a",`+members+`}`, c.value)
			got, err := endpoint.Read([]byte(body), endpoint.Names{RefreshExpiresAt: "till"}, endpoint.Clock{Sent: sent})
			if err != nil {
				t.Fatal(err)
			}
			checkLifetime(t, c.name+" in "+members, got.RefreshExpiry, sent, c.want)
		}
	}
}

// TestStatedNames: the lifetime goes before the time, and what makes no sense before
// neither. What was not used stays in Extra.
func TestStatedNames(t *testing.T) {
	for body, want := range map[string]struct{ seconds, extra int }{
		`{"access_token":"a","expires_in":60,"expires_at":"2026-03-01T13:00:00Z"}`:      {60, 1},
		`{"access_token":"a","expires_in":"never","expires_at":"2026-03-01T13:00:00Z"}`: {3600, 0},
		`{"access_token":"a","expires":"never","ends":"2026-03-01T13:00:00Z"}`:          {3600, 1},
		`{"access_token":"a",".issued":"x",".expires":"Sun, 01 Mar 2026 13:00:00 GMT"}`: {3600, 1},
		`{"data":{"token":"a","expires_in":60},"expires_in":3600}`:                      {60, 1},
		`{"data":{"token":"a"},"expires_in":3600}`:                                      {3600, 0},
		`{"data":{"token":"a"},"other":{"expires_in":3600}}`:                            {0, 1},
	} {
		got, err := endpoint.Read([]byte(body), endpoint.Names{ExpiresAt: "ends"}, clock)
		if err != nil {
			t.Fatal(err)
		}
		checkLifetime(t, body, got.Expiry, issuedAt, want.seconds)
		if len(got.Extra) != want.extra {
			t.Errorf("%s: Extra %v", body, got.Extra)
		}
	}
}

// TestClock: a time counts from the server's own clock, if that can be right.
func TestClock(t *testing.T) {
	for name, c := range map[string]struct {
		date time.Time
		at   time.Time
		want int
	}{
		"no date":                    {time.Time{}, issuedAt.Add(time.Hour), 3600},
		"the same":                   {issuedAt, issuedAt.Add(time.Hour), 3600},
		"server ahead":               {issuedAt.Add(30 * time.Minute), issuedAt.Add(90 * time.Minute), 3600},
		"server behind":              {issuedAt.Add(-2 * time.Hour), issuedAt.Add(-time.Hour), 3600},
		"our clock says 1970":        {issuedAt.Add(500000 * time.Hour), issuedAt.Add(500001 * time.Hour), 3600},
		"the date is 1970":           {time.Unix(0, 0), issuedAt.Add(time.Hour), 3600},
		"the date is in the future":  {issuedAt.Add(10000 * time.Hour), issuedAt.Add(time.Hour), 3600},
		"over by the server's clock": {issuedAt.Add(2 * time.Hour), issuedAt.Add(-time.Hour), 0},
	} {
		h := http.Header{}
		if !c.date.IsZero() {
			h.Set("Date", c.date.UTC().Format(http.TimeFormat))
		}
		body := fmt.Sprintf(`{"access_token":"a","expires_at":%q}`, c.at.Format(time.RFC3339))
		got, err := endpoint.Read([]byte(body), endpoint.Names{}, endpoint.ClockOf(issuedAt, h))
		if err != nil {
			t.Fatal(err)
		}
		checkLifetime(t, name, got.Expiry, issuedAt, c.want)
	}
}

func TestScheme(t *testing.T) {
	for tokenType, want := range map[string]string{
		"": "Bearer", "Bearer": "Bearer", "bearer": "Bearer", "BEARER": "Bearer", "dpop": "DPoP", "mac": "MAC",
		"jwt-bearer": "Bearer", "N_A": "Bearer", "user": "Bearer", "bot": "Bearer", "BearerToken": "Bearer", "JWT": "Bearer",
		"urn:ietf:params:oauth:token-type:access_token": "Bearer", "Bearer x": "Bearer", "token": "Token", "HAWK": "Hawk",
	} {
		if got := endpoint.Scheme(tokenType, "Token", "Hawk"); got != want {
			t.Errorf("%q: %q, want %q", tokenType, got, want)
		}
	}
	if got := endpoint.Scheme("token"); got != "Bearer" {
		t.Errorf("a scheme that nobody listed: %q", got)
	}
}
