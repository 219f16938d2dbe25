package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/discovery"
)

const (
	homeVariable    = "TOKENCURL_HOME"
	sessionVariable = "TOKENCURL_SESSION"
)

// home is the folder that has everything.
func home() (string, error) {
	if dir := os.Getenv(homeVariable); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", &exitError{exitStore, fmt.Errorf("no folder for sessions: %w: set %s", err, homeVariable)}
	}
	return filepath.Join(dir, "tokencurl"), nil
}

// The ways to log in.
const (
	byPassword = "password"
	byDevice   = "device"
	byBrowser  = "browser"
)

// A profile is what is known of a session but its token: no secret.
type profile struct {
	Method  string   `json:"method"` // of the last login
	Origins []string `json:"origins"`
	Header  string   `json:"header,omitempty"` // that has the bare token, in place of Authorization
	Key     string   `json:"key"`

	Issuer    string `json:"issuer,omitempty"`
	TokenURL  string `json:"token_url,omitempty"`
	AuthURL   string `json:"auth_url,omitempty"`
	DeviceURL string `json:"device_url,omitempty"`
	RevokeURL string `json:"revoke_url,omitempty"`
	ClientID  string `json:"client_id,omitempty"`
	SecretEnv string `json:"client_secret_env,omitempty"`
	Scope     string `json:"scope,omitempty"`

	LoginURL   string `json:"login_url,omitempty"`
	RefreshURL string `json:"refresh_url,omitempty"`

	RefreshTimeout time.Duration `json:"refresh_timeout,omitempty"`
}

// record is the name of the session's token in the store. The seal binds it, and it has all
// that decides where the tokens go: a profile that somebody changed finds no token. It has the
// key's name too: a login with another key leaves the record before it readable until the
// profile that names its key is replaced.
func (p *profile) record(name string) string {
	bound := *p
	bound.Method, bound.RefreshTimeout = "", 0
	b, _ := json.Marshal(bound) // strings only
	sum := sha256.Sum256(b)
	return name + "@" + hex.EncodeToString(sum[:]) // whole: whoever can choose a profile must not find a second one
}

var recordHash = regexp.MustCompile(`@[0-9a-f]{64}\b`)

// said is err as people read it, with the session's name in place of the record's.
func said(err error) string { return recordHash.ReplaceAllString(err.Error(), "") }

// allows reports whether the token may go to u. With a user in it u is for other credentials,
// and what stands before the @ is what a person may take for the host.
func (p *profile) allows(u *url.URL) bool {
	return u.User == nil && slices.Contains(p.Origins, originOf(u))
}

// originOf is scheme, host and port (RFC 6454, section 4), the default port left out.
func originOf(u *url.URL) string {
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != "" && port != map[string]string{"https": "443", "http": "80"}[u.Scheme] {
		host += ":" + port
	}
	return u.Scheme + "://" + host
}

// parseOrigin takes an origin as a person writes it.
func parseOrigin(s string) (string, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return "", fmt.Errorf("%q is no origin: write it like https://api.example.com", s)
	}
	return originOf(u), nil
}

// refresher makes the session's refresher. All of its requests are made by c, nil for the
// library's own.
func (p *profile) refresher(s *story) (tokenclient.Refresher, error) {
	client := s.endpointClient()
	if p.RefreshURL != "" {
		return &tokenclient.JSONRefresher{TokenURL: p.RefreshURL, RevocationURL: p.RevokeURL, HTTPClient: client}, nil
	}
	auth := tokenclient.PublicClient(p.ClientID)
	if p.SecretEnv != "" {
		secret := os.Getenv(p.SecretEnv)
		if secret == "" {
			return nil, fmt.Errorf("the environment variable %s, which is to have the client's secret, is not set", p.SecretEnv)
		}
		auth = tokenclient.ClientSecretBasic(p.ClientID, secret)
	}
	at := func(md *discovery.Metadata) tokenclient.Refresher {
		return &tokenclient.OAuth2Refresher{TokenURL: md.TokenEndpoint, RevocationURL: md.RevocationEndpoint, ClientAuth: auth, HTTPClient: client}
	}
	if p.Issuer != "" {
		return &discovery.Refresher{Issuer: p.Issuer, Make: at, Client: &discovery.Client{HTTPClient: client}}, nil
	}
	return at(p.metadata()), nil
}

// metadata is what the server would say of itself if it did.
func (p *profile) metadata() *discovery.Metadata {
	return &discovery.Metadata{
		TokenEndpoint: p.TokenURL, RevocationEndpoint: p.RevokeURL,
		AuthorizationEndpoint: p.AuthURL, DeviceAuthorizationEndpoint: p.DeviceURL,
	}
}

var sessionName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

const profileSuffix = ".json"

func profilePath(home, name string) string {
	return filepath.Join(home, "sessions", name+profileSuffix)
}

// checkName keeps a name of a session from being a path.
func checkName(name string) error {
	if !sessionName.MatchString(name) {
		return usage(fmt.Errorf("%q cannot be the name of a session: letters, digits, dots, dashes and underscores can", name))
	}
	return nil
}

var (
	errNoSession = fmt.Errorf("there is none of that name: %w", errLogin)
	errProfile   = errors.New("what is known of the session cannot be understood: log in again, and say where")
)

// readProfile returns an error that is errNoSession if nobody ever logged in, and errProfile if
// somebody's editor, or a newer version, left what this one does not understand.
func readProfile(home, name string) (*profile, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(profilePath(home, name))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("session %q: %w", name, errNoSession)
		}
		return nil, &exitError{exitStore, err}
	}
	p := &profile{}
	if err := json.Unmarshal(b, p); err != nil {
		return nil, &exitError{exitStore, fmt.Errorf("%s: %w: %w", profilePath(home, name), errProfile, err)}
	}
	return p, nil
}

// write replaces the profile as a whole.
func (p *profile) write(home, name string) error {
	b, err := json.MarshalIndent(p, "", "\t")
	if err != nil {
		return err
	}
	path := profilePath(home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return &exitError{exitStore, err}
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*") // of mode 0600
	if err != nil {
		return &exitError{exitStore, err}
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return &exitError{exitStore, err}
	}
	return nil
}

// sessionNames are the sessions that there are, in order.
func sessionNames(home string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(home, "sessions"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, &exitError{exitStore, err}
	}
	var names []string
	for _, entry := range entries {
		if name, ok := strings.CutSuffix(entry.Name(), profileSuffix); ok && sessionName.MatchString(name) {
			names = append(names, name)
		}
	}
	return names, nil
}
