package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/reconciler"
)

// SyncTriggered is the answer to a trigger.
type SyncTriggered struct {
	Status  string `json:"status" enum:"triggered"`
	Tables  any    `json:"tables" doc:"\"all\", or the ids of those that are asked for"`
	Message string `json:"message"`
	JobID   string `json:"job_id" example:"sync-17"`
	Source  string `json:"source,omitempty" doc:"the connector, where one is meant"`
}

// syncJobs are the jobs that wait for runs, by what they wait for.
type syncJobs struct {
	mu   sync.Mutex
	jobs map[string]string // job by instance/connector
}

func (s *syncJobs) of(instance, name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.jobs[instance+"/"+name]
}

func (s *syncJobs) set(started []startedRun, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range started {
		key := r.instance + "/" + r.connector
		if id == "" {
			delete(s.jobs, key)
			continue
		}
		if s.jobs == nil {
			s.jobs = map[string]string{}
		}
		s.jobs[key] = id
	}
}

// startedRun is a run that a trigger began.
type startedRun struct {
	instance, connector string
	run                 int64
	tables              []string // none: all
	joined              bool     // it had begun by itself, since what is wanted changed
}

// TriggerSync has connectors run now: all of an instance, one, or those that
// bring the tables that are named. It answers at once; the job waits for them. A
// run that began by itself because of a commit is joined: it brings the same.
func (a *API) TriggerSync(ctx context.Context, instance, name string, tables []string) (SyncTriggered, error) {
	if a.cfg.Connectors == nil {
		return SyncTriggered{}, errors.New("trigger sync: nobody runs connectors here")
	}
	if err := a.attended("trigger sync"); err != nil {
		return SyncTriggered{}, err
	}
	everything := name == "" && len(tables) == 0
	if everything && instance == "" && len(a.cfg.Fleet.Instances()) == 0 {
		return a.waited(ctx, "", "", nil, nil)
	}
	in, err := a.chosen(instance)
	if err != nil {
		return SyncTriggered{}, err
	}
	list, err := a.settledConnectors(ctx, in)
	if err != nil {
		return SyncTriggered{}, err
	}
	if everything {
		list = slices.DeleteFunc(list, func(c reconciler.AttachmentStatus) bool { return c.Reason == connectors.ReasonNoTables })
	}
	if everything && len(list) == 0 {
		return a.waited(ctx, in, "", nil, nil)
	}
	wanted, err := a.runsFor(ctx, in, name, list, tables)
	if err != nil {
		return SyncTriggered{}, err
	}
	for _, r := range wanted {
		if err := a.idle(ctx, r, list); err != nil {
			return SyncTriggered{}, err
		}
	}
	for i, r := range wanted {
		if wanted[i], err = a.begin(ctx, r); err != nil {
			a.stopRuns(wanted[:i])
			return SyncTriggered{}, err
		}
	}
	return a.waited(ctx, in, name, wanted, tables)
}

// settledConnectors are the connectors of an instance once the loop has seen the
// newest revision: whoever commits one has it run right after.
func (a *API) settledConnectors(ctx context.Context, instance string) ([]reconciler.AttachmentStatus, error) {
	r, err := a.find(instance)
	if err != nil {
		return nil, err
	}
	if _, err := a.after(ctx, r); err != nil {
		return nil, err
	}
	list, err := a.Connectors(ctx, instance)
	return list.Connectors, err
}

// A connector that was just committed is not ready at once.
const (
	readyWithin = 10 * time.Second
	readyEvery  = 100 * time.Millisecond
)

// begin triggers a run, or joins one.
func (a *API) begin(ctx context.Context, r startedRun) (startedRun, error) {
	for end := time.Now().Add(readyWithin); ; {
		id, err := a.cfg.Connectors.Trigger(r.instance, r.connector, r.tables)
		if r.run = id; err == nil {
			return r, nil
		}
		outdated := false
		if errors.Is(err, connectors.ErrRunning) {
			if r.run, r.joined, outdated = a.joinable(ctx, r); r.joined {
				return r, nil
			}
		}
		soon := outdated || errors.Is(err, connectors.ErrNotReady) || errors.Is(err, connectors.ErrUnknownSource) || errors.Is(err, connectors.ErrUnknownTable)
		if !soon || time.Now().After(end) {
			return r, a.inProgress(err, r)
		}
		select {
		case <-ctx.Done():
			return r, a.inProgress(err, r)
		case <-time.After(readyEvery):
		}
	}
}

// joinable is the run that is under way since what is wanted changed, or since
// such a one failed, unless another trigger follows it. outdated says that it
// ends by itself, since what is wanted has changed again, or has ended.
func (a *API) joinable(ctx context.Context, r startedRun) (run int64, may, outdated bool) {
	list, err := a.cfg.Connectors.Runs(r.instance, r.connector, 1)
	if err != nil {
		return 0, false, false
	}
	if len(list) == 0 || list[0].Outcome != "" {
		return 0, false, true // it has only just begun, or ended since it was looked at
	}
	c, err := a.Connector(ctx, r.instance, r.connector)
	if err != nil || c.Identity != list[0].Identity {
		return 0, false, err == nil
	}
	byItself := list[0].Cause == connectors.CauseChanged || list[0].Cause == connectors.CauseRetry
	return list[0].ID, byItself && a.syncs.of(r.instance, r.connector) == "", false
}

