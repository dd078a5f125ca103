package pages

import (
	"context"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
)

// A source is added in steps, each a page with an address of its own: which one,
// its credentials, its tables, the commit, and the first sync. The same steps are
// under /setup, right after the first administrator was made, and under
// /data/add. What was answered so far is a draft. One that is gone, since the
// daemon was started anew or the time was over, leads back to the first step.
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
			return v.to(addBase, "bad", "What you had entered is gone: it is kept in memory only, for two hours, and a restart of the daemon clears it. Nothing was committed by it. Choose the source again."), nil
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

// credentialsData is what the second step shows.
type credentialsData struct {
	wizard
	Fields   []field
	More     []field // those that most people need not
	MoreOpen bool
	Name     string
	Problems map[string]string
	Kept     bool // secrets were entered before, and need not be again
}

func (s *Site) credentialsStep(v *visit, d draft) (reply, error) {
	switch {
	case d.Done != nil:
		return redirect{d.path("done")}, nil
	case d.Kind == "":
		return redirect{d.path("source")}, nil
	}
	return s.showCredentials(d, nil), nil
}

func (s *Site) showCredentials(d draft, problems map[string]string) view {
	data := credentialsData{wizard: wizardOf(d, "credentials"), Name: d.Name, Problems: problems}
	for _, q := range fieldsOf(d.Kind) {
		value, answered := d.Values[q.Name]
		if !answered && d.Values == nil {
			value = q.Default
		}
		data.Kept = data.Kept || q.Secret && value != ""
		f := q.control(value, problems[q.Name])
		if q.More {
			data.More = append(data.More, f)
			data.MoreOpen = data.MoreOpen || value != "" || f.Error != ""
		} else {
			data.Fields = append(data.Fields, f)
		}
	}
	w := s.wizardView(d, "addcredentials", "Credentials for "+data.Kind.Title, data, problems)
	if d.Problem != nil {
		w.Status = http.StatusUnprocessableEntity
	}
	return w
}

// tryLimit bounds the real call that tells whether credentials are taken.
const tryLimit = 45 * time.Second

// takeCredentials asks the service, by the credentials, what it has.
func (s *Site) takeCredentials(v *visit, d draft) (reply, error) {
	form, err := v.form()
	if err != nil {
		return nil, err
	}
	if d.Done != nil {
		return redirect{d.path("done")}, nil
	}
	var problems map[string]string
	d.Values, problems = answersOf(d.Kind, form, d.Values)
	if name := strings.TrimSpace(form.Get("name")); name != "" {
		d.Name = name
	}
	if !connectors.ValidName(d.Name) {
		problems["name"] = "A name begins with a letter, and holds letters, digits and underscores: up to 64 of them."
	}
	d.Tried, d.Problem, d.Settled = false, nil, false
	s.drafts.put(d)
	if len(problems) > 0 {
		return s.showCredentials(d, problems), nil
	}
	if err := s.try(v.Context(), &d); err != nil {
		d.Problem = err
		s.drafts.put(d)
		return redirect{d.path("credentials") + "#problem"}, nil
	}
	s.drafts.put(d)
	return redirect{d.path("tables")}, nil
}

// try fills in what a service has.
func (s *Site) try(ctx context.Context, d *draft) *server.Error {
	ctx, cancel := context.WithTimeout(ctx, tryLimit)
	defer cancel()
	trial, err := connectorDraft(*d, true)
	if err != nil {
		return server.AsError(err)
	}
	found, err := s.api.TryConnector(ctx, d.Instance, trial)
	if err != nil {
		e := *server.AsError(err)
		e.Detail, e.Hint = d.hide(e.Detail), d.hide(e.Hint)
		return &e
	}
	d.Found, d.More = found.Tables, found.More
	if len(d.Found) > draftTables {
		d.Found, d.More = d.Found[:draftTables], true
	}
	kept := map[string]bool{}
	for i := range d.Found {
		t := &d.Found[i]
		if len(d.Found) > 500 { // the columns of thousands of tables are megabytes, and shown by nobody
			t.Columns = nil
		}
		if d.Chosen[t.ID] || d.Chosen == nil && len(d.Found) <= tablesOnPage {
			kept[t.ID] = true
		}
	}
	d.Chosen, d.Tried, d.TriedAt = kept, true, time.Now()
	return nil
}

// hide takes the secrets of a draft out of a text, should a service have said one.
func (d draft) hide(text string) string {
	for _, f := range fieldsOf(d.Kind) {
		if v := d.Values[f.Name]; f.Secret && len(v) >= 4 {
			for _, form := range []string{v, url.QueryEscape(v), url.PathEscape(v)} {
				text = strings.ReplaceAll(text, form, "(secret)")
			}
		}
	}
	return text
}

// tablesData is what the third step shows.
type tablesData struct {
	wizard
	Search    string
	Rows      []tableChoice
	Pages     part
	Fit       int // that fit the search
	Found     int
	Chosen    int
	More      bool
	Schedule  string // one of Schedules, or other
	Other     string
	Schedules []option
	Problems  map[string]string

	PageBefore, PageAfter int
}

type tableChoice struct {
	connectors.Discovered
	Chosen          bool
	RowsText, Bytes string // empty: the service does not tell
}

func choiceOf(t connectors.Discovered, chosen bool) tableChoice {
	c := tableChoice{Discovered: t, Chosen: chosen}
	if t.Rows != nil {
		c.RowsText = grouped(*t.Rows)
	}
	if t.Bytes != nil {
		c.Bytes = bytesOf(*t.Bytes)
	}
	return c
}

