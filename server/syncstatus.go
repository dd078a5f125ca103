package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
)

// SyncRun is a run that is under way.
type SyncRun struct {
	Instance string                `json:"instance"`
	Source   string                `json:"source"`
	Run      int64                 `json:"run"`
	Started  time.Time             `json:"started,omitzero"`
	Tables   map[string]SyncedRows `json:"tables,omitempty"`
}

// SyncedRows is how far a table is; Total is 0 while unknown.
type SyncedRows struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

// SyncStatus says whether data comes in now.
type SyncStatus struct {
	Locked bool `json:"locked" doc:"a run is under way"`
	// What follows is for whoever may see it.
	JobID   string    `json:"job_id,omitempty"`
	Running []SyncRun `json:"running,omitempty"`
	Last    time.Time `json:"last_run,omitzero"`
	Next    time.Time `json:"next_run,omitzero"`
}

// SyncStatus says whether any connector runs. detailed adds which.
func (a *API) SyncStatus(ctx context.Context, instance string, detailed bool) (SyncStatus, error) {
	var out SyncStatus
	for _, r := range a.cfg.Fleet.Instances() {
		if instance != "" && r.Name() != instance || a.cfg.Connectors == nil {
			continue
		}
		list, err := a.Connectors(ctx, r.Name())
		if err != nil {
			return out, err
		}
		for _, c := range list.Connectors {
			if c.LastRun.After(out.Last) {
				out.Last = c.LastRun
			}
			if !c.NextRun.IsZero() && (out.Next.IsZero() || c.NextRun.Before(out.Next)) {
				out.Next = c.NextRun
			}
			if c.Running {
				out.Locked = true
				out.Running, out.JobID = append(out.Running, a.runOf(r.Name(), c.Name)), a.syncs.of(r.Name(), c.Name)
			}
		}
	}
	if !detailed {
		out = SyncStatus{Locked: out.Locked}
	}
	return out, nil
}

func (a *API) runOf(instance, name string) SyncRun {
	run := SyncRun{Instance: instance, Source: name}
	list, err := a.cfg.Connectors.Runs(instance, name, 1)
	if err != nil || len(list) == 0 {
		return run
	}
	run.Run, run.Started, run.Tables = list[0].ID, list[0].Started, map[string]SyncedRows{}
	for table, n := range list[0].Progress {
		run.Tables[table] = SyncedRows{n[0], n[1]}
	}
	return run
}

// SyncRecord is a run of a connector of an instance.
type SyncRecord struct {
	Instance string `json:"instance"`
	connectors.Record
}

// SyncRuns are the runs of all connectors of an instance, or of one, newest
// first.
func (a *API) SyncRuns(ctx context.Context, instance, name string, limit int) ([]SyncRecord, error) {
	in, err := a.chosen(instance)
	if err != nil {
		return nil, err
	}
	list, err := a.Connectors(ctx, in)
	if err != nil {
		return nil, err
	}
	all := []SyncRecord{}
	for _, c := range list.Connectors {
		if name != "" && c.Name != name {
			continue
		}
		records, err := a.ConnectorRuns(ctx, in, c.Name, limit)
		if err != nil && !errors.Is(err, connectors.ErrUnknownSource) {
			return nil, err
		}
		for _, r := range records {
			all = append(all, SyncRecord{in, r})
		}
	}
	slices.SortStableFunc(all, func(x, y SyncRecord) int { return y.Started.Compare(x.Started) })
	return all[:min(limit, len(all))], nil
}

// ManifestTable is the state of the data of a table.
type ManifestTable struct {
	Hash      string    `json:"hash" doc:"another one when the data may be another"`
	Updated   time.Time `json:"updated,omitzero"`
	SizeBytes int64     `json:"size_bytes"`
	Rows      int64     `json:"rows"`
}

// SyncManifest says of all tables which state they are in.
type SyncManifest struct {
	Tables     map[string]ManifestTable     `json:"tables"`
	Assets     map[string]map[string]string `json:"assets" doc:"none are kept here"`
	ServerTime time.Time                    `json:"server_time"`
}

// SyncManifest lists the states of the tables of an instance.
func (a *API) SyncManifest(ctx context.Context, instance string) (SyncManifest, error) {
	out := SyncManifest{Tables: map[string]ManifestTable{}, Assets: map[string]map[string]string{}, ServerTime: time.Now().UTC()}
	in, err := a.chosen(instance)
	if err != nil {
		return out, err
	}
	list, err := a.Catalog(ctx, in)
	for _, t := range list {
		out.Tables[t.Source+"."+t.Name] = ManifestTable{Hash: fmt.Sprintf("%s-%d", t.Source, t.Generation), Updated: t.PublishedAt, SizeBytes: t.Bytes, Rows: t.Rows}
	}
	return out, err
}

// modeOf is where the rows of a table are.
func modeOf(m desired.QueryMode) string {
	if m == "" {
		return string(desired.QueryLocal)
	}
	return string(m)
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
