package jira

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/connectors"
)

// object is a piece of Jira as JSON has it.
type object = map[string]any

// column is a column with how its value is found. What it is found in is the
// issue's fields for issues, and the piece itself for the others.
type column struct {
	connectors.Column
	field string // that has to be asked for; empty: none
	from  func(object) any
}

// kind is a table that this source has.
type kind struct {
	id      string
	about   string
	key     []string
	columns []column
	field   string // of an issue that holds what the rows are of
}

func (k kind) plain() []connectors.Column {
	out := make([]connectors.Column, 0, len(k.columns))
	for _, c := range k.columns {
		out = append(out, c.Column)
	}
	return out
}

// dig follows names into nested objects; nil where there is nothing.
func dig(o object, path ...string) any {
	for i, name := range path {
		if i == len(path)-1 {
			return o[name]
		}
		var ok bool
		if o, ok = o[name].(object); !ok {
			return nil
		}
	}
	return nil
}

// col makes a column of a path into an object.
func col(name, kind string, path ...string) column {
	return column{Column: connectors.Column{Name: name, Type: kind}, field: path[0], from: func(o object) any { return convert(kind, dig(o, path...)) }}
}

// person is who did something: accountId on Cloud, name on Data Center.
func person(name, field string) column {
	return column{Column: connectors.Column{Name: name, Type: "VARCHAR"}, field: field, from: func(o object) any {
		return convert("VARCHAR", cmp.Or(dig(o, field, "accountId"), dig(o, field, "name")))
	}}
}

// all collects one attribute of a list of objects.
func all(name, field, attribute string) column {
	return column{Column: connectors.Column{Name: name, Type: "JSON"}, field: field, from: func(o object) any {
		items, ok := o[field].([]any)
		if !ok {
			return nil
		}
		out := []any{}
		for _, item := range items {
			if one, ok := item.(object); ok {
				out = append(out, one[attribute])
			}
		}
		return out
	}}
}

// convert makes a value fit a type; what does not fit is nil.
func convert(kind string, value any) any {
	if value == nil {
		return nil
	}
	switch kind {
	case "BIGINT":
		n, err := strconv.ParseInt(fmt.Sprint(value), 10, 64)
		if err != nil {
			return nil
		}
		return n
	case "DOUBLE":
		if n, ok := value.(json.Number); ok {
			return n
		}
		return nil
	case "BOOLEAN":
		if b, ok := value.(bool); ok {
			return b
		}
		return nil
	case "TIMESTAMP":
		t, err := parseTime(fmt.Sprint(value))
		if err != nil {
			return nil
		}
		return t.UTC().Format("2006-01-02T15:04:05.000")
	case "JSON":
		return value
	}
	return text(value)
}

// text is a value as a person reads it: of an option its value, of a user or a
// version its name, of a document its text.
func text(value any) any {
	switch v := value.(type) {
	case nil:
		return nil
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	case object:
		if plain, ok := plainText(v); ok {
			return plain
		}
		if child, ok := v["child"].(object); ok {
			return strings.TrimSpace(fmt.Sprint(text(v["value"]), " / ", text(child)))
		}
		if said := first(v, "value", "displayName", "name", "key", "id"); said != "" {
			return said
		}
	}
	data, err := json.Marshal(value)
	if err != nil {
		return nil
	}
	return string(data)
}

// kindsOf are the tables, with the custom fields of a site in issues.
func kindsOf(fields []field) []kind {
	issue := func(of ...column) []column {
		return append([]column{col("issue_id", "VARCHAR", "_issue_id"), col("issue_key", "VARCHAR", "_issue_key")}, of...)
	}
	return []kind{
		{id: "issues", about: "Issues, with custom fields by name", key: []string{"id"}, columns: issueColumns(fields)},
		{id: "comments", about: "Comments on issues", key: []string{"id"}, field: "comment", columns: issue(
			col("id", "VARCHAR", "id"), person("author_id", "author"), col("author", "VARCHAR", "author", "displayName"), col("body", "VARCHAR", "body"),
			col("created", "TIMESTAMP", "created"), col("updated", "TIMESTAMP", "updated"), col("public", "BOOLEAN", "jsdPublic"))},
		{id: "changelog", about: "Each change of a field of an issue", key: []string{"id", "item"}, columns: issue(
			col("id", "VARCHAR", "id"), col("item", "BIGINT", "_item"), person("author_id", "author"), col("author", "VARCHAR", "author", "displayName"),
			col("created", "TIMESTAMP", "created"), col("field", "VARCHAR", "field"), col("field_id", "VARCHAR", "fieldId"), col("field_type", "VARCHAR", "fieldtype"),
			col("from_id", "VARCHAR", "from"), col("from_text", "VARCHAR", "fromString"), col("to_id", "VARCHAR", "to"), col("to_text", "VARCHAR", "toString"))},
		{id: "worklogs", about: "Time that was logged", key: []string{"id"}, field: "worklog", columns: issue(
			col("id", "VARCHAR", "id"), person("author_id", "author"), col("author", "VARCHAR", "author", "displayName"), col("comment", "VARCHAR", "comment"),
			col("started", "TIMESTAMP", "started"), col("seconds", "BIGINT", "timeSpentSeconds"), col("created", "TIMESTAMP", "created"), col("updated", "TIMESTAMP", "updated"))},
		{id: "links", about: "Links between issues, from both ends", key: []string{"id", "issue_id"}, field: "issuelinks", columns: issue(
			col("id", "VARCHAR", "id"), col("direction", "VARCHAR", "_direction"), col("type", "VARCHAR", "type", "name"), col("relation", "VARCHAR", "_relation"),
			col("other_id", "VARCHAR", "_other", "id"), col("other_key", "VARCHAR", "_other", "key"))},
		{id: "fields", about: "The fields of this Jira", key: []string{"id"}, columns: []column{
			col("id", "VARCHAR", "id"), col("name", "VARCHAR", "name"), col("custom", "BOOLEAN", "custom"), col("type", "VARCHAR", "schema", "type"), col("items", "VARCHAR", "schema", "items")}},
		{id: "users", about: "The users that may be seen", key: []string{"id"}, columns: []column{
			person("id", "_self"), col("name", "VARCHAR", "displayName"), col("email", "VARCHAR", "emailAddress"), col("active", "BOOLEAN", "active"), col("type", "VARCHAR", "accountType"), col("time_zone", "VARCHAR", "timeZone")}},
	}
}

