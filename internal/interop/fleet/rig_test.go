package fleet_test

import (
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/processes"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

func TestMain(m *testing.M) {
	open := func(s processes.Settings) (tokenclient.Store, error) {
		if err := handOvers.begin(s.Notes); err != nil {
			return nil, err
		}
		shared, err := engines[s.Engine].open(s.Address, s.Margin)
		handOvers.store = shared
		return shared, err
	}
	processes.Program{Open: open, Orders: handOvers.orders(), Parallel: 8}.Main(m)
}

// account is whose token the agents share when there is one.
const account = "alice"

// world has an engine that agents share.
type world struct {
	*processes.World
	running *running
}

func newWorld(t testing.TB, engine string, timeout, margin time.Duration) *world {
	t.Helper()
	r := engines[engine].start(t)
	shared, err := engines[engine].open(r.address, margin)
	if err != nil {
		t.Fatal(err)
	}
	w := processes.NewWorld(t, shared, processes.Settings{
		Accounts: []string{account}, RefreshTimeout: timeout,
		Engine: engine, Address: r.address, Margin: margin,
	})
	// A request whose client has died is carried out if the server has it, and so it
	// does here, delays included.
	w.Gate.CarryOut = true
	return &world{w, r}
}
