package storetest

import (
	"fmt"
	"sync"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A judge is a server that exchanges each refresh token once, and refuses all that
// come from a login of which a token was presented again.
type judge struct {
	mu          sync.Mutex
	issued      int
	current     string // the refresh token that is good; empty: none any more
	sent        map[string]int
	announced   map[string]int // the most that a presentation knew of
	unannounced int            // presentations that no record announced
	reused      int
}

func newJudge() (*judge, *tokenclient.Token) {
	j := &judge{sent: make(map[string]int), announced: make(map[string]int)}
	return j, j.issue()
}

func (j *judge) issue() *tokenclient.Token {
	j.issued++
	j.current = fmt.Sprintf("refresh-%d", j.issued)
	return &tokenclient.Token{AccessToken: fmt.Sprintf("access-%d", j.issued), RefreshToken: j.current}
}

// present counts a presentation of the token in r. arrives says that the server
// gets it.
func (j *judge) present(refreshToken string, announced int, arrives bool) (*tokenclient.Token, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.sent[refreshToken]++
	j.announced[refreshToken] = max(announced, j.announced[refreshToken])
	if j.sent[refreshToken] > j.announced[refreshToken] {
		j.unannounced++
	}
	if !arrives {
		return nil, errCut
	}
	if refreshToken != j.current {
		if j.sent[refreshToken] > 1 {
			j.reused++
			j.current = ""
		}
		return nil, &tokenclient.TokenError{StatusCode: 400, Code: "invalid_grant", Err: tokenclient.ErrRefused}
	}
	return j.issue(), nil
}

// newest is the number of the last token that was issued.
func (j *judge) newest() (number int, refreshToken string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.issued, j.current
}
