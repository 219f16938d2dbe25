package dialect_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// The functions in this file are what docs/servers.md shows: a test compares the two.

func google() tokenclient.Config {
	return tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL:      "https://oauth2.googleapis.com/token",
			RevocationURL: "https://oauth2.googleapis.com/revoke",
			ClientAuth:    tokenclient.ClientSecretPost(clientID, clientSecret),
		},
		Origins: []string{"https://www.googleapis.com"},
	}
}

func microsoft() tokenclient.Config {
	return tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL:   "https://login.microsoftonline.com/" + tenant + "/oauth2/v2.0/token",
			ClientAuth: tokenclient.PublicClient(clientID), // ClientSecretPost for a web application
			Scope:      "https://graph.microsoft.com/User.Read offline_access",
		},
		Origins: []string{"https://graph.microsoft.com"},
	}
}

func github() tokenclient.Config {
	return tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL:   "https://github.com/login/oauth/access_token",
			ClientAuth: tokenclient.ClientSecretPost(clientID, clientSecret),
		},
		Origins: []string{"https://api.github.com"},
	}
}

func slack() tokenclient.Config {
	return tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL:   "https://slack.com/api/oauth.v2.access",
			ClientAuth: tokenclient.ClientSecretPost(clientID, clientSecret),
		},
		Origins: []string{"https://slack.com"},
		Rejected: func(resp *http.Response) bool {
			var answer struct {
				OK    bool
				Error string
			}
			err := json.Unmarshal(tokenclient.PeekBody(resp, 1024, 0), &answer) // a longer one is no refusal
			return err == nil && !answer.OK && answer.Error == "token_expired"
		},
	}
}

func withings() tokenclient.Config {
	return tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL:   "https://wbsapi.withings.net/v2/oauth2",
			ClientAuth: tokenclient.ClientSecretPost(clientID, clientSecret),
			Params:     url.Values{"action": {"requesttoken"}},
		},
		Origins: []string{"https://wbsapi.withings.net"},
		Rejected: func(resp *http.Response) bool {
			var answer struct{ Status int }
			err := json.Unmarshal(tokenclient.PeekBody(resp, 1024, 0), &answer)
			return err == nil && answer.Status == http.StatusUnauthorized
		},
	}
}

func salesforce() tokenclient.Config {
	return tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL:      "https://login.salesforce.com/services/oauth2/token",
			RevocationURL: "https://login.salesforce.com/services/oauth2/revoke",
			ClientAuth:    tokenclient.ClientSecretPost(clientID, clientSecret),
		},
		Origins: []string{instanceURL}, // instance_url of the login, in Token.Extra
	}
}

func zoho() tokenclient.Config {
	return tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL:   "https://accounts.zoho.com/oauth/v2/token", // of the user's data center
			ClientAuth: tokenclient.ClientSecretPost(clientID, clientSecret),
		},
		Attacher: zohoScheme{}, // its Attach sets Authorization: Zoho-oauthtoken TOKEN
		Origins:  []string{"https://www.zohoapis.com"},
	}
}

func notion() tokenclient.Config {
	return tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL:   "https://api.notion.com/v1/oauth/token",
			ClientAuth: tokenclient.ClientSecretBasic(clientID, clientSecret),
			Encoding:   tokenclient.JSONEncoding,
		},
		Origins: []string{"https://api.notion.com"},
	}
}

func keycloak() tokenclient.Config {
	return tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL:      realm + "/protocol/openid-connect/token",
			RevocationURL: realm + "/protocol/openid-connect/revoke",
			ClientAuth:    tokenclient.PublicClient(clientID),
		},
		Origins: []string{"https://api.example.com"},
	}
}

func auth0() tokenclient.Config {
	return tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL:      "https://" + tenant + ".auth0.com/oauth/token",
			RevocationURL: "https://" + tenant + ".auth0.com/oauth/revoke",
			ClientAuth:    tokenclient.PublicClient(clientID),
		},
		Origins: []string{"https://api.example.com"},
	}
}

func uaa() tokenclient.Config {
	return tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL:   "https://uaa.example.com/oauth/token",
			ClientAuth: cfClient{}, // its Authenticate sets Authorization: Basic Y2Y6
		},
		Origins: []string{"https://api.example.com"},
	}
}

