package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// glyphs mark what happens to an object, as Terraform has them.
var glyphs = map[reconciler.Verb]string{
	reconciler.Create: "+", reconciler.Update: "~", reconciler.Remove: "-", reconciler.Replace: "-/+",
}

func (p painter) verb(v reconciler.Verb, s string) string {
	switch v {
	case reconciler.Create:
		return p.green(s)
	case reconciler.Remove:
		return p.red(s)
	}
	return p.yellow(s)
}

// printPlan writes a plan for people.
func printPlan(w io.Writer, p painter, r reconciler.PlanReport) {
	from := "nothing applied yet"
	if r.From > 0 {
		from = fmt.Sprintf("generation %d", r.From)
	}
	fmt.Fprintf(w, "%s: %s, from %s\n", p.bold(r.Instance), revisionLine(r.Revision), from)
	said := len(r.Actions)+len(r.Held)+len(r.Notes) > 0 || r.Deferred != nil
	if said {
		fmt.Fprintln(w)
	}
	printActions(w, p, r.Actions)
	for _, h := range r.Held {
		fmt.Fprintf(w, "  %s %s\n", p.yellow("!"), oneLine(strings.TrimPrefix(fmt.Sprintf("%s %s: %s", h.Kind, h.Name, h.Message), " : ")))
	}
	if r.Deferred != nil {
		fmt.Fprintf(w, "  %s %s\n", p.yellow("!"), oneLine(deferral(*r.Deferred, time.Now())))
		if canWait(r.Deferred) {
			fmt.Fprintf(w, "    to take it at once: fairlead apply --now %s\n", r.Instance)
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "  %s\n", p.dim("note: "+oneLine(n)))
	}
	for _, s := range r.Switches {
		fmt.Fprintf(w, "  %s\n", p.dim("users: "+oneLine(s.Line())))
	}
	if said {
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w, reconciler.Summary(r.Actions))
}

// printActions writes a line an action, and one a changed field.
func printActions(w io.Writer, p painter, actions []reconciler.Action) {
	for _, a := range actions {
		fmt.Fprintf(w, "%s %s %s  %s\n", p.verb(a.Verb, fmt.Sprintf("%5s", glyphs[a.Verb])), a.Kind, p.bold(oneLine(a.Object)), p.dim("("+oneLine(a.Reason)+")"))
		width := 0
		for _, c := range a.Changes {
			width = max(width, len(c.Field))
		}
		for _, c := range a.Changes {
			fmt.Fprintf(w, "          %-*s  %s → %s\n", width, oneLine(c.Field), quoteEmpty(c.Old), quoteEmpty(c.New))
		}
	}
}

func quoteEmpty(s string) string {
	if s == "" {
		return `""`
	}
	return clip(oneLine(s), 200)
}

// revisionLine is a commit with its subject and author.
func revisionLine(r desired.Revision) string {
	if r.Commit == "" {
		return "no revision"
	}
	line := r.Short()
	if r.Subject != "" {
		line += fmt.Sprintf(" %q", oneLine(r.Subject))
	}
	if r.Author != "" {
		line += " by " + oneLine(r.Author)
	}
	return line
}
