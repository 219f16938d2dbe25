package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A Session calls these methods by itself; this is what it does.
func ExampleMemory() {
	ctx := context.Background()
	var memory store.Memory

	_, err := memory.Load(ctx, "alice")
	fmt.Println("before login:", errors.Is(err, tokenclient.ErrNoToken))

	seen, _, err := memory.Replace(ctx, "alice", &tokenclient.Token{AccessToken: "a1", RefreshToken: "r1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	now, err := memory.Refresh(ctx, "alice", seen, 20*time.Second,
		func(_ context.Context, current tokenclient.Record) (*tokenclient.Token, error) {
			fmt.Println("presents", current.Token.RefreshToken)
			return &tokenclient.Token{AccessToken: "a2", RefreshToken: "r2"}, nil
		})
	fmt.Println("stored:", now.Token.RefreshToken, "number", now.Number, err)

	// Another one that has seen only the first token gets the second.
	now, err = memory.Refresh(ctx, "alice", seen, 20*time.Second, nil)
	fmt.Println("found:", now.Token.RefreshToken, err)

	// Output:
	// before login: true
	// presents r1
	// stored: r2 number 2 <nil>
	// found: r2 <nil>
}

func ExampleNewFile() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	// In a program: LoadOrCreateKeyFile, KeyEnv or KeyFile, and a folder of its
	// own below os.UserConfigDir.
	key, err := store.KeyBytes("example", bytes.Repeat([]byte{7}, 32))
	if err != nil {
		fmt.Println(err)
		return
	}
	tokens := filepath.Join(dir, "tokens")
	files, err := store.NewFile(tokens, store.Seal(key))
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	_, _, err = files.Replace(ctx, "alice", &tokenclient.Token{AccessToken: "a1", RefreshToken: "r1"})
	fmt.Println("login:", err)

	// The next start of the program, or another process.
	files, err = store.NewFile(tokens, store.Seal(key))
	if err != nil {
		fmt.Println(err)
		return
	}
	record, err := files.Load(ctx, "alice")
	fmt.Println("stored:", record.State, record.Token.RefreshToken, err)

	record, was, err := files.Replace(ctx, "alice", nil)
	fmt.Println("logout:", record.State, "revoke", was.Token.RefreshToken, err)

	// Output:
	// login: <nil>
	// stored: active r1 <nil>
	// logout: logged out revoke r1 <nil>
}

func ExamplePassphrase() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	ctx := context.Background()
	start := func(keys *store.Sealer) (*store.File, error) {
		return store.NewFile(filepath.Join(dir, "tokens"), keys)
	}
	// The first start of the program.
	files, err := start(store.Seal(store.Passphrase([]byte("correct horse"))))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _, err = files.Replace(ctx, "alice", &tokenclient.Token{AccessToken: "a1", RefreshToken: "r1"})
	fmt.Println("login:", err)

	// Later somebody mistypes it: the token is there, and locked.
	files, err = start(store.Seal(store.Passphrase([]byte("horse correct"))))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = files.Load(ctx, "alice")
	fmt.Println("locked:", errors.Is(err, tokenclient.ErrStoreUnavailable))

	// The passphrase is changed: the old one still opens.
	files, err = start(store.Seal(store.Passphrase([]byte("battery staple")), store.Passphrase([]byte("correct horse"))))
	if err != nil {
		fmt.Println(err)
		return
	}
	record, err := files.Load(ctx, "alice")
	fmt.Println("stored:", record.Token.RefreshToken, err)

	// Output:
	// login: <nil>
	// locked: true
	// stored: r1 <nil>
}
