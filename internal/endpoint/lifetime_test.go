package endpoint_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
)

var issuedAt = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// testJWT is a JWT with these claims and a signature that nothing looks at.
func testJWT(claims string) string {
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"alg":"HS256"}`)) + "." + enc([]byte(claims)) + ".c2ln"
}

func TestSameSubject(t *testing.T) {
	alice := testJWT(`{"iss":"https://auth.example.com","sub":"alice","exp":1}`)
	for name, c := range map[string]struct {
		a, b string
		want bool
	}{
		"same":                 {alice, testJWT(`{"iss":"https://auth.example.com","sub":"alice","exp":2}`), true},
		"no issuer":            {testJWT(`{"sub":"alice","jti":"1"}`), testJWT(`{"sub":"alice","jti":"2"}`), true},
		"another subject":      {alice, testJWT(`{"iss":"https://auth.example.com","sub":"bob"}`), false},
		"another issuer":       {alice, testJWT(`{"iss":"https://other.example.com","sub":"alice"}`), false},
		"odd issuers":          {testJWT(`{"iss":["x"],"sub":"alice"}`), testJWT(`{"iss":["x"],"sub":"alice"}`), false},
		"odd subjects":         {testJWT(`{"sub":{"x":1}}`), testJWT(`{"sub":{"x":1}}`), false},
		"one odd subject":      {testJWT(`{"sub":"alice"}`), testJWT(`{"sub":["alice"]}`), false},
		"one without issuer":   {alice, testJWT(`{"sub":"alice"}`), false},
		"no subject":           {testJWT(`{"iss":"x"}`), testJWT(`{"iss":"x"}`), false},
		"empty subject":        {testJWT(`{"sub":""}`), testJWT(`{"sub":""}`), false},
		"subject is a number":  {testJWT(`{"sub":7}`), testJWT(`{"sub":7}`), false},
		"subject is null":      {testJWT(`{"sub":null}`), testJWT(`{"sub":null}`), false},
		"opaque":               {"opaque", "opaque", false},
		"one opaque":           {alice, "opaque", false},
		"no token":             {"", "", false},
		"too long to be read":  {testJWT(`{"sub":"alice","x":"` + strings.Repeat("x", 16<<10) + `"}`), alice, false},
		"no object in the JWT": {testJWT(`["sub"]`), testJWT(`["sub"]`), false},
	} {
		if endpoint.SameSubject(c.a, c.b) != c.want || endpoint.SameSubject(c.b, c.a) != c.want {
			t.Errorf("%s: not %v", name, c.want)
		}
	}
}

func TestJWTExpiry(t *testing.T) {
	const now = 1772366400
	issued := time.Unix(now, 0)
	for _, c := range []struct {
		name, claims string
		relative     int64 // seconds after issued; 0: unknown
		absolute     int64 // Unix; 0: unknown
		iat          int64
	}{
		{"seconds", fmt.Sprintf(`{"iat":%d,"exp":%d}`, now, now+900), 900, now + 900, now},
		{"milliseconds", fmt.Sprintf(`{"iat":%d,"exp":%d}`, now*1000, (now+900)*1000), 900, now + 900, now},
		{"milliseconds, exp only", fmt.Sprintf(`{"iat":%d,"exp":%d}`, now, (now+900)*1000), 900, now + 900, now},
		{"floats", fmt.Sprintf(`{"iat":%d.25,"exp":%d.75}`, now, now+900), 900, now + 900, now},
		{"exponents", `{"iat":1.7723664e9,"exp":1.7723673e9}`, 900, now + 900, now},
		{"strings", fmt.Sprintf(`{"iat":"%d","exp":"%d"}`, now, now+900), 900, now + 900, now},
		{"server one hour ahead", fmt.Sprintf(`{"iat":%d,"exp":%d}`, now+3600, now+4500), 900, now + 4500, now + 3600},
		{"server one hour behind", fmt.Sprintf(`{"iat":%d,"exp":%d}`, now-3600, now-2700), 900, now - 2700, now - 3600},
		{"no iat", fmt.Sprintf(`{"exp":%d}`, now+900), 900, now + 900, 0},
		{"no iat, over", fmt.Sprintf(`{"exp":%d}`, now-1), 0, now - 1, 0},
		{"no iat, over just now", fmt.Sprintf(`{"exp":%d}`, now), 0, now, 0},
		{"iat after exp", fmt.Sprintf(`{"iat":%d,"exp":%d}`, now+9000, now+900), 900, now + 900, now + 9000},
		{"iat is nonsense", fmt.Sprintf(`{"iat":"today","exp":%d}`, now+900), 900, now + 900, 0},
		{"ten years", fmt.Sprintf(`{"iat":%d,"exp":%d}`, now, now+315360000), 315360000, now + 315360000, now},
		{"too large for seconds", fmt.Sprintf(`{"iat":%d,"exp":100000000000}`, now), 0, 1e8, now}, // 1973: over
		{"just not", `{"exp":99999999999}`, int64(endpoint.MaxLifetime / time.Second), 99999999999, 0},
		{"after year 9999", `{"exp":253402300800000}`, 0, 0, 0},
		{"no exp", fmt.Sprintf(`{"iat":%d}`, now), 0, 0, now},
		{"exp zero", `{"exp":0}`, 0, 0, 0},
		{"exp negative", `{"exp":-5}`, 0, 0, 0},
		{"exp null", `{"exp":null}`, 0, 0, 0},
		{"exp too large", `{"exp":1e300}`, 0, 0, 0},
		{"exp overflows", `{"exp":1e999}`, 0, 0, 0},
		{"exp overflows, iat does not", fmt.Sprintf(`{"iat":%d,"exp":1e999}`, now), 0, 0, now},
		{"exp true", `{"exp":true}`, 0, 0, 0},
		{"exp object", `{"exp":{}}`, 0, 0, 0},
		{"exp of another name", fmt.Sprintf(`{"EXP":%d}`, now+900), 0, 0, 0},
		{"not an object", `[1]`, 0, 0, 0},
		{"not JSON", `exp`, 0, 0, 0},
		{"empty", ``, 0, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			token := testJWT(c.claims)
			expiry, iat := endpoint.JWTExpiry(token, issued)
			checkLifetime(t, "relative", expiry, issued, int(c.relative))
			checkUnix(t, "iat", iat, c.iat)
			expiry, iat = endpoint.JWTExpiry(token, time.Time{})
			checkUnix(t, "absolute", expiry, c.absolute)
			checkUnix(t, "iat", iat, c.iat)
		})
	}
}

// checkLifetime checks that at is so many seconds after issued, or zero for 0.
func checkLifetime(t *testing.T, name string, at, issued time.Time, seconds int) {
	t.Helper()
	want := issued.Add(time.Duration(seconds) * time.Second)
	if seconds == 0 {
		want = time.Time{}
	}
	if !at.Equal(want) {
		t.Errorf("%s = %v, want %v", name, at, want)
	}
}

func checkUnix(t *testing.T, name string, at time.Time, want int64) {
	t.Helper()
	if at.IsZero() != (want == 0) || want != 0 && at.Unix() != want {
		t.Errorf("%s = %v, want %v", name, at, time.Unix(want, 0))
	}
}

// TestJWTExpiryOfOtherTokens: what is not a JWT that can be read is no error.
func TestJWTExpiryOfOtherTokens(t *testing.T) {
	claims := fmt.Sprintf(`{"iat":%d,"exp":%d,"x":"`, issuedAt.Unix(), issuedAt.Unix()+900)
	fits := testJWT(claims + strings.Repeat("x", endpoint.MaxPeek*3/4-100) + `"}`)
	if len(fits) > endpoint.MaxPeek {
		t.Fatalf("the token that should fit has %d bytes", len(fits))
	}
	if expiry, _ := endpoint.JWTExpiry(fits, issuedAt); expiry.IsZero() {
		t.Error("a token of almost 16 KiB is not read")
	}
	part := strings.Split(testJWT(claims+`"}`), ".")
	for name, token := range map[string]string{
		"too long":        testJWT(claims + strings.Repeat("x", endpoint.MaxPeek) + `"}`),
		"opaque":          "d41d8cd98f00b204e9800998ecf8427e",
		"two parts":       part[0] + "." + part[1],
		"encrypted":       part[0] + "." + part[1] + ".c.d.e",
		"dots":            strings.Repeat(".", 10000),
		"not base64":      part[0] + ".%%%." + part[2],
		"standard base64": part[0] + ".+/+/." + part[2],
		"empty":           "",
	} {
		if expiry, iat := endpoint.JWTExpiry(token, issuedAt); !expiry.IsZero() || !iat.IsZero() {
			t.Errorf("%s: %v, %v, want zero", name, expiry, iat)
		}
	}
	for _, payload := range []string{`{"exp":1772367300}`, `{"exp":1772367300 }`, `{"exp":1772367300  }`} {
		padded := "e30=." + base64.URLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
		expiry, _ := endpoint.JWTExpiry(padded, time.Time{})
		checkUnix(t, "padded", expiry, 1772367300)
	}
}

