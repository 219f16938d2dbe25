// Package discovery finds the endpoints of an authorization server from its issuer (RFC
// 8414, OpenID Connect Discovery 1.0), and the authorization servers of an API from the
// API (RFC 9728).
//
// Two names are enough for most programs. [Find] asks, and what it returns goes into a
// Config:
//
//	md, err := discovery.Find(ctx, "https://auth.example.com")
//	if err != nil {
//		return err
//	}
//	session, err := tokenclient.New(tokenclient.Config{
//		Refresher: &tokenclient.OAuth2Refresher{
//			TokenURL:      md.TokenEndpoint,
//			RevocationURL: md.RevocationEndpoint,
//			ClientAuth:    tokenclient.PublicClient("my-app"),
//		},
//		Origins: []string{"https://api.example.com"},
//	})
//
// A program that has to start while the server is down uses a [Refresher], which asks
// when the first refresh is due. A [Client] is for those who ask often, such as
// PoolConfig.Config for each of many users: it remembers the answers.
//
// # Where it asks
//
// For the issuer https://auth.example.com/t, in this order, until one answer can be used:
//
//	https://auth.example.com/.well-known/oauth-authorization-server/t  RFC 8414, 3.1
//	https://auth.example.com/t/.well-known/openid-configuration        OpenID Connect
//	https://auth.example.com/.well-known/openid-configuration/t        RFC 8414, 5
//
// (OpenID Connect Discovery 1.0, section 4.) The next one is asked whatever the server
// answered: servers that do not know a path may say so by a 404, a page, or the metadata
// of another issuer. If there is no answer at all, the others are not asked.
//
// For the resource https://api.example.com/v1 it asks
//
//	https://api.example.com/.well-known/oauth-protected-resource/v1    RFC 9728, 3.1
//
// or what the "resource_metadata" of a challenge names (RFC 9728, section 5.1), and that
// only if the program calls [Client.FollowChallenge].
//
// # What it believes
//
// Whoever can change the metadata gets the refresh tokens. So
//
//   - it is fetched over https, or within this machine (Client.InsecureHTTP allows more),
//     and a redirect to another origin is not followed;
//   - its issuer is the one that was asked for, byte for byte (RFC 8414, section 3.3): no
//     other case, no slash more or less, no template;
//   - an endpoint that is a field of [Metadata] is a whole URL over https, without user
//     information and fragment. It may be on another host, as Google's are. It is on this
//     machine only if the issuer is;
//   - there is a token endpoint;
//   - at most 256 KiB are read.
//
// Otherwise there is an error and nothing of the metadata is used, not even what looks
// right. How it is written matters less: the Content-Type may be any; a byte order mark
// before the JSON, members that are null, a string of words in the place of a list, and
// lists that hold something other than strings are understood. The names of members are
// compared exactly.
//
// It is not authenticated but by TLS: signed_metadata (RFC 8414, section 2.1) is not
// read, and is in Metadata.Extra.
//
// # How long it remembers
//
// A Client keeps what it found for the max-age in the answer's Cache-Control (RFC 9111,
// section 5.2.2.1), but at least a minute and at most a day; if there is none, for an
// hour. Then it asks again. Meanwhile, and if that fails, it goes on with what it has,
// until a day after that was fetched, and asks once a minute: a refresh must not fail
// because a page is down that is not needed for it. Failures are not remembered. It keeps
// a hundred issuers and as many resources.
//
// Those who ask for the same at the same time share one call. Each waits with its own
// context; if the one whose call it is leaves, another takes it up.
package discovery
