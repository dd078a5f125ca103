package jira

import (
	"encoding/json"
	"fmt"

	"github.com/fairlead/fairlead/connectors"
)

// state is what one run leaves for the next, by table of the catalog.
type state struct {
	Version int             `json:"version"`
	Tables  map[string]left `json:"tables"`
}

// left is what a good run left of a table.
type left struct {
	Since   int64               `json:"since"`   // seconds of Unix, by Jira's clock
	Request string              `json:"request"` // what was asked for, besides the time
	Columns []connectors.Column `json:"columns"`
}

// readState never fails: without a state everything is read, which is said in note.
func readState(raw json.RawMessage) (s state, note string) {
	if len(raw) > 0 && string(raw) != "null" {
		if err := json.Unmarshal(raw, &s); err != nil || s.Version != 1 {
			s, note = state{}, "the state of the last run could not be read: everything was read anew"
		}
	}
	if s.Tables == nil {
		s.Tables = map[string]left{}
	}
	return s, note
}

func (s state) kept(specs []connectors.TableSpec) state {
	out := state{Version: 1, Tables: map[string]left{}}
	for _, spec := range specs {
		if past, ok := s.Tables[spec.Name]; ok {
			out.Tables[spec.Name] = past
		}
	}
	return out
}

func (s state) encode() json.RawMessage {
	data, _ := json.Marshal(s) // of strings and numbers alone: it cannot fail
	return data
}

// changes says how columns differ from the last time, and whether one that stayed
// has another type, which rows of before do not fit.
func changes(before, now []connectors.Column) (said []string, retyped bool) {
	had, has := map[string]string{}, map[string]bool{}
	for _, c := range before {
		had[c.Name] = c.Type
	}
	for _, c := range now {
		has[c.Name] = true
		switch past, ok := had[c.Name]; {
		case !ok:
			said = append(said, fmt.Sprintf("schema: column %s is new (%s)", c.Name, c.Type))
		case past != c.Type:
			said = append(said, fmt.Sprintf("schema: column %s was %s and is %s", c.Name, past, c.Type))
			retyped = true
		}
	}
	for _, c := range before {
		if !has[c.Name] {
			said = append(said, fmt.Sprintf("schema: column %s is gone", c.Name))
		}
	}
	return said, retyped
}
