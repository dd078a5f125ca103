package server

import (
	"fmt"
	"strings"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/edit"
)

// withTables adds tables that a service has to the file of a connector. Those
// that it has already stay as they are.
func withTables(file []byte, found []connectors.Discovered) ([]byte, error) {
	file, _, err := addTables(file, found)
	return file, err
}

// addTables is withTables, and tells the names of those that were added.
func addTables(file []byte, found []connectors.Discovered) (out []byte, added []string, err error) {
	c, _ := desired.ParseConnector("connector.yaml", file) // what is wrong with it is told when it is loaded
	taken, had := map[string]bool{}, map[string]bool{}
	for _, t := range c.Tables {
		taken[strings.ToLower(t.Name)] = true
		had[serviceID(t)] = true
	}
	var rows []any
	for _, t := range found {
		if had[t.ID] {
			continue
		}
		had[t.ID] = true
		name := connectors.Propose(taken, t.Name, strings.ReplaceAll(t.ID, "/", "_"))
		added = append(added, name)
		row := edit.Map{{Key: "name", Value: name}}
		switch {
		case c.Files != nil:
			row = append(row, edit.Pair{Key: "paths", Value: []string{t.ID}})
		case t.ID != name:
			row = append(row, edit.Pair{Key: "id", Value: t.ID})
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 {
		return file, nil, nil
	}
	if out, err = edit.Append(file, edit.Path{"tables"}, rows...); err != nil {
		return nil, nil, fmt.Errorf("add tables: %w", err)
	}
	return out, added, nil
}

// serviceID is what a table is called at its service.
func serviceID(t desired.Table) string {
	switch {
	case t.ID != "":
		return t.ID
	case len(t.Paths) == 1:
		return t.Paths[0]
	}
	return t.Name
}
