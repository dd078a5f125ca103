package pages

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// What is being set up is kept over restarts of the daemon but for the secrets
// and for what a service said by them: both are asked for again. The notes are
// sealed, since an address may hold a secret that nobody marked as one.
const (
	draftsKey     = "pages-drafts"
	draftKeptMost = 64 << 10 // bytes of one
	draftsAllMost = 1 << 20  // of all; the newest are kept
)

// keptDraft is a draft as it is kept.
type keptDraft struct {
	ID       string            `json:"id"`
	Session  string            `json:"session"`
	Setup    bool              `json:"setup,omitempty"`
	Kind     string            `json:"kind"`
	Instance string            `json:"instance"`
	Name     string            `json:"name"`
	Values   map[string]string `json:"values"` // without secrets
	Given    map[string]bool   `json:"given,omitempty"`
	Chosen   map[string]bool   `json:"chosen"` // null: nothing was chosen yet
	Schedule string            `json:"schedule,omitempty"`
	Done     *committed        `json:"done,omitempty"`
	Touched  time.Time         `json:"touched"`
}

// kept is a draft without its secrets.
func (d draft) kept() keptDraft {
	k := keptDraft{d.ID, d.Session, d.Setup, d.Kind, d.Instance, d.Name, maps.Clone(d.Values), d.Given, d.Chosen, d.Schedule, d.Done, d.touched}
	known := map[string]bool{}
	for _, f := range fieldsOf(d.Kind) {
		known[f.Name] = !f.Secret
	}
	maps.DeleteFunc(k.Values, func(name, _ string) bool { return !known[name] })
	return k
}

// recalled is a draft that was kept: its credentials have to be tried again.
func (k keptDraft) recalled() draft {
	return draft{ID: k.ID, Session: k.Session, Setup: k.Setup, Kind: k.Kind, Instance: k.Instance, Name: k.Name, Values: k.Values, Given: k.Given,
		Chosen: k.Chosen, Schedule: k.Schedule, Done: k.Done, touched: k.Touched, Again: k.Done == nil && k.Values != nil}
}

// saveLocked keeps the drafts that there are. What cannot be kept is not worth
// losing a step for: it is still in memory.
func (d *drafts) saveLocked() {
	if d.notes == nil {
		return
	}
	list := slices.SortedFunc(maps.Values(d.byID), func(a, b draft) int { return b.touched.Compare(a.touched) })
	all, size := []json.RawMessage{}, 0
	for _, x := range list {
		text, err := json.Marshal(x.kept())
		if err != nil || len(text) > draftKeptMost {
			continue
		}
		if size+len(text) > draftsAllMost {
			break
		}
		all, size = append(all, text), size+len(text)
	}
	text, err := json.Marshal(all)
	if err == nil {
		err = d.notes.Put(draftsKey, text)
	}
	if err != nil {
		d.complain(fmt.Errorf("keep what is being set up: %w", err))
	}
}

// loadLocked reads what an earlier life of the daemon kept, once.
func (d *drafts) loadLocked() {
	if d.loaded || d.notes == nil {
		return
	}
	d.loaded = true
	text, err := d.notes.Get(draftsKey)
	var list []keptDraft
	if err == nil && len(text) > 0 {
		err = json.Unmarshal(text, &list)
	}
	if err != nil {
		d.complain(fmt.Errorf("read what was being set up: %w", err))
		return
	}
	for _, k := range list {
		if _, known := kindOf(k.Kind); known && k.ID != "" {
			d.byID[k.ID] = k.recalled()
		}
	}
}
