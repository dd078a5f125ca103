package registry

import (
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// Memory keeps a few kilobytes over restarts of the daemon. A key that is
// absent is nil without an error. It may be used from several goroutines.
type Memory interface {
	Get(key string) ([]byte, error)
	Put(key string, value []byte) error
}

type nothing struct{}

func (nothing) Get(string) ([]byte, error) { return nil, nil }
func (nothing) Put(string, []byte) error   { return nil }

// memoryKey holds everything. No instance has a dot in its name.
const memoryKey = ".releases"

const (
	forgetAfter  = 90 * 24 * time.Hour
	writeEvery   = time.Hour // when nothing but the times changed
	maxPast      = 8
	maxMemory    = 8 << 20
	maxRemembers = 1000
)

// record is what is known of a reference.
type record struct {
	Head  string          `json:"head"` // what the registry said last
	ETag  string          `json:"etag,omitempty"`
	Past  []past          `json:"past,omitempty"` // what it said before, newest first
	Asked time.Time       `json:"asked,omitzero"` // when it answered last
	Since time.Time       `json:"since,omitzero"` // when it began to fail; zero: it does not
	Used  time.Time       `json:"used,omitzero"`
	Facts map[string]fact `json:"facts,omitempty"` // by platform
}

type past struct {
	Digest string    `json:"digest"`
	Seen   time.Time `json:"seen"`
}

// fact is what a reference means to one platform.
type fact struct {
	Digest     string    `json:"digest,omitempty"`
	Seen       time.Time `json:"seen,omitzero"`
	Created    time.Time `json:"created,omitzero"`
	Version    string    `json:"version,omitempty"`
	Deprecated string    `json:"deprecated,omitempty"`
	Described  bool      `json:"described,omitempty"` // Created and the label were read
	Checked    time.Time `json:"checked,omitzero"`    // when Version and Deprecated were looked up last without a failure
	Tried      time.Time `json:"tried,omitzero"`      // likewise, with or without
	// Refused says why the registry's last digest is not taken; Digest is the one before.
	Refused       string    `json:"refused,omitempty"`
	RefusedDigest string    `json:"refused_digest,omitempty"`
	RefusedSince  time.Time `json:"refused_since,omitzero"`
}

func (r record) clone() record {
	r.Facts, r.Past = maps.Clone(r.Facts), slices.Clone(r.Past)
	if r.Facts == nil {
		r.Facts = map[string]fact{}
	}
	return r
}

// notebook reads the memory once and writes it through. It forgets what it
// cannot understand: everything in it can be asked again.
type notebook struct {
	mem Memory
	log *logrus.Entry

	mu    sync.Mutex
	all   map[string]record
	wrote time.Time
}

func (n *notebook) load() {
	if n.all != nil {
		return
	}
	n.all = map[string]record{}
	b, err := n.mem.Get(memoryKey)
	var all map[string]record
	if err == nil && len(b) > 0 && len(b) <= maxMemory {
		err = json.Unmarshal(b, &all)
	}
	if err != nil {
		n.warn(err, "what was known of registries is forgotten")
		return
	}
	for key, r := range all {
		if r.sound() {
			n.all[key] = r
		}
	}
}

// sound reports whether a record can be used: digests are digests.
func (r record) sound() bool {
	if r.Head != "" && !isDigest(r.Head) {
		return false
	}
	for _, f := range r.Facts {
		if f.Digest != "" && !isDigest(f.Digest) {
			return false
		}
	}
	return true
}

func (n *notebook) warn(err error, what string) {
	if n.log != nil {
		n.log.WithError(err).Warn(what)
	}
}

func (n *notebook) get(key string) record {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.load()
	return n.all[key].clone()
}

// put remembers a record. A change of times alone is written now and then: it
// comes with every question.
func (n *notebook) put(key string, r record, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.load()
	same := r.essence() == n.all[key].essence()
	n.all[key] = r.clone()
	if same && now.Sub(n.wrote) < writeEvery {
		return
	}
	n.prune(now)
	b, err := json.Marshal(n.all)
	if err == nil {
		err = n.mem.Put(memoryKey, b)
	}
	if err != nil {
		n.warn(err, "what is known of registries is not remembered")
		return
	}
	n.wrote = now
}

// essence is a record without the times that every question moves.
func (r record) essence() string {
	r = r.clone()
	r.Asked, r.Used = time.Time{}, time.Time{}
	for p, f := range r.Facts {
		f.Checked, f.Tried = time.Time{}, time.Time{}
		r.Facts[p] = f
	}
	b, _ := json.Marshal(r) // strings and times of this century always encode
	return string(b)
}

// prune forgets what nobody asked for in a long time, and the oldest of too many.
func (n *notebook) prune(now time.Time) {
	maps.DeleteFunc(n.all, func(_ string, r record) bool { return now.Sub(r.Used) > forgetAfter })
	if len(n.all) <= maxRemembers {
		return
	}
	keys := slices.SortedFunc(maps.Keys(n.all), func(a, b string) int { return n.all[b].Used.Compare(n.all[a].Used) })
	for _, key := range keys[maxRemembers:] {
		delete(n.all, key)
	}
}
