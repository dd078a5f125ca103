package connectors

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

const (
	noteVersion = 1
	// mostRecords is how many runs of a source are remembered.
	mostRecords = 200
	// maxNote bounds what is remembered of a source, in bytes; the oldest runs go
	// first. What is read may be a little more.
	maxNote  = 4 << 20
	maxState = 2 << 20 // of which the state may be so much
)

// memo is what has to outlive the daemon, of one source. What a run changes in
// it is written in one piece.
type memo struct {
	Version int `json:"version"`

	// Tried is the sum of the spec of the last run, with Salt.
	Tried string `json:"tried,omitempty"`
	Salt  []byte `json:"salt,omitempty"`
	// Good is the identity that all tables were last read for; none when Ever is
	// false.
	Ever bool   `json:"ever,omitempty"`
	Good string `json:"good,omitempty"`

	// State is what the last good run left for the next, of the identity StateOf.
	// It is about what generation Base holds.
	State   json.RawMessage `json:"state,omitempty"`
	StateOf string          `json:"state_of,omitempty"`
	Base    int             `json:"base,omitempty"`

	Lanes map[string]lane `json:"lanes,omitempty"` // by table; the one of the source is ""

	Trouble *trouble           `json:"trouble,omitempty"` // why the last run gave nothing
	Bad     map[string]trouble `json:"bad,omitempty"`     // tables of which the last run was not ok
	Told    []string           `json:"told,omitempty"`    // causes of failures that people were told of since it was well

	Records []Record `json:"records,omitempty"` // oldest first
}

// trouble is what is wrong.
type trouble struct {
	Outcome Outcome `json:"outcome"`
	Error   string  `json:"error"`
	Hint    string  `json:"hint,omitempty"`
}

// register is what has to outlive the daemon, of an instance.
type register struct {
	Version int `json:"version"`
	// Last is the newest number of a run.
	Last int64 `json:"last"`
	// Sources are those that are known; of the ones that are false only the past
	// is, since they are wanted no more.
	Sources map[string]bool `json:"sources,omitempty"`
}

var errNote = errors.New("not a note of this program")

// readMemo reads what write wrote. No note at all is an empty memo.
func readMemo(data []byte) (memo, error) {
	m := memo{Version: noteVersion}
	if len(data) > 0 {
		m = memo{}
		if err := readNote(data, &m); err != nil {
			return memo{Version: noteVersion}.ready(), err
		}
		if m.Version != noteVersion {
			return memo{Version: noteVersion}.ready(), fmt.Errorf("%w: version %d", errNote, m.Version)
		}
		if err := m.check(); err != nil {
			return memo{Version: noteVersion}.ready(), err
		}
	}
	return m.ready(), nil
}

func (m memo) ready() memo {
	if m.Lanes == nil {
		m.Lanes = map[string]lane{}
	}
	if m.Bad == nil {
		m.Bad = map[string]trouble{}
	}
	return m
}

// check refuses what this program cannot have written and could not go on from.
func (m memo) check() error {
	for i, r := range m.Records {
		if r.ID < 1 || i > 0 && r.ID <= m.Records[i-1].ID {
			return fmt.Errorf("%w: the runs are not in order", errNote)
		}
	}
	for name, l := range m.Lanes {
		if name != "" && !ValidName(name) || l.Fails < 0 || l.Pause < 0 || l.Pause > mostWait {
			return fmt.Errorf("%w: lane %q", errNote, name)
		}
	}
	if len(m.Records) > mostRecords || m.Base < 0 {
		return fmt.Errorf("%w: there is too much in it", errNote)
	}
	return nil
}

func readNote(data []byte, v any) error {
	if len(data) > 2*maxNote {
		return fmt.Errorf("%w: it has %d bytes", errNote, len(data))
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%w: %w", errNote, err)
	}
	return nil
}

func readRegister(data []byte) (register, error) {
	r := register{Version: noteVersion}
	var err error
	if len(data) > 0 {
		r = register{}
		if err = readNote(data, &r); err == nil && (r.Version != noteVersion || r.Last < 0) {
			err = fmt.Errorf("%w: version %d", errNote, r.Version)
		}
	}
	if err != nil {
		r = register{Version: noteVersion}
	}
	kept := map[string]bool{}
	for name, wanted := range r.Sources {
		if ValidName(name) {
			kept[name] = wanted
		}
	}
	r.Sources = kept
	return r, err
}

// write is the note, with as many of the newest runs as it has room for.
func (m memo) write() ([]byte, error) {
	m.Version = noteVersion
	m.Records = m.Records[max(0, len(m.Records)-mostRecords):]
	for {
		data, err := json.Marshal(m)
		if err != nil || len(data) <= maxNote || len(m.Records) < 2 {
			return data, err
		}
		m.Records = m.Records[(len(m.Records)+1)/2:]
	}
}

// put replaces the record of its number, or adds it. Records are never changed
// in place: others may be reading the list.
func (m *memo) put(r Record) {
	list := slices.Clone(m.Records)
	i := slices.IndexFunc(list, func(have Record) bool { return have.ID == r.ID })
	if i >= 0 {
		list[i] = r
	} else {
		list = append(list, r)
		slices.SortFunc(list, func(a, b Record) int { return int(a.ID - b.ID) })
	}
	m.Records = list[max(0, len(list)-mostRecords):]
}

// lastEnded is the newest run that has ended.
func (m *memo) lastEnded() (Record, bool) {
	for _, r := range slices.Backward(m.Records) {
		if r.Outcome != "" {
			return r, true
		}
	}
	return Record{}, false
}

// known reports whether people were told of a cause. So many are told of until
// it is well again.
func (m *memo) known(cause string) bool {
	const most = 16
	if len(m.Told) >= most || slices.Contains(m.Told, cause) {
		return true
	}
	m.Told = append(slices.Clone(m.Told), cause)
	return false
}
