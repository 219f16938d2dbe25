package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/tokentest/page"
)

// pictures is where the README's pictures go: go test ./internal/interop/browser -run TestPage -pictures "$PWD/docs/pictures"
var pictures = flag.String("pictures", "", "the `folder` that TestPage puts its pictures into")

const (
	prompt       = 2 * time.Second // in which what happened is to be seen
	largestImage = 200 << 10

	// frozen is how long the page may do nothing else at most. It is for machines that do much
	// besides: what was measured is in the log.
	frozen = 5 * time.Second
)

// TestPage: what a person does with the page of package page, and what is seen of it.
func TestPage(t *testing.T) {
	browser := start(t)
	t.Run("scenes", func(t *testing.T) { testScenes(t, browser) })
	t.Run("controls", func(t *testing.T) { testControls(t, browser) })
	t.Run("wants", func(t *testing.T) { testWants(t, browser) })
	t.Run("keyboard", func(t *testing.T) { testKeyboard(t, browser) })
	t.Run("many events", func(t *testing.T) { testManyEvents(t, browser) })
	t.Run("foreign page", func(t *testing.T) { testForeignPageOfPage(t, browser) })
}

// openPage opens the page of a new server, and wants it to ask for nothing elsewhere and to
// complain of nothing.
func openPage(t *testing.T, browser context.Context) (*tokentest.Server, *tab) {
	t.Helper()
	srv := tokentest.NewServer(t, nil)
	page.Mount(srv)
	p := open(t, browser)
	messages := chromedp.Console(p)
	if err := chromedp.Do(p, chromedp.EmulateViewport(1540, 960), chromedp.Navigate(srv.URL+"/"), chromedp.WaitVisible(chromedp.CSS(`#link.live`))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := chromedp.Do(p, evaluate(`console.log("the end")`)); err != nil {
			t.Error(err)
			return
		}
		for m, err := range messages {
			if err != nil {
				t.Error(err)
				break
			}
			if m.Text == "the end" {
				break
			}
			if !strings.Contains(m.Text, "status of 400") && !strings.Contains(m.Text, "status of 409") { // a mistake that was made on purpose
				t.Errorf("the console has %s", m)
			}
		}
		for _, u := range p.asked() {
			if !strings.HasPrefix(u, srv.URL+"/") && !strings.HasPrefix(u, "referer") && u != "data:," {
				t.Errorf("the browser asked for %s", u)
			}
		}
	})
	return srv, p
}

// evaluate runs a statement.
func evaluate(js string) chromedp.Action[chromedp.Void] {
	return chromedp.Evaluate[chromedp.Void](js + "; undefined")
}

// seen waits until an expression is true of the page.
func seen(t *testing.T, p *tab, within time.Duration, js string) {
	t.Helper()
	if _, err := chromedp.Run(p, chromedp.Poll[bool](js, chromedp.WithPollingTimeout(within))); err != nil {
		text, _ := chromedp.Run(p, chromedp.Text(chromedp.CSS(`.wide`)))
		t.Fatalf("%s: %v; the page has %.2000s", js, err, text)
	}
}

func click(t *testing.T, p *tab, css string) {
	t.Helper()
	if err := chromedp.Do(p, chromedp.Click(chromedp.CSS(css))); err != nil {
		t.Fatal(err)
	}
}

// row is true if there is a row of the time line with all these words.
func row(words ...string) string {
	var all []string
	for _, w := range words {
		all = append(all, fmt.Sprintf("r.innerText.includes(%q)", w))
	}
	return `[...document.querySelectorAll("#rows tr")].some(r => ` + strings.Join(all, " && ") + `)`
}

