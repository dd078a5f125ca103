package browser

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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

// isAccessible holds every page against WCAG 2.2 A and AA, in both schemes.
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

// goesByKeyboard walks through pages by the Tab key.
func (b *tab) goesByKeyboard(t *testing.T, chrome contextOf, h *house, data, shop string) {
	t.Helper()
	stranger := newTab(t, chrome, h.url)
	stranger.walked("/login")
	for _, path := range []string{"/", "/instances/" + shop, "/query?instance=" + data, "/users"} {
		b.walked(path)
	}
}

type violation struct {
	ID    string
	Help  string
	Nodes []struct {
		HTML           string
		FailureSummary string
	}
}

// axeRun takes all rules, or those about colours: the rest is the same in both
// schemes.
const axeRun = `axe.run(document, {resultTypes: ["violations"], runOnly: matchMedia("(prefers-color-scheme: dark)").matches
	? {type: "rule", values: ["color-contrast", "link-in-text-block"]}
	: {type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}})
	.then(r => JSON.stringify(r.violations.map(v => ({ID: v.id, Help: v.help, Nodes: v.nodes.map(n => ({HTML: n.html, FailureSummary: n.failureSummary}))}))))`

// checked holds the page that is shown against the rules, light and dark.
func (b *tab) checked(source string) {
	b.t.Helper()
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

// order gives every element that Tab reaches its place in the document, and notes
// how it looks without the focus.
const order = `(() => {
	window.looks = e => [e, e.parentElement, e.parentElement.parentElement].flatMap(x => [getComputedStyle(x), getComputedStyle(x, "::after")])
		.map(s => [s.outlineStyle, s.outlineWidth, s.outlineColor, s.boxShadow, s.borderColor, s.backgroundColor].join()).join(";");
	const all = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")].filter(e =>
		!e.disabled && e.tabIndex >= 0 && e.checkVisibility({visibilityProperty: true}) && e.type !== "hidden" && !e.closest("dialog:not([open])") &&
		!(e.type === "radio" && e.name && !e.checked && document.querySelector("input[type=radio]:checked[name=" + e.name + "]")));
	document.activeElement.blur();
	all.forEach((e, i) => { e.dataset.place = i; e.looked = looks(e); });
	return all.map(e => e.tabIndex);
})()`

// focused is where the focus is, and whether that can be seen.
const focused = `(() => {
	const e = document.activeElement;
	if (e === document.body) return [-1, "", 1];
	return [Number(e.dataset.place ?? -2), e.outerHTML.slice(0, 120), e.matches(":focus-visible") && looks(e) !== e.looked ? 1 : 0];
})()`

// walked presses Tab until the end of a page: the focus goes through the document
// in its order, through everything, and can be seen everywhere.
func (b *tab) walked(path string) {
	b.t.Helper()
	b.open(path)
	b.until("the scripts of the page", `document.readyState === "complete"`)
	indexes := eval[[]int](b, order)
	if slices.Max(indexes) > 0 {
		b.t.Errorf("%s has a tabindex above 0", path)
	}
	for place := range indexes {
		b.do(chromedp.KeyEvent(kb.Tab))
		at := eval[[]any](b, focused)
		if fmt.Sprint(at[0]) != fmt.Sprint(place) {
			b.t.Errorf("%s: after Tab number %d the focus is at place %v: %s", path, place+1, at[0], at[1])
			return
		}
		if fmt.Sprint(at[2]) != "1" {
			b.t.Errorf("%s: the focus cannot be seen on %s", path, at[1])
		}
	}
	if len(indexes) < 3 || !strings.HasPrefix(path, "/") {
		b.t.Errorf("%s has %d places for the focus", path, len(indexes))
	}
}
