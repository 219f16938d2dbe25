package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/storytest"
)

var told = storytest.Story{
	Run: run,
	Lines: []string{
		"1000 goroutines, 50 connections",
		"The token has expired.",
		"All 1000 were answered 200. The server counted: refreshes 1, reuses 0, requests 1000, 401s 0.",
		"request    1", "-o", "request 1000", "-o", "the refresh ", "====", "x answered 401",
		"The server revoked the token.",
		"All 1000 were answered 200. The server counted: refreshes 1, reuses 0, requests ",
		"request    1", "-o", "request 1000", "-o", "the refresh ", "====", "x answered 401",
	},
	Varies: []string{`requests [12]\d{3}, 401s [1-9]\d*`, `^ +0 ms .*$`, `^request .*$`, `^the refresh .*$`},
}

func TestStory(t *testing.T) { told.Test(t) }

// TestPicture: of all requests ten are shown, the first and the last among them, with what each
// did beside the refresh.
func TestPicture(t *testing.T) {
	began := time.Now()
	at := func(ms int) time.Time { return began.Add(time.Duration(ms) * time.Millisecond) }
	var rides []*ride
	for i := range 19 {
		rides = append(rides, &ride{asked: at(0), answered: at(600 - i), sendings: []sending{ // the last one first
			{at(0), at(100), http.StatusUnauthorized}, {at(300), at(600 - i), http.StatusOK},
		}})
	}
	rides[0].sendings = rides[0].sendings[1:] // of a request that waited from its beginning
	var out strings.Builder
	draw(&out, rides, &timed{from: at(100), to: at(300)})
	for _, want := range []string{
		"              0 ms      110 ms    220 ms    330 ms    440 ms    550 ms\n",
		"request    1  ---------x.................-------------------------o\n",
		"request    3  ", "request    5  ", "request    7  ", "request   17  ",
		"request   19  ...........................---------------------------o\n",
		"the refresh            ===================\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if n := strings.Count(out.String(), "\nrequest "); n != 10 {
		t.Errorf("%d requests", n)
	}
}