func testScenes(t *testing.T, browser context.Context) {
	_, p := openPage(t, browser)
	click(t, p, `[data-key="stampede-library"]`)
	began := time.Now()
	seen(t, p, prompt, row("program, library", "refresh", "200"))
	t.Logf("the refresh was seen within %v", time.Since(began).Round(time.Millisecond))
	for _, key := range []string{"stampede-naive", "two-naive", "two-library", "kill-naive", "kill-library"} {
		click(t, p, fmt.Sprintf(`[data-key=%q]`, key))
		seen(t, p, loadTimeout, fmt.Sprintf(`document.getElementById(%q).innerText.includes("Session")`, key))
	}
	for _, scene := range []string{"stampede", "two", "kill"} {
		seen(t, p, loadTimeout, fmt.Sprintf(`document.getElementById(%q).innerText.includes("Session lost")`, scene+"-naive"))
		seen(t, p, loadTimeout, fmt.Sprintf(`document.getElementById(%q).innerText.includes("Session kept")`, scene+"-library"))
	}
	seen(t, p, loadTimeout, `document.querySelectorAll("#graph .arrow.replay").length > 0 && document.querySelectorAll("#graph .arrow.used").length > 0`)
	seen(t, p, loadTimeout, `document.querySelectorAll("#trees .chip.reused").length > 0`)
	axe := axeCore(t)
	schemes := []string{"light", "dark"}
	if testing.Short() {
		schemes = schemes[:1]
	}
	for _, scheme := range schemes {
		_, err := chromedp.Call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		wantAccessible(t, p, axe, scheme)
		takePicture(t, p, scheme)
	}
}

// takePicture takes the README's picture.
func takePicture(t *testing.T, p *tab, scheme string) {
	t.Helper()
	if *pictures == "" {
		return
	}
	taken, err := chromedp.Run(p, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(taken))
	if err != nil {
		t.Fatal(err)
	}
	var small bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, paletted(picture)); err != nil {
		t.Fatal(err)
	}
	if small.Len() > largestImage {
		t.Errorf("the picture of the page, %s, has %d bytes", scheme, small.Len())
	}
	if err := os.WriteFile(filepath.Join(*pictures, "page-"+scheme+".png"), small.Bytes(), 0o644); err != nil {
		t.Error(err)
	}
}

