package keboola

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/connectors"
)

// state is what one run leaves for the next, by table of the catalog.
type state struct {
	Version int             `json:"version"`
	Tables  map[string]left `json:"tables"`
}

// left is what a good export of a table left.
type left struct {
	Since   int64               `json:"since"`   // seconds of Unix: what was imported before is here
	Request string              `json:"request"` // hash of what was asked for
	Columns []connectors.Column `json:"columns"`
}

// readState never fails: without a state everything is exported whole, which is
// said in note.
func readState(raw json.RawMessage) (s state, note string) {
	if len(raw) > 0 && string(raw) != "null" {
		if err := json.Unmarshal(raw, &s); err != nil || s.Version != 1 {
			s, note = state{}, "the state of the last run could not be read: everything was exported whole"
		}
	}
	if s.Tables == nil {
		s.Tables = map[string]left{}
	}
	return s, note
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
func fingerprint(spec connectors.TableSpec, base string, key []string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q %q", base, spec.ID, spec.Columns, spec.Where, key)
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// changes says in words how the columns of a table differ from the last time.
func changes(before, now []connectors.Column) (out []string) {
	index := func(in []connectors.Column) (names []string, types map[string]string) {
		types = map[string]string{}
		for _, c := range in {
			names = append(names, c.Name)
			types[c.Name] = c.Type
		}
		return names, types
	}
	names, had := index(before)
	current, has := index(now)
	for _, name := range current {
		switch past, ok := had[name]; {
		case !ok:
			out = append(out, fmt.Sprintf("schema: column %s is new (%s)", name, has[name]))
		case past != has[name]:
			out = append(out, fmt.Sprintf("schema: column %s was %s and is %s", name, past, has[name]))
		}
	}
	for _, name := range names {
		if _, ok := has[name]; !ok {
			out = append(out, fmt.Sprintf("schema: column %s is gone", name))
		}
	}
	if len(out) == 0 && !slices.Equal(names, current) {
		out = append(out, "schema: the order of the columns is now "+strings.Join(current, ", "))
	}
	return out
}
