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
