package tokentest

import "github.com/seed-fbfaa0ec/silentrefresh/tokenclient"

// OAuth2Refresher returns a refresher for /oauth/token that revokes at
// /oauth/revoke, wired to [Server.Client]. It knows the Options.ClientSecret of
// this moment and sends it by HTTP Basic; without one it is a public client.
func (s *Server) OAuth2Refresher() *tokenclient.OAuth2Refresher {
	s.mu.Lock()
	secret := s.options.ClientSecret
	s.mu.Unlock()
	auth := tokenclient.PublicClient("tokentest")
	if secret != "" {
		auth = tokenclient.ClientSecretBasic("tokentest", secret)
	}
	return &tokenclient.OAuth2Refresher{
		TokenURL:      s.URL + "/oauth/token",
		RevocationURL: s.URL + "/oauth/revoke",
		ClientAuth:    auth,
		HTTPClient:    s.Client(),
	}
}

// JSONRefresher returns a refresher for /token/refresh, wired to
// [Server.Client].
func (s *Server) JSONRefresher() *tokenclient.JSONRefresher {
	return &tokenclient.JSONRefresher{TokenURL: s.URL + "/token/refresh", HTTPClient: s.Client()}
}

// PasswordLogin returns a login at /login, wired to [Server.Client].
func (s *Server) PasswordLogin() *tokenclient.PasswordLogin {
	return &tokenclient.PasswordLogin{URL: s.URL + "/login", HTTPClient: s.Client()}
}
