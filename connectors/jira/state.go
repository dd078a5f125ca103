package jira

import (
	"encoding/json"

	"github.com/fairlead/fairlead/connectors"
)

// readState never fails: without a state everything is read, which is said in note.
func readState(raw json.RawMessage) (s connectors.State, note string) {
	s, lost := connectors.ReadState(raw)
	if lost {
		note = "the state of the last run could not be read: everything was read anew"
	}
	return s, note
}
