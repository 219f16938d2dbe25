package browser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/login"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

// TestLogin: a person logs in with a browser, or refuses, by each kind of redirect URL, and
// by a device code; pages of others try to be in the way.
func TestLogin(t *testing.T) {
	browser := start(t)
	for _, redirect := range []string{"", "http://[::1]/cb", "http://localhost/cb"} {
		t.Run("approved"+strings.ReplaceAll(redirect, "/", "_"), func(t *testing.T) { testApproved(t, browser, redirect) })
	}
	t.Run("refused", func(t *testing.T) { testRefused(t, browser) })
	t.Run("device", func(t *testing.T) { testDevice(t, browser) })
	t.Run("foreign page", func(t *testing.T) { testForeignPage(t, browser) })
}

// approve is what a person does at the server's page.
func approve(user string) chromedp.Action[chromedp.Void] {
	return chromedp.Steps(chromedp.SendKeys(chromedp.CSS(`input[name=user]`), user), chromedp.Click(chromedp.CSS(`button[value=approve]`)))
}

func testApproved(t *testing.T, browser context.Context, redirect string) {
	srv := tokentest.NewServer(t, nil)
	session, refresher := newSession(t, srv)
	tab := open(t, browser)
	back := ""
	err := login.Browser(t.Context(), session, login.Config{Refresher: refresher, RedirectURL: redirect, Prompt: func(_ context.Context, p login.Prompt) error {
		u, err := url.Parse(p.URL)
		if err != nil {
			return err
		}
		back = u.Query().Get("redirect_uri")
		return chromedp.Do(tab, chromedp.Navigate(p.URL), approve("alice"))
	}})
	if err != nil {
		t.Fatal(err)
	}
	text, address := tab.text(t)
	if text != "You are logged in. You can close this window." || address != back {
		t.Errorf("%q at %s, want it at %s", text, address, back)
	}
	resp, err := session.Client().Get(srv.URL + "/api/things")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), `"alice"`) {
		t.Errorf("%s %s", resp.Status, body)
	}
	tab.wantQuiet(t, srv.URL, back)
}

// wantQuiet: the code is in no address that the person can go back to, and the page has
// asked for nothing and sent no Referer.
func (p *tab) wantQuiet(t *testing.T, server, back string) {
	t.Helper()
	history, err := chromedp.Run(p, chromedp.NavigationEntries())
	if err != nil {
		t.Fatal(err)
	}
	links, err := chromedp.Run(p, chromedp.Evaluate[int](`document.scripts.length + document.querySelectorAll("[src],[href],[style]").length`))
	if err != nil || links != 0 {
		t.Errorf("%v, %d scripts and links", err, links)
	}
	for _, e := range history.Entries {
		if strings.Contains(e.URL, "code=") && strings.HasPrefix(e.URL, back) {
			t.Errorf("the history has %s", e.URL)
		}
	}
	callbacks := 0
	for _, u := range p.asked() {
		if referer, ok := strings.CutPrefix(u, "referer "); ok {
			if strings.Contains(referer, "code=") || strings.HasPrefix(referer, back) {
				t.Errorf("the Referer was %s", referer)
			}
			continue
		}
		switch {
		case strings.HasPrefix(u, back):
			callbacks++
		case !strings.HasPrefix(u, server) && !strings.HasSuffix(u, "/favicon.ico"):
			t.Errorf("the browser asked for %s", u)
		}
	}
	if callbacks != 2 {
		t.Errorf("the browser came %d times, want once with the code and once without: %q", callbacks, p.asked())
	}
}

func testRefused(t *testing.T, browser context.Context) {
	srv := tokentest.NewServer(t, nil)
	session, refresher := newSession(t, srv)
	tab := open(t, browser)
	err := login.Browser(t.Context(), session, login.Config{Refresher: refresher, Prompt: func(_ context.Context, p login.Prompt) error {
		return chromedp.Do(tab, chromedp.Navigate(p.URL), chromedp.Click(chromedp.CSS(`button[value=refuse]`)))
	}})
	if !errors.Is(err, login.ErrDenied) {
		t.Error(err)
	}
	if text, address := tab.text(t); text != "The login was refused. You can close this window." || strings.Contains(address, "?") {
		t.Errorf("%q at %s", text, address)
	}
}

func testDevice(t *testing.T, browser context.Context) {
	srv := tokentest.NewServer(t, nil)
	session, refresher := newSession(t, srv)
	tab := open(t, browser)
	err := login.Device(t.Context(), session, login.Config{Refresher: refresher, Prompt: func(_ context.Context, p login.Prompt) error {
		return chromedp.Do(tab, chromedp.Navigate(p.URL), chromedp.SendKeys(chromedp.CSS(`input[name=user_code]`), p.UserCode), approve("bob"))
	}})
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := tab.text(t); text != "Approved. The device is logged in as bob." {
		t.Errorf("%q", text)
	}
	if _, err := session.Token(t.Context()); err != nil {
		t.Error(err)
	}
}

// attack is a page that tries out a port in all ways that a page has, and then says what it
// could read.
const attack = `<!DOCTYPE html><title>attack</title><body><script>
const target = %q;
const tries = [];
for (const query of ["?code=x&state=y", "?error=access_denied", "?error=access_denied&state=", ""]) {
	tries.push(fetch(target + query).then(r => r.text(), () => ""));
	tries.push(fetch(target + query, {mode: "no-cors"}).then(r => r.text(), () => ""));
	tries.push(fetch(target + query, {method: "POST", body: "code=x", mode: "no-cors"}).then(r => r.text(), () => ""));
	tries.push(new Promise(over => { const i = new Image(); i.onload = i.onerror = () => over(""); i.src = target + query; document.body.append(i); }));
	tries.push(new Promise(over => { const f = document.createElement("iframe"); f.onload = () => { let s = ""; try { s = f.contentDocument ? f.contentDocument.body.innerText : ""; } catch {} over(s); }; f.src = target + query; document.body.append(f); }));
}
Promise.all(tries).then(read => { const p = document.createElement("p"); p.setAttribute("role", "status"); p.textContent = "read: " + JSON.stringify(read.join("")); document.body.append(p); });
</script>`

// testForeignPage: a page of somebody else's that is open in the same browser ends no login,
// and reads nothing.
func testForeignPage(t *testing.T, browser context.Context) {
	srv := tokentest.NewServer(t, nil)
	session, refresher := newSession(t, srv)
	target := ""
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, attack, target)
	}))
	defer foreign.Close()
	tab, other := open(t, browser), open(t, browser)
	err := login.Browser(t.Context(), session, login.Config{Refresher: refresher, Prompt: func(_ context.Context, p login.Prompt) error {
		u, err := url.Parse(p.URL)
		if err != nil {
			return err
		}
		target = u.Query().Get("redirect_uri")
		if err := chromedp.Do(other, chromedp.Navigate(strings.Replace(foreign.URL, "127.0.0.1", "localhost", 1))); err != nil {
			return err
		}
		if read, _ := other.text(t); read != `read: ""` {
			t.Errorf("the page has %s", read)
		}
		return chromedp.Do(tab, chromedp.Navigate(p.URL), approve("alice"))
	}})
	if err != nil {
		t.Fatal(err)
	}
	reached := 0
	for _, u := range other.asked() {
		if strings.HasPrefix(u, target) {
			reached++
		}
	}
	if text, _ := tab.text(t); text != "You are logged in. You can close this window." || reached == 0 {
		t.Errorf("%q after %d tries of the other page", text, reached)
	}
}
