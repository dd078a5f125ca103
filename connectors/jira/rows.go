package jira

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/connectors/internal/rest"
)

// query asks for the fields that the tables of the group are made of.
func (g *group) query(jql string) query {
	q := query{jql: jql, fields: []string{"created"}, history: g.wants("changelog")}
	for _, w := range g.wishes {
		needed := []string{w.kind.field}
		if w.kind.id == "issues" {
			for _, c := range w.kind.columns {
				needed = append(needed, c.field)
			}
		}
		for _, f := range needed {
			if f != "" && !strings.HasPrefix(f, "_") && !slices.Contains(q.fields, f) {
				q.fields = append(q.fields, f)
			}
		}
	}
	return q
}

// write writes what an issue gives to each table. One that was deleted after the
// search found it is left out.
func (r *run) write(ctx context.Context, g *group, one issue) error {
	if !validIssue(one.ID) || one.Fields == nil {
		return errors.New("search issues: an issue without id or fields")
	}
	rows := make([][]object, len(g.wishes))
	for i, w := range g.wishes {
		var err error
		rows[i], err = r.rowsOf(ctx, w.kind.id, one)
		if rest.Code(err) == http.StatusNotFound {
			return nil
		}
		if err != nil {
			return err
		}
	}
	for i, w := range g.wishes {
		for _, row := range rows[i] {
			row["_issue_id"], row["_issue_key"] = one.ID, one.Key
			if err := w.out.row(row); err != nil {
				return err
			}
		}
	}
	return nil
}

// rowsOf are the rows that an issue gives to a table.
func (r *run) rowsOf(ctx context.Context, id string, one issue) ([]object, error) {
	switch id {
	case "comments":
		return r.complete(ctx, embedded(one.Fields["comment"]), one, "comment")
	case "worklogs":
		return r.complete(ctx, embedded(one.Fields["worklog"]), one, "worklog")
	case "changelog":
		histories, err := r.complete(ctx, one.Changelog, one, "changelog")
		return items(histories), err
	case "links":
		return links(one), nil
	}
	return []object{one.Fields}, nil
}

// embedded is a list that came with the issue; nil when it did not.
func embedded(value any) *page {
	data, err := json.Marshal(value)
	if err != nil || value == nil {
		return nil
	}
	var p page
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.UseNumber()
	if dec.Decode(&p) != nil {
		return nil
	}
	return &p
}

// items are the changes of each history, one row a field.
func items(histories []object) (out []object) {
	for _, h := range histories {
		list, _ := h["items"].([]any)
		for i, value := range list {
			item, ok := value.(object)
			if !ok {
				continue
			}
			item["id"], item["author"], item["created"], item["_item"] = h["id"], h["author"], h["created"], i
			out = append(out, item)
		}
	}
	return out
}

// links are the links of an issue, from its side.
func links(one issue) (out []object) {
	list, _ := one.Fields["issuelinks"].([]any)
	for _, value := range list {
		link, ok := value.(object)
		if !ok {
			continue
		}
		for direction, end := range map[string]string{"inward": "inwardIssue", "outward": "outwardIssue"} {
			if other, there := link[end].(object); there {
				out = append(out, object{"id": link["id"], "type": link["type"], "_direction": direction, "_relation": dig(link, "type", direction), "_other": other})
			}
		}
	}
	return out
}
