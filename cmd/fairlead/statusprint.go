package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

// printOverview writes the table of all instances.
func printOverview(w io.Writer, p painter, o server.Overview, now time.Time, width int) {
	printSource(w, p, o.Source, now)
	printFront(w, p, o.Front)
	printServer(w, p, o.Server)
	for _, trouble := range o.Store {
		fmt.Fprintln(w, p.red("! "+oneLine(trouble)))
	}
	for _, lack := range o.Unconfined {
		fmt.Fprintln(w, p.yellow("! "+oneLine(lack)))
	}
	if len(o.Instances) == 0 {
		printNoInstance(w, p, o)
		return
	}
	narrow := width > 0 && width < wideTerminal
	releases := !narrow && slices.ContainsFunc(o.Instances, func(s reconciler.Status) bool { return s.Release != nil })
	rows := [][]cell{overviewHead(p, narrow, releases)}
	for _, s := range o.Instances {
		row := []cell{
			plainCell(s.Name), plainCell(orDash(shown(s).Short())),
			{string(s.Sync), p.sync(s.Sync)}, {string(s.Health), p.health(s.Health)}, {string(s.Phase), p.phase(s.Phase)},
		}
		if releases {
			row = append(row, plainCell(orDash(releaseCell(s.Release))))
		}
		rows = append(rows, append(row, plainCell(generation(s.Generation)), plainCell(age(s.AppliedAt, now)), plainCell(messageOf(s))))
	}
	fitLast(rows, width)
	table(w, rows)
}

// printNoInstance says how there comes to be one, unless what is wrong with the
// repository was said already.
func printNoInstance(w io.Writer, p painter, o server.Overview) {
	if o.Source.Problem != "" {
		return
	}
	how := "commit instances/NAME/instance.yaml and a compose file to the repository"
	if o.Server != nil && o.Server.Open {
		how += ", or open " + o.Server.URL + "/setup"
	}
	fmt.Fprintln(w, p.dim("there is no instance yet: "+oneLine(how)))
}

// wideTerminal is where there is room for all columns.
const wideTerminal = 110

func overviewHead(p painter, narrow, releases bool) (head []cell) {
	names := []string{"NAME", "REVISION", "SYNC", "HEALTH", "PHASE"}
	if releases {
		names = append(names, "RELEASE")
	}
	if narrow {
		names = append(names, "GEN")
	} else {
		names = append(names, "GENERATION")
	}
	for _, h := range append(names, "AGE", "MESSAGE") {
		head = append(head, cell{h, p.bold})
	}
	return head
}

// printServer says where the pages are, or why they are not.
func printServer(w io.Writer, p painter, l *server.Listener) {
	switch {
	case l == nil:
	case l.Open:
		fmt.Fprintln(w, p.dim("pages "+oneLine(l.URL)))
	case l.Error != "":
		fmt.Fprintln(w, p.yellow("! "+oneLine("no pages at "+l.Address+": "+l.Error)))
	}
}

func printFront(w io.Writer, p painter, list []server.Listener) {
	open, closed := frontLines(list)
	if open != "" {
		fmt.Fprintln(w, p.dim("front "+open))
	}
	for _, line := range closed {
		fmt.Fprintln(w, p.yellow("! "+oneLine(line)))
	}
}

// fitLast cuts the last column so that the table fits the terminal,
// if there is one (width is not 0).
func fitLast(rows [][]cell, width int) {
	if width == 0 {
		return
	}
	used := 0
	for col := range len(rows[0]) - 1 {
		widest := 0
		for _, row := range rows {
			widest = max(widest, len(row[col].text))
		}
		used += widest + 2
	}
	for _, row := range rows {
		last := &row[len(row)-1]
		last.text = clip(last.text, max(width-used, 20))
	}
}

