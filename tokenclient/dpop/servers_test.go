package dpop_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/dpop"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// faked is a session with proofs whose API and token endpoint are functions.
func faked(t testing.TB, p *dpop.Prover, api, endpoint roundTrip) (*http.Client, *tokenclient.Session) {
	t.Helper()
	s, err := tokenclient.New(tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL: "https://auth.example.com/token", ClientAuth: tokenclient.PublicClient("app"), Binder: p,
			HTTPClient: &http.Client{Transport: endpoint},
		},
		Attacher: p, Origins: []string{"https://api.example.com"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.WithoutCancel(t.Context())) })
	if err := s.SetToken(t.Context(), &tokenclient.Token{
		AccessToken: "a0", RefreshToken: "r0", TokenType: "DPoP", Issued: time.Now().Add(-time.Minute), Expiry: time.Now().Add(time.Hour),
	}); err != nil {
		t.Fatal(err)
	}
	return s.Wrap(&http.Client{Transport: api}), s
}

func reply(req *http.Request, status int, header http.Header, body string) *http.Response {
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
		_ = req.Body.Close()
	}
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(body)), Request: req, ProtoMajor: 1, ProtoMinor: 1}
}

func noEndpoint(*http.Request) (*http.Response, error) { panic("the token endpoint is asked") }

// TestBadNonces: a nonce that cannot be used is not, and one that never settles costs four
// sendings; the answer comes back, and the token endpoint is left alone.
func TestBadNonces(t *testing.T) {
	for name, tc := range map[string]struct {
		nonces []string
		want   int
	}{
		"none":               {nil, 1},
		"empty":              {[]string{""}, 1},
		"a line break":       {[]string{"a\r\nX: y"}, 1},
		"a control":          {[]string{"a\x01"}, 1},
		"a space":            {[]string{"a b"}, 1},
		"a quote":            {[]string{`a"b`}, 1},
		"not ASCII":          {[]string{"ä"}, 1},
		"10 KB":              {[]string{strings.Repeat("n", 10<<10)}, 1},
		"two":                {[]string{"a", "b"}, 1},
		"the same for ever":  {[]string{"a"}, 2},
		"another each time":  {[]string{"%d"}, 4},
		"2 KiB, for a while": {[]string{strings.Repeat("n", 2<<10-1) + "%d"}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			var sent []string
			api := func(req *http.Request) (*http.Response, error) {
				nonce, _ := split(t, req.Header.Get("DPoP"))[1]["nonce"].(string)
				sent = append(sent, nonce)
				h := http.Header{"Www-Authenticate": {`DPoP error="use_dpop_nonce"`}}
				for _, n := range tc.nonces {
					h.Add("DPoP-Nonce", strings.ReplaceAll(n, "%d", fmt.Sprint(len(sent)%10)))
				}
				return reply(req, 401, h, "in its own words"), nil
			}
			client, _ := faked(t, &dpop.Prover{Signer: signerFor(t, "EdDSA")}, api, noEndpoint)
			resp, err := client.Post("https://api.example.com/", "text/plain", strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != 401 || string(body) != "in its own words" || len(sent) != tc.want {
				t.Errorf("status %d, body %q, sent with %.20q", resp.StatusCode, body, sent)
			}
		})
	}
}

// TestRefusedWithoutNonce: a request that cannot be sent twice has the nonce of the refusal when
// its program sends it again.
func TestRefusedWithoutNonce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := func(req *http.Request) (*http.Response, error) {
			h := http.Header{"Www-Authenticate": {`DPoP error="use_dpop_nonce"`}, "Dpop-Nonce": {"the-nonce"}}
			if split(t, req.Header.Get("DPoP"))[1]["nonce"] == "the-nonce" {
				return reply(req, 200, nil, ""), nil // no nonce in it: the old one is good
			}
			return reply(req, 401, h, ""), nil
		}
		_, s := faked(t, &dpop.Prover{Signer: signerFor(t, "EdDSA")}, api, noEndpoint)
		transport := s.Transport(roundTrip(api))
		transport.NoReplay = func(*http.Request) bool { return true }
		for _, want := range []int{401, 200, 200, 200} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://api.example.com/", strings.NewReader("b"))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := transport.RoundTrip(req)
			if err != nil || resp.StatusCode != want {
				t.Errorf("%v, %v, want %d", resp, err, want)
			}
			time.Sleep(time.Second)
		}
	})
}

