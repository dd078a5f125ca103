package browser

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// axe is the checker that scripts/axe.sh fetches.
func axe(t *testing.T) string {
	t.Helper()
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(home, ".cache")
	}
	source, err := os.ReadFile(filepath.Join(cache, "fairlead", "axe-core-4.14.1.js"))
	if err != nil {
		t.Fatalf("%v\nmake need-axe fetches it", err)
	}
	return string(source)
}

// isAccessible holds every page against WCAG 2.2 A and AA, in both schemes, walks
// through it by the Tab key, and looks at it on a phone.
func (b *tab) isAccessible(t *testing.T, chrome contextOf, h *house, data, shop string) {
	t.Helper()
	source := axe(t)
	stranger := newTab(t, chrome, h.url)
	stranger.open("/login")
	stranger.checked(source)
	for _, path := range []string{"/", "/instances/" + shop, "/instances/" + shop + "/plan", "/instances/" + shop + "/history", "/instances/" + shop + "/applies/1",
		"/instances/" + shop + "/events", "/instances/" + shop + "/live", "/instances/" + shop + "/logs", "/instances/" + shop + "/rollback?generation=1",
		"/instances/" + shop + "/suspend", "/instances/" + shop + "/certificates", "/instances/" + data + "/connectors", "/events", "/data", "/data/runs", "/data/add",
		"/query?instance=" + data, "/users", "/audit", "/tokens", "/account", "/nothing/here"} {
		if status := b.open(path); status != http.StatusOK && path != "/nothing/here" {
			t.Errorf("%s is answered %d", path, status)
		}
		b.checked(source)
	}
	b.adds(h, data, func() { b.checked(source) })
}

// goesByKeyboard asks data and goes back a generation without a pointer.
func (b *tab) goesByKeyboard(h *house, data, shop string) {
	b.t.Helper()
	b.open("/query?instance=" + data)
	b.tabTo("#sql")
	b.do(chromedp.KeyEvent("SELECT count(*) AS orders FROM orders"), chromedp.KeyEvent(kb.Enter, chromedp.KeyModifiers(chromedp.ModifierCtrl)))
	b.says("#h-result", "1 row")
	b.open("/instances/" + shop + "/history")
	b.tabTo(`#timeline a[href$="rollback?generation=2"]`)
	b.do(chromedp.KeyEvent(kb.Enter))
	b.at("/instances/"+shop+"/rollback", "")
	b.tabTo("button.danger")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.at("/instances/"+shop+"/live", shop)
	b.says("#live-log li", "generation 4 stands") // each line comes by itself
	if got := h.running(shop); !strings.HasSuffix(got, "/app:1.0.1 running") {
		b.t.Errorf("the engine runs %s", got)
	}
}

// tabTo presses Tab until the focus is where a selector finds something.
func (b *tab) tabTo(selector string) {
	b.t.Helper()
	b.until("the scripts of the page and "+selector, fmt.Sprintf(`document.readyState === "complete" && document.querySelector(%q)`, selector))
	for range mostPlaces {
		b.do(chromedp.KeyEvent(kb.Tab))
		if b.has(fmt.Sprintf(`document.activeElement.matches(%q)`, selector)) {
			return
		}
	}
	b.t.Fatalf("Tab does not come to %s\n%s", selector, b.state())
}

// mostPlaces bounds the presses of Tab on one page.
const mostPlaces = 150

type violation struct {
	ID    string
	Help  string
	Nodes []struct {
		HTML           string
		FailureSummary string
	}
}

// axeRun takes all rules.
const axeRun = `axe.run(document, {resultTypes: ["violations"],
	runOnly: {type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}})
	.then(r => JSON.stringify(r.violations.map(v => ({ID: v.id, Help: v.help, Nodes: v.nodes.map(n => ({HTML: n.html, FailureSummary: n.failureSummary}))}))))`

// checked holds the page that is shown against the rules, light and dark, walks
// through it, and makes it as narrow as a phone.
func (b *tab) checked(source string) {
	b.t.Helper()
	b.walked()
	b.fitsAPhone()
	eval[any](b, source+";0")
	for _, scheme := range []string{"light", "dark"} {
		b.scheme(scheme)
		var found []violation
		if err := json.Unmarshal([]byte(eval[string](b, axeRun, chromedp.EvalAwaitPromise)), &found); err != nil {
			b.t.Fatal(err)
		}
		for _, v := range found {
			b.t.Errorf("%s, %s: %s: %s, %d times:\n%s\n%s", b.path(), scheme, v.ID, v.Help, len(v.Nodes), v.Nodes[0].HTML, v.Nodes[0].FailureSummary)
		}
	}
}

