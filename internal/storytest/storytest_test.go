package storytest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/storytest"
)

func TestCheck(t *testing.T) {
	s := storytest.Story{Lines: []string{"one", "two", "one"}, Secrets: []string{"hunter2"}}
	for out, want := range map[string]string{
		"one\ntwo\none\n":          "",
		"one two three one":        "",
		"":                         `no "one"`,
		"two\none\n":               `no "two"`,
		"one\ntwo\n":               `no "one"`,
		"one\ntwo\none\nhunter2\n": "secret",
	} {
		err := storytest.Check(s, out)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", out, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Error("the error has the secret")
		}
	}
}

func TestFairly(t *testing.T) {
	failed := errors.New("not as told")
	for _, test := range []struct {
		name  string
		wrong int // tellings before the first that is right
		err   error
		late  time.Duration
		tries int
		good  bool
	}{
		{"right", 0, nil, 0, 1, true},
		{"right on a slow machine", 0, nil, storytest.TooLate, 1, true},
		{"wrong", 1, nil, storytest.TooLate - 1, 1, false},
		{"error", 1, failed, 0, 1, false},
		{"wrong on a slow machine", 2, nil, storytest.TooLate, 3, true},
		{"error on a slow machine", 2, failed, time.Hour, 3, true},
		{"wrong time and again", 100, nil, time.Hour, storytest.MostTries, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			tries, logged := 0, 0
			err := storytest.Fairly(storytest.Story{Lines: []string{"right"}}, func() (string, error) {
				if tries++; tries <= test.wrong {
					return "wrong", test.err
				}
				return "right", nil
			}, func() func() time.Duration {
				return func() time.Duration { return test.late }
			}, func(string, ...any) { logged++ })
			if tries != test.tries || (err == nil) != test.good || logged != tries-1 {
				t.Errorf("%d tries, %d of them logged, error %v", tries, logged, err)
			}
			if err != nil && (test.err != nil && !errors.Is(err, test.err) || !strings.HasSuffix(err.Error(), "in\nwrong")) {
				t.Errorf("error %v; want the cause and the story", err)
			}
		})
	}
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := storytest.NewWatch()
		time.Sleep(time.Hour)
		if late := end(); late != 0 {
			t.Errorf("late by %v, where no timer is", late)
		}
	})
}

// TestStory plays an example that is a program too, in testdata.
func TestStory(t *testing.T) {
	t.Chdir(filepath.Join("testdata", "example"))
	storytest.Story{
		Run: func(ctx context.Context, out io.Writer) error {
			_, _ = fmt.Fprintln(out, "once\ntwice")
			return ctx.Err()
		},
		Lines: []string{"once", "twice"},
	}.On("../examples.md").Test(t)
}