func schedules() []option {
	return []option{{"every 15m", "Every 15 minutes"}, {"every 1h", "Every hour"}, {"every 6h", "Every 6 hours"}, {"daily 05:00", "Daily at 05:00 (UTC)"},
		{"none", "Only when asked"}, {"other", "Other…"}}
}

// ready says which step has to come before others can.
func (d draft) ready(step string) (string, bool) {
	switch {
	case d.Done != nil:
		return "done", step == "done"
	case d.Kind == "":
		return "source", false
	case !d.Tried:
		return "credentials", false
	case step == "tables" || d.Settled && step == "review":
		return step, true
	case d.Settled:
		return "review", false
	}
	return "tables", false
}

func (s *Site) tablesStep(v *visit, d draft) (reply, error) {
	if step, ok := d.ready("tables"); !ok {
		return redirect{d.path(step)}, nil
	}
	return s.showTables(v, d, nil), nil
}

func (s *Site) showTables(v *visit, d draft, problems map[string]string) view {
	q := v.URL.Query()
	data := tablesData{wizard: wizardOf(d, "tables"), Search: cutBytes(strings.TrimSpace(q.Get("q")), 200), Found: len(d.Found), Chosen: len(d.Chosen), More: d.More,
		Schedules: schedules(), Problems: problems}
	fitting := fittingTables(d.Found, data.Search)
	data.Fit = len(fitting)
	data.Pages = partOf(v.URL, len(fitting), tablesOnPage)
	data.PageBefore, data.PageAfter = data.Pages.Page-1, data.Pages.Page+1
	for _, t := range fitting[data.Pages.From:data.Pages.To] {
		data.Rows = append(data.Rows, choiceOf(t, d.Chosen[t.ID]))
	}
	switch {
	case d.Schedule == "" && !d.Settled && problems == nil:
		data.Schedule = "every 1h"
	case d.Schedule == "":
		data.Schedule = "none"
	case slices.ContainsFunc(data.Schedules, func(o option) bool { return o.Value == d.Schedule }):
		data.Schedule = d.Schedule
	default:
		data.Schedule, data.Other = "other", d.Schedule
	}
	return s.wizardView(d, "addtables", "Choose tables", data, problems)
}

func fittingTables(found []connectors.Discovered, search string) []connectors.Discovered {
	if search == "" {
		return found
	}
	return slices.DeleteFunc(slices.Clone(found), func(t connectors.Discovered) bool {
		text := strings.ToLower(t.ID + " " + t.Name + " " + t.Description)
		for word := range strings.FieldsSeq(strings.ToLower(search)) {
			if !strings.Contains(text, word) {
				return true
			}
		}
		return false
	})
}

var pageWish = regexp.MustCompile(`^page:([0-9]{1,4})$`)

// takeTables takes the choice on the page that was shown, and then does what the
// button says: go on, look for others, or choose all or none.
func (s *Site) takeTables(v *visit, d draft) (reply, error) {
	form, err := v.form()
	if err != nil {
		return nil, err
	}
	if step, ok := d.ready("tables"); !ok {
		return redirect{d.path(step)}, nil
	}
	if d.Chosen == nil {
		d.Chosen = map[string]bool{}
	}
	known := map[string]bool{}
	for _, t := range d.Found {
		known[t.ID] = true
	}
	for _, id := range form["shown"] {
		delete(d.Chosen, id)
	}
	for _, id := range form["pick"] {
		if known[id] {
			d.Chosen[id] = true
		}
	}
	schedule, problem := scheduleFrom(form)
	if problem == "" {
		d.Schedule = schedule
	}
	d.Settled, d.Problem = false, nil
	search, do := strings.TrimSpace(form.Get("q")), form.Get("do")
	at := url.Values{}
	if search != "" {
		at.Set("q", cutBytes(search, 200))
	}
	switch m := pageWish.FindStringSubmatch(do); {
	case m != nil:
		at.Set("page", m[1])
	case do == "all", do == "none":
		for _, t := range fittingTables(d.Found, search) {
			if delete(d.Chosen, t.ID); do == "all" {
				d.Chosen[t.ID] = true
			}
		}
	case do == "next" && problem != "":
		s.drafts.put(d)
		return s.showTables(v, d, map[string]string{"schedule": problem}), nil
	case do == "next" && len(d.Chosen) == 0:
		s.drafts.put(d)
		return s.showTables(v, d, map[string]string{"tables": "Choose one table at least. Others can be added at any time."}), nil
	case do == "next":
		d.Settled = true
		s.drafts.put(d)
		return redirect{d.path("review")}, nil
	}
	s.drafts.put(d)
	return redirect{(&url.URL{Path: d.path("tables"), RawQuery: at.Encode()}).String()}, nil
}

// scheduleFrom reads the schedule of a form; empty: only when asked.
func scheduleFrom(form url.Values) (schedule, problem string) {
	schedule = form.Get("schedule")
	if schedule == "other" {
		schedule = strings.TrimSpace(form.Get("other"))
	}
	if schedule == "none" {
		return "", ""
	}
	parsed, err := desired.ParseSchedule(schedule, "")
	if err != nil {
		return "", "The schedule " + err.Error() + ". For example: every 15m, daily 07:00,13:00, weekly Mon-Fri 06:00, cron 0 5 * * *"
	}
	return parsed.Text, ""
}

// chosen are the tables that were chosen, in the order in which they were found.
func (d draft) chosen() []connectors.Discovered {
	return slices.DeleteFunc(slices.Clone(d.Found), func(t connectors.Discovered) bool { return !d.Chosen[t.ID] })
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
