package browser

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/browser"
)

// TestPages is one day of a daemon that was just installed, in a browser.
func TestPages(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.sales()
	chrome := startChrome(t)
	data, shop := h.instance("sales"), h.instance("shop")
	ada := newTab(t, chrome, h.url)
	steps := []struct {
		name string
		run  func(*testing.T)
	}{
		{"setup", func(t *testing.T) { ada.setsUp(h, data) }},
		{"setup is closed", func(t *testing.T) { setupIsClosed(t, h, chrome) }},
		{"a commit appears by itself", func(t *testing.T) { ada.seesCommits(h, shop) }},
		{"rollback", func(t *testing.T) { ada.rollsBack(h, shop) }},
		{"query", func(t *testing.T) { ada.queries(t, data) }},
		{"people", func(t *testing.T) { ada.letsIn(t, h, chrome, shop) }},
		{"accessible", func(t *testing.T) { ada.isAccessible(t, chrome, h, data, shop) }},
		{"keyboard", func(t *testing.T) { ada.goesByKeyboard(h, data, shop) }},
	}
	for _, s := range steps {
		ada.t = t
		if !t.Run(s.name, func(t *testing.T) { ada.t = t; s.run(t) }) {
			return // what follows stands on it
		}
	}
	ada.t = t
}

func (b *tab) setsUp(h *house, instance string) {
	b.t.Helper()
	b.settle(h, instance)
	b.says("h1", "Your data is here") // by itself, as soon as it is
	if got := h.git("log", "-1", "--format=%an <%ae>: %s"); !strings.HasPrefix(got, "Ada Lovelace <"+admin+">: ") {
		b.t.Errorf("the commit of the setup is %s", got)
	}
	b.press("Go to the dashboard")
	b.at("/", "Instances")
	b.says(".tile h2", instance)
}

func setupIsClosed(t *testing.T, h *house, chrome contextOf) {
	stranger := newTab(t, chrome, h.url)
	stranger.open("/setup")
	stranger.at("/login", "Sign in")
	if status := h.call(http.MethodPost, "/auth/bootstrap", "", map[string]string{"email": "eve@example.com", "password": password}, nil); status != http.StatusForbidden {
		t.Errorf("a second administrator is answered %d", status)
	}
	if status := h.call(http.MethodGet, "/api/instances", "", nil, nil); status != http.StatusUnauthorized {
		t.Errorf("a stranger is answered %d", status)
	}
	stranger.open("/instances/anything?tab=1")
	stranger.at("/login", "Sign in")
}

// seesCommits has a compose project committed elsewhere, and then a newer image,
// while the dashboard is open: both come without a reload.
func (b *tab) seesCommits(h *house, shop string) {
	b.t.Helper()
	b.open("/")
	b.at("/", "Instances")
	eval[bool](b, `window.stayed = true`)
	h.commit("Open the shop", project(shop, h.push("1.0.0")))
	b.says(".tile h2", shop)
	tile := fmt.Sprintf(`.tile[data-text*=%q]`, shop)
	b.says(tile, "Healthy")
	b.says(tile, "Open the shop")
	newer := h.commit("Sell more in the shop", project(shop, h.push("1.0.1")))
	b.says(tile, "Sell more in the shop")
	b.says(tile, newer[:8])
	b.says(tile, "gen 2 ")
	if !b.has(`window.stayed`) {
		b.t.Error("the page was loaded anew")
	}
	if got := h.running(shop); !strings.HasSuffix(got, "/app:1.0.1 running") {
		b.t.Errorf("the engine runs %s", got)
	}
	b.click(tile + " a.over")
	b.at("/instances/"+shop, shop)
	b.says("#containers", shop+"-app-1")
	b.says("#facts", "Sell more in the shop")
}

// rollsBack goes back a generation by three clicks: the container is the old one,
// and git has the commit.
func (b *tab) rollsBack(h *house, shop string) {
	b.t.Helper()
	b.open("/instances/" + shop + "/history")
	b.click(`#timeline a[href$="rollback?generation=1"]`)
	b.at("/instances/"+shop+"/rollback", "")
	b.says("main", "Open the shop")
	b.click("button.danger")
	b.until("the instance again", `!location.pathname.endsWith("/rollback") && document.readyState === "complete"`)
	h.until("the old image runs", func() bool { return strings.HasSuffix(h.running(shop), "/app:1.0.0 running") })
	if got := h.git("log", "-1", "--format=%an|%s"); !strings.HasPrefix(got, "Ada Lovelace|Roll back "+shop) {
		b.t.Errorf("the newest commit is %s", got)
	}
	h.until("the instance rests", func() bool { return h.status(shop).Generation == 3 })
	list, err := h.client.History(h.t.Context(), shop, 1)
	if err != nil || len(list) != 1 || list[0].Correlation == "" {
		b.t.Errorf("what the click led to does not know the click: %+v, %v", list, err)
	}
	for _, said := range []string{`"operation":"POST /instances/{name}/rollback"`, `"msg":"Applied"`} {
		if !logged(h.log.String(), said, `"correlation":"`+list[0].Correlation+`"`) {
			b.t.Errorf("no line of the log has %s for %s", said, list[0].Correlation)
		}
	}
	b.open("/instances/" + shop + "/history")
	b.says("#timeline li:first-child", "Generation 3")
	b.says("#timeline li:first-child", "Ada Lovelace")
}