// TestJWTExpiryWhateverElse: what the rest of a JWT is does not matter. The library that
// parses it thinks otherwise.
func TestJWTExpiryWhateverElse(t *testing.T) {
	enc := base64.RawURLEncoding.EncodeToString
	claims := enc([]byte(`{"iat":1772366400,"exp":1772367300,"aud":7,"nbf":"later","sub":{},"x":1e999}`))
	header := enc([]byte(`{"alg":"RS256"}`))
	for name, token := range map[string]string{
		"alg of its own":              enc([]byte(`{"alg":"ES256K"}`)) + "." + claims + ".c2ln",
		"alg none":                    enc([]byte(`{"alg":"none"}`)) + "." + claims + ".",
		"alg is a number":             enc([]byte(`{"alg":7}`)) + "." + claims + ".c2ln",
		"no alg":                      enc([]byte(`{}`)) + "." + claims + ".c2ln",
		"signature in base64":         header + "." + claims + ".+/+/",
		"signature that is no base64": header + "." + claims + ".%%%",
		"signature cut off":           header + "." + claims + ".c",
		"padding everywhere":          base64.URLEncoding.EncodeToString([]byte(`{"alg":"RS256" }`)) + "." + claims + ".c2lnbg==",
	} {
		expiry, iat := endpoint.JWTExpiry(token, issuedAt)
		checkLifetime(t, name, expiry, issuedAt, 900)
		checkUnix(t, name+", iat", iat, 1772366400)
	}
}

