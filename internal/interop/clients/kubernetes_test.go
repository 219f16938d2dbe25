package clients_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// overSession returns kubeconfig with session's token in the place of its own credentials.
//
// A BearerToken or BearerTokenFile, or a user name and password, that are left in a
// rest.Config go on each request before WrapTransport sees it, and a session leaves requests
// alone that have an Authorization header of somebody else's: its token would never be sent, nor
// refreshed, and Hooks.HeaderKept would tell. So nothing of them may be left. That takes off
// impersonation, too: set it again.
func overSession(kubeconfig *rest.Config, session *tokenclient.Session) *rest.Config {
	c := rest.AnonymousClientConfig(kubeconfig)
	c.Wrap(func(base http.RoundTripper) http.RoundTripper { return session.Transport(base) })
	return c
}

// ask asks the API with what client-go makes of c, as its clients do.
func ask(t *testing.T, srv *tokentest.Server, c *rest.Config) int {
	t.Helper()
	client, err := rest.HTTPClientFor(c)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Get(srv.URL + "/api/things")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

// TestKubernetes: a token that was left in a kubeconfig keeps the session out, and overSession
// takes it away.
func TestKubernetes(t *testing.T) {
	for name, left := range map[string]func(c *rest.Config, token string){
		"nothing":     func(*rest.Config, string) {},
		"BearerToken": func(c *rest.Config, token string) { c.BearerToken = token },
		"password":    func(c *rest.Config, _ string) { c.Username, c.Password = "alice", "old" },
	} {
		t.Run(name, func(t *testing.T) {
			kept := make(chan string, 1)
			session, srv := newSession(t, &tokenclient.Hooks{HeaderKept: func(origin, _ string) { kept <- origin }})
			kubeconfig := &rest.Config{Host: srv.URL}
			left(kubeconfig, srv.Issue("alice").AccessToken)
			srv.RevokeAccess("alice")

			wrong := rest.CopyConfig(kubeconfig)
			wrong.Wrap(func(base http.RoundTripper) http.RoundTripper { return session.Transport(base) })
			if status := ask(t, srv, wrong); (status == 200) != (name == "nothing") {
				t.Errorf("with what was left: status %d", status)
			}
			if name != "nothing" {
				if origin := <-kept; origin != srv.URL {
					t.Errorf("told of %s", origin)
				}
			}
			srv.RevokeAccess("alice")
			before := srv.Counters().Refreshes
			if status := ask(t, srv, overSession(kubeconfig, session)); status != 200 {
				t.Errorf("status %d", status)
			}
			if n := srv.Counters().Refreshes - before; n != 1 {
				t.Errorf("%d refreshes", n)
			}
		})
	}
}

// A program that has a kubeconfig and a session.
func Example_kubernetes() {
	session, err := tokenclient.New(tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{TokenURL: "https://login.example.com/token", ClientAuth: tokenclient.PublicClient("kubectl")},
		Origins:   []string{"https://kubernetes.example.com:6443"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	kubeconfig := &rest.Config{Host: "https://kubernetes.example.com:6443", BearerToken: "left over"} // clientcmd, mostly
	config := overSession(kubeconfig, session)
	fmt.Println(config.BearerToken == "", config.WrapTransport != nil) // for kubernetes.NewForConfig
	// Output: true true
}
