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

// readState never fails: without a state everything is exported whole, which is
// said in note.
func readState(raw json.RawMessage) (s connectors.State, note string) {
	s, lost := connectors.ReadState(raw)
	if lost {
		note = "the state of the last run could not be read: everything was exported whole"
	}
	return s, note
}

// fingerprint is of all that decides which rows and columns come, besides time.
func fingerprint(spec connectors.TableSpec, base string, key []string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q %q", base, spec.ID, spec.Columns, spec.Where, key)
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// changes says in words how the columns of a table differ from the last time,
// their order included.
func changes(before, now []connectors.Column) []string {
	said, _ := connectors.SchemaChanges(before, now)
	names, current := namesOf(before), namesOf(now)
	if len(said) == 0 && !slices.Equal(names, current) {
		said = append(said, "schema: the order of the columns is now "+strings.Join(current, ", "))
	}
	return said
}

func namesOf(columns []connectors.Column) (names []string) {
	for _, c := range columns {
		names = append(names, c.Name)
	}
	return names
}
