package dpop_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"strings"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/dpop"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// What docs/dpop.md shows needs servers that are not there.
var (
	_ = newSession
	_ = login
)

// newSession is what docs/dpop.md shows.
func newSession(records tokenclient.Store) (*tokenclient.Session, error) {
	proofs := new(dpop.Prover)
	return tokenclient.New(tokenclient.Config{
		Refresher: &tokenclient.OAuth2Refresher{
			TokenURL:   "https://auth.example.com/token",
			ClientAuth: tokenclient.PublicClient("my-app"),
			Binder:     proofs, // a proof with each call of the token endpoint
		},
		Attacher: proofs, // the token, and a proof, on each request
		Origins:  []string{"https://api.example.com"},
		Store:    records, Key: "alice",
	})
}

// login is what docs/dpop.md shows.
func login(ctx context.Context, refresher *tokenclient.OAuth2Refresher, session *tokenclient.Session, askUser func(url.Values) (code string, err error)) error {
	binding, thumbprint, err := refresher.Binder.NewBinding()
	if err != nil {
		return err
	}
	code, err := askUser(url.Values{"response_type": {"code"}, "dpop_jkt": {thumbprint}}) // and PKCE, state, …
	if err != nil {
		return err
	}
	params := url.Values{"grant_type": {"authorization_code"}, "code": {code}}
	token, err := refresher.Login(tokenclient.WithBinding(ctx, binding), params)
	if err != nil {
		return err
	}
	return session.SetToken(ctx, token)
}

// keystore is what docs/dpop.md shows.
func keystore(hsm crypto.Signer) *dpop.Prover {
	return &dpop.Prover{Signer: hsm, Algorithm: "ES256"}
}

// tests is what docs/dpop.md shows.
func tests(t *tokentest.Server) {
	t.Set(func(o *tokentest.Options) {
		o.DPoP = &tokentest.DPoP{TokenNonce: true, APINonce: true, NonceUses: 1}
	})
}

// A session whose tokens are of no use without its key. The server wants a new nonce in each
// proof, the access token is revoked, and the program sees neither.
func Example() {
	server, err := tokentest.Start(nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	tests(server)

	proofs := new(dpop.Prover)
	refresher := server.OAuth2Refresher()
	refresher.Binder = proofs
	session, err := tokenclient.New(tokenclient.Config{
		Refresher: refresher, Attacher: proofs, Origins: []string{server.URL},
		Store: new(store.Memory), Key: "alice",
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer func() { _ = session.Close(ctx) }()

	binding, thumbprint, err := proofs.NewBinding()
	if err != nil {
		log.Fatal(err)
	}
	token := server.IssueBound("alice", thumbprint) // as a login does
	token.Binding = binding
	if err := session.SetToken(ctx, token); err != nil {
		log.Fatal(err)
	}
	client := session.Wrap(server.Client())
	for range 2 {
		resp, err := client.Get(server.URL + "/api/things")
		if err != nil {
			log.Fatal(err)
		}
		_ = resp.Body.Close()
		fmt.Println(resp.StatusCode)
		server.RevokeAccess("alice")
	}

	stolen, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/api/things", nil)
	if err != nil {
		log.Fatal(err)
	}
	stolen.Header.Set("Authorization", "DPoP "+token.AccessToken)
	resp, err := server.Client().Do(stolen)
	if err != nil {
		log.Fatal(err)
	}
	_ = resp.Body.Close()
	fmt.Println("without the key:", resp.StatusCode)
	// Output:
	// 200
	// 200
	// without the key: 401
}

// One key for all tokens: any crypto.Signer, such as a TPM, an HSM or a keystore has.
func ExampleProver_signer() {
	hsm, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // stands for one
	if err != nil {
		log.Fatal(err)
	}
	proofs := keystore(hsm)
	binding, thumbprint, err := proofs.NewBinding()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(binding == "jkt:"+thumbprint) // no key is stored
	fmt.Println(proofs)
	// Output:
	// true
	// Prover{*ecdsa.PrivateKey}
}

// A login that names its key in the authorization request (dpop_jkt): whoever steals the code
// cannot exchange it.
func ExampleProver_NewBinding() {
	proofs := new(dpop.Prover)
	binding, thumbprint, err := proofs.NewBinding()
	if err != nil {
		log.Fatal(err)
	}
	authorize := "https://auth.example.com/authorize?" + url.Values{"response_type": {"code"}, "dpop_jkt": {thumbprint}}.Encode()
	fmt.Println(strings.HasPrefix(authorize, "https://auth.example.com/authorize?dpop_jkt="))

	// The user comes back with a code.
	_ = func(ctx context.Context, refresher *tokenclient.OAuth2Refresher, code string) (*tokenclient.Token, error) {
		return refresher.Login(tokenclient.WithBinding(ctx, binding), url.Values{"grant_type": {"authorization_code"}, "code": {code}})
	}
	// Output:
	// true
}
