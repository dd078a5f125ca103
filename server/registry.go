package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/edit"
)

// Registered is a table that the desired state asks for.
type Registered struct {
	ID          string   `json:"id" doc:"SOURCE.NAME" example:"shop.orders"`
	Name        string   `json:"name"`
	Instance    string   `json:"instance"`
	Source      string   `json:"source" doc:"the connector"`
	SourceType  string   `json:"source_type" example:"keboola"`
	SourceTable string   `json:"source_table,omitempty" doc:"what it is called at the service" example:"in.c-shop.orders"`
	QueryMode   string   `json:"query_mode"`
	Strategy    string   `json:"sync_strategy,omitempty"`
	Schedule    string   `json:"sync_schedule,omitempty"`
	PrimaryKey  []string `json:"primary_key,omitempty"`
	Description string   `json:"description,omitempty"`
	Owner       string   `json:"owner,omitempty"`
}

// Registry are the tables that are asked for.
type Registry struct {
	Tables []Registered `json:"tables"`
	Count  int          `json:"count"`
}

// source is a connector in the newest revision.
type source struct {
	place
	path string // of its file
	text []byte
	desired.Connector
}

// sources are the connectors of an instance in the newest revision that have a
// file which can be read.
func (a *API) sources(ctx context.Context, instance string) (all []source, err error) {
	p, err := a.existing(ctx, instance, "")
	if err != nil {
		return nil, err
	}
	files, err := desired.ConnectorFiles(p.snapshot.Tree, p.dir)
	if err != nil {
		return nil, fmt.Errorf("list connectors of %s: %w", instance, err)
	}
	for name, file := range files {
		s := source{place: p, path: file}
		s.connector = name
		if s.text, err = p.read(file); err != nil {
			return nil, err
		}
		s.Connector, err = desired.ParseConnector(file, s.text)
		var problems desired.Problems
		if err != nil && !errors.As(err, &problems) {
			return nil, err
		}
		all = append(all, s)
	}
	slices.SortFunc(all, func(x, y source) int { return strings.Compare(x.connector, y.connector) })
	return all, nil
}

// kind is what the source is, as status tells it.
func (s source) kind() string {
	switch {
	case s.Files != nil:
		return "files"
	case s.Keboola != nil:
		return "keboola"
	case s.BigQuery != nil:
		return "bigquery"
	case s.Jira != nil:
		return "jira"
	case s.Postgres != nil:
		return "postgres"
	case s.path != s.file():
		return "program"
	}
	return "container"
}

func (s source) registered(t desired.Table) Registered {
	mode := t.QueryMode
	if mode == "" {
		mode = string(desired.QueryLocal)
	}
	schedule := t.Schedule
	if schedule == "" {
		schedule = s.Schedule
	}
	return Registered{ID: s.connector + "." + t.Name, Name: t.Name, Instance: s.instance, Source: s.connector, SourceType: s.kind(), SourceTable: serviceID(t),
		QueryMode: mode, Strategy: t.Strategy, Schedule: schedule, PrimaryKey: t.PrimaryKey, Description: t.Description, Owner: t.Owner}
}

// Registry lists the tables that the newest revision asks for.
func (a *API) Registry(ctx context.Context, instance string) (Registry, error) {
	out := Registry{Tables: []Registered{}}
	name, err := a.chosen(instance)
	if err != nil {
		return out, err
	}
	all, err := a.sources(ctx, name)
	for _, s := range all {
		for _, t := range s.Tables {
			out.Tables = append(out.Tables, s.registered(t))
		}
	}
	out.Count = len(out.Tables)
	return out, err
}

// TableEntry is a table that is to be asked for, or what is to change of one.
// The names of the seed's API are taken, too: bucket, source_table,
// sync_strategy, sync_schedule and source_type.
type TableEntry struct {
	Instance    string   `json:"instance,omitempty" maxLength:"39" doc:"left out: the only one"`
	Source      string   `json:"source,omitempty" maxLength:"64" doc:"the connector; left out: the only one of source_type"`
	SourceType  string   `json:"source_type,omitempty" maxLength:"64" example:"keboola"`
	Name        string   `json:"name,omitempty" maxLength:"64" doc:"in the catalog" example:"orders"`
	TableID     string   `json:"table_id,omitempty" maxLength:"1000" doc:"at the service; or bucket and source_table" example:"in.c-shop.orders"`
	Bucket      string   `json:"bucket,omitempty" maxLength:"500"`
	SourceTable string   `json:"source_table,omitempty" maxLength:"500"`
	Strategy    *string  `json:"sync_strategy,omitempty" maxLength:"64" doc:"full, incremental or partitioned"`
	Schedule    *string  `json:"sync_schedule,omitempty" maxLength:"200" example:"daily 07:00"`
	QueryMode   *string  `json:"query_mode,omitempty" maxLength:"64" doc:"local, remote or materialized"`
	Query       *string  `json:"query,omitempty" maxLength:"65536"`
	Where       *string  `json:"where,omitempty" maxLength:"65536"`
	Description *string  `json:"description,omitempty" maxLength:"2000"`
	Owner       *string  `json:"owner,omitempty" maxLength:"200"`
	PrimaryKey  []string `json:"primary_key,omitempty" maxItems:"100"`
	Columns     []string `json:"columns,omitempty" maxItems:"2000"`
	Paths       []string `json:"paths,omitempty" maxItems:"1000" doc:"of files"`
}

