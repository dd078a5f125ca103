package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

// barWidth is how wide what is left of a life is drawn.
const barWidth = 10

func printCertificates(c *cli, all []ownedCertificate, now time.Time, width int) {
	p := c.paint(c.out)
	var rows [][]cell
	var head []cell
	for _, h := range []string{"INSTANCE", "NAME", "PHASE", "LEFT", "UNTIL", "GEN", "ISSUER", "MESSAGE"} {
		head = append(head, cell{h, p.bold})
	}
	rows = append(rows, head)
	for _, o := range all {
		bar, left := p.life(o.CertificateStatus, now)
		rows = append(rows, []cell{plainCell(o.Instance), plainCell(o.Name), {string(o.Phase), p.certificatePhase(o.Phase)},
			{bar.text + " " + left, bar.paint}, plainCell(day(o.NotAfter)), plainCell(generation(o.Generation)),
			plainCell(orDash(clip(o.Issuer, 30))), plainCell(firstLine(o.Message))})
	}
	fitLast(rows, width)
	table(c.out, rows)
}

// life draws what is left of a certificate's life, and says it.
func (p painter) life(c reconciler.CertificateStatus, now time.Time) (cell, string) {
	if c.NotAfter.IsZero() {
		return plainCell(strings.Repeat("·", barWidth)), "-"
	}
	left, whole := c.NotAfter.Sub(now), c.NotAfter.Sub(c.NotBefore)
	share := 0.0
	if whole > 0 {
		share = min(max(float64(left)/float64(whole), 0), 1)
	}
	full := int(math.Ceil(share * barWidth))
	bar := cell{strings.Repeat("█", full) + strings.Repeat("░", barWidth-full), p.green}
	switch {
	case share < 0.1:
		bar.paint = p.red
	case share < 1.0/3:
		bar.paint = p.yellow
	}
	if left <= 0 {
		return bar, "over"
	}
	return bar, age(now, now.Add(left))
}

func (p painter) certificatePhase(ph reconciler.CertificatePhase) func(string) string {
	switch ph {
	case reconciler.CertificateLive, reconciler.CertificateSelfSigned:
		return p.green
	case reconciler.CertificateDegraded, reconciler.CertificateExpired:
		return p.red
	}
	return p.yellow
}

// day is a time as a date, for people who think in days; short lives show more.
func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// certificates draws what is left of each.
func (d detail) certificates(list []reconciler.CertificateStatus) {
	if !d.section("Certificates", len(list)) {
		return
	}
	var rows [][]cell
	for _, c := range list {
		bar, left := d.p.life(c, d.now)
		rows = append(rows, []cell{plainCell("  " + c.Name), {string(c.Phase), d.p.certificatePhase(c.Phase)}, bar, plainCell(left),
			plainCell(day(c.NotAfter)), plainCell(firstLine(c.Message))})
	}
	table(d.w, rows)
}

// certificate writes everything there is to say about one.
func (d detail) certificate(o ownedCertificate) {
	c := o.CertificateStatus
	fmt.Fprintf(d.w, "%s  %s\n", d.p.bold(o.Instance+"/"+c.Name), d.p.certificatePhase(c.Phase)(string(c.Phase)))
	d.field("message", c.Message)
	d.field("to do", c.Hint)
	d.field("domains", commas(c.Domains))
	d.field("source", c.Source)
	d.field("request", c.CSR)
	if c.Generation > 0 {
		bar, left := d.p.life(c, d.now)
		what := c.Issuer
		if c.SelfSigned {
			what = "self-signed"
		}
		d.field("served", fmt.Sprintf("generation %d, %s, serial %s", c.Generation, what, c.Serial))
		fmt.Fprintf(d.w, "%-12s %s %s left, %s to %s\n", "life", paintCell(bar), left, day(c.NotBefore), day(c.NotAfter))
		d.field("leaf", c.Leaf)
		d.field("key", c.SPKI)
		d.field("published", published(c, d.now))
	}
	d.field("renew at", when(c.RenewAt))
	d.field("asked", ago(c.LastAsked, d.now))
	d.field("next try", when(c.NextTry))
	d.field("staged", when(c.Staged))
	d.targets(c.Targets)
	if d.section("Refused", len(c.Refused)) {
		printCertificateProblems(d.w, c.Refused)
	}
	if d.section("Notes", len(c.Notes)) {
		printCertificateProblems(d.w, c.Notes)
	}
	if len(c.Kept) > 0 {
		fmt.Fprintf(d.w, "\nkept: generations %s; fairlead cert rollback %s/%s --to N\n", numbers(c.Kept), o.Instance, c.Name)
	}
}

func paintCell(c cell) string {
	if c.paint == nil {
		return c.text
	}
	return c.paint(c.text)
}

func published(c reconciler.CertificateStatus, now time.Time) string {
	text := ago(c.Published, now)
	if c.Commit != "" && text != "" {
		text += ", at " + clip(c.Commit, 9)
	}
	return text
}

func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return day(t)
}

func ago(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return age(t, now) + " ago"
}

func numbers(list []int) string {
	var out []string
	for _, n := range list {
		out = append(out, fmt.Sprint(n))
	}
	return commas(out)
}

func (d detail) targets(list []reconciler.CertificateTarget) {
	if !d.section("Given to", len(list)) {
		return
	}
	var rows [][]cell
	for _, t := range list {
		state := cell{"served", d.p.green}
		if !t.OK {
			state = cell{"not served", d.p.red}
		}
		rows = append(rows, []cell{plainCell("  " + t.Name), state, plainCell(age(t.At, d.now)), plainCell(firstLine(t.Message))})
	}
	table(d.w, rows)
}

func printCertificateProblems(w io.Writer, list []reconciler.CertificateProblem) {
	for _, p := range list {
		fmt.Fprintf(w, "  %s: %s\n", p.Code, oneLine(p.Found))
		if p.Expected != "" {
			fmt.Fprintf(w, "    expected: %s\n", oneLine(p.Expected))
		}
		if p.Hint != "" {
			fmt.Fprintf(w, "    to do:    %s\n", oneLine(p.Hint))
		}
	}
}

// report writes what a test of a source found.
func (d detail) report(r server.CertificateReport) {
	verdict := d.p.green("would be served")
	switch {
	case !r.Served:
		verdict = d.p.red("would be refused")
	case !r.Staged.IsZero():
		verdict = d.p.yellow("would be served from " + day(r.Staged) + " on")
	}
	fmt.Fprintf(d.w, "%s: %s\n", oneLine(r.Source), verdict)
	d.field("bytes", fmt.Sprint(r.Bytes))
	d.field("subject", r.Subject)
	d.field("domains", commas(r.Domains))
	d.field("issuer", r.Issuer)
	d.field("serial", r.Serial)
	if !r.NotAfter.IsZero() {
		d.field("valid", day(r.NotBefore)+" to "+day(r.NotAfter))
	}
	d.field("chain", strings.Join(r.Chain, " > "))
	if !r.KeyKnown && len(r.Chain) > 0 {
		d.field("key", "there was none to hold it against; see --certificate and --privkey")
	}
	for _, line := range r.Warnings {
		fmt.Fprintln(d.w, d.p.yellow("! "+oneLine(line)))
	}
	if d.section("Refused", len(r.Problems)) {
		printCertificateProblems(d.w, r.Problems)
	}
	if d.section("Notes", len(r.Notes)) {
		printCertificateProblems(d.w, r.Notes)
	}
}
