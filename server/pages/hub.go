package pages

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

// everything is the topic that changes with every instance.
const everything = "*"

// How the hub looks.
const (
	hubEvery  = time.Second
	pullStays = 2 * time.Second
	hubLinger = time.Minute // for readers without a stream, who come back
)

// hub knows a version of each instance, which changes with whatever a page
// shows of it. One goroutine looks, once a second, and only while there are
// readers; however many there are, they cost the reconciler nothing more. A
// reader is woken and sees for itself what its version is, so that a slow one
// holds nobody up and leaves nothing behind.
type hub struct {
	api   *server.API
	seed  maphash.Seed
	every time.Duration
	stays time.Duration   // of a pull, after the last was heard of
	life  context.Context // ends with close
	end   context.CancelFunc

	mu       sync.Mutex
	readers  map[chan struct{}]bool
	until    time.Time // the linger ends
	ending   context.CancelFunc
	done     chan struct{} // of the goroutine
	closed   bool
	versions map[string]string
	moves    map[string]int
	pulls    map[string][]server.Pull // newest state of each image, in order of appearance
	heard    map[string]time.Time     // of the newest pull
}

func newHub(api *server.API) *hub {
	life, end := context.WithCancel(context.Background())
	return &hub{api: api, seed: maphash.MakeSeed(), every: hubEvery, stays: pullStays, life: life, end: end, readers: map[chan struct{}]bool{},
		versions: map[string]string{}, moves: map[string]int{}, pulls: map[string][]server.Pull{}, heard: map[string]time.Time{}}
}

// listen returns a channel that is told when any version changed, and a
// function that ends it.
func (h *hub) listen() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	h.mu.Lock()
	h.readers[ch] = true
	h.wakeLocked()
	h.mu.Unlock()
	return ch, func() {
		h.mu.Lock()
		delete(h.readers, ch)
		h.mu.Unlock()
	}
}

// touch keeps the hub looking for a reader without a stream.
func (h *hub) touch() {
	h.mu.Lock()
	h.until = time.Now().Add(hubLinger)
	h.wakeLocked()
	h.mu.Unlock()
}

// wakeLocked starts looking, if nobody does.
func (h *hub) wakeLocked() {
	if h.ending != nil || h.closed {
		return
	}
	ctx, cancel := context.WithCancel(h.life)
	h.ending, h.done = cancel, make(chan struct{})
	go h.run(ctx, h.done)
}

func (h *hub) close() {
	h.mu.Lock()
	h.closed = true
	running, done := h.ending != nil, h.done
	h.mu.Unlock()
	h.end()
	if running {
		<-done
	}
}

// now are the versions of all topics.
func (h *hub) now() map[string]string {
	h.mu.Lock()
	versions, running := h.versions, h.ending != nil && len(h.versions) > 0
	h.mu.Unlock()
	if !running {
		h.look()
		h.mu.Lock()
		versions = h.versions
		h.mu.Unlock()
	}
	return versions // which look replaces and never changes
}

// pullsOf is how far the pulls of an instance are, as far as was heard.
func (h *hub) pullsOf(instance string) []server.Pull {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.pulls[instance])
}

func (h *hub) run(ctx context.Context, done chan struct{}) {
	defer close(done)
	watched := make(chan struct{})
	watch, stop := context.WithCancel(ctx)
	go func() { defer close(watched); h.api.Watch(watch, h.moved) }()
	defer func() { stop(); <-watched }()
	ticker := time.NewTicker(h.every)
	defer ticker.Stop()
	for {
		if h.look() {
			h.tell()
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if h.idle() {
			return
		}
	}
}

// idle ends the looking when nobody is left.
func (h *hub) idle() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.readers) > 0 || time.Now().Before(h.until) {
		return false
	}
	h.ending()
	h.ending = nil
	clear(h.pulls)
	clear(h.heard)
	return true
}

func (h *hub) moved(m server.Move) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.moves[m.Instance]++
	if m.Pull == nil {
		return
	}
	h.heard[m.Instance] = time.Now()
	list := h.pulls[m.Instance]
	if i := slices.IndexFunc(list, func(p server.Pull) bool { return p.Image == m.Pull.Image }); i >= 0 {
		list[i] = *m.Pull
	} else if len(list) < maxPulls {
		h.pulls[m.Instance] = append(list, *m.Pull)
	}
}

// maxPulls bounds the images of one instance whose pulls are shown.
const maxPulls = 50

// look finds the versions anew, and reports whether any is another one.
func (h *hub) look() (changed bool) {
	statuses := h.api.Statuses()
	now := make(map[string]string, len(statuses)+1)
	var all strings.Builder
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range statuses {
		now[s.Name] = fmt.Sprintf("%x-%d", h.fingerprint(s), h.moves[s.Name])
		all.WriteString(s.Name + now[s.Name])
		if s.Phase != reconciler.PhaseApplying && time.Since(h.heard[s.Name]) > h.stays {
			delete(h.pulls, s.Name)
			delete(h.heard, s.Name)
		}
	}
	now[everything] = fmt.Sprintf("%x", maphash.String(h.seed, all.String()))
	changed = !maps.Equal(now, h.versions)
	h.versions = now
	maps.DeleteFunc(h.moves, func(name string, _ int) bool { _, there := now[name]; return !there })
	return changed
}

// fingerprint is equal for what looks equal. When the last pass was does not
// count: it says nothing, and changes all the time.
func (h *hub) fingerprint(s reconciler.Status) uint64 {
	s.LastPass, s.NextPass = time.Time{}, time.Time{}
	if s.Release != nil {
		release := *s.Release
		release.Asked = time.Time{}
		s.Release = &release
	}
	b, err := json.Marshal(s)
	if err != nil { // a value that JSON does not have; the page says what it can
		return 0
	}
	return maphash.Bytes(h.seed, b)
}

func (h *hub) tell() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch := range h.readers {
		select {
		case ch <- struct{}{}:
		default: // it was told and has not looked yet
		}
	}
}

// overviews keeps what the repository says for a moment: looking for edits that
// are not committed reads a work tree, and many may ask.
type overviews struct {
	mu   sync.Mutex
	last server.Overview
	at   time.Time
	took time.Duration
}

// How long an answer is good: at least a second, and so long that asking takes
// a twentieth of the time at most.
const (
	freshFor   = time.Second
	freshShare = 20
)

func (o *overviews) get(ctx context.Context, api *server.API) (server.Overview, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if time.Since(o.at) > max(freshFor, freshShare*o.took) {
		began := time.Now()
		all, err := api.Overview(ctx)
		if err != nil {
			return all, err
		}
		o.last, o.at, o.took = all, time.Now(), time.Since(began)
	}
	all := o.last
	all.Instances = api.Statuses()
	for i := range all.Instances {
		all.Instances[i].Uncommitted = all.Source.Dirty
	}
	return all, nil
}
