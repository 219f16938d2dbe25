package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/redis/go-redis/v9"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/redisstore"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A service of which many instances run on many machines: all use the token of one
// login, and one at a time refreshes it. The name of this function is main in your
// program.
func Example() {
	client := redis.NewClient(&redis.Options{Addr: "localhost:6379"})
	defer client.Close()
	if err := callAPI(context.Background(), client, "https://api.example.com"); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// callAPI takes what logs in from the environment: TOKENS_KEY, the same 64 hexadecimal
// digits on all machines ("openssl rand -hex 32" makes some), API_USER and
// API_PASSWORD.
func callAPI(ctx context.Context, client redis.UniversalClient, api string) (err error) {
	key, err := store.KeyEnv("TOKENS_KEY")
	if err != nil {
		return err
	}
	tokens, err := store.NewShared(redisstore.New(client, "orders:token:"), store.Seal(key), nil)
	if err != nil {
		return err
	}
	session, err := tokenclient.New(tokenclient.Config{
		Refresher: &tokenclient.JSONRefresher{TokenURL: api + "/token/refresh"},
		Store:     tokens, Key: "orders service",
		Origins: []string{api},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close(ctx)) }()

	// Only the first instance finds nobody logged in. An error that is
	// ErrStoreUnavailable is no reason to log in: the token is there.
	if _, err := session.Token(ctx); errors.Is(err, tokenclient.ErrLoginRequired) {
		login := &tokenclient.PasswordLogin{URL: api + "/login"}
		token, err := login.Login(ctx, os.Getenv("API_USER"), os.Getenv("API_PASSWORD"))
		if err != nil {
			return err
		}
		if err := session.SetToken(ctx, token); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}

	resp, err := session.Wrap(http.DefaultClient).Get(api + "/api/orders")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	fmt.Println("the API says", resp.Status)
	return nil
}
