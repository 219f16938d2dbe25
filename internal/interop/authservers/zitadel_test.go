package authservers_test

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// zitadelServer is the op of zitadel/oidc over the storage of its example.
type zitadelServer struct {
	*http.ServeMux
	store  *zitadelStore
	issuer string
}

const zitadelUser = "id2" // of the example's users

func newZitadel(t *testing.T, issuer string, key *ecdsa.PublicKey) server {
	t.Helper()
	store := &zitadelStore{
		Storage: storage.NewStorageWithClients(storage.NewUserStore(issuer), map[string]*storage.Client{
			authNone: storage.NativeClient(authNone), // the one that devices use
		}),
		key:     key,
		clients: make(map[string]string), latest: make(map[string]string), family: make(map[string]string),
	}
	provider, err := op.NewProvider(&op.Config{
		CryptoKey: [32]byte{1}, CodeMethodS256: true, AuthMethodPost: true, AuthMethodPrivateKeyJWT: true, GrantTypeRefreshToken: true,
		DeviceAuthorization: op.DeviceAuthorizationConfig{
			Lifetime: time.Minute, PollInterval: time.Second, UserFormPath: "/device", UserCode: op.UserCodeBase20,
		},
	}, store, op.StaticIssuer(issuer), op.WithAllowInsecure())
	if err != nil {
		t.Fatal(err)
	}
	s := &zitadelServer{ServeMux: http.NewServeMux(), store: store, issuer: issuer}
	s.Handle("/", provider)
	s.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) {
		id := r.FormValue("id")
		if err := store.CheckUsernamePassword("test-user2", "verysecure", id); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		http.Redirect(w, r, issuer+"/authorize/callback?id="+id, http.StatusFound)
	})
	return s
}

func (s *zitadelServer) expire() { s.store.forget(false) }

func (s *zitadelServer) end() { s.store.forget(true) }

func (s *zitadelServer) audience() string { return s.issuer }

func (s *zitadelServer) approve(userCode string) bool {
	return s.store.CompleteDeviceAuthorization(context.Background(), userCode, zitadelUser) == nil
}

func (s *zitadelServer) counts() (refreshes, reuses int) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	return s.store.refreshes, s.store.reuses
}

// zitadelClient has any way to prove who it is.
type zitadelClient struct {
	*storage.Client
	method oidc.AuthMethod
}

func (c zitadelClient) AuthMethod() oidc.AuthMethod { return c.method }

func (c zitadelClient) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken, oidc.GrantTypeDeviceCode}
}

func (c zitadelClient) LoginURL(id string) string { return "/login?id=" + id }

// zitadelStore counts what op does with tokens, and ends the login whose refresh token comes a
// second time, which op leaves to its storage.
type zitadelStore struct {
	*storage.Storage
	key *ecdsa.PublicKey

	mu                sync.Mutex
	clients           map[string]string // by access token: whose it is
	latest            map[string]string // by family: the refresh token that is good
	family            map[string]string // by refresh token, good or spent
	refreshes, reuses int
}

func (s *zitadelStore) GetClientByClientID(_ context.Context, id string) (op.Client, error) {
	switch id {
	case authNone:
		return zitadelClient{storage.NativeClient(id, redirectURL), oidc.AuthMethodNone}, nil
	case authBasic, authPost, authKey:
		return zitadelClient{storage.WebClient(id, secret, redirectURL), oidc.AuthMethod(id)}, nil
	}
	return nil, errors.New("no such client")
}

func (s *zitadelStore) AuthorizeClientIDSecret(_ context.Context, id, given string) error {
	if id != authBasic && id != authPost || given != secret {
		return errors.New("wrong client or secret")
	}
	return nil
}

func (s *zitadelStore) GetKeyByIDAndClientID(_ context.Context, id, client string) (*jose.JSONWebKey, error) {
	if id != keyID || client != authKey {
		return nil, errors.New("no such key")
	}
	return &jose.JSONWebKey{KeyID: id, Use: "sig", Key: s.key}, nil
}

func (s *zitadelStore) CreateAccessAndRefreshTokens(ctx context.Context, request op.TokenRequest, current string) (string, string, time.Time, error) {
	if device, ok := request.(*op.DeviceAuthorizationState); ok { // of which the example knows no client
		request = &storage.AuthRequest{ApplicationID: device.ClientID, UserID: device.Subject, Scopes: device.Scopes}
	}
	access, refresh, expires, err := s.Storage.CreateAccessAndRefreshTokens(ctx, request, current)
	if err != nil {
		return "", "", time.Time{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	family := refresh
	if current != "" {
		family = s.family[current]
		s.refreshes++
	}
	s.family[refresh], s.latest[family] = family, refresh
	s.clients[access] = request.GetAudience()[0]
	return access, refresh, expires, nil
}

func (s *zitadelStore) TokenRequestByRefreshToken(ctx context.Context, token string) (op.RefreshTokenRequest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if family, ok := s.family[token]; ok && s.latest[family] != token {
		s.reuses++
		s.endLocked(family)
	}
	return s.Storage.TokenRequestByRefreshToken(ctx, token)
}

// endLocked ends the login that family is of.
func (s *zitadelStore) endLocked(family string) {
	for _, method := range authMethods { // the right one, and others that do nothing
		_ = s.RevokeToken(context.Background(), s.latest[family], "", method)
	}
}

// SetIntrospectionFromToken takes whoever asks for the API that the token is for.
func (s *zitadelStore) SetIntrospectionFromToken(ctx context.Context, answer *oidc.IntrospectionResponse, token, subject, _ string) error {
	s.mu.Lock()
	client := s.clients[token]
	s.mu.Unlock()
	return s.Storage.SetIntrospectionFromToken(ctx, answer, token, subject, client)
}

// forget deletes access tokens, and ends all logins, too, if all.
func (s *zitadelStore) forget(all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for token, client := range s.clients {
		_ = s.RevokeToken(context.Background(), token, "", client) // from a map
	}
	clear(s.clients)
	if !all {
		return
	}
	for family := range s.latest {
		s.endLocked(family)
	}
}
