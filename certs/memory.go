package certs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/certs/source"
)

// mostQuarantined bounds the candidates that are remembered as refused.
const mostQuarantined = 32

// memo is what has to outlive the daemon, of one certificate. It holds neither
// keys nor anything else that is secret.
type memo struct {
	Spec string `json:"spec"` // hash of the one that most of this is about

	// Chain and Key are the versions of what the source gave last, if that is
	// done with: taken, or refused.
	Chain source.Version `json:"chain,omitempty"`
	Key   source.Version `json:"key,omitempty"`
	Took  string         `json:"took,omitempty"` // fingerprint of the leaf that was published from it
	Real  bool           `json:"real,omitempty"` // one that is not self-signed was published
	// Held are those that somebody went back from: they are not taken again
	// until there is another one.
	Held []string `json:"held,omitempty"`

	Asked   time.Time `json:"asked,omitzero"` // when the source answered last
	Trouble *trouble  `json:"trouble,omitempty"`

	Refusal *refusal `json:"refusal,omitempty"` // of the newest candidate
	Refused int      `json:"refused,omitempty"` // candidates in a row
	// Quarantined are hashes of candidates whose refusal was reported.
	Quarantined []string       `json:"quarantined,omitempty"`
	Notes       []pair.Problem `json:"notes,omitempty"` // of what was published
	Staged      time.Time      `json:"staged,omitzero"` // the source holds one that is good from then on

	Warned   warned            `json:"warned,omitzero"`
	Reported map[string]string `json:"reported,omitempty"` // what was said last, by kind
}

// trouble are failures in a row.
type trouble struct {
	Count  int       `json:"count"`
	At     time.Time `json:"at"`
	Next   time.Time `json:"next"`
	Said   bool      `json:"said,omitempty"`  // the source chose Next
	Final  bool      `json:"final,omitempty"` // only another spec can mend it
	Absent bool      `json:"absent,omitempty"`
	Error  string    `json:"error"`
}

// refusal is why a candidate is not served.
type refusal struct {
	Hash     string         `json:"hash"`
	Context  string         `json:"context"` // what it was held against; see judgement
	Problems []pair.Problem `json:"problems"`
	Source   string         `json:"source,omitempty"`
	At       time.Time      `json:"at"`
}

// warned is the last moment before the end of a certificate that was reported.
type warned struct {
	Leaf   string    `json:"leaf,omitempty"`
	Moment time.Time `json:"moment,omitzero"`
}

// adopt forgets what another spec may have mended. What a source said about
// waiting stays.
func (m *memo) adopt(hash string) {
	if m.Spec == hash {
		return
	}
	var wait *trouble
	if m.Trouble != nil && m.Trouble.Said {
		wait = m.Trouble
	}
	*m = memo{Spec: hash, Took: m.Took, Real: m.Real, Held: m.Held, Trouble: wait, Notes: m.Notes, Warned: m.Warned, Reported: m.Reported}
	delete(m.Reported, kindFetch)
	delete(m.Reported, kindRefused)
}

// quarantine remembers a refused candidate, and says whether it is a new one.
func (m *memo) quarantine(hash string) bool {
	if slices.Contains(m.Quarantined, hash) {
		return false
	}
	m.Quarantined = append(m.Quarantined, hash)
	m.Quarantined = m.Quarantined[max(0, len(m.Quarantined)-mostQuarantined):]
	return true
}

// recall reads the memo, once. One that cannot be read is none: what it holds
// makes fewer questions and reports, and nothing worse when it is lost.
func (c *certificate) recall() error {
	if c.saved != nil {
		return nil
	}
	data, err := c.m.opts.Memory.Get(c.id.path())
	if err != nil {
		return fmt.Errorf("read what was remembered: %w", err)
	}
	c.memo, c.saved = memo{}, []byte{}
	if len(data) > 0 && json.Unmarshal(data, &c.memo) == nil {
		c.saved = data
	}
	if c.memo.Reported == nil {
		c.memo.Reported = map[string]string{}
	}
	return nil
}

// remember writes the memo when it changed.
func (c *certificate) remember() error {
	if c.saved == nil {
		return nil // what was not read is not written over
	}
	data, err := json.Marshal(c.memo)
	if err != nil {
		return fmt.Errorf("remember: %w", err)
	}
	if bytes.Equal(data, c.saved) {
		return nil
	}
	if err := c.m.opts.Memory.Put(c.id.path(), data); err != nil {
		return fmt.Errorf("remember: %w", err)
	}
	c.saved = data
	return nil
}