func spotify() tokenclient.Config {
	return tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL:   "https://accounts.spotify.com/api/token",
			ClientAuth: tokenclient.ClientSecretBasic(clientID, clientSecret), // PublicClient with PKCE
		},
		Origins: []string{"https://api.spotify.com"},
	}
}

func atlassian() tokenclient.Config {
	return tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL:   "https://auth.atlassian.com/oauth/token",
			ClientAuth: tokenclient.ClientSecretPost(clientID, clientSecret),
			Encoding:   tokenclient.JSONEncoding,
		},
		Origins: []string{"https://api.atlassian.com"},
	}
}

func okta() tokenclient.Config {
	return tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL:      "https://" + tenant + ".okta.com/oauth2/default/v1/token",
			RevocationURL: "https://" + tenant + ".okta.com/oauth2/default/v1/revoke",
			ClientAuth:    tokenclient.PublicClient(clientID),
		},
		Origins: []string{"https://api.example.com"},
	}
}

func firebase() tokenclient.Config {
	return tokenclient.Config{
		Refresher: &tokenclient.JSONRefresher{
			TokenURL: "https://securetoken.googleapis.com/v1/token?key=" + apiKey,
			Encoding: tokenclient.FormEncoding,
			Params:   url.Values{"grant_type": {"refresh_token"}},
		},
		Origins: []string{"https://firestore.googleapis.com"},
	}
}

func supabase() tokenclient.Config {
	return tokenclient.Config{
		Refresher: &tokenclient.JSONRefresher{
			TokenURL:   project + "/auth/v1/token?grant_type=refresh_token",
			ClientAuth: apiKeyHeader{}, // its Authenticate sets the header apikey
		},
		Origins: []string{project},
	}
}

func strava() tokenclient.Config {
	return tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL:   "https://www.strava.com/api/v3/oauth/token",
			ClientAuth: tokenclient.ClientSecretPost(clientID, clientSecret),
		},
		Origins: []string{"https://www.strava.com"},
	}
}

func twitch() tokenclient.Config {
	return tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL:   "https://id.twitch.tv/oauth2/token",
			ClientAuth: tokenclient.ClientSecretPost(clientID, clientSecret),
		},
		Origins: []string{"https://api.twitch.tv"},
	}
}

func hubspot() tokenclient.Config {
	return tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL:   "https://api.hubapi.com/oauth/v1/token",
			ClientAuth: tokenclient.ClientSecretPost(clientID, clientSecret),
		},
		Origins: []string{"https://api.hubapi.com"},
	}
}

func simpleJWT() tokenclient.Config {
	return tokenclient.Config{
		Refresher: &tokenclient.JSONRefresher{
			TokenURL: "https://api.example.com/api/token/refresh/",
			Request:  tokenclient.RequestFields{RefreshToken: "refresh"},
			Response: tokenclient.JSONFields{AccessToken: "access", RefreshToken: "refresh"},
		},
		Origins: []string{"https://api.example.com"},
	}
}

func directus() tokenclient.Config {
	return tokenclient.Config{
		Refresher: &tokenclient.JSONRefresher{
			TokenURL: "https://cms.example.com/auth/refresh",
			Params:   url.Values{"mode": {"json"}},
			Response: tokenclient.JSONFields{
				AccessToken: "data.access_token", RefreshToken: "data.refresh_token", ExpiresIn: "data.expires",
			},
		},
		Origins: []string{"https://cms.example.com"},
	}
}

// What a program has of its own.
const (
	clientID, clientSecret = "app", "secret"
	tenant                 = "example"
	apiKey                 = "key"
	instanceURL            = "https://example.my.salesforce.com"
	realm                  = "https://sso.example.com/realms/example"
	project                = "https://example.supabase.co"
)

type zohoScheme struct{}

func (zohoScheme) HeaderName() string { return "Authorization" }

func (zohoScheme) Attach(req *http.Request, t *tokenclient.Token) error {
	req.Header.Set("Authorization", "Zoho-oauthtoken "+t.AccessToken)
	return nil
}

type cfClient struct{}

func (cfClient) Authenticate(_ context.Context, _ string, _ url.Values, header http.Header) error {
	header.Set("Authorization", "Basic Y2Y6") // cf and an empty secret
	return nil
}

type apiKeyHeader struct{}

func (apiKeyHeader) Authenticate(_ context.Context, _ string, _ url.Values, header http.Header) error {
	header.Set("apikey", apiKey)
	return nil
}
