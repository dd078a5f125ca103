package pages

import (
	"strings"

	"github.com/fairlead/fairlead/reconciler"
)

// glyph marks what happens to an object, as the command line does it.
func glyph(v reconciler.Verb) string {
	switch v {
	case reconciler.Create:
		return "+"
	case reconciler.Update:
		return "~"
	case reconciler.Remove:
		return "-"
	}
	return "-/+"
}

func glyphClass(v reconciler.Verb) string {
	switch v {
	case reconciler.Create:
		return "add"
	case reconciler.Remove:
		return "del"
	}
	return "chg"
}

// maxValue bounds a value in a plan.
const maxValue = 200

// changes are those of an action, with fields of one width.
func changes(a reconciler.Action) (out []reconciler.Change) {
	width := 0
	for _, c := range a.Changes {
		width = max(width, len([]rune(c.Field)))
	}
	for _, c := range a.Changes {
		field := oneLine(c.Field)
		pad := max(width-len([]rune(field)), 0)
		out = append(out, reconciler.Change{Field: field + strings.Repeat(" ", pad), Old: quoteEmpty(c.Old), New: quoteEmpty(c.New)})
	}
	return out
}

func quoteEmpty(s string) string {
	if s == "" {
		return `""`
	}
	return clip(oneLine(s), maxValue)
}

// oneLine keeps a text from another source on its line.
func oneLine(s string) string { return strings.NewReplacer("\n", " ", "\t", " ").Replace(clean(s)) }

// planPage is what a revision would change.
type planPage struct {
	instanceHead
	Report reconciler.PlanReport
	Ref    string
	Failed error
	Line   string
}

func (s *Site) plan(v *visit) (reply, error) {
	head, err := s.headOf(v, "plan")
	if err != nil {
		return nil, err
	}
	p := planPage{instanceHead: head, Ref: strings.TrimSpace(v.URL.Query().Get("ref"))}
	p.Report, p.Failed = s.api.Plan(v.Context(), head.Name, p.Ref)
	p.Line = reconciler.Summary(p.Report.Actions)
	view := head.view("plan", head.Name+": plan", p)
	view.Live = "" // a plan asks the engine and the registry: it is made when somebody wants it
	return view, nil
}
