package store_test

import (
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/store/storetest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

func TestMemoryConformance(t *testing.T) {
	var memory *store.Memory
	storetest.Run(t, storetest.Harness{
		Make: func(*testing.T) string {
			memory = new(store.Memory)
			return ""
		},
		Open: func(testing.TB, string) tokenclient.Store { return memory },
	})
}

func TestFileConformance(t *testing.T) {
	key, err := store.KeyBytes("test", []byte("0123456789abcdef0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	for name, sealer := range map[string]*store.Sealer{"sealed": store.Seal(key), "plaintext": store.Plaintext()} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, storetest.Harness{
				Make: func(t *testing.T) string { return t.TempDir() + "/tokens" },
				Open: func(t testing.TB, address string) tokenclient.Store {
					files, err := store.NewFile(address, sealer)
					if err != nil {
						t.Fatal(err)
					}
					return files
				},
			})
		})
	}
}