// keys are the keys of a table in the file, and what the call names them.
func (t TableEntry) keys() (file edit.Map, called []string) {
	for _, f := range []struct {
		key, name string
		value     *string
	}{{"strategy", "sync_strategy", t.Strategy}, {"schedule", "sync_schedule", t.Schedule}, {"queryMode", "query_mode", t.QueryMode}, {"query", "query", t.Query},
		{"where", "where", t.Where}, {"description", "description", t.Description}, {"owner", "owner", t.Owner}} {
		if f.value != nil {
			file, called = append(file, edit.Pair{Key: f.key, Value: *f.value}), append(called, f.name)
		}
	}
	for _, f := range []struct {
		key, name string
		value     []string
	}{{"primaryKey", "primary_key", t.PrimaryKey}, {"columns", "columns", t.Columns}, {"paths", "paths", t.Paths}} {
		if f.value != nil {
			file, called = append(file, edit.Pair{Key: f.key, Value: f.value}), append(called, f.name)
		}
	}
	return file, called
}

// id is the table at the service.
func (t TableEntry) id() string {
	switch {
	case t.TableID != "":
		return t.TableID
	case t.Bucket != "" && t.SourceTable != "":
		return t.Bucket + "." + t.SourceTable
	}
	return t.SourceTable
}

// TableChanged is the answer to a change of a table.
type TableChanged struct {
	ID      string   `json:"id"`
	Name    string   `json:"name,omitempty"`
	Status  string   `json:"status,omitempty" enum:"registered,"`
	Updated []string `json:"updated,omitempty" doc:"the fields that were given"`
	ChangeAnswer
}

// RegisterTable commits one more table of a connector.
func (a *API) RegisterTable(ctx context.Context, t TableEntry) (TableChanged, error) {
	if t.Name == "" {
		return TableChanged{}, badRequest("register table: name is missing", `send {"name": "orders", "table_id": "in.c-shop.orders"}`)
	}
	return retried(func() (TableChanged, error) {
		s, err := a.pickSource(ctx, t.Instance, t.Source, t.SourceType)
		if err != nil {
			return TableChanged{}, err
		}
		out := TableChanged{ID: s.connector + "." + t.Name, Name: t.Name, Status: "registered"}
		if slices.ContainsFunc(s.Tables, func(had desired.Table) bool { return strings.EqualFold(had.Name, t.Name) }) {
			return out, &Error{Status: http.StatusConflict, Detail: "register table " + out.ID + ": it is registered already", Hint: "PUT /api/admin/registry/" + out.ID + " changes it"}
		}
		row := edit.Map{{Key: "name", Value: t.Name}}
		if id := t.id(); id != "" && id != t.Name {
			row = append(row, edit.Pair{Key: "id", Value: id})
		}
		keys, _ := t.keys()
		text, err := edit.Append(s.text, edit.Path{"tables"}, append(row, keys...))
		if err != nil {
			return out, invalid(err)
		}
		out.ChangeAnswer, err = a.commitSource(ctx, s, text, "Register the table "+t.Name+" of "+s.connector)
		return out, err
	})
}

// commitSource commits the file of a connector.
func (a *API) commitSource(ctx context.Context, s source, text []byte, subject string) (ChangeAnswer, error) {
	done, err := a.commit(ctx, Change{Files: map[string][]byte{s.path: text}, Message: subject + "\n", Base: s.snapshot.Commit})
	return changed(done, s.instance, s.connector), err
}

