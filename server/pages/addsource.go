package pages

import (
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
)

// A source is added in steps, each a page with an address of its own: which one,
// its credentials, its tables, the commit, and the first sync. The same steps are
// under /setup, right after the first administrator was made, and under
// /data/add. What was answered so far is a draft. One that is gone, since the time
// was over, leads back to the first step; after a restart of the daemon, which
// keeps no secret of it, to the credentials.
const (
	setupBase = "/setup"
	addBase   = "/data/add"
)

func (s *Site) addRoutes() {
	s.page("GET /data/add", auth.RoleAdmin, s.sourceStep)
	s.page("POST /data/add/source", auth.RoleAdmin, s.takeSource)
	for _, base := range []string{setupBase, addBase} {
		one := base + "/{draft}"
		s.page("GET "+one+"/source", auth.RoleAdmin, s.step(s.sourceAgain))
		s.page("POST "+one+"/source", auth.RoleAdmin, s.step(s.changeSource))
		s.page("GET "+one+"/credentials", auth.RoleAdmin, s.step(s.credentialsStep))
		s.page("POST "+one+"/credentials", auth.RoleAdmin, s.step(s.takeCredentials))
		s.page("GET "+one+"/tables", auth.RoleAdmin, s.step(s.tablesStep))
		s.page("POST "+one+"/tables", auth.RoleAdmin, s.step(s.takeTables))
		s.page("GET "+one+"/review", auth.RoleAdmin, s.step(s.reviewStep))
		s.page("POST "+one+"/review", auth.RoleAdmin, s.step(s.takeReview))
		s.page("GET "+one+"/done", auth.RoleAdmin, s.step(s.doneStep))
		s.page("GET "+one+"/patch", auth.RoleAdmin, s.step(s.patchFile))
		s.page("POST "+one+"/discard", auth.RoleAdmin, s.step(s.discard))
	}
}

// base is where the steps of a draft are.
func (d draft) base() string {
	if d.Setup {
		return setupBase
	}
	return addBase
}

func (d draft) path(step string) string { return d.base() + "/" + d.ID + "/" + step }

// step finds the draft that an address is about.
func (s *Site) step(h func(*visit, draft) (reply, error)) handler {
	return func(v *visit) (reply, error) {
		d, there := s.drafts.get(v.session(), v.PathValue("draft"))
		if !there {
			return v.to(addBase, "bad", "What you had entered is gone: it is kept for two hours. Nothing was committed by it. Choose the source again."), nil
		}
		return h(v, d)
	}
}

// wizard is what every step shows beside its own.
type wizard struct {
	Setup   bool
	Base    string // of the forms of this draft
	Steps   []wizardStep
	Kind    sourceKind
	Draft   draft // without anything secret: templates get no more than this
	Problem *server.Error
}

type wizardStep struct {
	Number      int
	Label, Path string // Path is empty where one cannot go
	Current     bool
	Done        bool
}

// wizardOf is the frame of a step: admin, source, credentials, tables, review or done.
func wizardOf(d draft, current string) wizard {
	w := wizard{Setup: d.Setup, Base: d.base(), Draft: d, Problem: d.Problem}
	w.Draft.Values, w.Draft.Found, w.Draft.Session = nil, nil, ""
	if d.ID != "" {
		w.Base += "/" + d.ID
	}
	w.Kind, _ = kindOf(d.Kind)
	names := []struct{ key, label string }{{"source", "Source"}, {"credentials", "Credentials"}, {"tables", "Tables"}, {"review", "Commit and sync"}}
	if d.Setup {
		names = slices.Insert(names, 0, struct{ key, label string }{"admin", "Administrator"})
	}
	at := slices.IndexFunc(names, func(n struct{ key, label string }) bool { return n.key == current })
	if current == "done" {
		at = len(names)
	}
	for i, n := range names {
		step := wizardStep{Number: i + 1, Label: n.label, Current: i == at, Done: i < at}
		if step.Done && n.key != "admin" && d.ID != "" && d.Done == nil {
			step.Path = d.path(n.key)
		}
		w.Steps = append(w.Steps, step)
	}
	return w
}

// sourceData is what the first step shows.
type sourceStepData struct {
	wizard
	Kinds     []sourceKind
	Instances []string
	Instance  string
	Chosen    string
	Problems  map[string]string
}

// sourceStep is the first step of a source that is added later.
func (s *Site) sourceStep(v *visit) (reply, error) {
	return s.showSource(v, draft{Kind: v.URL.Query().Get("kind"), Instance: v.URL.Query().Get("instance")}, nil), nil
}

func (s *Site) sourceAgain(v *visit, d draft) (reply, error) {
	if d.Done != nil {
		return redirect{d.path("done")}, nil
	}
	return s.showSource(v, d, nil), nil
}

