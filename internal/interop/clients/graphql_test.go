package clients_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/Khan/genqlient/graphql"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// unauthenticated is for Config.Rejected, of servers that refuse a token by an error in an answer
// that is a 200.
func unauthenticated(resp *http.Response) bool {
	var answer struct {
		Errors []struct {
			Extensions struct{ Code string }
		}
	}
	if resp.StatusCode == http.StatusUnauthorized {
		return true
	}
	err := json.Unmarshal(tokenclient.PeekBody(resp, 1024, 0), &answer) // a longer one is no refusal
	return err == nil && len(answer.Errors) > 0 && answer.Errors[0].Extensions.Code == "UNAUTHENTICATED"
}

// TestGraphQLErrors: a server that never answers 401.
func TestGraphQLErrors(t *testing.T) {
	var tokens *tokentest.Server
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer := `{"data": {"hello": "alice"}}`
		if !good(req.Context(), tokens, strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer ")) {
			answer = `{"errors": [{"message": "who are you?", "extensions": {"code": "UNAUTHENTICATED"}}]}`
		}
		_, _ = io.WriteString(w, answer)
	}))
	defer api.Close()
	tokens = tokentest.NewServer(t, nil)
	session, err := tokenclient.New(tokenclient.Config{
		Refresher: tokens.OAuth2Refresher(), Origins: []string{api.URL}, Rejected: unauthenticated,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close(context.Background())
	if err := session.SetToken(t.Context(), tokens.Issue("alice")); err != nil {
		t.Fatal(err)
	}
	client := graphql.NewClient(api.URL, session.Client())
	for refreshes := range 3 {
		var got struct{ Hello string }
		if err := client.MakeRequest(t.Context(), &graphql.Request{OpName: "Hello", Query: "query Hello { hello }"}, &graphql.Response{Data: &got}); err != nil || got.Hello != "alice" {
			t.Fatalf("answer %v, error %v", got, err)
		}
		if n := tokens.Counters().Refreshes; n != refreshes {
			t.Errorf("%d refreshes, want %d", n, refreshes)
		}
		tokens.RevokeAccess("alice")
	}
}
