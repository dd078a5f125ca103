package bigquery

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/fairlead/fairlead/connectors"
)

// state is what a run leaves for the next, by table of the catalog.
type state struct {
	Version int             `json:"version"`
	Tables  map[string]left `json:"tables"`
}

// left is what a good run left of a table.
type left struct {
	Request string              `json:"request"` // a hash of what was asked for
	Columns []connectors.Column `json:"columns"`
	Cursor  string              `json:"cursor,omitempty"` // the greatest that came
	Parts   map[string]string   `json:"parts,omitempty"`  // when each was modified, and its rows
}

// readState never fails: without a state everything is read whole, which lost says.
func readState(raw json.RawMessage) (s state, lost bool) {
	if len(raw) > 0 && string(raw) != "null" {
		if err := json.Unmarshal(raw, &s); err != nil || s.Version != 1 {
			s, lost = state{}, true
		}
	}
	if s.Tables == nil {
		s.Tables = map[string]left{}
	}
	return s, lost
}

// kept is the state of the tables that are still wanted.
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

// fingerprint is of all that decides which rows and columns come, besides time.
func fingerprint(of reference, spec connectors.TableSpec, key []string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q %q %q", of.sql(), spec.Columns, spec.Where, spec.Strategy, key, spec.Options)
	return hex.EncodeToString(h.Sum(nil)[:12])
}