func (s *Site) showSource(v *visit, d draft, problems map[string]string) view {
	d.Problem = nil
	data := sourceStepData{wizard: wizardOf(d, "source"), Kinds: sourceKinds(), Instances: s.instanceNames(), Instance: d.Instance, Chosen: d.Kind, Problems: problems}
	if data.Instance == "" {
		data.Instance = proposedInstance(data.Instances)
	}
	return s.wizardView(d, "addsource", "Choose a source", data, problems)
}

// wizardView is a step as a page; one with problems in it is no success.
func (s *Site) wizardView(d draft, template, title string, data any, problems map[string]string) view {
	w := view{Template: template, Title: title, Nav: "data", Bare: d.Setup, Data: data}
	if len(problems) > 0 {
		w.Status = http.StatusUnprocessableEntity
	}
	if !d.Setup {
		w.Crumbs = []crumb{{"/data", "Data"}, {addBase, "Add a source"}}
	}
	return w
}

// proposedInstance is the one that there is, or one called after this machine.
func proposedInstance(names []string) string {
	if len(names) > 0 {
		return names[0]
	}
	host, _ := os.Hostname() // there is a name without one
	host, _, _ = strings.Cut(strings.ToLower(host), ".")
	if instanceRegexp.MatchString(host) && strings.ContainsAny(host[1:], "aeiouy") && !strings.ContainsAny(host, "0123456789") {
		return host
	}
	return "main"
}

func (s *Site) takeSource(v *visit) (reply, error) { return s.takeSourceFor(v, false) }

func (s *Site) takeSourceFor(v *visit, setup bool) (reply, error) {
	form, err := v.form()
	if err != nil {
		return nil, err
	}
	d := draft{Setup: setup, Kind: form.Get("kind"), Instance: instanceFrom(form)}
	if problems := checkSource(d); len(problems) > 0 {
		return s.showSource(v, d, problems), nil
	}
	begun := s.drafts.begin(v.session(), setup)
	begun.Kind, begun.Instance, begun.Name = d.Kind, d.Instance, s.freeName(d.Instance, d.Kind)
	s.drafts.put(begun)
	return redirect{begun.path("credentials")}, nil
}

// instanceFrom is the instance of a form: a new one, or one of the list.
func instanceFrom(form url.Values) string {
	if name := strings.TrimSpace(form.Get("new_instance")); name != "" {
		return name
	}
	return strings.TrimSpace(form.Get("instance"))
}

func (s *Site) changeSource(v *visit, d draft) (reply, error) {
	form, err := v.form()
	if err != nil {
		return nil, err
	}
	if d.Done != nil {
		return redirect{d.path("done")}, nil
	}
	if d.Setup && form.Get("kind") == "later" {
		s.drafts.forget(d.Session, d.ID)
		return s.later(v)
	}
	next := d
	next.Kind, next.Instance = form.Get("kind"), instanceFrom(form)
	if problems := checkSource(next); len(problems) > 0 {
		return s.showSource(v, next, problems), nil
	}
	if next.Kind != d.Kind || next.Name == "" {
		next.Values, next.Name = nil, s.freeName(next.Instance, next.Kind)
		next.Tried, next.Settled, next.Found, next.Chosen = false, false, nil, nil
	}
	next.Problem = nil
	s.drafts.put(next)
	return redirect{next.path("credentials")}, nil
}

func checkSource(d draft) map[string]string {
	problems := map[string]string{}
	if _, known := kindOf(d.Kind); !known {
		problems["kind"] = "Choose one of these."
	}
	if !instanceRegexp.MatchString(d.Instance) {
		problems["instance"] = "A name begins with a small letter, and holds small letters, digits and dashes: up to 39 of them."
	}
	return problems
}

// freeName is a name for a connector that its instance does not have yet.
func (s *Site) freeName(instance, kind string) string {
	taken := map[string]bool{}
	for _, status := range s.api.Statuses() {
		for _, a := range status.Attachments {
			if status.Name == instance {
				taken[strings.ToLower(a.Name)] = true
			}
		}
	}
	return connectors.Propose(taken, kind, kind)
}

func (s *Site) discard(v *visit, d draft) (reply, error) {
	s.drafts.forget(d.Session, d.ID)
	if d.Setup {
		return v.to("/", "ok", "The source is left for later. You find it under Data: Add a source."), nil
	}
	return v.to("/data", "ok", "What you had entered is thrown away. Nothing was committed."), nil
}

// patchFile hands out the change where this daemon may not push.
func (s *Site) patchFile(v *visit, d draft) (reply, error) {
	if d.Done == nil || d.Done.Patch == "" {
		return nil, v.missing()
	}
	h := v.w.Header()
	h.Set("Content-Type", "text/x-patch; charset=utf-8")
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": fmt.Sprintf("add-%s-to-%s.patch", d.Name, d.Instance)}))
	h.Set("Content-Length", strconv.Itoa(len(d.Done.Patch)))
	_, _ = v.w.Write([]byte(d.Done.Patch)) // the reader may be gone
	return done{}, nil
}