// logged reports whether one line of a log has all of some texts.
func logged(log string, texts ...string) bool {
	for line := range strings.Lines(log) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			return true
		}
	}
	return false
}

// queries asks data, has it drawn, and takes it home.
func (b *tab) queries(t *testing.T, instance string) {
	t.Helper()
	b.open("/query?instance=" + instance)
	b.fill("#sql", "SELECT region, sum(total) AS total FROM orders GROUP BY region ORDER BY total DESC")
	b.press("Run")
	b.says("#h-result", "4 rows")
	b.says("#result td", "West")
	if !b.has(`document.querySelector("details.draw").open`) {
		b.click("details.draw > summary")
	}
	b.choose("#c-kind", "bar")
	b.click(".draw-form button")
	b.until("a chart of four bars", `document.querySelectorAll("svg .chart-bar").length === 4 && document.querySelector(".chart svg title").textContent.includes("total by region")`)
	dir := t.TempDir()
	call(b, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{Behavior: browser.SetDownloadBehaviorBehaviorAllow, DownloadPath: dir,
		BrowserContextID: contextID(b)})
	b.click(`.downloads a[href*="format=csv"]`)
	var got string
	b.wait("the download", func() bool {
		files, _ := filepath.Glob(filepath.Join(dir, "*.csv"))
		for _, f := range files {
			text, err := os.ReadFile(f)
			got = string(text)
			return err == nil && strings.Count(got, "\n") == 5
		}
		return false
	})
	if !strings.HasPrefix(strings.ReplaceAll(got, "\r", ""), "region,total\nWest,300") {
		t.Errorf("the download is %q", got)
	}
	b.fill("#sql", "SELECT nothing FROM nowhere")
	b.press("Run")
	b.says("#result .notice", "nowhere")
}

// letsIn makes a viewer, who signs in, sees, and can change nothing.
func (b *tab) letsIn(t *testing.T, h *house, chrome contextOf, shop string) {
	t.Helper()
	b.open("/login")
	var made struct {
		Token string `json:"access_token"`
	}
	if status := h.call(http.MethodPost, "/auth/token", "", map[string]string{"email": admin, "password": password}, &made); status != http.StatusOK {
		t.Fatalf("a token is answered %d", status)
	}
	const viewer, secret = "vera@example.com", "marble otter tends the mill"
	if status := h.call(http.MethodPost, "/api/users", made.Token, map[string]string{"email": viewer, "name": "Vera", "role": "viewer", "password": secret}, nil); status >= 300 {
		t.Fatalf("a viewer is answered %d", status)
	}
	vera := newTab(t, chrome, h.url)
	vera.open("/instances/" + shop)
	vera.at("/login", "Sign in")
	vera.enter("E-mail address", viewer)
	vera.enter("Password", "a wrong password of hers")
	vera.press("Sign in")
	vera.says(".notice", "")
	vera.at("/login", "Sign in")
	if vera.has(`document.querySelector("input[type=password]").value`) {
		t.Error("the page has the wrong password in it")
	}
	vera.enter("E-mail address", viewer)
	vera.enter("Password", secret)
	vera.press("Sign in")
	vera.at("/instances/"+shop, shop)
	for _, path := range []string{"/", "/instances/" + shop, "/instances/" + shop + "/history", "/data"} {
		vera.open(path)
		if vera.has(`document.querySelector('main form[method=post], main a.btn[href*="rollback"], main a.btn[href*="suspend"]')`) {
			t.Errorf("a viewer finds something to press on %s:\n%s", path, vera.state())
		}
	}
	if status := vera.open("/users"); status != http.StatusForbidden {
		t.Errorf("a viewer is answered %d at /users", status)
	}
	var hers struct {
		Token string `json:"access_token"`
	}
	h.call(http.MethodPost, "/auth/token", "", map[string]string{"email": viewer, "password": secret}, &hers)
	if with, without := h.call(http.MethodGet, "/metrics", hers.Token, nil, nil), h.call(http.MethodGet, "/metrics", "", nil, nil); with != http.StatusOK || without != http.StatusUnauthorized {
		t.Errorf("metrics are answered %d to a viewer and %d to a stranger", with, without)
	}
	vera.open("/")
	vera.click(`form[action="/logout"] button`)
	vera.at("/login", "Sign in")
	vera.open("/instances/" + shop)
	vera.at("/login", "Sign in")
}