// paletted is a picture in its 256 most frequent colours, which makes the file a third.
func paletted(m image.Image) image.Image {
	count := map[color.Color]int{}
	for y := range m.Bounds().Dy() {
		for x := range m.Bounds().Dx() {
			count[m.At(x, y)]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(count), func(a, b color.Color) int { return count[b] - count[a] })
	small := image.NewPaletted(m.Bounds(), colours[:min(len(colours), 256)])
	draw.Draw(small, m.Bounds(), m, m.Bounds().Min, draw.Src)
	return small
}

func testControls(t *testing.T, browser context.Context) {
	srv, p := openPage(t, browser)
	click(t, p, `[data-key="steady-library"]`)
	seen(t, p, loadTimeout, row("client, library", "/api/orders", "200"))
	click(t, p, `[data-do="expire"]`)
	seen(t, p, loadTimeout, row("all access tokens expire"))
	seen(t, p, loadTimeout, row("client, library", "refresh", "200"))
	click(t, p, `[data-key="steady-library"]`)
	seen(t, p, loadTimeout, row("A client to play with, with the library: "))

	if err := chromedp.Do(p,
		evaluate(`document.getElementById("knob-latency").value = ""`),
		chromedp.SendKeys(chromedp.CSS(`#knob-latency`), "7ms\t"),
		chromedp.Click(chromedp.CSS(`#knob-no-rotation`)),
	); err != nil {
		t.Fatal(err)
	}
	seen(t, p, loadTimeout, row("Latency: 7ms"))
	seen(t, p, loadTimeout, row("No rotation: true"))
	srv.Set(func(o *tokentest.Options) {
		if o.Latency != 7*time.Millisecond || !o.NoRotation {
			t.Errorf("%+v", o)
		}
		o.Opaque = true
	})
	seen(t, p, loadTimeout, `document.getElementById("knob-opaque").checked`) // also what a test does is seen
	if err := chromedp.Do(p, chromedp.SendKeys(chromedp.CSS(`#knob-latency`), "x\t")); err != nil {
		t.Fatal(err)
	}
	seen(t, p, loadTimeout, `document.getElementById("problem").innerText.includes("want a time")`)
}

// testWants: a person has the server want a stronger login and proofs, and sees what becomes of
// the clients.
func testWants(t *testing.T, browser context.Context) {
	srv, p := openPage(t, browser)
	fill := func(id, value string) {
		t.Helper()
		if err := chromedp.Do(p, evaluate(fmt.Sprintf(`document.getElementById(%q).select()`, id)), chromedp.KeyEvent(kb.Backspace), chromedp.SendKeys(chromedp.CSS(`#`+id), value+"\t")); err != nil {
			t.Fatal(err)
		}
	}
	fill("knob-demand-acr", "mfa")
	seen(t, p, loadTimeout, row("Strength: mfa"))
	click(t, p, `[data-key="stampede-naive"]`)
	seen(t, p, loadTimeout, `document.getElementById("stampede-naive").innerText.includes("Session lost")`)
	click(t, p, `[data-key="stampede-library"]`)
	seen(t, p, loadTimeout, `document.getElementById("stampede-library").innerText.includes("Session kept")`)
	seen(t, p, loadTimeout, row("program, library", "/api/orders", "401", "insufficient_user_authentication"))
	fill("knob-demand-acr", "")
	seen(t, p, loadTimeout, row("Strength: as usual"))
	fill("knob-demand-scope", "write")
	click(t, p, `[data-key="two-library"]`)
	seen(t, p, loadTimeout, `document.getElementById("two-library").innerText.includes("Session kept")`)
	seen(t, p, loadTimeout, row("library", "/api/orders", "403", "insufficient_scope"))
	fill("knob-demand-scope", "")
	seen(t, p, loadTimeout, row("Scope: as usual"))
	click(t, p, `#knob-api-nonce`)
	seen(t, p, loadTimeout, `document.getElementById("knob-dpop").checked`)
	click(t, p, `[data-key="kill-library"]`)
	seen(t, p, loadTimeout, `document.getElementById("kill-library").innerText.includes("Session kept")`)
	seen(t, p, loadTimeout, `document.getElementById("counters").innerText.toLowerCase().includes("nonce challenges")`)
	click(t, p, `[data-key="kill-naive"]`)
	seen(t, p, loadTimeout, `document.getElementById("problem").innerText.includes("make no proofs")`)
	fill("knob-demand-claims", "[]")
	seen(t, p, loadTimeout, `document.getElementById("problem").innerText.includes("want a JSON object")`)
	click(t, p, `#knob-dpop`)
	seen(t, p, loadTimeout, row("Proofs: false"))
	srv.Set(func(o *tokentest.Options) {
		if o.DPoP != nil || len(o.Demands) != 0 {
			t.Errorf("%+v %+v", o.DPoP, o.Demands)
		}
	})
	wantAccessible(t, p, axeCore(t), "with a problem")
}

// testKeyboard: a person gets to each control by the Tab key alone, and starts clients by Enter.
func testKeyboard(t *testing.T, browser context.Context) {
	_, p := openPage(t, browser)
	missing := func() string {
		t.Helper()
		left, err := chromedp.Run(p, chromedp.Evaluate[string](`[...document.querySelectorAll("button, input, select, [tabindex]")].filter(e => !visited.has(e)).map(e => e.outerHTML).join("\n")`))
		if err != nil {
			t.Fatal(err)
		}
		return left
	}
	if err := chromedp.Do(p, evaluate(`visited = new Set(); document.addEventListener("focusin", e => visited.add(e.target))`)); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if err := chromedp.Do(p, chromedp.KeyEvent(kb.Tab)); err != nil {
			t.Fatal(err)
		}
	}
	if left := missing(); left != "" {
		t.Errorf("the Tab key does not lead to\n%s", left)
	}
	if err := chromedp.Do(p, chromedp.Focus(chromedp.CSS(`[data-key="stampede-library"]`)), chromedp.KeyEvent(kb.Enter)); err != nil {
		t.Fatal(err)
	}
	seen(t, p, loadTimeout, row("program, library", "refresh", "200"))
}

// testManyEvents: the page stays usable while very many requests come.
func testManyEvents(t *testing.T, browser context.Context) {
	n := 10_000
	if testing.Short() {
		n = 1_000
	}
	srv, p := openPage(t, browser)
	if err := chromedp.Do(p, evaluate(`longest = 0; new PerformanceObserver(list => { for (const e of list.getEntries()) longest = Math.max(longest, e.duration) }).observe({type: "longtask"})`)); err != nil {
		t.Fatal(err)
	}
	token := srv.Issue("alice")
	var wg sync.WaitGroup
	const workers = 8
	for range workers {
		wg.Go(func() {
			for range n / workers {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+"/api/orders", nil)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Authorization", "Bearer "+token.AccessToken)
				resp, err := srv.Client().Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				_ = resp.Body.Close()
			}
		})
	}
	wg.Wait()
	seen(t, p, loadTimeout, fmt.Sprintf(`Number(document.body.dataset.events) > %d`, n))
	longest, err := chromedp.Run(p, chromedp.Evaluate[float64](`longest`))
	if err != nil {
		t.Fatal(err)
	}
	took := time.Duration(longest * float64(time.Millisecond))
	t.Logf("%d events: the longest task of the page took %v (0s: none took 50ms)", n, took)
	if took > frozen {
		t.Errorf("the page was frozen for %v", took)
	}
	rows, err := chromedp.Run(p, chromedp.Evaluate[int](`document.querySelectorAll("#rows tr").length`))
	if err != nil || rows > 100 {
		t.Errorf("%d rows, %v", rows, err)
	}
}

