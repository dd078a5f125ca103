package pages

import (
	"crypto/rand"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/server"
)

// The bounds of what is being set up. A draft holds secrets, which are in memory
// only; it is for the session that began it, and not for long.
const (
	draftsMost   = 200
	draftsEach   = 8
	draftLife    = 2 * time.Hour
	draftTables  = 5000
	draftValues  = 64 << 10 // bytes of one answer
	tablesOnPage = 100
)

// draft is a source of data that is being set up: one walk through the steps.
// It is a value; what changes one writes a whole new one.
type draft struct {
	ID, Session string
	Setup       bool // begun right after the first administrator was made
	Kind        string
	Instance    string
	Name        string            // of the connector
	Values      map[string]string // answers by field, secrets among them
	Given       map[string]bool   // secrets that there were, once it is done

	Tried    bool // the credentials were taken
	TriedAt  time.Time
	Found    []connectors.Discovered
	More     bool            // the service has others
	Chosen   map[string]bool // by ID
	Schedule string
	Settled  bool // tables and schedule were chosen
	Again    bool // the daemon was started anew since: secrets are asked for again

	Problem *server.Error // what the last attempt of the step met
	Done    *committed
	touched time.Time
}

// committed is what came of a draft.
type committed struct {
	server.ChangeAnswer
	Tables []string // by their names in the catalogue
	At     time.Time
}

// drafts are those of all sessions.
type drafts struct {
	mu   sync.Mutex
	now  func() time.Time
	byID map[string]draft
	busy map[string]bool // those that are being committed

	notes    server.Notes // nil: nothing is kept over a restart
	loaded   bool         // what was kept
	complain func(error)  // of what could not be kept or read
}

func newDrafts(now func() time.Time, notes server.Notes, complain func(error)) *drafts {
	return &drafts{now: now, byID: map[string]draft{}, busy: map[string]bool{}, notes: notes, complain: complain}
}

// begin adds a draft. Of one session, and of all, the oldest has to go where
// there are too many.
func (d *drafts) begin(session string, setup bool) draft {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sweep()
	own := func(x draft) bool { return x.Session == session }
	d.shed(own, draftsEach)
	d.shed(func(draft) bool { return true }, draftsMost)
	x := draft{ID: rand.Text(), Session: session, Setup: setup, touched: d.now()}
	d.byID[x.ID] = x // which is kept with its first answers
	return x
}

// shed makes room for one more among some. The lock is held.
func (d *drafts) shed(among func(draft) bool, most int) {
	var some []draft
	for _, x := range d.byID {
		if among(x) {
			some = append(some, x)
		}
	}
	slices.SortFunc(some, func(a, b draft) int { return a.touched.Compare(b.touched) })
	for i := 0; i <= len(some)-most; i++ {
		delete(d.byID, some[i].ID)
	}
}

// sweep forgets what was left lying. The lock is held.
func (d *drafts) sweep() {
	d.loadLocked()
	maps.DeleteFunc(d.byID, func(_ string, x draft) bool { return d.now().Sub(x.touched) > draftLife })
}

// get returns a draft to the session that began it, and to no other.
func (d *drafts) get(session, id string) (draft, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sweep()
	x, ok := d.byID[id]
	if !ok || x.Session != session || session == "" {
		return draft{}, false
	}
	x.Values, x.Chosen = maps.Clone(x.Values), maps.Clone(x.Chosen)
	return x, true
}

// put keeps a draft that get returned, unless it was forgotten meanwhile.
func (d *drafts) put(x draft) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.byID[x.ID]; ok {
		x.touched = d.now()
		d.byID[x.ID] = x
		d.saveLocked()
	}
}

// finish keeps what came of a draft, and none of its secrets.
func (d *drafts) finish(x draft, done committed) draft {
	x.Done, x.Problem, x.Found, x.Chosen = &done, nil, nil, nil
	x.Values, x.Given = maps.Clone(x.Values), map[string]bool{}
	for _, f := range fieldsOf(x.Kind) {
		if f.Secret {
			x.Given[f.Name] = x.Values[f.Name] != ""
			delete(x.Values, f.Name)
		}
	}
	d.put(x)
	return x
}

// unfinished is the draft of a session that was touched last and is not done.
func (d *drafts) unfinished(session string, setup bool) (draft, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sweep()
	var last draft
	for _, x := range d.byID {
		if x.Session == session && session != "" && x.Setup == setup && x.Done == nil && x.touched.After(last.touched) {
			last = x
		}
	}
	return last, last.ID != ""
}

// forget removes the drafts of a session that ended, or one of them.
func (d *drafts) forget(session, id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sweep()
	before := len(d.byID)
	maps.DeleteFunc(d.byID, func(_ string, x draft) bool { return x.Session == session && (id == "" || id == x.ID) })
	if len(d.byID) < before {
		d.saveLocked()
	}
}

// claim marks a draft as being committed; false: it is already.
func (d *drafts) claim(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy[id] || d.byID[id].Done != nil {
		return false
	}
	d.busy[id] = true
	return true
}

func (d *drafts) isClaimed(id string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.busy[id]
}

func (d *drafts) release(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.busy, id)
}
