package server

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/fairlead/fairlead/reconciler"
)

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
