package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// limit bounds everything that a test waits for.
const limit = 30 * time.Second

// startChrome starts a browser that talks to this machine only, and asks nobody
// for updates. It ends with the test.
func startChrome(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is missing: make need-chromium installs it")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-domain-reliability", true),
		chromedp.Flag("no-pings", true), chromedp.Flag("disable-search-engine-choice-screen", true), chromedp.Flag("disable-field-trial-config", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"), chromedp.Flag("disable-lcd-text", true),
		chromedp.Flag("force-color-profile", "srgb"), chromedp.WindowSize(1280, 900), chromedp.WSURLReadTimeout(limit))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, closeBrowser := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Logf("close browser: %v", err)
		}
		closeBrowser()
		cancel()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return ctx
}

// tab is a window of somebody who has cookies of their own.
type tab struct {
	t    testing.TB
	ctx  context.Context
	base string

	mu     sync.Mutex
	faults []string // what a page must not do
	status int64    // of the newest document
}

// newTab opens one on a daemon. When the test ends, no page may have raised an
// error, broken the content security policy or asked another host.
func newTab(t testing.TB, browser context.Context, base string) *tab {
	t.Helper()
	b := &tab{t: t, base: base}
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext(), chromedp.WithListener(b.heard))
	b.ctx = ctx
	t.Cleanup(func() {
		if t.Failed() {
			b.picture()
		}
		cancel()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, f := range b.faults {
			t.Errorf("in the browser: %s", f)
		}
	})
	if err := chromedp.Do(ctx); err != nil { // opens it; a context with a limit would close it again
		t.Fatal(err)
	}
	return b
}

// call gives the browser a command.
func call[P, R any](b *tab, cmd cdp.Command[P, R], params P) R {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	r, err := chromedp.Call(ctx, cmd, params)
	if err != nil {
		b.t.Fatalf("%s: %v", cmd.Method, err)
	}
	return r
}

// eval is the value of an expression in JavaScript.
func eval[T any](b *tab, expression string, options ...chromedp.EvaluateOption) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, options...))
	if err != nil {
		b.t.Fatalf("%.200s: %v\n%s", expression, err, b.state())
	}
	return v
}

func (b *tab) heard(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	fault := func(format string, args ...any) { b.faults = append(b.faults, fmt.Sprintf(format, args...)) }
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		fault("exception: %s %s", e.ExceptionDetails.Text, e.ExceptionDetails.URL)
	case *cdplog.EventEntryAdded:
		if e.Entry.Level == cdplog.EntryLevelError && e.Entry.Source != cdplog.EntrySourceNetwork { // statuses are looked at where they count
			fault("%s: %s (%s)", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		if u := e.Request.URL; !strings.HasPrefix(u, b.base+"/") && !strings.HasPrefix(u, "data:") && !strings.HasPrefix(u, "blob:"+b.base) && u != "about:blank" {
			fault("it asked %s", u)
		}
	case *network.EventResponseReceived:
		if e.Type == network.ResourceTypeDocument {
			b.status = e.Response.Status
		}
	}
}

// do carries out actions within the limit.
func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatalf("%v\n%s", err, b.state())
	}
}

// open goes to a path and returns the status.
func (b *tab) open(path string) int64 {
	b.t.Helper()
	b.do(chromedp.Navigate(b.base + path))
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status
}

// until waits for a condition in JavaScript. A page that is left meanwhile is no
// error.
func (b *tab) until(what, condition string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	tick := time.NewTicker(15 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		var ok bool
		if ok, last = chromedp.Run(ctx, chromedp.Evaluate[bool]("!!("+condition+")")); last == nil && ok {
			return
		}
		select {
		case <-ctx.Done():
			b.t.Fatalf("waited for %s: %v\n%s", what, last, b.state())
		case <-tick.C:
		}
	}
}

// at waits for a page with this path and heading.
func (b *tab) at(path, heading string) {
	b.t.Helper()
	b.until(fmt.Sprintf("%s with heading %q", path, heading),
		fmt.Sprintf(`location.pathname === %q && document.readyState === "complete" && [...document.querySelectorAll("h1")].some(h => h.textContent.includes(%q))`, path, heading))
}

// says waits until something on the page says so.
func (b *tab) says(selector, text string) {
	b.t.Helper()
	b.until(fmt.Sprintf("%s to say %q", selector, text),
		fmt.Sprintf(`[...document.querySelectorAll(%q)].some(e => e.textContent.includes(%q))`, selector, text))
}

// has reports what a condition in JavaScript gives now.
func (b *tab) has(condition string) bool {
	b.t.Helper()
	return eval[bool](b, "!!("+condition+")")
}

// state is where the tab is and what it shows, for a test that failed.
func (b *tab) state() string {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + (document.body ? document.body.innerText : "")`))
	if err != nil {
		return err.Error()
	}
	return text[:min(len(text), 2000)]
}

// picture keeps what is shown of a test that failed.
func (b *tab) picture() {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		return
	}
	name := filepath.Join(os.TempDir(), strings.NewReplacer("/", "-", " ", "-").Replace(b.t.Name())+".png")
	if os.WriteFile(name, png, 0o600) == nil {
		b.t.Logf("what was shown: %s", name)
	}
}

// path is where the tab is.
func (b *tab) path() string {
	b.t.Helper()
	return eval[string](b, "location.pathname")
}

// field is the selector of the control with this label, as people find it.
func (b *tab) field(label string) string {
	b.t.Helper()
	find := fmt.Sprintf(`[...document.querySelectorAll("label")].find(l => l.textContent.trim().startsWith(%q))`, label)
	b.until("a field "+label, find)
	return "#" + eval[string](b, find+".htmlFor")
}

// enter types into the control with this label.
func (b *tab) enter(label, text string) {
	b.t.Helper()
	b.fill(b.field(label), text)
}

// contextOf is the context of a browser.
type contextOf = context.Context

// contextID is the profile that a tab has for itself.
func contextID(b *tab) cdp.BrowserContextID {
	b.t.Helper()
	all, err := chromedp.Targets(b.ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, info := range all {
		if info.TargetID == chromedp.FromContext(b.ctx).Target.TargetID {
			return info.BrowserContextID
		}
	}
	b.t.Fatal("the tab is gone")
	return ""
}

// wait waits for what the page does not show.
func (b *tab) wait(what string, ok func() bool) {
	b.t.Helper()
	tick, end := time.NewTicker(15*time.Millisecond), time.After(limit)
	defer tick.Stop()
	for !ok() {
		select {
		case <-end:
			b.t.Fatalf("waited for %s\n%s", what, b.state())
		case <-tick.C:
		}
	}
}
