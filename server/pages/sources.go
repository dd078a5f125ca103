package pages

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/server"
)

const (
	runsPage = 50
	runsEach = 30       // of one connector
	logShown = 64 << 10 // bytes of a log on a page, the end of it
)

// sourceData is what the page of a connector shows.
type sourceData struct {
	sourceCard
	Runs        []runRow
	Generations []server.DataGeneration
	Before      int // the generation that a click goes back to; 0: none
	Problem     *server.Error
}

// runRow is a run as a list shows it.
type runRow struct {
	connectors.Record
	Instance, Path, SourcePath string
	Tone, Word                 string
	Took                       time.Duration
	Rows                       int64
	Failures                   []connectors.TableResult
	Bars                       []progressBar
}

// progressBar is how far a table is. Percent is negative while nobody knows.
type progressBar struct {
	Table       string
	Done, Total int64
	Percent     int
}

func rowOf(instance string, r connectors.Record, now time.Time) runRow {
	row := runRow{Record: r, Instance: instance, Path: runPath(instance, r.Source, r.ID), SourcePath: sourcePath(instance, r.Source), Took: r.Ended.Sub(r.Started)}
	switch r.Outcome {
	case connectors.OK:
		row.Tone, row.Word = "ok", "OK"
	case connectors.Partial:
		row.Tone, row.Word = "warn", "Partial"
	case connectors.Failed:
		row.Tone, row.Word = "bad", "Failed"
	default:
		row.Tone, row.Word, row.Took = "run", "Running", now.Sub(r.Started)
	}
	for _, t := range r.Tables {
		if row.Rows += t.Rows; t.Outcome != connectors.OK {
			row.Failures = append(row.Failures, t)
		}
	}
	for _, table := range slices.Sorted(maps.Keys(r.Progress)) {
		p := r.Progress[table]
		bar := progressBar{Table: table, Done: p[0], Total: p[1], Percent: -1}
		if p[1] > 0 {
			bar.Percent = int(min(100, max(0, float64(p[0])*100/float64(p[1]))))
		}
		row.Bars = append(row.Bars, bar)
	}
	return row
}

func (s *Site) sourcePage(v *visit) (reply, error) {
	instance, name := v.PathValue("instance"), v.PathValue("source")
	a, err := s.api.Connector(v.Context(), instance, name)
	if err != nil {
		return nil, err
	}
	d := sourceData{sourceCard: cardOf(instance, a)}
	if d.Runs, err = s.runsOf(v, instance, name, runsEach); err == nil {
		d.Generations, err = s.api.DataGenerations(v.Context(), instance, name)
	}
	if err != nil { // the rest is still worth seeing
		d.Problem = server.AsError(err)
	}
	after := false
	for _, g := range d.Generations {
		if after && g.Problem == "" && d.Before == 0 {
			d.Before = g.Generation
		}
		after = after || g.Current
	}
	return view{Template: "source", Title: name, Nav: "data", Live: instance, Reload: busyReload(d.Running), Data: d, Crumbs: []crumb{{"/data", "Data"}}}, nil
}

// busyReload has a page asked for again while something is under way.
func busyReload(busy bool) int {
	if busy {
		return 3
	}
	return 0
}

func (s *Site) runsOf(v *visit, instance, source string, limit int) (rows []runRow, err error) {
	list, err := s.api.ConnectorRuns(v.Context(), instance, source, limit)
	for _, r := range list {
		rows = append(rows, rowOf(instance, r, time.Now()))
	}
	return rows, err
}

func (s *Site) runSource(v *visit) (reply, error) {
	instance, name := v.PathValue("instance"), v.PathValue("source")
	started, err := s.api.RunConnector(v.Context(), instance, name, server.RunRequest{})
	if err != nil {
		return nil, err
	}
	return v.to(localOr(v.back(), sourcePath(instance, name)), "ok", fmt.Sprintf("%s: run %d is on its way.", name, started.Run)), nil
}

func (s *Site) cancelSource(v *visit) (reply, error) {
	instance, name := v.PathValue("instance"), v.PathValue("source")
	if _, err := s.api.CancelConnector(v.Context(), instance, name); err != nil {
		return nil, err
	}
	return v.to(sourcePath(instance, name), "ok", name+": the run is being ended."), nil
}

func (s *Site) rollbackSource(v *visit) (reply, error) {
	instance, name := v.PathValue("instance"), v.PathValue("source")
	form, err := v.form()
	if err != nil {
		return nil, err
	}
	generation, err := strconv.Atoi(form.Get("generation"))
	if err != nil || generation < 1 {
		return nil, &server.Error{Status: http.StatusUnprocessableEntity, Detail: "the generation is not a number", Hint: "use the button beside the generation"}
	}
	if _, err := s.api.RollbackData(v.Context(), instance, name, generation); err != nil {
		return nil, err
	}
	return v.to(sourcePath(instance, name), "ok", fmt.Sprintf("%s: generation %d of the data is attached, until a newer one is published.", name, generation)), nil
}

