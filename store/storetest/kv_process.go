package storetest

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
)

// kvRole begins the roles of children that have a KV and no store.
const kvRole = "kv: "

// kvChild plays role in a child process and ends it.
func kvChild(t testing.TB, kv store.KV, role string) {
	in := bufio.NewScanner(os.Stdin)
	say := func(format string, args ...any) { fmt.Printf(linePrefix+format+"\n", args...) }
	c := &kvCheck{check: &check{t: dying{t}, why: "see the row"}, kv: kv}
	say("ready")
	switch fields := strings.Fields(role); fields[0] {
	case "refresh":
		key, _ := strconv.Unquote(strings.TrimPrefix(role, "refresh "))
		refreshInSteps(c.t, kv, key, in, say)
	case "swap":
		for in.Scan() {
			n, _ := strconv.ParseUint(in.Text(), 10, 64)
			old := c.get(kv, kvKey(1))
			if kvNumber(old) != n-1 {
				c.fatalf("Get: number %d after another process stored %d", kvNumber(old), n-1)
			}
			c.mustSwap(kv, kvKey(1), old, kvCount(n))
			say("swapped")
		}
	case "increment":
		times, _ := strconv.Atoi(fields[1])
		if !in.Scan() {
			os.Exit(3)
		}
		unsure := 0
		for range times {
			unsure += c.increment(kv, kvKey(1), nil)
		}
		say("unsure %d", unsure)
	}
	os.Exit(0)
}

// dying is the testing.TB of a child: it tells the parent what is wrong, and ends.
type dying struct{ testing.TB }

func (d dying) Errorf(format string, args ...any) { d.Fatalf(format, args...) }
func (dying) Fatalf(format string, args ...any) {
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " ")
	fmt.Printf(linePrefix+"error: %s\n", text)
	os.Exit(1)
}
