// Package dialect has the dialects of well-known servers for [tokentest.Options.Dialect]: what
// they want to be sent, and how they answer a refresh, a refresh token that is dead, and an
// access token that is refused.
//
// They are made from what the servers document and from answers that people have reported,
// and shortened: members that no client needs are left out. A server may have changed since.
// docs/servers.md has the Config for each of them.
package dialect

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

type (
	members = map[string]any
	granted = tokentest.Granted
	refused = tokentest.Refused
	reply   = tokentest.Reply
)

// seconds is a lifetime as most servers write it.
func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// standard is the answer of RFC 6749, section 5.1, with more members.
func standard(g granted, more members) reply {
	m := members{"access_token": g.AccessToken, "token_type": "Bearer", "expires_in": seconds(g.Lifetime)}
	if g.RefreshToken != "" {
		m["refresh_token"] = g.RefreshToken
	}
	for name, v := range more {
		if v == nil {
			delete(m, name)
			continue
		}
		m[name] = v
	}
	return tokentest.JSON(0, m)
}

// dead words the refusal of a refresh token, and leaves others as they are.
func dead(statusCode int, body members) func(refused) reply {
	return func(r refused) reply {
		if r.Code != "invalid_grant" {
			return tokentest.JSON(r.StatusCode, members{"error": r.Code, "error_description": r.Description})
		}
		return tokentest.JSON(statusCode, body)
	}
}

// sentIn finds the refresh token in a member of what is sent, with the Content-Type and the
// other members that a server demands.
func sentIn(name, contentType string, demanded ...string) func(*http.Request, url.Values) (string, bool) {
	return func(r *http.Request, sent url.Values) (string, bool) {
		if r.Header.Get("Content-Type") != contentType {
			return "", false
		}
		for i := 0; i < len(demanded); i += 2 {
			if sent.Get(demanded[i]) != demanded[i+1] {
				return "", false
			}
		}
		return sent.Get(name), true
	}
}

const (
	asForm = "application/x-www-form-urlencoded"
	asJSON = "application/json"
)

// Google is oauth2.googleapis.com. Its refresh tokens do not rotate: set
// Options.NoRotation.
func Google() tokentest.Dialect {
	return tokentest.Dialect{
		Granted: func(g granted) reply { return standard(g, members{"scope": "openid email"}) },
		Refused: dead(400, members{"error": "invalid_grant", "error_description": "Token has been expired or revoked."}),
		Rejected: func(refused) reply {
			return tokentest.JSON(401, members{"error": members{"code": 401, "message": "Request had invalid authentication credentials.", "status": "UNAUTHENTICATED"}})
		},
	}
}

// Microsoft is the v2.0 endpoint of Microsoft Entra ID.
func Microsoft() tokentest.Dialect {
	return tokentest.Dialect{
		Granted: func(g granted) reply {
			return standard(g, members{"scope": "User.Read", "ext_expires_in": seconds(g.Lifetime), "id_token": "e30.e30."})
		},
		Refused: dead(400, members{
			"error": "invalid_grant", "error_codes": []int{700082},
			"error_description": "AADSTS700082: The refresh token has expired due to inactivity.",
		}),
	}
}

// GitHub is a GitHub App with user tokens that expire. It refuses with status 200.
func GitHub() tokentest.Dialect {
	return tokentest.Dialect{
		Granted: func(g granted) reply {
			return standard(g, members{"token_type": "bearer", "scope": "", "refresh_token_expires_in": seconds(g.RefreshLifetime)})
		},
		Refused: dead(200, members{"error": "bad_refresh_token", "error_description": "The refresh token passed is incorrect or expired."}),
		Rejected: func(refused) reply {
			return tokentest.JSON(401, members{"message": "Bad credentials"})
		},
	}
}

