package authservers_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/oauth2"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/clientauth"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/discovery"
)

// A server is an authorization server of other people's, with one user, who agrees to
// everything, and a client for each of authMethods that has the method's name.
type server interface {
	http.Handler

	// expire makes that no access token works that was issued until now.
	expire()

	// end makes that no refresh token does, either.
	end()

	// audience is for whom a client's JWT has to be (RFC 7523, section 3).
	audience() string

	// approve has the user agree to what a device shows. False: the server has no device code.
	approve(userCode string) bool

	// counts returns how many refresh tokens were exchanged, and how many came a second time.
	counts() (refreshes, reuses int)
}

// servers makes each server, for an issuer and the key of the client that has one.
var servers = map[string]func(t *testing.T, issuer string, key *ecdsa.PublicKey) server{
	"fosite":  newFosite,
	"zitadel": newZitadel,
}

const (
	authNone  = "none"
	authBasic = "client_secret_basic"
	authPost  = "client_secret_post"
	authKey   = "private_key_jwt"

	keyID  = "key-1"
	secret = "50% off: & more/ünï+cödé?" // RFC 6749, section 2.3.1, has it encoded for Basic
)

var authMethods = []string{authNone, authBasic, authPost, authKey}

var scopes = []string{"openid", "offline_access"}

// redirectURL is where nobody listens: rig.code reads the code on the way there.
const redirectURL = "http://127.0.0.1/callback"

// rig is a server, and an API that has it judge the tokens.
type rig struct {
	server
	key *ecdsa.PrivateKey
	md  *discovery.Metadata
	api string

	failures atomic.Int32 // requests that the token endpoint refused
	refusals atomic.Int32 // requests that the API refused

	mu     sync.Mutex
	active map[string]bool // what the server said of each access token since the last change
}

// TestMain has op say nothing of requests that it refuses: it logs by no logger of its own.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	m.Run()
}

func newRig(t *testing.T, name string) *rig {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{key: key, active: make(map[string]bool)}
	auth := httptest.NewServer(http.HandlerFunc(r.serveAuth))
	t.Cleanup(auth.Close)
	r.server = servers[name](t, auth.URL, &key.PublicKey)
	api := httptest.NewServer(http.HandlerFunc(r.serveAPI))
	t.Cleanup(api.Close)
	r.api = api.URL
	if r.md, err = new(discovery.Client).Find(t.Context(), auth.URL); err != nil {
		t.Fatal(err)
	}
	return r
}

// status remembers what a handler answers.
type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

func (r *rig) serveAuth(w http.ResponseWriter, req *http.Request) {
	s := &status{ResponseWriter: w}
	_ = req.ParseForm() // the servers find it parsed, or see what is wrong themselves
	r.ServeHTTP(s, req)
	if s.code >= 400 && req.PostForm.Get("grant_type") != "" {
		r.failures.Add(1)
	}
}

func (r *rig) serveAPI(w http.ResponseWriter, req *http.Request) {
	active, err := r.isActive(req.Context(), strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "))
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	case !active:
		r.refusals.Add(1)
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
	}
}

// isActive has the server judge a token (RFC 7662), once until something changes.
func (r *rig) isActive(ctx context.Context, token string) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if active, ok := r.active[token]; ok {
		return active, nil
	}
	var endpoint string
	if err := json.Unmarshal(r.md.Extra["introspection_endpoint"], &endpoint); err != nil {
		return false, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(authBasic, url.QueryEscape(secret))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	var answer struct{ Active bool }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return false, fmt.Errorf("introspection answered %s: %w", resp.Status, err)
	}
	r.active[token] = answer.Active
	return answer.Active, nil
}

// change does what changes the server's mind about tokens.
func (r *rig) change(do func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	do()
	clear(r.active)
}

// clientAuth is how the client of that name proves who it is.
func (r *rig) clientAuth(method string) tokenclient.ClientAuth {
	switch method {
	case authNone:
		return tokenclient.PublicClient(method)
	case authBasic:
		return tokenclient.ClientSecretBasic(method, secret)
	case authPost:
		return tokenclient.ClientSecretPost(method, secret)
	}
	return clientauth.PrivateKeyJWT(method, r.key, &clientauth.JWTOptions{KeyID: keyID, Audience: r.audience()})
}

func (r *rig) refresher(method string) *tokenclient.OAuth2Refresher {
	return &tokenclient.OAuth2Refresher{TokenURL: r.md.TokenEndpoint, RevocationURL: r.md.RevocationEndpoint, ClientAuth: r.clientAuth(method)}
}

// login has the user log in with the client of that name: authorization code and PKCE.
func (r *rig) login(t *testing.T, method string) *tokenclient.Token {
	t.Helper()
	verifier, state := oauth2.GenerateVerifier(), oauth2.GenerateVerifier()
	conf := oauth2.Config{ClientID: method, Endpoint: oauth2.Endpoint{AuthURL: r.md.AuthorizationEndpoint}, RedirectURL: redirectURL, Scopes: scopes}
	token, err := r.refresher(method).Login(t.Context(), url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {r.code(t, conf.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier)), state)},
		"redirect_uri":  {redirectURL},
		"code_verifier": {verifier},
	})
	if err != nil {
		t.Fatal(err)
	}
	if token.RefreshToken == "" {
		t.Fatal("a login without a refresh token")
	}
	return token
}

// code is a browser that goes where the server leads, as far as to the client.
func (r *rig) code(t *testing.T, authURL, state string) string {
	t.Helper()
	browser := &http.Client{CheckRedirect: func(req *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(req.URL.String(), redirectURL) {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	resp, err := browser.Get(authURL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	to, err := resp.Location()
	if err != nil || to.Query().Get("code") == "" || to.Query().Get("state") != state {
		t.Fatalf("the server led to %v (%s), error %v", to, resp.Status, err)
	}
	return to.Query().Get("code")
}

// newSession has no token yet.
func (r *rig) newSession(t *testing.T, refresher tokenclient.Refresher) *tokenclient.Session {
	t.Helper()
	session, err := tokenclient.New(tokenclient.Config{Refresher: refresher, Origins: []string{r.api}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := session.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return session
}

// session has the token of a login by the client that refresher is for.
func (r *rig) session(t *testing.T, refresher tokenclient.Refresher, token *tokenclient.Token) *tokenclient.Session {
	t.Helper()
	session := r.newSession(t, refresher)
	if err := session.SetToken(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	return session
}

// get calls the API.
func (r *rig) get(ctx context.Context, client *http.Client) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.api, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return nil
}

// want compares what the server counted.
func (r *rig) want(t *testing.T, refreshes, reuses, failures int) {
	t.Helper()
	gotRefreshes, gotReuses := r.counts()
	if got := int(r.failures.Load()); gotRefreshes != refreshes || gotReuses != reuses || got != failures {
		t.Errorf("the server saw %d refreshes, %d reuses and %d failures, want %d, %d and %d",
			gotRefreshes, gotReuses, got, refreshes, reuses, failures)
	}
}
