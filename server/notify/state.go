package notify

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// Book keeps bytes by key over restarts, sealed; reconciler.Notebook is one.
type Book interface {
	Get(key string) ([]byte, error)
	Put(key string, data []byte) error
}

const stateKey = "state"

// state is all that survives a restart. It is written whole, so that what was
// decided and what is to be delivered are never apart.
type state struct {
	// Ledgers are by instance; that of the host has no name.
	Ledgers map[string]*ledger `json:"ledgers,omitempty"`
	// Wanted are the channels of each instance, by name.
	Wanted   map[string][]desired.NotifySpec `json:"wanted,omitempty"`
	Channels map[string]*channel             `json:"channels,omitempty"`
	// Running says that a daemon runs, or ended without a word.
	Running bool `json:"running,omitempty"`
}

// readState returns the state and how it is written; nil when it never was.
func readState(book Book) (*state, []byte, error) {
	s := &state{Ledgers: map[string]*ledger{}, Wanted: map[string][]desired.NotifySpec{}, Channels: map[string]*channel{}}
	data, err := book.Get(stateKey)
	if err != nil {
		return s, nil, fmt.Errorf("read state of notices: %w", err)
	}
	if len(data) == 0 {
		return s, nil, nil
	}
	read := *s
	if err := json.Unmarshal(data, &read); err != nil {
		return s, data, fmt.Errorf("read state of notices: %w", err)
	}
	return &read, data, nil
}

// channelsOf are the channels that hear of an instance: its own and the host's.
// Those of the host as a whole are the host's own that hear of everything, or
// where it has none all that instances have.
func (s *state) channelsOf(instance string, host []desired.NotifySpec) (list []listener) {
	host = slices.DeleteFunc(slices.Clone(host), func(spec desired.NotifySpec) bool { return !spec.Hears(instance) })
	specs := slices.Concat(host, s.Wanted[instance])
	if instance == "" && len(host) == 0 {
		for _, name := range slices.Sorted(maps.Keys(s.Wanted)) {
			specs = append(specs, s.Wanted[name]...)
		}
	}
	seen := map[string]bool{}
	for _, spec := range specs {
		id := channelID(spec)
		if !seen[id] {
			list = append(list, listenerOf(id, spec))
		}
		seen[id] = true
	}
	return list
}

// reconcile has a channel for each that is wanted, and no other. What waits for
// one that is gone goes with it.
func (s *state) reconcile(host []desired.NotifySpec) (changed bool) {
	all := slices.Clone(host)
	for _, name := range slices.Sorted(maps.Keys(s.Wanted)) {
		all = append(all, s.Wanted[name]...)
	}
	want := map[string]desired.NotifySpec{}
	for _, spec := range all {
		if id := channelID(spec); want[id].URL == "" { // the first of those that share it names it
			want[id] = spec
		}
	}
	for id, spec := range want {
		c := s.Channels[id]
		if c == nil {
			c, changed = &channel{}, true
			s.Channels[id] = c
		}
		if !reflect.DeepEqual(c.Spec, spec) {
			c.Spec, changed = spec, true
		}
	}
	for id := range s.Channels {
		if _, wanted := want[id]; !wanted {
			delete(s.Channels, id)
			changed = true
		}
	}
	return changed
}

// ledger is that of an instance, which begins now if there is none.
func (s *state) ledger(instance string, from time.Time) *ledger {
	l := s.Ledgers[instance]
	if l == nil {
		l = &ledger{From: from}
		s.Ledgers[instance] = l
	}
	return l
}
