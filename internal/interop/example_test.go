package interop_test

import (
	"io"
	"os"
	"strings"
	"testing"
)

// Examples with a server cannot run by themselves.
func TestExamples(t *testing.T) {
	t.Setenv("TOKENS_KEY", strings.Repeat("07", 32))
	for name, c := range map[string]struct {
		example func()
		place   func(testing.TB) string
	}{
		"PostgreSQL":               {Example_postgreSQL, postgreSQL("")},
		"PostgreSQL that notifies": {Example_postgreSQLListen, postgreSQL("")},
		"MariaDB":                  {Example_mariaDB, mariaDB("")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("DATABASE_URL", c.place(t))
			if got, want := output(t, c.example), "login: <nil>\nstored: active r1\n"; got != want {
				t.Errorf("it printed\n%swant\n%s", got, want)
			}
		})
	}
}

// output returns the few lines that f prints.
func output(t *testing.T, f func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = w
	defer func() { os.Stdout = stdout }()
	f()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