// GitHubForm is [GitHub] as it answers who does not ask for JSON.
func GitHubForm() tokentest.Dialect {
	d := GitHub()
	d.Granted = func(g granted) reply {
		return tokentest.Form(0, url.Values{
			"access_token": {g.AccessToken}, "refresh_token": {g.RefreshToken}, "expires_in": {fmt.Sprint(seconds(g.Lifetime))},
			"refresh_token_expires_in": {fmt.Sprint(seconds(g.RefreshLifetime))}, "scope": {""}, "token_type": {"bearer"},
		})
	}
	d.Refused = func(refused) reply { return tokentest.Form(0, url.Values{"error": {"bad_refresh_token"}}) }
	return d
}

// Slack is Slack with token rotation. It refuses everything with status 200.
func Slack() tokentest.Dialect {
	return tokentest.Dialect{
		Granted: func(g granted) reply {
			return standard(g, members{"ok": true, "token_type": "bot", "scope": "chat:write", "team": members{"id": "T1"}})
		},
		Refused:  dead(200, members{"ok": false, "error": "invalid_refresh_token"}),
		Rejected: func(refused) reply { return tokentest.JSON(200, members{"ok": false, "error": "token_expired"}) },
	}
}

// Salesforce says neither when a token ends nor with a code that it is refused for that. Its
// refresh tokens do not rotate by default: set Options.NoRotation.
func Salesforce() tokentest.Dialect {
	return tokentest.Dialect{
		Granted: func(g granted) reply {
			return standard(g, members{
				"expires_in": nil, "instance_url": "https://example.my.salesforce.com", "issued_at": fmt.Sprint(g.Issued.UnixMilli()),
				"id": "https://login.salesforce.com/id/1", "signature": "c2ln",
			})
		},
		Refused: dead(400, members{"error": "invalid_grant", "error_description": "expired access/refresh token"}),
		Rejected: func(refused) reply {
			return tokentest.JSON(401, []members{{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}})
		},
	}
}

// Zoho has a scheme of its own, and a dead refresh token is an invalid_code with status
// 200. Its refresh tokens do not rotate: set Options.NoRotation.
func Zoho() tokentest.Dialect {
	return tokentest.Dialect{
		Scheme: "Zoho-oauthtoken",
		Granted: func(g granted) reply {
			return standard(g, members{"api_domain": "https://www.zohoapis.com", "scope": "ZohoCRM.modules.READ"})
		},
		Refused:  dead(200, members{"error": "invalid_code"}),
		Rejected: func(refused) reply { return tokentest.JSON(401, members{"code": "INVALID_TOKEN", "status": "error"}) },
	}
}

// Withings puts all that it says into an object, and the real status too.
func Withings() tokentest.Dialect {
	return tokentest.Dialect{
		RefreshToken: sentIn("refresh_token", asForm, "action", "requesttoken", "grant_type", "refresh_token"),
		Granted: func(g granted) reply {
			return tokentest.JSON(0, members{"status": 0, "body": members{
				"userid": "363", "access_token": g.AccessToken, "refresh_token": g.RefreshToken,
				"expires_in": seconds(g.Lifetime), "scope": "user.info", "token_type": "Bearer",
			}})
		},
		Refused: func(refused) reply {
			return tokentest.JSON(200, members{"status": 503, "body": members{}, "error": "Invalid Params: invalid refresh_token"})
		},
		Rejected: func(refused) reply {
			return tokentest.JSON(200, members{"status": 401, "body": members{}, "error": "XRequestID: Not provided invalid_token: The access token provided is invalid"})
		},
	}
}

// Notion takes JSON, and the client's secret by HTTP Basic.
func Notion() tokentest.Dialect {
	return tokentest.Dialect{
		RefreshToken: sentIn("refresh_token", asJSON, "grant_type", "refresh_token"),
		Granted: func(g granted) reply {
			return standard(g, members{"token_type": "bearer", "expires_in": nil, "bot_id": "b", "workspace_id": "w"})
		},
		Refused: dead(400, members{"error": "invalid_grant", "error_description": "Token has been expired or revoked."}),
		Rejected: func(refused) reply {
			return tokentest.JSON(401, members{"object": "error", "status": 401, "code": "unauthorized", "message": "API token is invalid."})
		},
	}
}