// waited starts the job that waits for runs.
func (a *API) waited(ctx context.Context, instance, name string, runs []startedRun, tables []string) (SyncTriggered, error) {
	done := make(chan struct{})
	job, err := a.jobs.Start(ctx, "sync", by(ctx), func(ctx context.Context, p *JobProgress) (any, error) {
		<-done
		defer a.syncs.set(runs, "")
		return a.followRuns(ctx, p, runs)
	})
	if err != nil {
		a.stopRuns(runs)
		return SyncTriggered{}, err
	}
	a.syncs.set(runs, job.ID)
	close(done)
	out := SyncTriggered{Status: "triggered", Tables: "all", JobID: job.ID, Source: name, Message: fmt.Sprintf("%s of %s under way; GET /api/jobs/%s tells how far it is", counted(len(runs), "run"), instance, job.ID)}
	switch len(runs) {
	case 0:
		out.Message = "there is nothing to bring in yet: POST /api/admin/configure says where data comes from, and POST /api/admin/discover-and-register which tables"
	case 1:
		out.Source = runs[0].connector
	}
	if len(tables) > 0 {
		out.Tables = tables
	}
	return out, nil
}

func (a *API) stopRuns(runs []startedRun) {
	for _, r := range runs {
		if !r.joined {
			_ = a.cfg.Connectors.Cancel(r.instance, r.connector) // it may have ended
		}
	}
}

// idle refuses what runs already.
func (a *API) idle(ctx context.Context, r startedRun, list []reconciler.AttachmentStatus) error {
	if !slices.ContainsFunc(list, func(c reconciler.AttachmentStatus) bool { return c.Name == r.connector && c.Running }) {
		return nil
	}
	if _, may, outdated := a.joinable(ctx, r); !may && !outdated {
		return a.inProgress(connectors.ErrRunning, r)
	}
	return nil
}

// inProgress is the answer to a trigger of what runs already, or cannot run.
func (a *API) inProgress(err error, r startedRun) error {
	if !errors.Is(err, connectors.ErrRunning) {
		return conflict(err)
	}
	e := &Error{Status: http.StatusConflict, Code: "sync_already_in_progress", JobID: a.syncs.of(r.instance, r.connector), RetryAfter: 15 * time.Second,
		Detail: fmt.Sprintf("trigger sync: %s of %s is running already", r.connector, r.instance), Hint: "wait for it: GET /api/sync/status says locked: false then"}
	if e.JobID != "" {
		e.Hint = "wait for it: GET /api/jobs/" + e.JobID + "?wait=60"
	}
	return e
}

// runsFor are the runs that a trigger asks for.
func (a *API) runsFor(ctx context.Context, instance, name string, list []reconciler.AttachmentStatus, tables []string) ([]startedRun, error) {
	var names []string
	for _, c := range list {
		if name == "" || c.Name == name || c.Kind == name {
			names = append(names, c.Name)
		}
	}
	switch {
	case len(list) == 0:
		return nil, &Error{Status: http.StatusNotFound, Detail: "trigger sync: " + instance + " has no connector yet", Hint: "POST /api/admin/configure makes one"}
	case len(names) == 0:
		return nil, &Error{Status: http.StatusNotFound, Detail: "trigger sync: " + instance + " has no connector " + name, Hint: "there are: " + strings.Join(connectorNames(list), ", ")}
	case len(tables) == 0:
		var runs []startedRun
		for _, n := range names {
			runs = append(runs, startedRun{instance: instance, connector: n})
		}
		return runs, nil
	}
	return a.runsOfTables(ctx, instance, names, tables)
}

func connectorNames(list []reconciler.AttachmentStatus) (names []string) {
	for _, c := range list {
		names = append(names, c.Name)
	}
	return names
}

// runsOfTables finds who brings the tables that are named: by SOURCE.NAME, by
// name, or as the service calls them.
func (a *API) runsOfTables(ctx context.Context, instance string, names, tables []string) ([]startedRun, error) {
	all, err := a.sources(ctx, instance)
	if err != nil {
		return nil, err
	}
	runs := map[string]*startedRun{}
	var unknown []string
	for _, id := range tables {
		before := len(unknown)
		unknown = append(unknown, id)
		for _, s := range all {
			if !slices.Contains(names, s.connector) {
				continue
			}
			table := s.tableCalled(id)
			if table == "" {
				continue
			}
			unknown = unknown[:before]
			if runs[s.connector] == nil {
				runs[s.connector] = &startedRun{instance: instance, connector: s.connector}
			}
			if r := runs[s.connector]; !slices.Contains(r.tables, table) {
				r.tables = append(r.tables, table)
			}
		}
	}
	if len(unknown) > 0 {
		return nil, &Error{Status: http.StatusUnprocessableEntity, Detail: "trigger sync: no table is called " + strings.Join(unknown, ", "), Hint: "GET /api/admin/registry lists the ids"}
	}
	var out []startedRun
	for _, n := range names {
		if r := runs[n]; r != nil {
			out = append(out, *r)
		}
	}
	return out, nil
}