// TestOrigins: nonces and clocks are of one origin, and apart for its token endpoint and its API.
func TestOrigins(t *testing.T) {
	p := &dpop.Prover{Signer: signerFor(t, "EdDSA")}
	ask := func(url string, endpoint bool, nonce string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		var a tokenclient.Attacher = p
		if endpoint {
			if _, a, err = p.Bind(t.Context(), bound); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Attach(req, bound); err != nil {
			t.Fatal(err)
		}
		resp := reply(req, 200, http.Header{}, "")
		if nonce != "" {
			resp.Header.Set("DPoP-Nonce", nonce)
		}
		a.(interface {
			Answered(*http.Request, *http.Response, *tokenclient.Token) bool
		}).Answered(req, resp, bound)
		got, _ := split(t, req.Header.Get("DPoP"))[1]["nonce"].(string)
		return got
	}
	type at struct {
		url      string
		endpoint bool
	}
	places := []at{
		{"https://one.example/a", false}, {"https://one.example/a", true}, {"http://one.example/a", false}, {"https://one.example:8443/a", false},
		{"https://two.example/a", false}, {"https://two.example/a", true},
	}
	for i, place := range places {
		if got := ask(place.url, place.endpoint, fmt.Sprint("nonce-", i)); got != "" {
			t.Errorf("%v begins with %q", place, got)
		}
	}
	for i, place := range places {
		url := strings.ToUpper(place.url[:4]) + strings.Replace(place.url[4:], "/a", "/another?path", 1)
		if got := ask(url, place.endpoint, ""); got != fmt.Sprint("nonce-", i) {
			t.Errorf("%v: %q", place, got)
		}
	}
	for i := range 5000 { // more than are remembered
		ask(fmt.Sprintf("https://%d.example/", i), false, "n")
	}
}

// TestClockRefusals: what a server's Date is not believed for.
func TestClockRefusals(t *testing.T) {
	for name, header := range map[string]http.Header{
		"no Date":    {},
		"no date":    {"Date": {"soon"}},
		"years away": {"Date": {time.Now().Add(10000 * time.Hour).UTC().Format(http.TimeFormat)}},
		"a cache's":  {"Date": {time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)}, "Age": {"3600"}},
		"its own":    {"Date": {time.Now().UTC().Format(http.TimeFormat)}},
	} {
		var at []float64
		api := func(req *http.Request) (*http.Response, error) {
			at = append(at, split(t, req.Header.Get("DPoP"))[1]["iat"].(float64))
			h := header.Clone()
			h.Set("WWW-Authenticate", `DPoP error="invalid_dpop_proof"`)
			return reply(req, 401, h, ""), nil
		}
		client, _ := faked(t, &dpop.Prover{Signer: signerFor(t, "EdDSA")}, api, noEndpoint)
		for range 2 {
			resp, err := client.Get("https://api.example.com/")
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
		}
		if len(at) != 2 || at[1]-at[0] > 60 || at[0]-at[1] > 60 {
			t.Errorf("%s: sent at %v", name, at)
		}
	}
}