// UpdateTable commits what changes of a table. An empty text takes a field away.
func (a *API) UpdateTable(ctx context.Context, instance, id string, t TableEntry) (TableChanged, error) {
	return retried(func() (TableChanged, error) {
		s, i, err := a.registered(ctx, instance, id)
		if err != nil {
			return TableChanged{}, err
		}
		out := TableChanged{ID: s.connector + "." + s.Tables[i].Name}
		keys, called := t.keys()
		if t.Name != "" {
			keys, called, out.ID = append(keys, edit.Pair{Key: "name", Value: t.Name}), append(called, "name"), s.connector+"."+t.Name
		}
		if at := t.id(); at != "" {
			keys, called = append(keys, edit.Pair{Key: "id", Value: at}), append(called, "table_id")
		}
		out.Updated = orEmpty(called)
		text := s.text
		for _, k := range keys {
			if text, err = setOrDelete(text, edit.Path{"tables", i, k.Key}, k.Value); err != nil {
				return out, invalid(err)
			}
		}
		if len(keys) == 0 {
			out.ChangeAnswer = changed(Committed{Commit: s.snapshot.Commit}, s.instance, s.connector)
			return out, nil
		}
		out.ChangeAnswer, err = a.commitSource(ctx, s, text, "Change the table "+s.Tables[i].Name+" of "+s.connector)
		return out, err
	})
}

func setOrDelete(text []byte, at edit.Path, value any) ([]byte, error) {
	list, isList := value.([]string)
	if value != "" && (!isList || len(list) > 0) {
		return edit.Set(text, at, value)
	}
	if !edit.Has(text, at) {
		return text, nil
	}
	return edit.Delete(text, at)
}

// UnregisterTable commits that a table is wanted no more.
func (a *API) UnregisterTable(ctx context.Context, instance, id string) (ChangeAnswer, error) {
	return retried(func() (ChangeAnswer, error) {
		s, i, err := a.registered(ctx, instance, id)
		if err != nil {
			return ChangeAnswer{}, err
		}
		text, err := edit.Delete(s.text, edit.Path{"tables", i})
		if err != nil {
			return ChangeAnswer{}, invalid(err)
		}
		return a.commitSource(ctx, s, text, "Remove the table "+s.Tables[i].Name+" of "+s.connector)
	})
}

// registered finds a table by SOURCE.NAME, or by a name that only one source has.
func (a *API) registered(ctx context.Context, instance, id string) (source, int, error) {
	name, err := a.chosen(instance)
	if err != nil {
		return source{}, 0, err
	}
	all, err := a.sources(ctx, name)
	if err != nil {
		return source{}, 0, err
	}
	type hit struct {
		source
		i int
	}
	var exact, loose []hit
	for _, s := range all {
		for i, t := range s.Tables {
			if strings.EqualFold(s.connector+"."+t.Name, id) {
				exact = append(exact, hit{s, i})
			}
			if strings.EqualFold(t.Name, id) {
				loose = append(loose, hit{s, i})
			}
		}
	}
	if hits := append(exact, loose...); len(exact) == 1 || len(hits) == 1 {
		return hits[0].source, hits[0].i, nil
	} else if len(hits) > 1 {
		return source{}, 0, badRequest(fmt.Sprintf("find table %s: %d sources have one", id, len(hits)), "write it with its source: "+hits[0].connector+"."+id)
	}
	return source{}, 0, &Error{Status: http.StatusNotFound, Detail: "find table " + id + ": it is not registered", Hint: "GET /api/admin/registry lists those that are"}
}

// pickSource is the connector that is named, or the only one, or the only one of
// a kind.
func (a *API) pickSource(ctx context.Context, instance, name, kind string) (source, error) {
	in, err := a.chosen(instance)
	if err != nil {
		return source{}, err
	}
	all, err := a.sources(ctx, in)
	if err != nil {
		return source{}, err
	}
	var names []string
	var fit []source
	for _, s := range all {
		names = append(names, s.connector)
		if (name == "" || s.connector == name || s.kind() == name) && (kind == "" || s.kind() == kind) {
			fit = append(fit, s)
		}
		if s.connector == name {
			return s, nil
		}
	}
	switch {
	case len(fit) == 1:
		return fit[0], nil
	case len(names) == 0:
		return source{}, &Error{Status: http.StatusConflict, Detail: in + " has no connector yet", Hint: "POST /api/admin/configure makes one"}
	case len(fit) == 0:
		return source{}, &Error{Status: http.StatusNotFound, Detail: fmt.Sprintf("find connector %s%s of %s: there is none", name, kind, in), Hint: "there are: " + strings.Join(names, ", ")}
	}
	return source{}, badRequest(fmt.Sprintf("%s has %d connectors that are meant", in, len(fit)), "name one: source="+strings.Join(names, " or "))
}

// DiscoveredTable is a table that a service has.
type DiscoveredTable struct {
	connectors.Discovered
	Registered bool `json:"registered" doc:"it is asked for already"`
}

