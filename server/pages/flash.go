package pages

import (
	"crypto/rand"
	"sync"
	"time"
)

// flash is what came of a request, said once on the page that follows.
type flash struct{ Kind, Text string }

// flashes keeps them until they are read. They never travel: a cookie only says
// which one is meant, so nobody can put words into this site's mouth.
type flashes struct {
	mu    sync.Mutex
	kept  map[string]keptFlash
	order []string
}

type keptFlash struct {
	flash
	until time.Time
}

const (
	flashCookie = "fairlead_flash"
	flashLife   = 2 * time.Minute
	maxFlashes  = 200
)

func (f *flashes) leave(v *visit, what flash) {
	id := rand.Text()
	f.mu.Lock()
	if f.kept == nil {
		f.kept = map[string]keptFlash{}
	}
	if len(f.order) >= maxFlashes {
		delete(f.kept, f.order[0])
		f.order = f.order[1:]
	}
	f.kept[id] = keptFlash{what, time.Now().Add(flashLife)}
	f.order = append(f.order, id)
	f.mu.Unlock()
	v.cookie(flashCookie, id, flashLife)
}

// take returns what is to be said now, and forgets it.
func (f *flashes) take(v *visit) *flash {
	c, err := v.Cookie(flashCookie)
	if err != nil {
		return nil
	}
	v.cookie(flashCookie, "", 0)
	f.mu.Lock()
	defer f.mu.Unlock()
	kept, there := f.kept[c.Value]
	delete(f.kept, c.Value)
	if !there || time.Now().After(kept.until) {
		return nil
	}
	return &kept.flash
}
