package server

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/edit"
)

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
			out.ChangeAnswer = changed(asBefore(s.snapshot), s.instance, s.connector)
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
