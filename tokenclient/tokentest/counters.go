package tokentest

// Counters is what a [Server] saw so far. A call is counted when it arrives,
// before Latency, faults and [Server.Hold] keep its answer back, and whether it
// succeeds or not.
type Counters struct {
	// Logins is the number of calls of /login, /oauth/authorize and
	// /oauth/device.
	Logins int

	// Refreshes is the number of calls of /token/refresh, and of those calls of
	// /oauth/token whose grant_type is refresh_token.
	Refreshes int

	// Reuses is the number of times that a spent refresh token was presented
	// after its Options.ReuseGrace. If it is zero, no family was revoked for
	// reuse.
	Reuses int

	// Revocations is the number of calls of /oauth/revoke.
	Revocations int

	// Requests is the number of requests to the API.
	Requests int

	// Unauthorized is how many of them were answered with a 401, whether by the
	// server's own judgement or by a [Fault].
	Unauthorized int

	// Replays is how many of them had an X-Request-Id that an earlier request to
	// the API had.
	Replays int

	// Renewals is how many of them were answered with a new access token because
	// of Options.SlidingHeader.
	Renewals int

	// Heartbeats is the number of calls of /heartbeat.
	Heartbeats int

	// Demands is how many of them had a good token that did not meet one of
	// Options.Demands.
	Demands int

	// NonceChallenges is how many calls and requests were refused because their proof had
	// no good nonce, and BadProofs how many because it was wrong otherwise (Options.DPoP).
	// Nothing else counts these.
	NonceChallenges, BadProofs int
}

// Counters returns what the server saw so far.
func (s *Server) Counters() Counters {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counters
}
