package tokenclient_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/textproto"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// sendMail is what a program does with one connection to its mail server, which takes access
// tokens by the SASL mechanism XOAUTH2.
func sendMail(ctx context.Context, addr string, t *tokenclient.Token) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	c := textproto.NewConn(conn)
	defer c.Close()
	answer := base64.StdEncoding.EncodeToString([]byte("user=alice\x01auth=Bearer " + t.AccessToken + "\x01\x01"))
	if err := c.PrintfLine("AUTH XOAUTH2 %s", answer); err != nil {
		return err
	}
	_, _, err = c.ReadResponse(235)
	if refused := (*textproto.Error)(nil); errors.As(err, &refused) && refused.Code == 535 {
		return fmt.Errorf("%w: %w", tokenclient.ErrRejected, err) // try once more, with another token
	}
	if err != nil {
		return err
	}
	fmt.Println("authenticated")
	return nil // after MAIL FROM, RCPT TO, DATA
}

// A protocol without a RoundTripper: the server refuses the token, and the second connection
// has a new one.
func ExampleSession_Do() {
	srv, err := tokentest.Start(nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	mail, err := listenForMail(srv) // stands for the mail server
	if err != nil {
		log.Fatal(err)
	}
	defer mail.Close()

	session, err := tokenclient.New(tokenclient.Config{Refresher: srv.OAuth2Refresher(), Origins: []string{srv.URL}})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	defer session.Close(ctx)
	if err := session.SetToken(ctx, srv.Issue("alice")); err != nil {
		log.Fatal(err)
	}
	srv.RevokeAccess("alice")

	err = session.Do(ctx, func(ctx context.Context, t *tokenclient.Token) error {
		return sendMail(ctx, mail.Addr().String(), t)
	})
	fmt.Println(err, srv.Counters().Refreshes)
	// Output:
	// refused
	// authenticated
	// <nil> 1
}

// listenForMail serves AUTH XOAUTH2, and nothing else of SMTP. It asks srv whether a token
// is good.
func listenForMail(srv *tokentest.Server) (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	serve := func(c *textproto.Conn) {
		defer c.Close()
		line, err := c.ReadLine()
		if err != nil {
			return
		}
		if tokenIsGood(srv, line[len("AUTH XOAUTH2 "):]) {
			_ = c.PrintfLine("235 2.7.0 Accepted")
			return
		}
		fmt.Println("refused")
		_ = c.PrintfLine("535 5.7.8 Username and Password not accepted")
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(textproto.NewConn(conn))
		}
	}()
	return l, nil
}

func tokenIsGood(srv *tokentest.Server, answer string) bool {
	text, err := base64.StdEncoding.DecodeString(answer)
	if err != nil {
		return false
	}
	var bearer string
	if _, err := fmt.Sscanf(string(text), "user=alice\x01auth=Bearer %s", &bearer); err != nil {
		return false
	}
	req, err := http.NewRequest(http.MethodGet, srv.URL+"/api/things", nil)
	if err != nil {
		return false
	}
	req.Header.Set("Authorization", "Bearer "+bearer[:len(bearer)-2]) // two \x01 at the end
	resp, err := srv.Client().Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
