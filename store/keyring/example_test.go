package keyring_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/keyring"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A desktop program: its tokens are in a folder, and the key that seals them in the
// user's keyring.
func Example() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() (err error) {
	config, err := os.UserConfigDir()
	if err != nil {
		return err
	}
	dir := filepath.Join(config, "example-desktop")
	key, err := keyring.Key(dir, "com.example.desktop", "tokens")
	if err != nil {
		return err // which says what to do
	}
	files, err := store.NewFile(dir, store.Seal(key))
	if err != nil {
		return err
	}
	session, err := tokenclient.New(tokenclient.Config{
		Refresher: &tokenclient.JSONRefresher{TokenURL: "https://api.example.com/token/refresh"},
		Store:     files,
		Key:       "alice",
		Origins:   []string{"https://api.example.com"},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, session.Close(context.Background())) }()

	resp, err := session.Wrap(http.DefaultClient).Get("https://api.example.com/orders")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	return nil
}

// A daemon that is started before the user has unlocked the keyring waits. It does
// not ask often: each time there may be a question on the user's screen.
func ExampleKey_daemon() {
	waitForKey := func(ctx context.Context, dir string) (store.KeyWrapper, error) {
		for {
			key, err := keyring.Key(dir, "com.example.daemon", "tokens")
			if !errors.Is(err, tokenclient.ErrStoreUnavailable) {
				return key, err
			}
			log.Print(err)
			select {
			case <-time.After(5 * time.Minute):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	key, err := waitForKey(ctx, "/home/alice/.config/example-daemon")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the key is", key.KeyID())
}
