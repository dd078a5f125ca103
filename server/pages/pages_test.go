package pages

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/fairlead/fairlead/server/auth"
)

// tour are the pages of a fleet, as far as they are of instances.
func (h *house) tour() []string {
	paths := []string{"/", "/events", "/events?page=2", "/nowhere"}
	for _, name := range []string{"acme", "globex", "hooli", "initech", "northwind", "umbrella"} {
		at := "/instances/" + name
		for _, tab := range []string{"", "/plan", "/plan?ref=gone", "/history", "/history/1", "/applies/1", "/generations/1", "/events", "/live", "/logs", "/logs?service=app&tail=50", "/certificates", "/connectors"} {
			paths = append(paths, at+tab)
		}
	}
	return append(paths, "/instances/acme/certificates/data", "/instances/globex/certificates/legacy", "/instances/acme/certificates/nope",
		"/instances/acme/applies/99", "/instances/acme/generations/99", "/instances/nobody", "/instances/acme/rollback?generation=1", "/instances/acme/rollback?generation=77",
		"/instances/acme/certificates/data/rollback?generation=2", "/instances/acme/suspend", "/instances/globex/upgrade", "/instances/acme/upgrade")
}

func TestEveryPageIsWhole(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.fleet()
	links := map[string]string{}
	for _, role := range []auth.Role{auth.RoleViewer, auth.RoleAnalyst, auth.RoleAdmin} {
		for _, path := range h.tour() {
			a := h.get(role, path)
			if want := expected(role, path); a.status != want {
				t.Errorf("%s as %s: %d, want %d", path, role, a.status, want)
			}
			if csp := a.header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
				t.Errorf("%s: policy %q", path, csp)
			}
			for _, fault := range inspect(a.body) {
				t.Errorf("%s as %s: %s", path, role, fault)
			}
			if role == auth.RoleAdmin {
				for _, to := range hrefs(a.body) {
					links[to] = path
				}
			}
		}
	}
	for to, from := range links {
		if strings.HasPrefix(to, "https://") || strings.HasPrefix(to, "/data/sources/") || slices.Contains([]string{"/account", "/users", "/tokens", "/audit"}, to) {
			continue // there are neither connectors nor people in this house
		}
		if a := h.get(auth.RoleAdmin, to); a.status >= 400 {
			t.Errorf("%s leads to %s: %d", from, to, a.status)
		}
	}
}

// expected is the status that a page of the tour has.
func expected(role auth.Role, path string) int {
	acts := regexp.MustCompile(`/(rollback|suspend|upgrade)\b`).MatchString(path)
	switch {
	case acts && role != auth.RoleAdmin:
		return http.StatusForbidden
	case path == "/instances/acme/upgrade":
		return http.StatusConflict
	case regexp.MustCompile(`nowhere|nobody|nope|/99$|=77$`).MatchString(path):
		return http.StatusNotFound
	}
	return http.StatusOK
}

// inspect says what is wrong with the structure of a page.
func inspect(body string) (faults []string) {
	doc, err := html.Parse(strings.NewReader(body))
	if err != nil {
		return []string{err.Error()}
	}
	p := page{ids: map[string]bool{}, labels: map[string]bool{}}
	p.walk(doc)
	for _, id := range p.refs {
		if !p.ids[id] {
			p.fault("nothing has the id %q", id)
		}
	}
	for _, id := range p.controls {
		if !p.labels[id] {
			p.fault("no label for %q", id)
		}
	}
	if p.headings != 1 {
		p.fault("%d h1", p.headings)
	}
	if p.titles != 1 {
		p.fault("%d titles", p.titles)
	}
	return p.faults
}

// page is what was found on one.
type page struct {
	ids, labels      map[string]bool
	refs, controls   []string
	headings, titles int
	faults           []string
}

func (p *page) fault(format string, args ...any) {
	p.faults = append(p.faults, fmt.Sprintf(format, args...))
}

func (p *page) walk(n *html.Node) {
	if n.Type == html.ElementNode {
		p.element(n, attributes(n))
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		p.walk(c)
	}
}

func attributes(n *html.Node) map[string]string {
	m := map[string]string{}
	for _, a := range n.Attr {
		m[a.Key] = a.Val
	}
	return m
}

