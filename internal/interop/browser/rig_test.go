package browser

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/discovery"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

const (
	program       = "chromium"
	debianPackage = "chromium"

	// startTimeout and loadTimeout keep a test from hanging on a machine that is busy.
	startTimeout = time.Minute
	loadTimeout  = time.Minute
)

// start starts a browser that ends with the test, and returns its context. Without the
// program the test is skipped.
func start(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("browser: the program %s is missing: install the Debian package %s", program, debianPackage)
	}
	dir := folder(t)
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path),
		chromedp.UserDataDir(filepath.Join(dir, "profile")),
		chromedp.Flag("headless", "new"),
		chromedp.NoSandbox, // root has none, nor has a container; it opens pages of the test's own only
		chromedp.WSURLReadTimeout(startTimeout),
		// Its crash reports and caches go to where the profile is, not to the user's own.
		chromedp.Env("HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_CACHE_HOME="+dir, "DBUS_SESSION_BUS_ADDRESS=disabled:"),
	)
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	browser, _ := chromedp.NewContext(ctx)
	// Cancel, unlike the function of the context, waits until the program has ended.
	t.Cleanup(func() {
		if err := chromedp.Cancel(browser); err != nil {
			t.Error(err)
		}
	})
	if err := chromedp.Do(browser); err != nil {
		t.Fatal(err)
	}
	return browser
}

// folder is one that is removed when the test ends. Processes of the browser live on for a
// moment after the browser, and may still write to it.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "browser-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := os.RemoveAll(dir)
		for end := time.Now().Add(startTimeout); err != nil && time.Now().Before(end); runtime.Gosched() {
			err = os.RemoveAll(dir)
		}
		if err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A tab is a page of the browser, and what it has asked for.
type tab struct {
	context.Context

	mu   sync.Mutex
	urls []string // of requests, with the fragment; and "referer " before each that was sent
}

// open opens a tab that is closed when the test ends.
func open(t *testing.T, browser context.Context) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	p := &tab{}
	err := chromedp.Listen(ctx, func(event any) {
		if e, ok := event.(*network.EventRequestWillBeSent); ok {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.urls = append(p.urls, e.Request.URL)
			if referer, ok := e.Request.Headers["Referer"].(string); ok {
				p.urls = append(p.urls, "referer "+referer)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(ctx, loadTimeout)
	t.Cleanup(stop)
	p.Context = ctx
	return p
}

// asked is what the tab has asked for.
func (p *tab) asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.urls)
}

// text waits for the page that says something to the person, and returns that.
func (p *tab) text(t *testing.T) (text, address string) {
	t.Helper()
	text, err := chromedp.Run(p, chromedp.Text(chromedp.CSS(`p[role=status]`)))
	if err != nil {
		t.Fatal(err)
	}
	if address, err = chromedp.Run(p, chromedp.Location()); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(text), address
}

// newSession returns the session of a program that has logged nobody in yet.
func newSession(t *testing.T, srv *tokentest.Server) (*tokenclient.Session, *discovery.Refresher) {
	t.Helper()
	r := &discovery.Refresher{Issuer: srv.URL, Make: func(md *discovery.Metadata) tokenclient.Refresher {
		return &tokenclient.OAuth2Refresher{TokenURL: md.TokenEndpoint, ClientAuth: tokenclient.PublicClient("the program")}
	}}
	s, err := tokenclient.New(tokenclient.Config{Refresher: r, Origins: []string{srv.URL}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s, r
}
