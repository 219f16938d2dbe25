package simulation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A reference is a client that is obviously correct, for one request at a time.
type reference struct {
	network         http.RoundTripper
	access, refresh string
	expires         time.Time
	ended, failed   bool
}

func (r *reference) get() string {
	if r.ended {
		return "login required"
	}
	if !time.Now().Before(r.expires) {
		if outcome := r.exchange(); outcome != "" {
			return outcome
		}
	}
	status, outcome := r.send()
	if status == 401 {
		if outcome := r.exchange(); outcome != "" {
			return outcome
		}
		_, outcome = r.send()
	}
	return outcome
}

func (r *reference) send() (int, string) {
	req, _ := http.NewRequest("GET", "https://api.example.com/", nil)
	req.Header.Set("Authorization", "Bearer "+r.access)
	resp, err := r.network.RoundTrip(req)
	if err != nil {
		return 0, "broke"
	}
	return resp.StatusCode, fmt.Sprint(resp.StatusCode)
}

func (r *reference) exchange() string {
	for try := 0; ; try++ {
		req, _ := http.NewRequest("POST", "https://auth.example.com/token", strings.NewReader(url.Values{"refresh_token": {r.refresh}}.Encode()))
		sent := time.Now()
		resp, err := r.network.RoundTrip(req)
		if (err != nil || resp.StatusCode >= 500) && try == 0 && !r.failed {
			continue // the answer was lost: once more at once, unless that has failed before
		}
		if err != nil || resp.StatusCode != 200 && resp.StatusCode != 400 {
			r.failed = true
			return "refresh failed"
		}
		if resp.StatusCode == 400 {
			r.ended = true
			return "login required"
		}
		var pair struct {
			Access  string `json:"access_token"`
			Refresh string `json:"refresh_token"`
		}
		_ = json.NewDecoder(resp.Body).Decode(&pair)
		r.access, r.refresh = pair.Access, pair.Refresh
		r.failed = false
		r.expires = sent.Add(time.Minute) // expires_in is 60
		return ""
	}
}

// A fickleServer answers one request after another, and breaks down as its seed says.
type fickleServer struct {
	plan            *plan
	n, calls        int
	access, refresh string
	spent           map[string]bool
	expires         time.Time
	ended           bool
}

func (f *fickleServer) issue() {
	f.spent[f.refresh] = true
	f.n++
	f.access, f.refresh, f.expires = fmt.Sprint("at", f.n), fmt.Sprint("rt", f.n), time.Now().Add(time.Minute)
}

// RoundTrip is http.RoundTripper.
func (f *fickleServer) RoundTrip(req *http.Request) (*http.Response, error) {
	f.calls++
	u := f.plan.unit(fmt.Sprint("call ", f.calls))
	answer := func(status int, body string) (*http.Response, error) {
		h := http.Header{"Content-Type": {"application/json"}}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
	}
	if req.URL.Host == authHost {
		form, err := readForm(req)
		token := form.Get("refresh_token")
		switch {
		case err != nil:
			return nil, err
		case u < 0.08:
			return nil, errCut
		case u < 0.12:
			return answer(503, "busy")
		case u < 0.15:
			return answer(429, "slower")
		case u < 0.18:
			return answer(401, `{"error":"invalid_client"}`)
		case f.ended, f.spent[token], token != f.refresh:
			f.ended = true
			return answer(400, `{"error":"invalid_grant"}`)
		}
		f.issue()
		switch {
		case u < 0.22:
			return nil, errCut
		case u < 0.24:
			return answer(500, "oops")
		}
		return answer(200, fmt.Sprintf(`{"access_token":"%s","refresh_token":"%s","token_type":"Bearer","expires_in":60}`, f.access, f.refresh))
	}
	switch {
	case u < 0.05:
		return nil, errCut
	case f.ended, req.Header.Get("Authorization") != "Bearer "+f.access, !time.Now().Before(f.expires):
		return answer(401, "no")
	case u < 0.15:
		return answer([]int{403, 404, 429, 500}[int(u*1000)%4], "so")
	}
	return answer(200, "ok")
}

// outcomes are those of one client of the server of a seed.
func outcomes(p *plan, login func(f *fickleServer) (get func() string, end func())) (list []string) {
	f := &fickleServer{plan: p, spent: map[string]bool{}}
	f.issue()
	get, end := login(f)
	defer end()
	for n := range 20 {
		// Longer than any wait after a failure, and than a token is young.
		time.Sleep(p.between(fmt.Sprint("pause ", n), 61*time.Second, 5*time.Minute))
		if p.unit(fmt.Sprint("revoked ", n)) < 0.2 {
			f.access += "-revoked"
		}
		if p.unit(fmt.Sprint("ended ", n)) < 0.03 {
			f.ended = true
		}
		list = append(list, get())
	}
	return append(list, fmt.Sprintf("%d calls, %d pairs", f.calls, f.n))
}

// TestReference: one request at a time, a Session does what a client does that is obviously
// correct, and makes the same calls.
func TestReference(t *testing.T) {
	seeds := uint64(2000)
	if testing.Short() {
		seeds /= 10
	}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			p := &plan{seed: seed}
			want := outcomes(p, func(f *fickleServer) (func() string, func()) {
				r := &reference{network: f, access: f.access, refresh: f.refresh, expires: time.Now().Add(time.Minute)}
				return r.get, func() {}
			})
			got := outcomes(p, librarySession(t))
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("seed %d:\nlibrary   %v\nreference %v", seed, got, want)
			}
		})
		if t.Failed() {
			return
		}
	}
}

// librarySession logs the library in.
func librarySession(t *testing.T) func(f *fickleServer) (func() string, func()) {
	return func(f *fickleServer) (func() string, func()) {
		s, err := tokenclient.New(tokenclient.Config{
			Origins: []string{"https://" + apiHost}, RefreshBefore: -1, // the reference does nothing in the background
			Refresher: &tokenclient.OAuth2Refresher{
				TokenURL: "https://" + authHost + "/token", ClientAuth: tokenclient.PublicClient("app"), HTTPClient: &http.Client{Transport: f},
			},
		})
		if err == nil {
			now := time.Now()
			err = s.SetToken(t.Context(), &tokenclient.Token{AccessToken: f.access, RefreshToken: f.refresh, Issued: now, Expiry: now.Add(time.Minute)})
		}
		if err != nil {
			t.Fatal(err)
		}
		client := s.Wrap(&http.Client{Transport: f})
		get := func() string {
			resp, err := client.Get("https://" + apiHost + "/")
			var te *tokenclient.TokenError
			switch {
			case errors.Is(err, tokenclient.ErrLoginRequired):
				return "login required"
			case errors.As(err, &te):
				return "refresh failed"
			case err != nil:
				return "broke"
			}
			_ = resp.Body.Close()
			return fmt.Sprint(resp.StatusCode)
		}
		return get, func() {
			if err := s.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}
	}
}
