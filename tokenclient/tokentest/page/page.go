// Package page is a live page of a [tokentest.Server]: every request as it comes, refreshes and
// replays joined by arrows, the tokens that came of each login, and a control for each knob.
// Its buttons start clients that lose a login, and the same with the library, which keep it.
//
//	srv := tokentest.NewServer(t, nil)
//	page.Mount(srv)
//	fmt.Println(srv.URL) // to be opened in a browser
//
// examples/mockserver serves it. It loads nothing from elsewhere, and shows no token: a
// fingerprint says which one is meant.
//
// # Who may press the buttons
//
// Who reaches the server, as with all else that it does: it is for tests. A page of another
// site that is open in the same browser is refused, by what browsers say of where a request
// comes from (Origin, Sec-Fetch-Site), and by the Host: the name in it must be that of the
// server's URL, localhost, or an address, so that no name of somebody else's leads here. No
// other page can have it in a frame.
//
// # What it keeps
//
// The last 1,000 events, in the server's memory and in each browser that is open.
package page

import (
	"bytes"
	"embed"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
)

//go:embed page.html style.css script.js
var files embed.FS

var document = template.Must(template.ParseFS(files, "page.html"))

// policy lets the page load what it is made of, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// maxForm bounds what the page sends.
const maxForm = 4 << 10

// A page is what Mount mounts.
type page struct {
	srv  *tokentest.Server
	host string // of the server's URL
	feed feed

	mu       sync.Mutex // guards the rest
	dialect  string     // the name of the one that was set here; "": none was
	release  func()     // of Hold; nil: nothing is held
	running  map[string]bool
	outcomes map[string]outcome // by the scene's key
}

// Mount serves the page of srv at "/", and what it is made of below "/page/". It ends when
// srv is closed. Mount panics if srv has it already.
func Mount(srv *tokentest.Server) {
	p := &page{srv: srv, running: map[string]bool{}, outcomes: map[string]outcome{}}
	if u, err := url.Parse(srv.URL); err == nil {
		p.host = u.Hostname()
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.serveDocument)
	mux.HandleFunc("GET /page/style.css", serveFile("style.css", "text/css; charset=utf-8"))
	mux.HandleFunc("GET /page/script.js", serveFile("script.js", "text/javascript; charset=utf-8"))
	mux.HandleFunc("GET /page/events", p.serveEvents)
	mux.HandleFunc("POST /page/set", p.serveSet)
	mux.HandleFunc("POST /page/do", p.serveDo)
	mux.HandleFunc("POST /page/run", p.serveRun)
	h := p.guarded(http.NewCrossOriginProtection().Handler(mux))
	srv.Handle("GET /{$}", h)
	srv.Handle("/page/", h)
	srv.Observe(p.feed.observe)
}

// guarded has next see requests that were meant for this server, and bounds what they bring.
func (p *page) guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		if !p.isHere(r.Host) {
			http.Error(w, "this server has another name", http.StatusMisdirectedRequest)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		next.ServeHTTP(w, r)
	})
}

// isHere says whether a Host can only mean this server: a name of somebody else's that leads
// to this machine (DNS rebinding) makes his page one of the same origin.
func (p *page) isHere(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return strings.EqualFold(name, "localhost") || strings.EqualFold(name, p.host)
}

func (p *page) serveDocument(w http.ResponseWriter, _ *http.Request) {
	var b bytes.Buffer
	err := document.Execute(&b, struct {
		URL    string
		Scenes []scene
		Groups []knobGroup
	}{p.srv.URL, scenes, knobGroups})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = b.WriteTo(w) // the browser may be gone
}

func serveFile(name, contentType string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		b, err := files.ReadFile(name)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(b)
	}
}
