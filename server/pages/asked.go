package pages

import (
	"cmp"
	"crypto/rand"
	"slices"
	"sync"
	"time"
)

// The bounds of what is remembered of queries. All of it is gone with the
// daemon: what people ask is nobody else's business, and no state.
const (
	askedSessions = 200
	askedEach     = 30
	askedBytes    = 256 << 10 // of the texts of one session
	askedLife     = 12 * time.Hour
)

// asked remembers the queries of each session.
type asked struct {
	mu       sync.Mutex
	now      func() time.Time
	sessions map[string]*askedSession
}

type askedSession struct {
	used time.Time
	list []askedQuery // newest first
}

// askedQuery is a query that somebody made. Its ID means something in the
// session that made it only, so that no link has somebody else's session ask.
type askedQuery struct {
	ID, Instance, SQL string
	Limit             int64
	At                time.Time
	Took              time.Duration
	Rows              int64
	Failed            bool
	Ended             bool // Took, Rows and Failed count
}

func newAsked(now func() time.Time) *asked {
	return &asked{now: now, sessions: map[string]*askedSession{}}
}

// add remembers a query and returns its ID. The same one again moves to the top.
func (a *asked) add(session string, q askedQuery) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sweep()
	s := a.sessions[session]
	if s == nil {
		s = &askedSession{}
		a.sessions[session] = s
	}
	s.used = a.now()
	for i, old := range s.list {
		if old.SQL == q.SQL && old.Instance == q.Instance && old.Limit == q.Limit {
			s.list = slices.Delete(s.list, i, i+1)
			break
		}
	}
	q.ID, q.At = rand.Text(), a.now()
	s.list = slices.Insert(s.list, 0, q)
	s.list = s.list[:min(len(s.list), askedEach)]
	for size(s.list) > askedBytes && len(s.list) > 1 {
		s.list = s.list[:len(s.list)-1]
	}
	return q.ID
}

func size(list []askedQuery) (n int) {
	for _, q := range list {
		n += len(q.SQL)
	}
	return n
}

// sweep forgets sessions that ask no more, and the oldest where there are too
// many. The lock is held.
func (a *asked) sweep() {
	oldest := ""
	for id, s := range a.sessions {
		if a.now().Sub(s.used) > askedLife {
			delete(a.sessions, id)
			continue
		}
		if oldest == "" || cmp.Or(s.used.Compare(a.sessions[oldest].used), cmp.Compare(id, oldest)) < 0 {
			oldest = id
		}
	}
	if len(a.sessions) >= askedSessions {
		delete(a.sessions, oldest)
	}
}

func (a *asked) find(session, id string) (askedQuery, bool) {
	for _, q := range a.list(session) {
		if q.ID == id {
			return q, true
		}
	}
	return askedQuery{}, false
}

// end notes what became of a query.
func (a *asked) end(session, id string, took time.Duration, rows int64, failed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sessions[session]
	if s == nil {
		return
	}
	for i := range s.list {
		if s.list[i].ID == id {
			q := &s.list[i]
			q.Took, q.Rows, q.Failed, q.Ended = took, rows, failed, true
		}
	}
}

// list are the queries of a session, newest first.
func (a *asked) list(session string) []askedQuery {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.sessions[session]; s != nil && a.now().Sub(s.used) <= askedLife {
		return slices.Clone(s.list)
	}
	return nil
}

// forget removes what a session asked.
func (a *asked) forget(session string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.sessions, session)
}