// Keycloak rotates if that is switched on, and says how long the session lasts.
func Keycloak() tokentest.Dialect {
	return tokentest.Dialect{
		Granted: func(g granted) reply {
			return standard(g, members{
				"refresh_expires_in": seconds(g.RefreshLifetime), "not-before-policy": 0, "session_state": "s", "id_token": "e30.e30.", "scope": "openid",
			})
		},
		Refused: dead(400, members{"error": "invalid_grant", "error_description": "Token is not active"}),
	}
}

// Auth0 refuses with 403.
func Auth0() tokentest.Dialect {
	return tokentest.Dialect{
		Granted: func(g granted) reply {
			return standard(g, members{"scope": "openid offline_access", "id_token": "e30.e30."})
		},
		Refused: dead(403, members{"error": "invalid_grant", "error_description": "Unknown or invalid refresh token."}),
	}
}

// UAA is that of Cloud Foundry, whose client cf has an empty secret. It refuses with 401 and
// the code of RFC 6750.
func UAA() tokentest.Dialect {
	return tokentest.Dialect{
		RefreshToken: func(r *http.Request, sent url.Values) (string, bool) {
			id, secret, ok := r.BasicAuth()
			return sent.Get("refresh_token"), ok && id == "cf" && secret == ""
		},
		Granted: func(g granted) reply {
			return standard(g, members{"token_type": "bearer", "jti": "j", "scope": "openid"})
		},
		Refused: dead(401, members{"error": "invalid_token", "error_description": "The token expired, was revoked, or the token ID is incorrect."}),
	}
}

// Spotify leaves the refresh token out of most answers: set Options.NoRotation for that.
func Spotify() tokentest.Dialect {
	return tokentest.Dialect{
		Granted: func(g granted) reply { return standard(g, members{"scope": "user-read-email"}) },
		Refused: dead(400, members{"error": "invalid_grant", "error_description": "Refresh token revoked"}),
		Rejected: func(refused) reply {
			return tokentest.JSON(401, members{"error": members{"status": 401, "message": "The access token expired"}})
		},
	}
}

// Atlassian takes JSON, and says of a dead refresh token that the client is not authorized.
func Atlassian() tokentest.Dialect {
	return tokentest.Dialect{
		RefreshToken: sentIn("refresh_token", asJSON, "grant_type", "refresh_token"),
		Granted:      func(g granted) reply { return standard(g, members{"scope": "read:me offline_access"}) },
		Refused:      dead(403, members{"error": "unauthorized_client", "error_description": "refresh_token is invalid"}),
		Rejected:     func(refused) reply { return tokentest.JSON(401, members{"code": 401, "message": "Unauthorized"}) },
	}
}

// Okta is an authorization server of Okta with rotation.
func Okta() tokentest.Dialect {
	return tokentest.Dialect{
		Granted: func(g granted) reply {
			return standard(g, members{"scope": "offline_access openid", "id_token": "e30.e30."})
		},
		Refused: dead(400, members{"error": "invalid_grant", "error_description": "The refresh token is invalid or expired."}),
	}
}

// Firebase is securetoken.googleapis.com. It writes the lifetime as a string.
func Firebase() tokentest.Dialect {
	return tokentest.Dialect{
		Granted: func(g granted) reply {
			return standard(g, members{
				"expires_in": fmt.Sprint(seconds(g.Lifetime)), "id_token": g.AccessToken, "user_id": "u", "project_id": "1",
			})
		},
		Refused: dead(400, members{"error": members{"code": 400, "message": "TOKEN_EXPIRED", "status": "INVALID_ARGUMENT"}}),
	}
}