// TestRedirects: each hop has a proof of its own, for its own URL.
func TestRedirects(t *testing.T) {
	r := newRig(t, strict, new(dpop.Prover), nil)
	r.login(t)
	var seen []string
	base := r.server.Client().Transport
	client := r.session.Wrap(&http.Client{Transport: roundTrip(func(req *http.Request) (*http.Response, error) {
		claims := split(t, req.Header.Get("DPoP"))[1]
		seen = append(seen, fmt.Sprint(claims["htm"], " ", strings.TrimPrefix(fmt.Sprint(claims["htu"]), r.server.URL)))
		if strings.HasSuffix(req.URL.Path, "/from") {
			return reply(req, 303, http.Header{"Location": {"/api/to?x=1"}}, ""), nil
		}
		return base.RoundTrip(req)
	})})
	resp, err := client.Post(r.server.URL+"/api/from", "text/plain", strings.NewReader("b"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if got := strings.Join(seen, ", "); resp.StatusCode != 200 || got != "POST /api/from, GET /api/to, GET /api/to" {
		t.Errorf("%d, %s", resp.StatusCode, got)
	}
}

// FuzzAnswers: whatever servers answer, at random, no request is sent more often than is
// documented (once, the replay, three times because of proofs; tokens are not young here), no
// refresh makes more than three calls, each sending has a proof of its own, and nothing panics.
func FuzzAnswers(f *testing.F) {
	for seed := range uint64(30) {
		f.Add(seed, "nonce", "use_dpop_nonce", "Sat, 28 Nov 2026 06:37:02 GMT")
	}
	f.Add(uint64(7), strings.Repeat("x", 3000), "invalid_dpop_proof", "never")
	f.Add(uint64(8), "a\x00b", "invalid_token", "")
	p := &dpop.Prover{Signer: signerFor(f, "EdDSA")}
	f.Fuzz(func(t *testing.T, seed uint64, nonce, code, date string) {
		random := rand.New(rand.NewPCG(seed, 1))
		seen := map[any]bool{}
		answer := func(req *http.Request, good string) (*http.Response, error) {
			id := split(t, req.Header.Get("DPoP"))[1]["jti"]
			if seen[id] || id == nil {
				t.Errorf("jti %v again", id)
			}
			seen[id] = true
			h := http.Header{"Date": {date}, "Dpop-Nonce": {fmt.Sprint(nonce, random.IntN(5))}, "Content-Type": {"application/json"}}
			if random.IntN(3) == 0 {
				h.Set("Date", time.Now().Add(time.Duration(random.IntN(100000))*time.Second).UTC().Format(http.TimeFormat))
			}
			codes := []string{code, "use_dpop_nonce", "invalid_dpop_proof", "invalid_token", ""}
			code := codes[random.IntN(len(codes))]
			switch random.IntN(6) {
			case 0:
				return reply(req, 200, h, good), nil
			case 1:
				return reply(req, 400, h, `{"error":"`+code+`"}`), nil
			default:
				h.Set("WWW-Authenticate", `DPoP error="`+code+`"`)
				return reply(req, 401, h, `{"error":"`+code+`"}`), nil
			}
		}
		sent, calls := 0, 0
		client, s := faked(t, p, func(req *http.Request) (*http.Response, error) {
			sent++
			return answer(req, "")
		}, func(req *http.Request) (*http.Response, error) {
			calls++
			return answer(req, `{"access_token":"a","token_type":"DPoP","refresh_token":"r","expires_in":3600}`)
		})
		resp, err := client.Post("https://api.example.com/", "text/plain", strings.NewReader("body"))
		if err == nil {
			_ = resp.Body.Close()
		}
		if young := 4; sent > 1+1+3+young || calls > 3 {
			t.Errorf("%d sendings, %d calls", sent, calls)
		}
		calls = 0
		if _, err := s.Refresh(t.Context()); calls > 3 {
			t.Errorf("%d calls, %v", calls, err)
		}
	})
}

// TestStrictServer: tokentest refuses what is wrong with a proof.
func TestStrictServer(t *testing.T) {
	r := newRig(t, tokentest.DPoP{}, new(dpop.Prover), nil)
	token := r.login(t)
	attach := func(method, path string, t0 *tokenclient.Token) *http.Request {
		req, err := http.NewRequestWithContext(t.Context(), method, r.server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.prover.Attach(req, t0); err != nil {
			t.Fatal(err)
		}
		return req
	}
	stranger := token.Clone()
	stranger.Binding = bindingOf(t, "ES256")
	first := attach("GET", "/api/x", token)
	for _, tc := range []struct {
		name, want string
		change     func(*http.Request)
	}{
		{"good", "", func(r *http.Request) { r.Header = first.Header }},
		{"again", "jti", func(r *http.Request) { r.Header = first.Header }},
		{"none", "0 proofs", func(r *http.Request) { r.Header.Del("DPoP") }},
		{"two", "2 proofs", func(r *http.Request) { r.Header.Add("DPoP", "x") }},
		{"method", "htm", func(r *http.Request) { r.Method = "PUT" }},
		{"path", "htu", func(r *http.Request) { r.URL.Path = "/api/y" }},
		{"another token", "ath", func(r *http.Request) { r.Header.Set("Authorization", "DPoP x") }},
		{"another key", "bound to another key", func(r *http.Request) { r.Header = attach("GET", "/api/x", stranger).Header }},
		{"Bearer", "no access token", func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+token.AccessToken)
		}},
		{"signature", "verified", func(r *http.Request) {
			proof := r.Header.Get("DPoP")
			r.Header.Set("DPoP", proof[:strings.LastIndexByte(proof, '.')]+".AAAA")
		}},
	} {
		req := attach("GET", "/api/x", token)
		tc.change(req)
		resp, err := r.server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if tc.want == "" && resp.StatusCode != 200 || tc.want != "" && (resp.StatusCode != 401 ||
			!strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "DPoP ") || !strings.Contains(string(body), tc.want)) && tc.name != "Bearer" {
			t.Errorf("%s: %d %s", tc.name, resp.StatusCode, body)
		}
	}
}

