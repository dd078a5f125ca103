package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
)

// CatalogueTable is a table that can be queried, and where it comes from.
type CatalogueTable struct {
	ID          string              `json:"id" doc:"SOURCE.NAME, as a query may write it" example:"shop.orders"`
	Name        string              `json:"name"`
	Flat        string              `json:"flat_name,omitempty" doc:"the name without its source; empty when another source has it"`
	Description string              `json:"description"`
	Instance    string              `json:"instance"`
	Source      string              `json:"source"`
	SourceType  string              `json:"source_type" example:"keboola"`
	Strategy    string              `json:"sync_strategy,omitempty"`
	QueryMode   string              `json:"query_mode"`
	Owner       string              `json:"owner,omitempty"`
	Rows        int64               `json:"rows"`
	SizeBytes   int64               `json:"size_bytes"`
	Columns     []connectors.Column `json:"columns"`
	PrimaryKey  []string            `json:"primary_key,omitempty"`
	LastSync    time.Time           `json:"last_sync,omitzero"`
}

// Catalogue are the tables that can be queried.
type Catalogue struct {
	Tables []CatalogueTable `json:"tables"`
	Count  int              `json:"count"`
}

// Catalogue lists the tables of an instance with where they come from.
func (a *API) Catalogue(ctx context.Context, instance string) (Catalogue, error) {
	out := Catalogue{Tables: []CatalogueTable{}}
	if instance == "" && len(a.cfg.Fleet.Instances()) == 0 {
		return out, nil
	}
	in, err := a.chosen(instance)
	if err != nil {
		return out, err
	}
	list, err := a.Catalog(ctx, in)
	if err != nil {
		return out, err
	}
	all, err := a.Connectors(ctx, in)
	if err != nil {
		return out, err
	}
	kinds := map[string]string{}
	for _, c := range all.Connectors {
		kinds[c.Name] = c.Kind
	}
	strategies := a.strategies(ctx, in)
	for _, t := range list {
		id := t.Source + "." + t.Name
		out.Tables = append(out.Tables, CatalogueTable{ID: id, Name: t.Name, Flat: t.Flat, Description: t.Description, Instance: in, Source: t.Source, SourceType: kinds[t.Source],
			Strategy: strategies[id], QueryMode: modeOf(t.QueryMode), Owner: t.Owner, Rows: t.Rows, SizeBytes: t.Bytes, Columns: orEmpty(t.Columns), PrimaryKey: t.PrimaryKey, LastSync: t.PublishedAt})
	}
	out.Count = len(out.Tables)
	return out, nil
}

// strategies are those of the tables that the newest revision has, as far as it
// can be read: the catalog is worth something without.
func (a *API) strategies(ctx context.Context, instance string) map[string]string {
	found := map[string]string{}
	if a.cfg.Drafts == nil {
		return found
	}
	all, err := a.sources(ctx, instance)
	if err != nil {
		return found
	}
	for _, s := range all {
		for _, t := range s.Tables {
			found[s.connector+"."+t.Name] = t.Strategy
		}
	}
	return found
}

// TableProfile tells what is in the columns of a table.
type TableProfile struct {
	Table   string            `json:"table"`
	Rows    int64             `json:"rows"`
	Columns []json.RawMessage `json:"columns"`
	// Left says how many columns were not looked at.
	Left int `json:"left,omitempty" doc:"columns that were not looked at; name them"`
}

// profiledColumns bounds a profile of a whole table: each column is a query.
const profiledColumns = 50

// ProfileTable profiles the columns of a table, or one.
func (a *API) ProfileTable(ctx context.Context, instance, table, column string) (TableProfile, error) {
	in, err := a.chosen(instance)
	if err != nil {
		return TableProfile{}, err
	}
	list, err := a.Catalog(ctx, in)
	if err != nil {
		return TableProfile{}, err
	}
	for _, t := range list {
		id := t.Source + "." + t.Name
		if !strings.EqualFold(id, table) && (t.Flat == "" || !strings.EqualFold(t.Flat, table)) {
			continue
		}
		out := TableProfile{Table: id, Rows: t.Rows, Columns: []json.RawMessage{}}
		for _, c := range t.Columns {
			switch {
			case column != "" && !strings.EqualFold(column, c.Name):
				continue
			case len(out.Columns) == profiledColumns:
				out.Left++
				continue
			}
			text, err := a.cfg.Data.Profile(ctx, in, by(ctx), t.Source, t.Name, c.Name)
			if err != nil {
				return out, fmt.Errorf("profile %s: %w", c.Name, err)
			}
			out.Columns = append(out.Columns, text)
		}
		if column != "" && len(out.Columns) == 0 {
			return out, &Error{Status: http.StatusNotFound, Detail: "profile " + id + ": there is no column " + column, Hint: "GET /api/catalog/tables lists the columns"}
		}
		return out, nil
	}
	return TableProfile{}, &Error{Status: http.StatusNotFound, Detail: "profile " + table + ": there is no such table", Hint: "GET /api/catalog/tables lists them"}
}