func printSource(w io.Writer, p painter, s server.SourceInfo, now time.Time) {
	line := "source " + oneLine(s.Repo)
	if s.Ref != "" {
		line += " " + oneLine(s.Ref)
	}
	if s.Revision.Commit != "" {
		line += " at " + revisionLine(s.Revision)
	}
	if !s.LastSuccess.IsZero() {
		line += ", read " + age(s.LastSuccess, now) + " ago"
	}
	fmt.Fprintln(w, p.dim(line))
	// Without any revision the problem already says what the error is.
	if s.Error != "" && (s.Revision.Commit != "" || !strings.Contains(s.Problem, s.Error)) {
		fmt.Fprintln(w, p.yellow("! the repository cannot be read now, the last revision counts: ")+s.Error)
	}
	if s.Problem != "" && s.Problem != s.Error {
		fmt.Fprintln(w, p.yellow("! "+s.Problem))
	}
	if len(s.Dirty) > 0 {
		fmt.Fprintln(w, p.yellow("! uncommitted edits are not applied: ")+oneLine(someOf(s.Dirty)))
	}
}

// someOf names the first few.
func someOf(names []string) string {
	const few = 3
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}

// shown is the revision that an instance is at, or was last tried with.
func shown(s reconciler.Status) interface{ Short() string } {
	if s.Applied.Commit != "" {
		return s.Applied
	}
	return s.Attempted
}

func generation(n int) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

