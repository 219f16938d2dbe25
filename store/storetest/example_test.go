package storetest_test

import (
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/storetest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// The whole test of a store: how one is made, and how one is opened.
func ExampleRun() {
	TestConformance := func(t *testing.T) {
		storetest.Run(t, storetest.Harness{
			Make: func(t *testing.T) string { return t.TempDir() + "/tokens" },
			Open: func(t testing.TB, address string) tokenclient.Store {
				files, err := store.NewFile(address, store.Plaintext())
				if err != nil {
					t.Fatal(err)
				}
				return files
			},
		})
	}
	_ = TestConformance // go test calls it
	// Output:
}

// newEngine stands for the function under test, and an address for a table, say.
var newEngine func(t testing.TB, address string) store.KV

// The whole test of an engine.
func ExampleRunKV() {
	TestEngine := func(t *testing.T) {
		storetest.RunKV(t, newEngine, func(t *testing.T) string { return t.TempDir() })
	}
	_ = TestEngine // go test calls it
	// Output:
}
