package pages

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
)

// browser goes about as somebody without JavaScript does: it keeps cookies,
// follows redirects, and sends the forms that pages have. Every page that it is
// shown is checked.
type browser struct {
	t      testing.TB
	town   *town
	client *http.Client
	header http.Header
	page   *html.Node
	text   string // of the last answer, as it came
	at     *url.URL
	status int
	head   http.Header
	never  []string // texts that no answer and no address may hold
}

func (town *town) browser(t testing.TB) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, town: town, header: http.Header{}}
	b.client = &http.Client{Jar: jar, Transport: &http.Transport{}, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if len(via) > 5 {
			return fmt.Errorf("too many redirects: %s", r.URL)
		}
		b.guard("address", r.URL.String())
		return nil
	}}
	t.Cleanup(b.client.CloseIdleConnections)
	return b
}

// guard finds what may be shown nowhere.
func (b *browser) guard(where, text string) {
	b.t.Helper()
	for _, secret := range b.never {
		for _, form := range []string{secret, url.QueryEscape(secret), html.EscapeString(secret)} {
			if strings.Contains(text, form) {
				b.t.Errorf("%s of %s holds the secret %s", where, b.at, secret)
			}
		}
	}
}

func (b *browser) do(method, path string, form url.Values) {
	b.t.Helper()
	u, err := url.Parse(b.town.url)
	if err == nil && b.at != nil {
		u = b.at
	}
	if err == nil {
		u, err = u.Parse(path)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(context.Background(), method, u.String(), strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	for name, values := range b.header {
		r.Header[name] = values
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if r.Header.Get("Sec-Fetch-Site") == "" {
			r.Header.Set("Sec-Fetch-Site", "same-origin")
		}
	}
	b.send(r)
}

func (b *browser) send(r *http.Request) {
	b.t.Helper()
	resp, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 32<<20))
	if err != nil {
		b.t.Fatal(err)
	}
	b.status, b.text, b.at, b.head = resp.StatusCode, string(body), resp.Request.URL, resp.Header
	b.guard("answer", b.text)
	b.guard("address", b.at.String())
	b.page = nil
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		if b.page, err = html.Parse(strings.NewReader(b.text)); err != nil {
			b.t.Fatal(err)
		}
		b.check()
	}
}

func (b *browser) get(path string) {
	b.t.Helper()
	b.do(http.MethodGet, path, nil)
}

func (b *browser) post(path string, pairs ...string) {
	b.t.Helper()
	b.do(http.MethodPost, path, values(pairs))
}

func values(pairs []string) url.Values {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v
}

// want checks where the browser is, and that the page says something.
func (b *browser) want(status int, path string, says ...string) {
	b.t.Helper()
	if b.status != status || !strings.HasPrefix(b.at.RequestURI(), path) {
		b.t.Fatalf("%d at %s, want %d at %s\n%s", b.status, b.at.RequestURI(), status, path, b.words())
	}
	for _, text := range says {
		if !strings.Contains(b.words(), text) && !strings.Contains(b.text, text) {
			b.t.Errorf("%s does not say %q:\n%s", b.at.RequestURI(), text, b.words())
		}
	}
}

// words is what a reader sees of the main part.
func (b *browser) words() string {
	if b.page == nil {
		return b.text
	}
	var out strings.Builder
	main := find(b.page, func(n *html.Node) bool { return n.DataAtom == atom.Main })
	if main == nil {
		main = b.page
	}
	walk(main, func(n *html.Node) {
		if n.Type == html.TextNode {
			out.WriteString(n.Data + " ")
		}
	})
	return strings.Join(strings.Fields(out.String()), " ")
}

// submit sends the form of the page that has an action, filled in further, with
// the button that is named by its text. Names with a - in front are left out.
func (b *browser) submit(action, button string, pairs ...string) {
	b.t.Helper()
	form := find(b.page, func(n *html.Node) bool {
		return n.DataAtom == atom.Form && strings.HasSuffix(strings.SplitN(attr(n, "action"), "#", 2)[0], action) && (button == "" || hasButton(n, button))
	})
	if form == nil {
		b.t.Fatalf("%s has no form to %s with a button %q:\n%s", b.at, action, button, b.words())
	}
	v := b.filled(form, button)
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Del(pairs[i])
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	to := attr(form, "action")
	if strings.EqualFold(attr(form, "method"), "post") {
		b.do(http.MethodPost, to, v)
		return
	}
	b.get(strings.SplitN(to, "#", 2)[0] + "?" + v.Encode())
}

func hasButton(form *html.Node, text string) bool {
	return find(form, func(n *html.Node) bool { return n.DataAtom == atom.Button && strings.Contains(inner(n), text) }) != nil
}

// filled is what a browser would send of a form that nobody touched.
func (b *browser) filled(form *html.Node, button string) url.Values {
	v := url.Values{}
	walk(form, func(n *html.Node) {
		name := attr(n, "name")
		if name == "" || has(n, "disabled") {
			return
		}
		switch n.DataAtom {
		case atom.Input:
			kind := attr(n, "type")
			if (kind == "checkbox" || kind == "radio") && !has(n, "checked") {
				return
			}
			v.Add(name, attr(n, "value"))
		case atom.Textarea:
			v.Add(name, inner(n))
		case atom.Select:
			v.Add(name, selected(n))
		case atom.Button:
			if button != "" && strings.Contains(inner(n), button) && !v.Has(name) {
				v.Add(name, attr(n, "value"))
			}
		}
	})
	return v
}