// SourceTables are what the service of a connector has.
type SourceTables struct {
	Tables []DiscoveredTable `json:"tables"`
	Count  int               `json:"count"`
	Source string            `json:"source"`
	More   bool              `json:"more,omitempty" doc:"there are others"`
}

// SourceTables asks the service of a connector what it has.
func (a *API) SourceTables(ctx context.Context, instance, name string, limit int) (SourceTables, error) {
	s, found, err := a.ask(ctx, instance, name, limit)
	out := SourceTables{Tables: []DiscoveredTable{}, Count: len(found.Tables), Source: s.connector, More: found.More}
	for _, t := range found.Tables {
		out.Tables = append(out.Tables, DiscoveredTable{t, slices.ContainsFunc(s.Tables, func(had desired.Table) bool { return serviceID(had) == t.ID })})
	}
	return out, err
}

// ask asks the service of a connector as it stands in the newest revision: the
// loop may not have taken it yet.
func (a *API) ask(ctx context.Context, instance, name string, limit int) (source, Discovery, error) {
	s, err := a.pickSource(ctx, instance, name, "")
	if err != nil {
		return s, Discovery{}, err
	}
	w := written{place: s.place, text: s.text}
	if s.path != s.file() || s.Image != "" {
		return s, Discovery{}, &Error{Status: http.StatusUnprocessableEntity, Detail: "discover tables of " + s.connector + ": it is a program, which nobody can ask",
			Hint: "its tables are in the catalog once it has run: POST /api/sync/trigger"}
	}
	if w.spec, err = a.cfg.Drafts.Connector(s.snapshot.Tree, s.instance, s.dir, s.connector, s.text, nil); err != nil {
		return s, Discovery{}, missingSecret(err)
	}
	found, err := a.try(ctx, w, limit)
	return s, found, err
}

// DiscoverRequest says which tables are wanted.
type DiscoverRequest struct {
	Instance string   `json:"instance,omitempty" maxLength:"39"`
	Source   string   `json:"source,omitempty" maxLength:"64" doc:"the connector; left out: the only one"`
	Tables   []string `json:"tables,omitempty" maxItems:"2000" doc:"ids or names that discover-tables gave; left out: all"`
}

// DiscoverResult is what came of it.
type DiscoverResult struct {
	Registered    int      `json:"registered"`
	Skipped       int      `json:"skipped" doc:"registered already; they stay as they are"`
	Errors        int      `json:"errors" doc:"wanted, and not there"`
	Tables        []string `json:"tables" doc:"the names of those that are new"`
	Source        string   `json:"source"`
	DryRun        bool     `json:"dry_run,omitempty"`
	WouldRegister int      `json:"would_register,omitempty"`
	Missing       []string `json:"missing,omitempty"`
	ChangeAnswer
}

// DiscoverAndRegister asks a service for its tables and commits those that are
// wanted. Tables that are registered stay as somebody wrote them.
func (a *API) DiscoverAndRegister(ctx context.Context, req DiscoverRequest, dry bool) (DiscoverResult, error) {
	return retried(func() (DiscoverResult, error) {
		s, found, err := a.ask(ctx, req.Instance, req.Source, maxChosen)
		out := DiscoverResult{Tables: []string{}, Source: s.connector, DryRun: dry}
		if err != nil {
			return out, err
		}
		wanted, missing := chosenOf(found.Tables, req.Tables)
		out.Missing, out.Errors = missing, len(missing)
		text, added, err := addTables(s.text, wanted)
		if err != nil {
			return out, invalid(err)
		}
		out.Tables, out.Skipped = orEmpty(added), len(wanted)-len(added)
		if dry {
			out.WouldRegister = len(added)
			return out, nil
		}
		out.ChangeAnswer = changed(Committed{Commit: s.snapshot.Commit}, s.instance, s.connector)
		if out.Registered = len(added); len(added) > 0 {
			out.ChangeAnswer, err = a.commitSource(ctx, s, text, "Register "+counted(len(added), "table")+" of "+s.connector)
		}
		return out, err
	})
}

// chosenOf are the tables that are wanted, and what nobody has of them.
func chosenOf(found []connectors.Discovered, names []string) (wanted []connectors.Discovered, missing []string) {
	if len(names) == 0 {
		return found, nil
	}
	for _, name := range names {
		i := slices.IndexFunc(found, func(t connectors.Discovered) bool { return t.ID == name })
		if i < 0 {
			i = slices.IndexFunc(found, func(t connectors.Discovered) bool { return t.Name == name })
		}
		if i < 0 {
			missing = append(missing, name)
			continue
		}
		wanted = append(wanted, found[i])
	}
	return wanted, missing
}
