package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

func heads(p painter, names ...string) (head []cell) {
	for _, h := range names {
		head = append(head, cell{h, p.bold})
	}
	return head
}

func printConnectors(c *cli, all []ownedConnector, now time.Time, width int) {
	p := c.paint(c.out)
	rows := [][]cell{heads(p, "INSTANCE", "NAME", "KIND", "PHASE", "TABLES", "ROWS", "DATA", "NEXT", "MESSAGE")}
	for _, o := range all {
		phase := string(o.Phase)
		if o.Running && o.Phase != reconciler.AttachmentRunning {
			phase += ", running"
		}
		rows = append(rows, []cell{plainCell(o.Instance), plainCell(o.Name), plainCell(o.Kind), {phase, p.attachmentPhase(o.Phase)},
			plainCell(strconv.Itoa(len(o.Tables))), plainCell(grouped(o.Rows)), plainCell(age(o.Published, now)), plainCell(until(o.NextRun, now)), plainCell(firstLine(o.Message))})
	}
	fitLast(rows, width)
	table(c.out, rows)
}

func (p painter) attachmentPhase(ph reconciler.AttachmentPhase) func(string) string {
	switch ph {
	case reconciler.AttachmentLive:
		return p.green
	case reconciler.AttachmentDegraded, reconciler.AttachmentFailed:
		return p.red
	}
	return p.yellow
}

func (p painter) outcome(o connectors.Outcome) func(string) string {
	switch o {
	case connectors.OK:
		return p.green
	case connectors.Failed:
		return p.red
	}
	return p.yellow
}

// until is how long it is until something, as people say it.
func until(t, now time.Time) string {
	switch {
	case t.IsZero():
		return "-"
	case !t.After(now):
		return "now"
	}
	return "in " + age(now, t)
}

// grouped writes a number with its thousands apart.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// connector tells of one connector.
func (d detail) connector(o ownedConnector, runs []connectors.Record) {
	p := d.p
	fmt.Fprintf(d.w, "%s  %s\n", p.bold(o.Instance+"/"+o.Name), p.attachmentPhase(o.Phase)(string(o.Phase)))
	d.field("Kind", o.Kind)
	d.field("Schedule", orDash(o.Schedule))
	d.field("Next run", until(o.NextRun, d.now))
	d.field("Data", fmt.Sprintf("generation %d, %s rows, %s", o.Generation, grouped(o.Rows), publishedAgo(o.Published, d.now)))
	d.field("Tables", orDash(commas(o.Tables)))
	if len(o.Conflicts) > 0 {
		d.field("Conflicts", commas(o.Conflicts)+" (another source has these names; write "+o.Name+".NAME)")
	}
	if o.Message != "" {
		d.field("Message", oneLine(o.Message))
	}
	if o.Hint != "" {
		d.field("Hint", oneLine(o.Hint))
	}
	if d.section("Runs", len(runs)) {
		table(d.w, runRows(p, runs, d.now))
	}
}

func publishedAgo(t, now time.Time) string {
	if t.IsZero() {
		return "never published"
	}
	return "published " + age(t, now) + " ago"
}

func printRuns(c *cli, runs []connectors.Record, now time.Time) {
	table(c.out, runRows(c.paint(c.out), runs, now))
}

func runRows(p painter, runs []connectors.Record, now time.Time) [][]cell {
	rows := [][]cell{heads(p, "RUN", "STARTED", "TOOK", "CAUSE", "OUTCOME", "TABLES", "ROWS", "GEN", "MESSAGE")}
	for _, r := range runs {
		var all int64
		for _, t := range r.Tables {
			all += t.Rows
		}
		outcome, lasted := string(r.Outcome), "-"
		if r.Outcome == "" {
			outcome = "running"
		}
		if !r.Ended.IsZero() {
			lasted = reconciler.Took(r.Ended.Sub(r.Started))
		}
		rows = append(rows, []cell{plainCell(strconv.FormatInt(r.ID, 10)), plainCell(age(r.Started, now) + " ago"), plainCell(lasted), plainCell(string(r.Cause)),
			{outcome, p.outcome(r.Outcome)}, plainCell(strconv.Itoa(len(r.Tables))), plainCell(grouped(all)), plainCell(generation(r.Generation)), plainCell(firstLine(messageOfRun(r)))})
	}
	return rows
}