// TestSlowAnswers: that an answer took long says nothing of a clock, nor of a proof that came
// with a token that was refused: an upload that takes a minute is sent twice, for there is one
// refresh, and an answer may be dated by when its request came.
func TestSlowAnswers(t *testing.T) {
	for _, skew := range []time.Duration{0, time.Hour, -time.Hour} {
		t.Run(fmt.Sprint(skew), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(300 * time.Millisecond)
				uploads, refreshes, badProofs := 0, 0, 0
				api := func(req *http.Request) (*http.Response, error) {
					came := time.Now().Add(skew)
					h := http.Header{"Date": {came.UTC().Format(http.TimeFormat)}}
					iat := time.Unix(int64(split(t, req.Header.Get("DPoP"))[1]["iat"].(float64)), 0)
					if came.Sub(iat).Abs() > 3*time.Second {
						badProofs++
						h.Set("WWW-Authenticate", `DPoP error="invalid_dpop_proof"`)
						return reply(req, 401, h, ""), nil
					}
					switch {
					case req.URL.Path == "/poll":
						time.Sleep(5 * time.Minute)
					case req.Body != nil:
						uploads++
						time.Sleep(time.Minute)
						h.Set("Date", time.Now().Add(skew).UTC().Format(http.TimeFormat))
						if req.Header.Get("Authorization") == "DPoP a0" {
							h.Set("WWW-Authenticate", `DPoP error="invalid_token"`)
							return reply(req, 401, h, ""), nil
						}
					}
					return reply(req, 200, h, ""), nil
				}
				endpoint := func(req *http.Request) (*http.Response, error) {
					refreshes++
					return reply(req, 200, nil, `{"access_token":"a1","token_type":"DPoP","refresh_token":"r1","expires_in":36000}`), nil
				}
				client, _ := faked(t, &dpop.Prover{Signer: signerFor(t, "EdDSA")}, api, endpoint)
				for _, path := range []string{"/", "/poll", "/", "/poll", "/"} {
					resp, err := client.Get("https://api.example.com" + path)
					if err != nil || resp.StatusCode != 200 {
						t.Fatalf("%s: %v, %v", path, resp, err)
					}
					_ = resp.Body.Close()
				}
				if want := min(int(skew.Abs()), 1); badProofs != want {
					t.Errorf("%d proofs were dated wrong, want %d", badProofs, want)
				}
				resp, err := client.Post("https://api.example.com/", "text/plain", strings.NewReader("a long body"))
				if err != nil || resp.StatusCode != 200 || uploads != 2 || refreshes != 1 {
					t.Fatalf("%v, %v after %d uploads and %d refreshes", resp, err, uploads, refreshes)
				}
				_ = resp.Body.Close()
			})
		})
	}
}