// issueColumns are those that every Jira has, and a site's own.
func issueColumns(fields []field) []column {
	out := []column{
		col("id", "VARCHAR", "_issue_id"), col("key", "VARCHAR", "_issue_key"), col("project_key", "VARCHAR", "project", "key"), col("project", "VARCHAR", "project", "name"),
		col("type", "VARCHAR", "issuetype", "name"), col("summary", "VARCHAR", "summary"), col("description", "VARCHAR", "description"),
		col("status", "VARCHAR", "status", "name"), col("status_category", "VARCHAR", "status", "statusCategory", "key"), col("resolution", "VARCHAR", "resolution", "name"),
		col("priority", "VARCHAR", "priority", "name"), person("assignee_id", "assignee"), col("assignee", "VARCHAR", "assignee", "displayName"),
		person("reporter_id", "reporter"), col("reporter", "VARCHAR", "reporter", "displayName"), person("creator_id", "creator"), col("parent_key", "VARCHAR", "parent", "key"),
		col("labels", "JSON", "labels"), all("components", "components", "name"), all("fix_versions", "fixVersions", "name"), all("versions", "versions", "name"),
		col("created", "TIMESTAMP", "created"), col("updated", "TIMESTAMP", "updated"), col("resolved", "TIMESTAMP", "resolutiondate"), col("due", "DATE", "duedate"),
		col("estimate_seconds", "BIGINT", "timeoriginalestimate"), col("remaining_seconds", "BIGINT", "timeestimate"), col("spent_seconds", "BIGINT", "timespent"),
	}
	taken := map[string]bool{}
	for _, c := range out {
		taken[c.Name] = true
	}
	own := slices.DeleteFunc(slices.Clone(fields), func(f field) bool { return !f.Custom || f.ID == "" })
	slices.SortFunc(own, func(a, b field) int { return cmp.Or(len(a.ID)-len(b.ID), strings.Compare(a.ID, b.ID)) })
	for _, f := range own {
		name := columnName(f.Name)
		if taken[name] {
			name = columnName(name + "_" + strings.TrimPrefix(f.ID, "customfield_"))
		}
		if taken[name] {
			continue // the same field twice
		}
		taken[name] = true
		out = append(out, col(name, typeOf(f), f.ID))
	}
	return out
}

func typeOf(f field) string {
	switch f.Schema.Type {
	case "number":
		return "DOUBLE"
	case "date":
		return "DATE"
	case "datetime":
		return "TIMESTAMP"
	case "array", "any", "json", "":
		return "JSON"
	}
	return "VARCHAR"
}

// columnName makes of the name of a field one without quotes: Story Points is
// story_points.
func columnName(name string) string {
	var b strings.Builder
	for _, c := range strings.ToLower(name) {
		if b.Len() >= 100 {
			break
		}
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' && b.Len() > 0 {
			b.WriteRune(c)
		} else if s := b.String(); s != "" && s[len(s)-1] != '_' {
			b.WriteByte('_')
		}
	}
	if trimmed := strings.Trim(b.String(), "_"); trimmed != "" {
		return trimmed
	}
	return "field"
}

// choose keeps the columns that are wanted: by their name, or as Jira names the
// field, by name or id. The key is always there.
func (k kind) choose(wanted []string, fields []field) (kind, error) {
	if len(wanted) == 0 {
		return k, nil
	}
	ids := map[string][]string{}
	for _, f := range fields {
		ids[f.Name] = append(ids[f.Name], f.ID)
	}
	var picked []column
	for _, name := range slices.Concat(k.key, wanted) {
		i := slices.IndexFunc(k.columns, func(c column) bool { return c.Name == name })
		if i < 0 {
			i = slices.IndexFunc(k.columns, func(c column) bool { return c.field == name || slices.Contains(ids[name], c.field) })
		}
		if i < 0 {
			return k, fmt.Errorf("columns: there is no column or field %q", name)
		}
		if !slices.ContainsFunc(picked, func(c column) bool { return c.Name == k.columns[i].Name }) {
			picked = append(picked, k.columns[i])
		}
	}
	k.columns = picked
	return k, nil
}