func selected(n *html.Node) (value string) {
	first := true
	walk(n, func(o *html.Node) {
		if o.DataAtom == atom.Option && (first || has(o, "selected")) {
			value, first = attr(o, "value"), false
		}
	})
	return value
}

// check is what holds for every page: it can be read by programs that read pages
// aloud, and holds nothing that the policy refuses.
func (b *browser) check() {
	b.t.Helper()
	bad := func(format string, args ...any) { b.t.Helper(); b.t.Errorf(b.at.Path+": "+format, args...) }
	if got := b.head.Get("Cache-Control"); got != "no-store" {
		bad("Cache-Control is %q", got)
	}
	if csp := b.head.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		bad("Content-Security-Policy is %q", csp)
	}
	ids, labels, headings := map[string]bool{}, map[string]bool{}, 0
	walk(b.page, func(n *html.Node) {
		if id := attr(n, "id"); id != "" {
			if ids[id] {
				bad("the ID %s is there twice", id)
			}
			ids[id] = true
		}
		if n.DataAtom == atom.Label {
			labels[attr(n, "for")] = true
		}
		if n.DataAtom == atom.H1 {
			headings++
		}
	})
	if headings != 1 {
		bad("%d h1", headings)
	}
	if title := find(b.page, func(n *html.Node) bool { return n.DataAtom == atom.Title }); title == nil || inner(title) == "" {
		bad("no title")
	}
	walk(b.page, func(n *html.Node) { b.checkNode(n, ids, labels, bad) })
}

func (b *browser) checkNode(n *html.Node, ids, labels map[string]bool, bad func(string, ...any)) {
	if n.Type != html.ElementNode {
		return
	}
	for _, a := range n.Attr {
		if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
			bad("<%s> has %s=%q inline", n.Data, a.Key, a.Val)
		}
		if (a.Key == "aria-describedby" || a.Key == "aria-labelledby") && n.DataAtom != atom.Svg {
			for id := range strings.FieldsSeq(a.Val) {
				if !ids[id] {
					bad("<%s> refers to %s, which is not there", n.Data, id)
				}
			}
		}
	}
	switch n.DataAtom {
	case atom.Style:
		bad("there is a <style>")
	case atom.Script:
		if attr(n, "src") == "" {
			bad("there is a script inline")
		}
	case atom.Input, atom.Select, atom.Textarea:
		if attr(n, "type") != "hidden" && !labels[attr(n, "id")] && attr(n, "aria-label") == "" && attr(n, "aria-hidden") == "" {
			bad("<%s name=%q> has no label", n.Data, attr(n, "name"))
		}
	case atom.Button, atom.A:
		if strings.TrimSpace(inner(n)) == "" && attr(n, "aria-label") == "" {
			bad("<%s> has no name: %s", n.Data, attr(n, "href"))
		}
	case atom.Th:
		if attr(n, "scope") == "" {
			bad("<th>%s has no scope", inner(n))
		}
	case atom.Form:
		if strings.EqualFold(attr(n, "method"), "get") && slices.ContainsFunc([]string{"password", "token", "key"}, func(s string) bool { return b.filled(n, "").Has(s) }) {
			bad("a form sends secrets in an address")
		}
	}
}

func walk(n *html.Node, visit func(*html.Node)) {
	visit(n)
	for c := range n.ChildNodes() {
		walk(c, visit)
	}
}

func find(n *html.Node, is func(*html.Node) bool) *html.Node {
	if is(n) {
		return n
	}
	for c := range n.ChildNodes() {
		if f := find(c, is); f != nil {
			return f
		}
	}
	return nil
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, key string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == key })
}

func inner(n *html.Node) string {
	var out strings.Builder
	walk(n, func(n *html.Node) {
		if n.Type == html.TextNode {
			out.WriteString(n.Data)
		}
	})
	return strings.TrimSpace(out.String())
}

// admin is a browser of the first administrator, who is made where there is none.
func (town *town) admin(t testing.TB) *browser {
	t.Helper()
	b := town.browser(t)
	if open, err := town.api.SetupOpen(context.Background()); err != nil || open {
		if _, err := town.api.Bootstrap(auth.WithVisit(context.Background(), auth.Visit{Near: true}), server.BootstrapRequest{Email: adminEmail, Name: "Ada Lovelace", Password: adminPassword}); err != nil {
			t.Fatal(err)
		}
	}
	b.signIn(adminEmail, adminPassword)
	return b
}

func (b *browser) signIn(email, password string) {
	b.t.Helper()
	b.get("/login")
	b.submit("/login", "Sign in", "email", email, "password", password)
	b.want(200, "/")
}

// as makes a user of a role, and returns their browser.
func (town *town) as(t testing.TB, role auth.Role) *browser {
	t.Helper()
	email := string(role) + "@acme.com"
	if _, err := town.store.CreateUser(context.Background(), auth.NewUser{Email: email, Name: "Some " + string(role), Role: role, Password: adminPassword}); err != nil {
		t.Fatal(err)
	}
	b := town.browser(t)
	b.signIn(email, adminPassword)
	return b
}
