package sqlstore

import (
	"context"
	"strings"
	"sync/atomic"
)

// inSync begins the statements of MariaDB. A node of a Galera cluster answers with what it has,
// which may be older than what another node has said that it stored, and compares with that. With
// these bits, for reads, updates and inserts, it waits until it has all that came before. A
// server that is in no cluster has nothing to wait for.
const inSync = "SET STATEMENT wsrep_sync_wait = 7 FOR "

// A galera is what a table has learned of its server.
type galera struct {
	unknown atomic.Bool // a MariaDB that was built without clusters, or no MariaDB
}

// text is a statement as the server takes it.
func (g *galera) text(statement string) string {
	if g.unknown.Load() {
		return strings.TrimPrefix(statement, inSync)
	}
	return statement
}

// run runs do, which runs one statement. A server that does not know how to wait refuses it
// before it has done anything, and is asked without from then on.
func (g *galera) run(do func() error) error {
	waits := !g.unknown.Load()
	err := do()
	if err == nil || !waits {
		return err
	}
	if code, _ := codeOf(err); code != "error 1193" && code != "error 1064" { // no such variable, no such syntax
		return err
	}
	g.unknown.Store(true)
	return do()
}

// conflicts is how often a write is run that is in conflict with others. Each conflict is the
// success of another write, and that is of the same record nearly always, so that the next run
// finds that there is nothing to swap.
const conflicts = 20

// againInConflict runs do until it is not in conflict. Nodes of a cluster find out when they
// commit that another one was first, and undo what they did: MariaDB's error 1213. Nothing is
// in doubt then, as it is when a reply was lost.
func againInConflict(ctx context.Context, do func() error) error {
	for left := conflicts; ; left-- {
		err := do()
		if err == nil || left == 1 || ctx.Err() != nil {
			return err
		}
		if code, _ := codeOf(err); code != "error 1213" {
			return err
		}
	}
}