// messageOf is the one thing that a person should know of an instance.
func messageOf(s reconciler.Status) string {
	switch {
	case s.Suspended != nil:
		return fmt.Sprintf("%s (by %s)", s.Suspended.Reason, s.Suspended.By)
	case len(s.Problems) > 0:
		return fmt.Sprintf("%s: %s", s.Attempted.Short(), s.Problems[0])
	case s.Hold != nil:
		return fmt.Sprintf("generation %d is held by %s until a newer revision", s.Hold.Generation, s.Hold.By)
	case (s.Phase == reconciler.PhaseQuarantined || s.Phase == reconciler.PhaseRolledBack) && len(s.Quarantined) > 0:
		q := s.Quarantined[len(s.Quarantined)-1]
		return fmt.Sprintf("generation %d (%s) failed: %s", q.Generation, q.Revision.Short(), q.Reason)
	}
	for _, c := range s.Conditions {
		if c.Status != "True" && c.Message != "" && c.Type != reconciler.ReleaseReady {
			return firstLine(c.Message)
		}
	}
	if c := s.Condition(reconciler.ReleaseReady); c.Message != "" && c.Status != "True" {
		if c.Reason == "RegistryUnreachable" {
			return "registry unreachable: " + firstLine(c.Message)
		}
		return firstLine(c.Message) // what runs runs well
	}
	if len(s.Pending) > 0 {
		return fmt.Sprintf("%s pending", reconciler.Count(len(s.Pending), "action"))
	}
	return s.Condition(reconciler.ContainersReady).Message
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

func (p painter) sync(s reconciler.Sync) func(string) string {
	if s == reconciler.Synced {
		return p.green
	}
	return p.yellow
}

func (p painter) health(h reconciler.HealthStatus) func(string) string {
	switch h {
	case reconciler.Healthy:
		return p.green
	case reconciler.Degraded, reconciler.Missing:
		return p.red
	}
	return p.yellow
}

func (p painter) phase(ph reconciler.Phase) func(string) string {
	switch ph {
	case reconciler.PhaseIdle:
		return nil
	case reconciler.PhaseRefused, reconciler.PhaseQuarantined, reconciler.PhaseStalled, reconciler.PhaseRolledBack:
		return p.red
	}
	return p.yellow
}

// detail writes everything there is to say about one instance.
type detail struct {
	w   io.Writer
	p   painter
	now time.Time
}

func (d detail) field(name, value string) {
	if value != "" {
		fmt.Fprintf(d.w, "%-12s %s\n", name, oneLine(value))
	}
}

func (d detail) section(title string, n int) bool {
	if n > 0 {
		fmt.Fprintf(d.w, "\n%s\n", d.p.bold(title))
	}
	return n > 0
}

func (d detail) print(s reconciler.Status, source server.SourceInfo) {
	fmt.Fprintf(d.w, "%s  %s  %s  %s\n", d.p.bold(s.Name), d.p.sync(s.Sync)(string(s.Sync)),
		d.p.health(s.Health)(string(s.Health)), string(s.Phase))
	d.field("source", strings.TrimSpace(source.Repo+" "+source.Ref)+", directory "+s.Dir)
	d.field("applied", d.applied(s))
	if s.Attempted.Commit != s.Applied.Commit {
		d.field("attempted", revisionLine(s.Attempted))
	}
	if s.Outcome != "" {
		d.field("outcome", string(s.Outcome))
	}
	if s.Suspended != nil {
		until := ""
		if !s.Suspended.Until.IsZero() {
			until = ", until " + s.Suspended.Until.Format(time.RFC3339)
		}
		d.field("suspended", fmt.Sprintf("%s (by %s)%s", s.Suspended.Reason, s.Suspended.By, until))
	}
	if s.Hold != nil {
		d.field("hold", fmt.Sprintf("generation %d, by %s %s ago, until a newer revision changes the instance", s.Hold.Generation, s.Hold.By, age(s.Hold.At, d.now)))
	}
	d.release(s)
	d.field("front", commas(s.Front))
	if s.Phase != reconciler.PhaseDeferred { // which has a line of its own
		d.field("message", messageOf(s))
	}
	d.conditions(s)
	d.containers(s)
	d.certificates(s.Certificates)
	if d.section("Pending", len(s.Pending)) {
		printActions(d.w, d.p, s.Pending)
	}
	if d.section("Problems", len(s.Problems)) {
		for _, p := range s.Problems {
			fmt.Fprintf(d.w, "  %s\n", oneLine(p.String()))
		}
	}
	d.rest(s)
}

func (d detail) applied(s reconciler.Status) string {
	if s.Generation == 0 {
		return "nothing yet"
	}
	return fmt.Sprintf("generation %d, %s, %s ago", s.Generation, revisionLine(s.Applied), age(s.AppliedAt, d.now))
}

func (d detail) conditions(s reconciler.Status) {
	if !d.section("Conditions", len(s.Conditions)) {
		return
	}
	var rows [][]cell
	for _, c := range s.Conditions {
		paint := d.p.green
		if c.Status != "True" {
			paint = d.p.yellow
		}
		rows = append(rows, []cell{plainCell("  " + c.Type), {string(c.Status), paint}, plainCell(c.Reason),
			plainCell(age(c.Since, d.now)), plainCell(firstLine(c.Message))})
	}
	table(d.w, rows)
}

func (d detail) containers(s reconciler.Status) {
	if !d.section("Containers", len(s.Containers)) {
		return
	}
	var rows [][]cell
	for _, c := range s.Containers {
		state, paint := string(c.State), d.p.green
		switch {
		case c.Done:
			state = "done"
		case c.State != reconciler.StateRunning || c.Health == reconciler.HealthUnhealthy:
			paint = d.p.red
		case c.Health == reconciler.HealthStarting:
			paint = d.p.yellow
		}
		rows = append(rows, []cell{plainCell("  " + c.Name), {state, paint}, plainCell(orDash(string(c.Health))), plainCell(c.Image)})
	}
	table(d.w, rows)
}

func (d detail) rest(s reconciler.Status) {
	if d.section("Quarantine", len(s.Quarantined)) {
		for _, q := range s.Quarantined {
			fmt.Fprintf(d.w, "  generation %d, %s, %s ago: %s\n", q.Generation, revisionLine(q.Revision), age(q.At, d.now), oneLine(firstLine(q.Reason)))
		}
	}
	lists := []struct {
		title string
		items []string
	}{
		{"Uncommitted edits (not applied)", s.Uncommitted},
		{"Files of this host only", s.LocalFiles},
		{"Notes", s.Notes},
	}
	for _, l := range lists {
		if d.section(l.title, len(l.items)) {
			for _, item := range l.items {
				fmt.Fprintf(d.w, "  %s\n", oneLine(item))
			}
		}
	}
}
