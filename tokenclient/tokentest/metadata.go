package tokentest

import "net/http"

// serveMetadata is GET /.well-known/oauth-authorization-server (RFC 8414): where
// the endpoints are and what they take.
func (s *Server) serveMetadata(w http.ResponseWriter, r *http.Request) {
	s.delay(r)
	s.mu.Lock()
	secret, proofs := s.options.ClientSecret, s.options.DPoP != nil
	s.mu.Unlock()
	methods := []string{"none"}
	if secret != "" {
		methods = []string{"client_secret_basic", "client_secret_post"}
	}
	metadata := map[string]any{
		"issuer":                        s.URL,
		"authorization_endpoint":        s.URL + "/oauth/authorize",
		"device_authorization_endpoint": s.URL + "/oauth/device", // RFC 8628, section 4
		"token_endpoint":                s.URL + "/oauth/token",
		"revocation_endpoint":           s.URL + "/oauth/revoke",

		"response_types_supported":                       []string{"code"},
		"grant_types_supported":                          []string{"authorization_code", "refresh_token", deviceGrant},
		"code_challenge_methods_supported":               []string{"S256"},
		"authorization_response_iss_parameter_supported": true, // RFC 9207

		"token_endpoint_auth_methods_supported":      methods,
		"revocation_endpoint_auth_methods_supported": methods,
	}
	if proofs {
		metadata["dpop_signing_alg_values_supported"] = proofAlgorithms // RFC 9449, section 5.1
	}
	writeJSON(w, http.StatusOK, metadata)
}
