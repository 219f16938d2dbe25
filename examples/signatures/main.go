// Command signatures signs each request, beside the token that it carries, for an API that
// checks who sent it and that nobody changed it on the way.
//
//	go run ./examples/signatures
//
// An Attacher is where that goes: it sees each sending as it goes out, with the token on it and
// the body that will be sent. Two kinds are shown, a signature with a shared secret as AWS and
// many others have it, and HTTP Message Signatures (RFC 9421) with an Ed25519 key. The server
// revokes the token in the middle: the request is sent again, the body the same to the byte, with
// a signature of its own over the new token and a nonce that no other has.
package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "signatures:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, stdout io.Writer) error {
	secret := []byte(rand.Text())
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	for _, s := range []struct {
		name   string
		signer tokenclient.Attacher
		verify func(r *http.Request, body []byte) error
	}{
		{"HMAC-SHA256 with a shared secret", hmacSigner{tokenclient.Bearer{}, secret}, verifyHMAC(secret)},
		{"HTTP Message Signatures (RFC 9421), Ed25519", messageSigner{tokenclient.Bearer{}, "key-1", private}, verifyMessage(public)},
	} {
		fmt.Fprintf(stdout, "%s\n", s.name)
		if err := story(ctx, stdout, s.signer, s.verify); err != nil {
			return err
		}
	}
	return nil
}

func story(ctx context.Context, stdout io.Writer, signer tokenclient.Attacher, verify func(*http.Request, []byte) error) (err error) {
	server, err := tokentest.Start(nil, nil)
	if err != nil {
		return err
	}
	defer server.Close()
	g := &gate{server: server, verify: verify, seen: make(map[string]bool)}
	api := httptest.NewServer(g)
	defer api.Close()

	session, err := tokenclient.New(tokenclient.Config{
		Refresher: &tokenclient.JSONRefresher{TokenURL: server.URL + "/token/refresh"},
		Attacher:  signer,
		Origins:   []string{api.URL},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close(ctx)) }()
	if err := session.SetToken(ctx, server.Issue("alice")); err != nil { // stands in for a login
		return err
	}
	client := session.Client()

	document := bytes.Repeat([]byte("ten bytes "), 1000)
	for _, then := range []func(){func() {}, func() { server.RevokeAccess("alice") }} {
		then()
		status, err := post(ctx, client, api.URL+"/api/upload?name=report%20%231", document)
		if err != nil {
			return err
		}
		if status != http.StatusOK {
			return fmt.Errorf("the API answered %d", status)
		}
	}
	for _, line := range g.told {
		fmt.Fprintf(stdout, "  %s\n", line)
	}
	forged, err := http.NewRequestWithContext(tokenclient.WithoutToken(ctx), http.MethodGet, api.URL+"/api/hello", nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(forged)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	fmt.Fprintf(stdout, "  without a signature: %d\n", resp.StatusCode)
	c := server.Counters()
	fmt.Fprintf(stdout, "  %d refresh, %d nonces, none of them twice\n\n", c.Refreshes, len(g.seen))
	if c.Refreshes != 1 || len(g.seen) != 3 || resp.StatusCode != http.StatusForbidden {
		return fmt.Errorf("not as told: want 1 refresh, 3 signatures and a 403, got %d, %d and %d", c.Refreshes, len(g.seen), resp.StatusCode)
	}
	return nil
}

func post(ctx context.Context, client *http.Client, url string, body []byte) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}