// messageOfRun is what is wrong with a run, of the run or of its first bad table.
func messageOfRun(r connectors.Record) string {
	if r.Error != "" {
		return r.Error
	}
	for _, t := range r.Tables {
		if t.Error != "" {
			return t.Table + ": " + t.Error
		}
	}
	return ""
}

// run tells what came of one run.
func (d detail) run(r connectors.Record) {
	fmt.Fprintf(d.w, "run %d of %s: %s in %s", r.ID, r.Source, d.p.outcome(r.Outcome)(string(r.Outcome)), reconciler.Took(r.Ended.Sub(r.Started)))
	if r.Generation > 0 {
		fmt.Fprintf(d.w, ", generation %d is published", r.Generation)
	}
	fmt.Fprintln(d.w)
	for _, t := range r.Tables {
		fmt.Fprintf(d.w, "  %s  %s  %s rows\n", d.p.outcome(t.Outcome)(string(t.Outcome)), t.Table, grouped(t.Rows))
		for _, text := range append([]string{t.Error, t.Hint}, t.Warnings...) {
			if text != "" {
				fmt.Fprintf(d.w, "      %s\n", oneLine(text))
			}
		}
	}
	printProblems(d, r.Problems)
	for _, text := range []string{r.Error, r.Hint} {
		if text != "" {
			fmt.Fprintf(d.w, "  %s\n", oneLine(text))
		}
	}
	if r.Correlation != "" {
		fmt.Fprintf(d.w, "  for request %s, as the log and the events have it\n", r.Correlation)
	}
}

// printProblems tells what is wrong with what a connector left.
func printProblems(d detail, list []connectors.Problem) {
	for _, one := range list {
		var where []string
		for _, text := range []string{one.File, one.Table} {
			if text != "" {
				where = append(where, oneLine(text))
			}
		}
		place := ""
		if len(where) > 0 {
			place = strings.Join(where, " ") + ": "
		}
		fmt.Fprintf(d.w, "  %s %s%s\n", d.p.red(one.Code), place, oneLine(one.Found))
		if one.Hint != "" {
			fmt.Fprintf(d.w, "      %s\n", oneLine(one.Hint))
		}
	}
}

// progressOf is how far a run has come, in a line.
func progressOf(r connectors.Record) string {
	parts := []string{fmt.Sprintf("run %d of %s", r.ID, r.Source)}
	for _, name := range slices.Sorted(maps.Keys(r.Progress)) {
		done, total := r.Progress[name][0], r.Progress[name][1]
		text := name + " " + grouped(done)
		if total > 0 {
			text += fmt.Sprintf(" (%d %%)", min(done*100/total, 100))
		}
		parts = append(parts, text)
	}
	return oneLine(strings.Join(parts, "  "))
}

func printDiscovered(c *cli, found server.Discovery) {
	p := c.paint(c.out)
	rows := [][]cell{heads(p, "ID", "NAME", "ROWS", "COLUMNS", "KEY", "DESCRIPTION")}
	for _, t := range found.Tables {
		count := "-"
		if t.Rows != nil {
			count = grouped(*t.Rows)
		}
		rows = append(rows, []cell{plainCell(t.ID), plainCell(t.Name), plainCell(count), plainCell(strconv.Itoa(len(t.Columns))), plainCell(orDash(commas(t.PrimaryKey))),
			plainCell(firstLine(t.Description))})
	}
	width, _ := terminal(c.out)
	fitLast(rows, width)
	table(c.out, rows)
	if found.More {
		fmt.Fprintln(c.out, "there are more; -n shows more of them")
	}
}

func printGenerations(c *cli, list []server.DataGeneration, now time.Time) {
	p := c.paint(c.out)
	rows := [][]cell{heads(p, "GEN", "PUBLISHED", "TABLES", "ROWS", "BYTES", "COMMIT", "")}
	for _, g := range list {
		note := cell{"", p.green}
		switch {
		case g.Current:
			note.text = "attached"
		case g.Problem != "":
			note = cell{firstLine(g.Problem), p.red}
		}
		rows = append(rows, []cell{plainCell(generation(g.Generation)), plainCell(age(g.At, now) + " ago"), plainCell(strconv.Itoa(g.Tables)), plainCell(grouped(g.Rows)),
			plainCell(grouped(g.Bytes)), plainCell(orDash(g.Commit[:min(8, len(g.Commit))])), note})
	}
	table(c.out, rows)
}
