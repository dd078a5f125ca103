package pages

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
)

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