// scheme is what the device of the reader asks for.
func (b *tab) scheme(name string) {
	b.t.Helper()
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
}

// fitsAPhone finds a page that has to be scrolled sideways where there are 360
// pixels, with what sticks out of it.
func (b *tab) fitsAPhone() {
	b.t.Helper()
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: 360, Height: 740, DeviceScaleFactor: 1, Mobile: true})
	wide := eval[[]string](b, `(() => {
		const root = document.documentElement;
		if (root.scrollWidth <= 360 && visualViewport.scale === 1) return [];
		return [root.scrollWidth + " pixels", ...[...document.querySelectorAll("main *")].filter(e => e.getBoundingClientRect().right > 361 && !e.closest(".tbl, pre"))
			.slice(0, 3).map(e => e.outerHTML.slice(0, 160))];
	})()`)
	if len(wide) > 0 {
		b.t.Errorf("%s is wider than a phone: %s", b.path(), strings.Join(wide, "\n"))
	}
	call(b, emulation.ClearDeviceMetricsOverride, cdp.Empty{})
}

// order gives every element that Tab reaches its place in the document, notes how
// it looks without the focus, and from then on where the focus comes to. The page
// asks for nothing new meanwhile.
const order = `(() => {
	window.looks = e => [e, e.parentElement, e.parentElement.parentElement].flatMap(x => [getComputedStyle(x), getComputedStyle(x, "::after")])
		.map(s => [s.outlineStyle, s.outlineWidth, s.outlineColor, s.boxShadow, s.borderColor, s.backgroundColor].join()).join(";");
	const all = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")].filter(e =>
		!e.disabled && e.tabIndex >= 0 && e.checkVisibility({visibilityProperty: true}) && e.type !== "hidden" && !e.closest("dialog:not([open])") &&
		!(e.type === "radio" && e.name && e !== (document.querySelector("input[type=radio]:checked[name=" + e.name + "]") ?? document.querySelector("input[type=radio][name=" + e.name + "]"))));
	window.fetch = () => new Promise(() => {});
	document.activeElement.blur();
	getSelection().setBaseAndExtent(document.body, 0, document.body, 0); // Tab begins there
	all.forEach((e, i) => { e.dataset.place = i; e.looked = looks(e); });
	window.walked = [];
	document.addEventListener("focusin", ({target: e}) => walked.push([String(e.dataset.place ?? -1), e.outerHTML.slice(0, 120),
		e.matches(":focus-visible") && looks(e) !== e.looked ? "seen" : "unseen"]));
	const parts = all.filter(e => e.type === "datetime-local").length * 6; // day, month, … are within one place
	return {Indexes: all.map(e => e.tabIndex), Presses: all.length + parts};
})()`

// walked presses Tab until the end of a page: the focus goes through the document
// in its order, through everything, and can be seen everywhere.
func (b *tab) walked() { b.t.Helper(); b.walks(2) }

func (b *tab) walks(again int) {
	b.t.Helper()
	b.until("the scripts of the page", `document.readyState === "complete"`)
	path := eval[string](b, "location.pathname + location.search")
	places := eval[struct {
		Indexes []int
		Presses int
	}](b, order)
	indexes := places.Indexes
	if len(indexes) < 3 || len(indexes) > mostPlaces || slices.Max(indexes) > 0 {
		b.t.Errorf("%s has %d places for the focus, with a tabindex of %d at most", path, len(indexes), slices.Max(append(indexes, 0)))
		return
	}
	presses := make([]chromedp.Action[chromedp.Void], places.Presses)
	for i := range presses {
		presses[i] = chromedp.KeyEvent(kb.Tab)
	}
	for some := range slices.Chunk(presses, 20) { // each within the limit
		b.do(some...)
	}
	at := eval[[][]string](b, `walked`)
	if again > 0 && slices.ContainsFunc(at, func(a []string) bool { return a[0] == "-1" }) { // what it had asked for came meanwhile
		b.open(path)
		b.walks(again - 1)
		return
	}
	for place := range indexes {
		if place >= len(at) || at[place][0] != strconv.Itoa(place) {
			b.t.Errorf("%s: after Tab number %d of %d the focus is not there: it was at %v", path, place+1, len(indexes), at[max(0, min(place-1, len(at)-1)):min(place+2, len(at))])
			return
		}
		if at[place][2] != "seen" {
			b.t.Errorf("%s: the focus cannot be seen on %s", path, at[place][1])
		}
	}
}