func (p *page) element(n *html.Node, attr map[string]string) {
	for key := range attr {
		if key == "style" || strings.HasPrefix(key, "on") {
			p.fault("<%s> has the attribute %s", n.Data, key)
		}
	}
	if id := attr["id"]; id != "" {
		if p.ids[id] {
			p.fault("the id %q twice", id)
		}
		p.ids[id] = true
	}
	for _, key := range []string{"aria-labelledby", "aria-describedby"} {
		p.refs = append(p.refs, strings.Fields(attr[key])...)
	}
	if href, is := attr["href"]; is && strings.HasPrefix(href, "#") {
		p.refs = append(p.refs, href[1:])
	}
	named := attr["aria-label"] != "" || attr["aria-labelledby"] != ""
	switch n.Data {
	case "h1":
		p.headings++
	case "title":
		if n.Parent.Data == "head" {
			p.titles++
		}
	case "label":
		p.labels[attr["for"]] = true
	case "input", "select", "textarea":
		if attr["type"] != "hidden" && !named {
			p.controls = append(p.controls, attr["id"])
		}
	case "img":
		if _, has := attr["alt"]; !has {
			p.fault("an img without alt")
		}
	case "script":
		if attr["src"] == "" {
			p.fault("a script within the page")
		}
	case "style":
		p.fault("a style within the page")
	case "button", "a":
		if !named && strings.TrimSpace(textOf(n)) == "" {
			p.fault("a <%s> without a name: %v", n.Data, attr)
		}
	case "svg":
		if attr["aria-hidden"] != "true" && !(attr["role"] == "img" && named) {
			p.fault("an svg without a name that is not hidden")
		}
	case "form":
		if m := attr["method"]; m != "post" && m != "get" && m != "dialog" {
			p.fault("a form by %q", m)
		}
	}
}

func textOf(n *html.Node) string {
	if n.Type == html.TextNode {
		return n.Data
	}
	var b strings.Builder
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		b.WriteString(textOf(c))
	}
	return b.String()
}

var hrefOf = regexp.MustCompile(`<(?:a|link)[^>]* href="([^"#][^"]*)"`)

func hrefs(body string) (list []string) {
	for _, m := range hrefOf.FindAllStringSubmatch(body, -1) {
		list = append(list, html.UnescapeString(m[1]))
	}
	return list
}

