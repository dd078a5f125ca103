package connectors

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// State is what a run of an incremental source leaves for the next, by table of
// the catalog.
type State struct {
	Version int             `json:"version"`
	Tables  map[string]Left `json:"tables"`
}

// Left is what a good run left of a table.
type Left struct {
	Since   int64             `json:"since,omitempty"` // seconds of Unix, by the service's clock: what came before is here
	Request string            `json:"request"`         // what was asked for, besides the time
	Columns []Column          `json:"columns"`
	Cursor  string            `json:"cursor,omitempty"` // the greatest value that was there
	Parts   map[string]string `json:"parts,omitempty"`  // by the name of a part, what it held, in words of the source
}

// ReadState reads what Encode wrote. Without a state, and with one that cannot
// be read, which lost reports, there is nothing to go on from.
func ReadState(raw json.RawMessage) (s State, lost bool) {
	if len(raw) > 0 && string(raw) != "null" {
		if err := json.Unmarshal(raw, &s); err != nil || s.Version != 1 {
			s, lost = State{}, true
		}
	}
	if s.Tables == nil {
		s.Tables = map[string]Left{}
	}
	return s, lost
}

// Kept is the state of the tables that are still wanted.
func (s State) Kept(specs []TableSpec) State {
	out := State{Version: 1, Tables: map[string]Left{}}
	for _, spec := range specs {
		if past, ok := s.Tables[spec.Name]; ok {
			out.Tables[spec.Name] = past
		}
	}
	return out
}

// Encode writes the state for a Report.
func (s State) Encode() json.RawMessage {
	data, _ := json.Marshal(s) // of strings and numbers alone: it cannot fail
	return data
}

// DifferingParts are the parts that are new or other than they were, and those
// that are gone, each in order of their names.
func DifferingParts(before, now map[string]string) (other, gone []string) {
	for _, part := range slices.Sorted(maps.Keys(now)) {
		if past, had := before[part]; !had || past != now[part] {
			other = append(other, part)
		}
	}
	for _, part := range slices.Sorted(maps.Keys(before)) {
		if _, has := now[part]; !has {
			gone = append(gone, part)
		}
	}
	return other, gone
}

// SchemaChanges says how columns differ from the last time, and whether one that
// stayed has another type, which rows of before do not fit.
func SchemaChanges(before, now []Column) (said []string, retyped bool) {
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