// TestClockOfMany: requests that were sent together by the wrong clock are all sent again by the
// right one, also those whose answers teach nothing new, and if the server blames the token.
func TestClockOfMany(t *testing.T) {
	for _, skew := range []time.Duration{time.Hour, -time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			api := func(req *http.Request) (*http.Response, error) {
				now := time.Now().Add(skew)
				h := http.Header{"Date": {now.UTC().Format(http.TimeFormat)}}
				iat := time.Unix(int64(split(t, req.Header.Get("DPoP"))[1]["iat"].(float64)), 0)
				if now.Sub(iat).Abs() <= 3*time.Second {
					return reply(req, 200, h, ""), nil
				}
				h.Set("WWW-Authenticate", `DPoP error="invalid_token"`)
				time.Sleep(time.Duration(len(req.URL.Path)) * time.Second)
				return reply(req, 401, h, ""), nil
			}
			client, _ := faked(t, &dpop.Prover{Signer: signerFor(t, "EdDSA")}, api, noEndpoint)
			var running sync.WaitGroup
			for i := range 5 {
				running.Go(func() {
					resp, err := client.Get("https://api.example.com/" + strings.Repeat("x", i))
					if err != nil || resp.StatusCode != 200 {
						t.Errorf("%d: %v, %v", i, resp, err)
						return
					}
					_ = resp.Body.Close()
				})
			}
			running.Wait()
		})
	}
}

// TestPlainTransport: a token endpoint's nonce is used at once, also by way of a transport that
// makes its answers by itself, and does not say what they answer.
func TestPlainTransport(t *testing.T) {
	var sent []any
	endpoint := func(req *http.Request) (*http.Response, error) {
		nonce := split(t, req.Header.Get("DPoP"))[1]["nonce"]
		sent = append(sent, nonce)
		resp := reply(req, 400, http.Header{"Dpop-Nonce": {fmt.Sprint("n", len(sent))}}, `{"error":"use_dpop_nonce"}`)
		if nonce != nil {
			resp = reply(req, 200, nil, `{"access_token":"a1","token_type":"DPoP","refresh_token":"r1","expires_in":36000}`)
		}
		resp.Request = nil
		return resp, nil
	}
	_, s := faked(t, &dpop.Prover{Signer: signerFor(t, "EdDSA")}, noEndpoint, endpoint)
	if _, err := s.Refresh(t.Context()); err != nil || len(sent) != 2 || sent[1] != "n1" {
		t.Errorf("%v, sent with %v", err, sent)
	}
}

// TestNoProofRefused: an API that takes both schemes names both when it refuses a Bearer token
// (RFC 9449, section 7.2). There is no proof that could be another one, so it is sent once, and
// the token is refreshed if it is what the server refuses.
func TestNoProofRefused(t *testing.T) {
	for code, want := range map[string]int{"": 1, "invalid_token": 1, "invalid_dpop_proof": 0, "use_dpop_nonce": 0} {
		t.Run(code, func(t *testing.T) {
			sent, refreshes := 0, 0
			api := func(req *http.Request) (*http.Response, error) {
				sent++
				h := http.Header{"Date": {time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)}, "Dpop-Nonce": {fmt.Sprint("n", sent)}}
				if req.Header.Get("Authorization") != "Bearer a0" || req.URL.Path == "/open" {
					return reply(req, 200, h, ""), nil
				}
				h.Set("WWW-Authenticate", fmt.Sprintf(`Bearer error="invalid_token", DPoP algs="ES256", error=%q`, code))
				return reply(req, 401, h, ""), nil
			}
			endpoint := func(req *http.Request) (*http.Response, error) {
				refreshes++
				return reply(req, 200, nil, `{"access_token":"a1","token_type":"DPoP","refresh_token":"r1","expires_in":36000}`), nil
			}
			client, s := faked(t, &dpop.Prover{AllowBearer: true}, api, endpoint)
			token := &tokenclient.Token{AccessToken: "a0", RefreshToken: "r0", TokenType: "Bearer", Issued: time.Now().Add(-time.Minute)}
			if err := s.SetToken(t.Context(), token); err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{"/open", "/"} {
				resp, err := client.Get("https://api.example.com" + path)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
			}
			if refreshes != want || sent != 2+want {
				t.Errorf("sent %d times, %d refreshes, want %d", sent, refreshes, want)
			}
		})
	}
}