func TestWhoIsNobodyIsLedToTheLogin(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	c := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for path, want := range map[string]string{"/": "/login", "/instances/acme/logs?service=app": "/login?next=%2Finstances%2Facme%2Flogs%3Fservice%3Dapp"} {
		resp, err := c.Get(h.web.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != want {
			t.Errorf("%s: %d to %s", path, resp.StatusCode, resp.Header.Get("Location"))
		}
	}
	if a := h.post("", "/instances/acme/resume", url.Values{}); a.status != http.StatusUnauthorized {
		t.Errorf("a POST of nobody: %d", a.status)
	}
	for _, path := range []string{"/live?topic=*", "/instances/acme/logs/follow"} {
		if a := h.get("", path); a.status != http.StatusUnauthorized {
			t.Errorf("%s: %d", path, a.status)
		}
	}
}

func TestOnlyLocalPathsAreLedTo(t *testing.T) {
	t.Parallel()
	for to, want := range map[string]bool{"/": true, "/a?b=c": true, "//evil.example": false, "https://evil.example": false, "/\\evil.example": false,
		"javascript:alert(1)": false, "": false, "x": false, "/a\r\nSet-Cookie: x": false, "/login": false, "/x/../login": false} {
		if local(to) != want {
			t.Errorf("local(%q) is %t", to, !want)
		}
	}
}

// What came from elsewhere is text, however it looks.
func TestForeignTextStaysText(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(2)>{{.}}`
	h.commit(map[string]*wish{"acme": {Tag: "2026.11.1"}}, evil, evil+"\u202e")
	h.settle("acme")
	h.furnish()
	h.mu.Lock()
	h.certs["acme"][0].Message, h.certs["acme"][0].Issuer, h.certs["acme"][0].Domains = evil, evil, []string{evil}
	h.feeds["acme"][0].Message, h.feeds["acme"][0].Kind = evil, evil
	h.dirty, h.lines = []string{evil}, []string{evil, "\x1b]0;" + evil + "\x07after", "\x1b[31mred\x1b[0m", strings.Repeat("€", 10_000), "bad \xff utf8", "10%\r20%\rdone"}
	h.mu.Unlock()
	if err := h.events.Report("acme", "Evil"+evil, evil); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/events", "/instances/acme", "/instances/acme/plan", "/instances/acme/history", "/instances/acme/applies/1", "/instances/acme/events",
		"/instances/acme/live", "/instances/acme/logs", "/instances/acme/certificates", "/instances/acme/certificates/data", "/instances/acme/connectors",
		"/instances/acme/plan?ref=" + url.QueryEscape(evil), "/" + url.PathEscape(evil), "/instances/" + url.PathEscape(evil)} {
		a := h.get(auth.RoleAdmin, path)
		if strings.Contains(a.body, "<script>alert") || strings.Contains(a.body, "<img src=x") || a.status >= 500 {
			t.Errorf("%s: %d with foreign markup", path, a.status)
		}
		if strings.ContainsAny(a.body, "\x1b\u202e\x07") {
			t.Errorf("%s: control characters", path)
		}
		for _, fault := range inspect(a.body) {
			t.Errorf("%s: %s", path, fault)
		}
	}
	log := h.get(auth.RoleViewer, "/instances/acme/logs").body
	for _, want := range []string{"| after", "| red", "done", "bad \uFFFD utf8", "…"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	if len(log) > 60_000 {
		t.Errorf("a long line makes a page of %d bytes", len(log))
	}
}

func TestPagesOfAnEmptyRepository(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, role := range []auth.Role{auth.RoleViewer, auth.RoleAdmin} {
		for _, path := range []string{"/", "/events"} {
			a := h.get(role, path)
			if a.status != 200 || !strings.Contains(a.body, `class="empty"`) {
				t.Errorf("%s: %d", path, a.status)
			}
			for _, fault := range inspect(a.body) {
				t.Errorf("%s: %s", path, fault)
			}
		}
	}
	if body := h.get(auth.RoleAdmin, "/").body; !strings.Contains(body, "instance.yaml") || !strings.Contains(body, "/data/add") {
		t.Error("nobody is told what to do")
	}
}

func TestWhatIsWrongComesFirst(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.fleet()
	body := h.get(auth.RoleViewer, "/").body
	at := func(name string) int { return strings.Index(body, `href="/instances/`+name+`"`) }
	order := []int{at("globex"), at("initech"), at("umbrella"), at("hooli"), at("northwind"), at("acme")}
	if slices.Contains(order, -1) || !slices.IsSorted(order) {
		t.Errorf("the tiles are in the order %v", order)
	}
	for _, want := range []string{"3 failing", "2 held back", "1 well", "2 edits not committed"} {
		if !strings.Contains(body, want) {
			t.Errorf("the dashboard does not say %q", want)
		}
	}
}

func TestManyEventsArePaged(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.commit(map[string]*wish{"acme": {Tag: "2026.11.1"}}, "One", "Ada")
	h.settle("acme")
	for i := range 600 {
		if err := h.events.Report("acme", "Happened", fmt.Sprintf("number %d of many", i)); err != nil {
			t.Fatal(err)
		}
	}
	first := h.get(auth.RoleViewer, "/instances/acme/events").body
	if !strings.Contains(first, "number 599 of many") || strings.Contains(first, "number 549 of many") || !strings.Contains(first, "1 to 50") {
		t.Error("the first page is not the newest 50")
	}
	last := h.get(auth.RoleViewer, "/events?page=10").body
	if !strings.Contains(last, "number 100 of many") || !strings.Contains(last, `rel="prev"`) || strings.Contains(last, `rel="next"`) {
		t.Error("the last page is not the oldest 50")
	}
	if h.get(auth.RoleViewer, "/events?page=999999999999").status != 200 || h.get(auth.RoleViewer, "/events?page=-1").status != 200 {
		t.Error("a page that there is not")
	}
}

func TestThemeIsKeptWithoutAScript(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	a := h.post(auth.RoleViewer, "/theme", url.Values{"theme": {"dark"}, "back": {"/events"}})
	if a.path != "/events" || !strings.Contains(a.body, `data-theme="dark"`) {
		t.Errorf("at %s", a.path)
	}
	if a := h.post(auth.RoleViewer, "/theme", url.Values{"theme": {"dark"}, "back": {"https://evil.example/"}}); a.path != "/" {
		t.Errorf("led to %s", a.path)
	}
	if a := h.post(auth.RoleViewer, "/theme", url.Values{"theme": {"pink"}}); a.status != http.StatusUnprocessableEntity {
		t.Errorf("got %d", a.status)
	}
}

func TestStaticFilesAreKeptForEver(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	seen := 0
	for _, to := range append(hrefs(h.get(auth.RoleViewer, "/").body), regexp.MustCompile(`/static/app\.[0-9a-f]+\.js`).FindString(h.get(auth.RoleViewer, "/").body)) {
		if !strings.HasPrefix(to, "/static/") {
			continue
		}
		seen++
		a := h.get("", to)
		if a.status != 200 || !strings.Contains(a.header.Get("Cache-Control"), "immutable") || a.header.Get("X-Content-Type-Options") != "nosniff" || len(a.body) == 0 {
			t.Errorf("%s: %d %v", to, a.status, a.header)
		}
	}
	if seen != 3 {
		t.Errorf("%d static files", seen)
	}
	if a := h.get("", "/static/app.000000000000.css"); a.status != http.StatusNotFound {
		t.Errorf("an old name: %d", a.status)
	}
}

func TestFlashesAreBounded(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for range maxFlashes + 50 {
		h.site.flashes.leave(&visit{w: discard{}, site: h.site, Request: &http.Request{}}, flash{"ok", "x"})
	}
	if n := len(h.site.flashes.kept); n > maxFlashes {
		t.Errorf("%d are kept", n)
	}
}

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}