// tableCalled is the name of the table that an id means; empty: none of these.
func (s source) tableCalled(id string) string {
	for _, t := range s.Tables {
		if strings.EqualFold(id, s.connector+"."+t.Name) || strings.EqualFold(id, t.Name) || id == serviceID(t) {
			return t.Name
		}
	}
	if own, is := strings.CutPrefix(strings.ToLower(id), strings.ToLower(s.connector)+"."); is && connectorName.MatchString(own) && (s.kind() == "program" || s.kind() == "container") {
		return id[len(id)-len(own):] // a program need not say what it brings
	}
	return ""
}

// followRuns waits until runs have ended, and tells how far they are.
func (a *API) followRuns(ctx context.Context, p *JobProgress, runs []startedRun) (any, error) {
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for {
		ended, step := []SyncOutcome{}, ""
		for _, r := range runs {
			record, err := a.recordOf(r)
			if err != nil {
				return nil, err
			}
			if record.Outcome == "" {
				step = stepOf(r, record)
				continue
			}
			ended = append(ended, outcomeOf(r, record))
		}
		p.Step(step, int64(len(ended)), int64(len(runs)))
		if len(ended) == len(runs) {
			return ended, failedOf(ended)
		}
		select {
		case <-ctx.Done():
			if !errors.Is(context.Cause(ctx), errStopped) { // else they go on after the restart
				a.stopRuns(runs)
			}
			return ended, context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// followEvery is how often a job looks at its runs.
const followEvery = 300 * time.Millisecond

// recordOf is what is known of a run.
func (a *API) recordOf(r startedRun) (connectors.Record, error) {
	list, err := a.cfg.Connectors.Runs(r.instance, r.connector, 0)
	if err != nil {
		return connectors.Record{}, err
	}
	for _, record := range list {
		if record.ID == r.run {
			return record, nil
		}
	}
	return connectors.Record{}, fmt.Errorf("follow run %d of %s: it is not known any more", r.run, r.connector)
}

func stepOf(r startedRun, record connectors.Record) string {
	for _, table := range sortedNames(record.Progress) {
		if n := record.Progress[table]; n[1] == 0 || n[0] < n[1] {
			return r.connector + "." + table + " " + strconv.FormatInt(n[0], 10)
		}
	}
	return r.connector
}

// SyncOutcome is what came of a run.
type SyncOutcome struct {
	Source  string                   `json:"source"`
	Run     int64                    `json:"run"`
	Outcome connectors.Outcome       `json:"outcome"`
	Error   string                   `json:"error,omitempty"`
	Hint    string                   `json:"hint,omitempty"`
	Rows    int64                    `json:"rows"`
	Tables  []connectors.TableResult `json:"tables,omitempty"`
}

func outcomeOf(r startedRun, record connectors.Record) SyncOutcome {
	out := SyncOutcome{Source: r.connector, Run: r.run, Outcome: record.Outcome, Error: record.Error, Hint: record.Hint}
	for _, t := range record.Tables {
		out.Rows += t.Rows
		t.Columns = nil // the catalog has them
		out.Tables = append(out.Tables, t)
	}
	return out
}

// failedOf is an error when nothing of a sync was any good.
func failedOf(all []SyncOutcome) error {
	var said []string
	for _, o := range all {
		if o.Outcome != connectors.Failed {
			return nil
		}
		said = append(said, o.Source+": "+o.Error)
	}
	if len(said) == 0 {
		return nil
	}
	return withHint(errors.New("sync: "+strings.Join(said, "; ")), all[0].Hint)
}

// TableChoice are the tables that a trigger is about: as a list, or as an object
// with one.
type TableChoice struct{ Tables []string }

// UnmarshalJSON implements json.Unmarshaler.
func (c *TableChoice) UnmarshalJSON(body []byte) error {
	if strings.HasPrefix(strings.TrimSpace(string(body)), "[") {
		return json.Unmarshal(body, &c.Tables)
	}
	type whole struct {
		Tables []string `json:"tables"`
	}
	var w whole
	dec := json.NewDecoder(strings.NewReader(string(body)))
	dec.DisallowUnknownFields()
	err := dec.Decode(&w)
	c.Tables = w.Tables
	return err
}

// Schema implements huma.SchemaProvider.
func (TableChoice) Schema(huma.Registry) *huma.Schema {
	most := maxChosen
	list := &huma.Schema{Type: huma.TypeArray, MaxItems: &most, Items: &huma.Schema{Type: huma.TypeString}, Examples: []any{[]string{"shop.orders"}}}
	return &huma.Schema{OneOf: []*huma.Schema{list, {Type: huma.TypeObject, AdditionalProperties: false, Properties: map[string]*huma.Schema{"tables": list}}}}
}