// Supabase takes JSON without a grant_type, which is in its URL.
func Supabase() tokentest.Dialect {
	return tokentest.Dialect{
		RefreshToken: func(r *http.Request, sent url.Values) (string, bool) {
			return sent.Get("refresh_token"), r.Header.Get("Content-Type") == asJSON && r.URL.Query().Get("grant_type") == "refresh_token"
		},
		Granted: func(g granted) reply {
			return standard(g, members{"token_type": "bearer", "expires_at": g.Issued.Add(g.Lifetime).Unix(), "user": members{"id": g.User}})
		},
		Refused: dead(400, members{"code": 400, "error_code": "refresh_token_not_found", "msg": "Invalid Refresh Token: Refresh Token Not Found"}),
	}
}

// Strava says when a token ends as a time too, and names no code of OAuth.
func Strava() tokentest.Dialect {
	return tokentest.Dialect{
		Granted: func(g granted) reply { return standard(g, members{"expires_at": g.Issued.Add(g.Lifetime).Unix()}) },
		Refused: dead(400, members{"message": "Bad Request", "errors": []members{{"resource": "RefreshToken", "field": "refresh_token", "code": "invalid"}}}),
		Rejected: func(refused) reply {
			return tokentest.JSON(401, members{"message": "Authorization Error", "errors": []members{{"resource": "Athlete", "field": "access_token", "code": "invalid"}}})
		},
	}
}

// Twitch has a list for a scope, and nothing but words for a dead refresh token.
func Twitch() tokentest.Dialect {
	return tokentest.Dialect{
		Granted: func(g granted) reply {
			return standard(g, members{"token_type": "bearer", "scope": []string{"user:read:email"}})
		},
		Refused: dead(400, members{"status": 400, "message": "Invalid refresh token"}),
		Rejected: func(refused) reply {
			return tokentest.JSON(401, members{"error": "Unauthorized", "status": 401, "message": "Invalid OAuth token"})
		},
	}
}

// HubSpot has its code where others have the status. Its refresh tokens do not rotate: set
// Options.NoRotation.
func HubSpot() tokentest.Dialect {
	return tokentest.Dialect{
		Granted: func(g granted) reply { return standard(g, members{"token_type": "bearer"}) },
		Refused: dead(400, members{"status": "BAD_REFRESH_TOKEN", "message": "missing or invalid refresh token", "correlationId": "c"}),
		Rejected: func(refused) reply {
			return tokentest.JSON(401, members{"status": "error", "category": "EXPIRED_AUTHENTICATION", "message": "The OAuth token used to make this call expired."})
		},
	}
}

// SimpleJWT is Django REST framework with djangorestframework-simplejwt: names of its own, and
// lifetimes only in the tokens.
func SimpleJWT() tokentest.Dialect {
	return tokentest.Dialect{
		RefreshToken: sentIn("refresh", asJSON),
		Granted: func(g granted) reply {
			return tokentest.JSON(0, members{"access": g.AccessToken, "refresh": g.RefreshToken})
		},
		Refused: dead(401, members{"detail": "Token is invalid or expired", "code": "token_not_valid"}),
		Rejected: func(refused) reply {
			return tokentest.JSON(401, members{"detail": "Given token not valid for any token type", "code": "token_not_valid"})
		},
	}
}

// Directus has its answers in an object, and lifetimes in milliseconds.
func Directus() tokentest.Dialect {
	return tokentest.Dialect{
		RefreshToken: sentIn("refresh_token", asJSON, "mode", "json"),
		Granted: func(g granted) reply {
			return tokentest.JSON(0, members{"data": members{
				"access_token": g.AccessToken, "refresh_token": g.RefreshToken, "expires": g.Lifetime.Milliseconds(),
			}})
		},
		Refused: dead(401, members{"errors": []members{{"message": "Invalid user credentials.", "extensions": members{"code": "INVALID_CREDENTIALS"}}}}),
		Rejected: func(refused) reply {
			return tokentest.JSON(401, members{"errors": []members{{"message": "Token expired.", "extensions": members{"code": "TOKEN_EXPIRED"}}}})
		},
	}
}
