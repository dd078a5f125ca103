//go:build cgo

package duck

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"github.com/fairlead/fairlead/connectors"
)

const viewHint = `a remote table is a view SELECT * FROM alias.schema."table", and nothing else; a local one has its rows in data/NAME.parquet or data/NAME/*.parquet`

// selectOf cuts the query out of the text of a view as DuckDB keeps it.
func selectOf(name, text string) (string, bool) {
	for _, n := range []string{name, quoteName(name)} {
		if query, ok := strings.CutPrefix(text, "CREATE VIEW "+n+" AS "); ok {
			return strings.TrimSuffix(strings.TrimSpace(query), ";"), true
		}
	}
	return "", false
}

// maxViewTree bounds the tree of a view's query; that of the form that is allowed
// has less than two thousand bytes.
const maxViewTree = 64 << 10

// readRemote reads where a remote table is off the tree that json_serialize_sql
// makes of its query. Everything in the tree that is not of the one form has to
// be empty, also what later versions of DuckDB put there.
func readRemote(tree []byte) (connectors.RemoteTable, error) {
	var none connectors.RemoteTable
	if len(tree) > maxViewTree {
		return none, fmt.Errorf("it is longer than a remote view is")
	}
	var all struct {
		Error      bool `json:"error"`
		Statements []struct {
			Node  map[string]json.RawMessage `json:"node"`
			Named json.RawMessage            `json:"named_param_map"`
		} `json:"statements"`
	}
	if err := json.Unmarshal(tree, &all); err != nil || all.Error || len(all.Statements) != 1 || !empty(all.Statements[0].Named) {
		return none, fmt.Errorf("it is not one SELECT")
	}
	node := all.Statements[0].Node
	var stars []map[string]json.RawMessage
	var from map[string]json.RawMessage
	if json.Unmarshal(node["select_list"], &stars) != nil || len(stars) != 1 || json.Unmarshal(node["from_table"], &from) != nil {
		return none, fmt.Errorf("it is not SELECT *")
	}
	if err := only(node, map[string]string{"type": "SELECT_NODE", "aggregate_handling": "STANDARD_HANDLING"}, "select_list", "from_table"); err != nil {
		return none, err
	}
	if err := only(stars[0], map[string]string{"class": "STAR", "type": "STAR"}, "query_location"); err != nil {
		return none, err
	}
	if err := only(from, map[string]string{"type": "BASE_TABLE"}, "query_location", "catalog_name", "schema_name", "table_name"); err != nil {
		return none, err
	}
	t := connectors.RemoteTable{Alias: text(from["catalog_name"]), Schema: text(from["schema_name"]), Table: text(from["table_name"])}
	if !connectors.ValidName(t.Alias) || !remoteName(t.Schema) || !remoteName(t.Table) {
		return none, fmt.Errorf("it does not name alias, schema and table")
	}
	return t, nil
}

// only checks that a node has these texts, anything under free, and nothing else.
func only(node map[string]json.RawMessage, texts map[string]string, free ...string) error {
	for name, want := range texts {
		if text(node[name]) != want {
			return fmt.Errorf("it is not SELECT * FROM alias.schema.table")
		}
	}
	for name, value := range node {
		_, fixed := texts[name]
		for _, f := range free {
			fixed = fixed || f == name
		}
		if !fixed && !empty(value) {
			return fmt.Errorf("it has more than SELECT * FROM alias.schema.table: %s", short(name))
		}
	}
	return nil
}

func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// empty reports whether a value says nothing: null, false, "", [], {} or an
// object of such.
func empty(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	switch string(raw) {
	case "", "null", "false", `""`, "[]", "{}":
		return true
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) != nil || object == nil {
		return false
	}
	for _, v := range object {
		if !empty(v) {
			return false
		}
	}
	return true
}

// remoteName is the name of a schema or a table at a service, which may have
// other letters than ours.
func remoteName(s string) bool {
	return s != "" && len(s) <= 256 && !strings.ContainsFunc(s, unicode.IsControl)
}
