package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/desired"
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
