package pages

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"time"

	"github.com/fairlead/fairlead/server/auth"
)

// looks are the templates, as one set: a page is made first and the frame
// around it, so that no page needs a copy of everything.
type looks struct{ set *template.Template }

func readLooks(s *Site) (*looks, error) {
	f, err := s.files()
	if err != nil {
		return nil, err
	}
	l := &looks{}
	l.set, err = template.New("").Funcs(words(f)).ParseFS(embedded, "templates/*.html")
	if err != nil {
		return nil, fmt.Errorf("read templates: %w", err)
	}
	return l, nil
}

// view is a page that is to be made.
type view struct {
	Template string
	Title    string
	Nav      string // key of the entry of the menu that is current
	Crumbs   []crumb
	// Live is the topic whose changes make the browser ask for the page again:
	// "*" is everything, otherwise the name of an instance; empty: nothing does.
	Live string
	// Reload is after how many seconds a browser without JavaScript asks again.
	Reload int
	// Bare leaves the menu out, as where somebody signs in.
	Bare   bool
	Status int // 0: 200
	Data   any
}

// crumb is one step of the way to a page.
type crumb struct{ Path, Label string }

// pageData is the dot of every template.
type pageData struct {
	view
	Caller  auth.Caller
	Known   bool // somebody is signed in
	Admin   bool // and may change things
	Analyst bool // and may ask data
	Path    string
	URI     string
	Name    string // of who is signed in
	Topic   string // version of what Live names
	Theme   string
	Flash   *flash
	Menu    []menuEntry
	Version string
	Now     time.Time
	Body    template.HTML
}

func (a view) send(v *visit) {
	body, err := a.render(v)
	if err != nil {
		if log := v.site.opt.Log; log != nil {
			log.WithError(err).WithField("page", v.URL.Path).Error("Make page")
		}
		http.Error(v.w, "This page could not be made. The daemon's log says why.", http.StatusInternalServerError)
		return
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if a.Status != 0 {
		v.w.WriteHeader(a.Status)
	}
	_, _ = v.w.Write(body) // the reader may be gone
}

// render makes the page, and the frame around it.
func (a view) render(v *visit) ([]byte, error) {
	l, err := v.site.looks()
	if err != nil {
		return nil, err
	}
	version, _ := v.site.api.Version(v.Context())
	data := &pageData{view: a, Caller: v.Caller, Known: v.known, Admin: v.may(auth.RoleAdmin), Analyst: v.may(auth.RoleAnalyst),
		Path: v.URL.Path, URI: v.URL.RequestURI(), Name: v.who(), Topic: v.versions[a.Live], Theme: v.theme(), Menu: v.site.menu(v, a.Nav), Version: version.Version, Now: time.Now()}
	if a.Status == 0 && v.Header.Get(freshHeader) == "" {
		data.Flash = v.site.flashes.take(v)
	}
	var b bytes.Buffer
	if err := l.set.ExecuteTemplate(&b, a.Template, data); err != nil {
		return nil, fmt.Errorf("make page %s: %w", a.Template, err)
	}
	data.Body = template.HTML(b.String()) //nolint:gosec // made by the set itself, which escaped it
	var page bytes.Buffer
	if err := l.set.ExecuteTemplate(&page, "layout", data); err != nil {
		return nil, fmt.Errorf("make frame: %w", err)
	}
	return page.Bytes(), nil
}

// freshHeader is sent by the script that asks for a page again.
const freshHeader = "X-Fairlead-Fresh"

// menuEntry is one entry of the menu.
type menuEntry struct {
	Key, Path, Label, Icon string
	Current                bool
}

// menu lists what the reader may see, as far as there are such pages.
func (s *Site) menu(v *visit, current string) (menu []menuEntry) {
	entries := []struct {
		menuEntry
		need auth.Role
	}{
		{menuEntry{Key: "instances", Path: "/", Label: "Instances", Icon: "ring"}, auth.RoleViewer},
		{menuEntry{Key: "events", Path: "/events", Label: "Events", Icon: "pulse"}, auth.RoleViewer},
		{menuEntry{Key: "data", Path: "/data", Label: "Data", Icon: "table"}, auth.RoleViewer},
		{menuEntry{Key: "query", Path: "/query", Label: "Query", Icon: "prompt"}, auth.RoleAnalyst},
		{menuEntry{Key: "users", Path: "/users", Label: "Users", Icon: "people"}, auth.RoleAdmin},
		{menuEntry{Key: "tokens", Path: "/tokens", Label: "Tokens", Icon: "key"}, auth.RoleViewer},
		{menuEntry{Key: "audit", Path: "/audit", Label: "Audit", Icon: "log"}, auth.RoleAdmin},
	}
	for _, e := range entries {
		if v.may(e.need) && s.known[e.Path] {
			e.Current = e.Key == current
			menu = append(menu, e.menuEntry)
		}
	}
	return menu
}