// TestJWTExpiryOfSignedToken reads what the usual library makes.
func TestJWTExpiryOfSignedToken(t *testing.T) {
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		Issuer:    "test",
		IssuedAt:  jwt.NewNumericDate(issuedAt.Add(time.Hour)),
		ExpiresAt: jwt.NewNumericDate(issuedAt.Add(time.Hour + time.Minute)),
	}).SignedString([]byte("a key that no client has"))
	if err != nil {
		t.Fatal(err)
	}
	expiry, _ := endpoint.JWTExpiry(token, issuedAt)
	checkLifetime(t, "Expiry", expiry, issuedAt, 60)
	if expiry, _ = endpoint.JWTExpiry(token, time.Now()); expiry != expiry.Round(0) {
		t.Errorf("%v has a monotonic reading", expiry)
	}
}

func TestExpiry(t *testing.T) {
	for _, c := range []struct {
		issued   time.Time
		lifetime time.Duration
		want     time.Time
	}{
		{issuedAt, time.Hour, issuedAt.Add(time.Hour)},
		{issuedAt, 0, time.Time{}},
		{issuedAt, -time.Hour, time.Time{}},
		{issuedAt, 1<<63 - 1, issuedAt.Add(endpoint.MaxLifetime)},
		{time.Date(9999, 12, 31, 23, 0, 0, 0, time.UTC), time.Minute, time.Date(9999, 12, 31, 23, 1, 0, 0, time.UTC)},
		{time.Date(9999, 12, 31, 23, 0, 0, 0, time.UTC), time.Hour, time.Time{}}, // cannot be written
	} {
		if got := endpoint.Expiry(c.issued, c.lifetime); !got.Equal(c.want) {
			t.Errorf("%v after %v is %v, want %v", c.lifetime, c.issued, got, c.want)
		}
	}
	if got := endpoint.Expiry(time.Now(), time.Hour); got != got.Round(0) {
		t.Errorf("%v has a monotonic reading", got)
	}
}

func FuzzJWTClaims(f *testing.F) {
	for _, claims := range []string{
		`{"iat":1772366400,"exp":1772367300}`, `{"exp":"1772367300000"}`, `{"exp":1.7e9}`, `{"iat":1e11,"exp":1e14}`,
		`{"exp":1e300}`, `{"exp":-1,"iat":-1}`, `{"exp":null}`, `[]`, ``,
	} {
		f.Add([]byte(claims), int64(1772366400))
	}
	f.Fuzz(func(t *testing.T, claims []byte, issuedUnix int64) {
		issued := time.Unix(issuedUnix%1e11, 0)
		for _, issued := range []time.Time{issued, {}} {
			expiry, iat := endpoint.JWTExpiry(testJWT(string(claims)), issued)
			for _, at := range []time.Time{expiry, iat} {
				if at.IsZero() {
					continue
				}
				if _, err := at.UTC().MarshalJSON(); err != nil {
					t.Fatalf("%v cannot be stored: %v", at, err)
				}
			}
			if !issued.IsZero() && !expiry.IsZero() && !expiry.After(issued) {
				t.Fatalf("expiry %v is not after %v", expiry, issued)
			}
		}
	})
}
