package authservers_test

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/storage"
)

// fositeServer is what fosite's documentation has a program make of it.
type fositeServer struct {
	*http.ServeMux
	provider fosite.OAuth2Provider
	store    *fositeStore
	tokenURL string
}

func newFosite(t *testing.T, issuer string, key *ecdsa.PublicKey) server {
	t.Helper()
	config := &fosite.Config{
		GlobalSecret: []byte("a secret of exactly 32 bytes.  ."), TokenURL: issuer + "/token", IDTokenIssuer: issuer,
		AccessTokenLifespan: time.Hour, EnforcePKCEForPublicClients: true, HashCost: 4,
	}
	hash, err := (&fosite.BCrypt{Config: config}).Hash(t.Context(), []byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	store := &fositeStore{MemoryStore: storage.NewMemoryStore()}
	for _, method := range authMethods {
		client := &fosite.DefaultOpenIDConnectClient{
			DefaultClient: &fosite.DefaultClient{
				ID: method, Secret: hash, Public: method == authNone, RedirectURIs: []string{redirectURL},
				GrantTypes: []string{"authorization_code", "refresh_token"}, ResponseTypes: []string{"code"}, Scopes: scopes,
			},
			TokenEndpointAuthMethod: method, TokenEndpointAuthSigningAlgorithm: "ES256",
			JSONWebKeys: &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key, KeyID: keyID, Use: "sig", Algorithm: "ES256"}}},
		}
		store.Clients[method] = client
	}
	s := &fositeServer{
		ServeMux: http.NewServeMux(),
		store:    store,
		tokenURL: config.TokenURL,
		provider: compose.Compose(config, store, &compose.CommonStrategy{CoreStrategy: compose.NewOAuth2HMACStrategy(config)},
			compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2PKCEFactory, compose.OAuth2RefreshTokenGrantFactory,
			compose.OAuth2TokenIntrospectionFactory, compose.OAuth2TokenRevocationFactory),
	}
	s.HandleFunc("/authorize", s.authorize)
	s.HandleFunc("POST /token", s.token)
	s.HandleFunc("POST /introspect", s.introspect)
	s.HandleFunc("POST /revoke", func(w http.ResponseWriter, r *http.Request) {
		s.provider.WriteRevocationResponse(r.Context(), w, s.provider.NewRevocationRequest(r.Context(), r))
	})
	s.HandleFunc("/.well-known/oauth-authorization-server", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{ // fosite leaves this to the program
			"issuer": issuer, "authorization_endpoint": issuer + "/authorize", "token_endpoint": issuer + "/token",
			"revocation_endpoint": issuer + "/revoke", "introspection_endpoint": issuer + "/introspect",
			"token_endpoint_auth_methods_supported": authMethods, "code_challenge_methods_supported": []string{"S256"},
		})
	})
	return s
}

func (s *fositeServer) authorize(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	request, err := s.provider.NewAuthorizeRequest(ctx, r)
	if err != nil {
		s.provider.WriteAuthorizeError(ctx, w, request, err)
		return
	}
	for _, scope := range request.GetRequestedScopes() {
		request.GrantScope(scope)
	}
	response, err := s.provider.NewAuthorizeResponse(ctx, request, &fosite.DefaultSession{Subject: "alice"})
	if err != nil {
		s.provider.WriteAuthorizeError(ctx, w, request, err)
		return
	}
	s.provider.WriteAuthorizeResponse(ctx, w, request, response)
}

func (s *fositeServer) token(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	request, err := s.provider.NewAccessRequest(ctx, r, new(fosite.DefaultSession))
	if err != nil {
		s.provider.WriteAccessError(ctx, w, request, err)
		return
	}
	response, err := s.provider.NewAccessResponse(ctx, request)
	if err != nil {
		s.provider.WriteAccessError(ctx, w, request, err)
		return
	}
	s.provider.WriteAccessResponse(ctx, w, request, response)
}

func (s *fositeServer) introspect(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	response, err := s.provider.NewIntrospectionRequest(ctx, r, new(fosite.DefaultSession))
	if err != nil {
		s.provider.WriteIntrospectionError(ctx, w, err)
		return
	}
	s.provider.WriteIntrospectionResponse(ctx, w, response)
}

func (s *fositeServer) expire() { s.store.forget(false) }

func (s *fositeServer) end() { s.store.forget(true) }

func (s *fositeServer) audience() string { return s.tokenURL }

func (s *fositeServer) approve(string) bool { return false }

func (s *fositeServer) counts() (refreshes, reuses int) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	return s.store.refreshes, s.store.reuses
}

// fositeStore counts what fosite does with tokens.
type fositeStore struct {
	*storage.MemoryStore

	mu                sync.Mutex
	access, refresh   []string // signatures
	refreshes, reuses int
}

func (s *fositeStore) CreateAccessTokenSession(ctx context.Context, signature string, request fosite.Requester) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.access = append(s.access, signature)
	return s.MemoryStore.CreateAccessTokenSession(ctx, signature, request)
}

func (s *fositeStore) CreateRefreshTokenSession(ctx context.Context, signature, access string, request fosite.Requester) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refresh = append(s.refresh, signature)
	return s.MemoryStore.CreateRefreshTokenSession(ctx, signature, access, request)
}

func (s *fositeStore) RotateRefreshToken(ctx context.Context, requestID, signature string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refreshes++
	return s.MemoryStore.RotateRefreshToken(ctx, requestID, signature)
}

func (s *fositeStore) GetRefreshTokenSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	request, err := s.MemoryStore.GetRefreshTokenSession(ctx, signature, session)
	if errors.Is(err, fosite.ErrInactiveToken) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.reuses++
	}
	return request, err
}

// forget deletes access tokens, and refresh tokens, too, if all.
func (s *fositeStore) forget(all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, signature := range s.access {
		_ = s.DeleteAccessTokenSession(context.Background(), signature) // from a map
	}
	s.access = nil
	if !all {
		return
	}
	for _, signature := range s.refresh {
		_ = s.DeleteRefreshTokenSession(context.Background(), signature)
	}
	s.refresh = nil
}