const pressing = `<!DOCTYPE html><title>foreign</title><body><iframe name="to"></iframe><script>
const target = %q;
const form = (path, fields) => {
	const f = document.createElement("form");
	f.method = "post"; f.action = target + path; f.target = "to";
	for (const name in fields) { const i = document.createElement("input"); i.name = name; i.value = fields[name]; f.append(i); }
	document.body.append(f);
	return new Promise(over => { document.querySelector("iframe").onload = () => over(""); f.submit(); });
};
const quiet = p => p.then(r => r.text(), () => "");
const frame = new Promise(over => { const f = document.createElement("iframe"); f.onload = () => { let s = ""; try { s = f.contentDocument.body.innerText; } catch {} over(s); }; f.src = target; document.body.append(f); });
Promise.all([
	quiet(fetch(target + "/page/set", {method: "POST", mode: "no-cors", body: new URLSearchParams({name: "opaque", value: "true"})})),
	quiet(fetch(target + "/page/events")),
	quiet(fetch(target + "/")),
	form("/page/set", {name: "opaque", value: "true"}),
	frame,
]).then(read => { const p = document.createElement("p"); p.setAttribute("role", "status"); p.textContent = "read: " + JSON.stringify(read.join("")); document.body.append(p); });
</script>`

// testForeignPageOfPage: a page of somebody else's presses no button, and reads nothing.
func testForeignPageOfPage(t *testing.T, browser context.Context) {
	srv := tokentest.NewServer(t, nil)
	page.Mount(srv)
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, pressing, srv.URL)
	}))
	defer foreign.Close()
	other := open(t, browser)
	if err := chromedp.Do(other, chromedp.Navigate(strings.Replace(foreign.URL, "127.0.0.1", "localhost", 1))); err != nil {
		t.Fatal(err)
	}
	if read, _ := other.text(t); read != `read: ""` {
		t.Errorf("the page has %s", read)
	}
	reached := 0
	for _, u := range other.asked() {
		if strings.HasPrefix(u, srv.URL+"/page/set") {
			reached++
		}
	}
	if reached < 2 {
		t.Errorf("the other page tried %d times: %q", reached, other.asked())
	}
	srv.Set(func(o *tokentest.Options) {
		if o.Opaque {
			t.Error("the other page has turned a knob")
		}
	})
}

// wantAccessible wants axe to find nothing serious.
func wantAccessible(t *testing.T, p *tab, axe, scheme string) {
	t.Helper()
	found, err := chromedp.Run(p, chromedp.Evaluate[string](axe+`; axe.run().then(r => JSON.stringify({passes: r.passes.length, violations: r.violations.map(v => ({id: v.id, impact: v.impact, nodes: v.nodes.map(n => n.html + " " + n.failureSummary)}))}))`, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	var result struct {
		Passes     int
		Violations []struct {
			ID, Impact string
			Nodes      []string
		}
	}
	if err := json.Unmarshal([]byte(found), &result); err != nil {
		t.Fatal(err)
	}
	if result.Passes == 0 {
		t.Error("nothing was looked at")
	}
	t.Logf("axe, %s: %d rules passed, %d did not", scheme, result.Passes, len(result.Violations))
	for _, v := range result.Violations {
		if v.Impact == "serious" || v.Impact == "critical" {
			t.Errorf("%s: %s: %s\n%.2000s", scheme, v.Impact, v.ID, strings.Join(v.Nodes, "\n"))
		} else {
			t.Logf("%s: %s: %s", scheme, v.Impact, v.ID)
		}
	}
}