// runsData is what the page of all runs shows.
type runsData struct {
	Runs      []runRow
	Sources   []sourceCard
	Instance  string
	Instances []string
	Outcome   string
	Outcomes  []string
	Pages     part
	Problems  []string
}

func (s *Site) runsPage(v *visit) (reply, error) {
	q := v.URL.Query()
	d := runsData{Instances: s.instanceNames(), Instance: q.Get("instance"), Outcome: q.Get("outcome"), Outcomes: []string{"ok", "partial", "failed", "running"}}
	running := false
	for _, status := range s.api.Statuses() {
		if d.Instance != "" && d.Instance != status.Name {
			continue
		}
		for _, a := range status.Attachments {
			d.Sources = append(d.Sources, cardOf(status.Name, a))
			rows, err := s.runsOf(v, status.Name, a.Name, runsEach)
			if err != nil {
				d.Problems = append(d.Problems, status.Name+"/"+a.Name+": "+server.AsError(err).Detail)
			}
			for _, row := range rows {
				running = running || row.Outcome == ""
				if d.Outcome == "" || cmp.Or(string(row.Outcome), "running") == d.Outcome {
					d.Runs = append(d.Runs, row)
				}
			}
		}
	}
	slices.SortStableFunc(d.Runs, func(a, b runRow) int { return b.Started.Compare(a.Started) })
	d.Pages = partOf(v.URL, len(d.Runs), runsPage)
	d.Runs = d.Runs[d.Pages.From:d.Pages.To]
	return view{Template: "runs", Title: "Sync runs", Nav: "data", Live: cmp.Or(d.Instance, everything), Reload: busyReload(running), Data: d,
		Crumbs: []crumb{{"/data", "Data"}}}, nil
}

// runData is what the page of one run shows.
type runData struct {
	runRow
	Log        string
	LogFailed  *server.Error
	LogCut     bool
	LogPath    string
	SourceName string
}

func (s *Site) runPage(v *visit) (reply, error) {
	instance, name := v.PathValue("instance"), v.PathValue("source")
	id, err := strconv.ParseInt(v.PathValue("run"), 10, 64)
	if err != nil {
		return nil, v.missing()
	}
	rows, err := s.runsOf(v, instance, name, 0)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(rows, func(r runRow) bool { return r.ID == id })
	if i < 0 {
		return nil, &server.Error{Status: http.StatusNotFound, Detail: fmt.Sprintf("run %d of %s is not remembered any more", id, name), Hint: "its page lists those that are"}
	}
	d := runData{runRow: rows[i], SourceName: name, LogPath: runPath(instance, name, id) + "/log"}
	end := &tail{}
	if err := s.api.ConnectorLog(v.Context(), instance, name, id, end); err != nil {
		d.LogFailed = server.AsError(err)
	}
	d.Log, d.LogCut = strings.ToValidUTF8(string(end.kept), "?"), end.cut
	return view{Template: "run", Title: fmt.Sprintf("Run %d", id), Nav: "data", Live: instance, Reload: busyReload(d.Outcome == ""), Data: d,
		Crumbs: []crumb{{"/data", "Data"}, {sourcePath(instance, name), name}}}, nil
}

// runLog hands out a whole log as text.
func (s *Site) runLog(v *visit) (reply, error) {
	id, err := strconv.ParseInt(v.PathValue("run"), 10, 64)
	if err != nil || id < 1 {
		return nil, v.missing()
	}
	w := &textAnswer{w: v.w}
	err = s.api.ConnectorLog(v.Context(), v.PathValue("instance"), v.PathValue("source"), id, w)
	switch {
	case err != nil && w.begun:
		panic(http.ErrAbortHandler)
	case err != nil:
		return nil, err
	}
	w.begin()
	return done{}, nil
}

// textAnswer writes text that a browser shows and never runs.
type textAnswer struct {
	w     http.ResponseWriter
	begun bool
}

func (t *textAnswer) begin() {
	if !t.begun {
		t.begun = true
		t.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
}

func (t *textAnswer) Write(p []byte) (int, error) {
	t.begin()
	return t.w.Write(p)
}

// tail keeps the end of what is written to it, from the start of a line.
type tail struct {
	kept []byte
	cut  bool
}

var _ io.Writer = (*tail)(nil)

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - logShown; over > 0 {
		rest := t.kept[over:]
		if _, line, found := bytes.Cut(rest, []byte("\n")); found {
			rest = line
		}
		t.kept, t.cut = append([]byte(nil), rest...), true
	}
	return len(p), nil
}
