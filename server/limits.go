package server

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/fairlead/fairlead/server/auth"
)

// The bounds of what is under way at once.
const (
	costlyCalls = 4        // of one caller
	openStreams = 32       // of one caller
	bigBody     = 1 << 20  // bytes from which a body counts among the big ones
	bigBodies   = 52 << 20 // bytes of big bodies in memory: two webhooks
	smallBodies = 32 << 20 // bytes of others
)

// limits counts what is under way.
type limits struct {
	big, small *semaphore.Weighted // bytes of bodies

	mu     sync.Mutex
	costly map[string]int // by kind and caller
}

func newLimits() *limits {
	return &limits{big: semaphore.NewWeighted(bigBodies), small: semaphore.NewWeighted(smallBodies), costly: map[string]int{}}
}

// enter counts a call of a kind that somebody makes, and leave has it over.
func (l *limits) enter(who auth.Caller, kind string, most int) (leave func(), err error) {
	key := kind + "\x00" + who.Via + "\x00" + who.ID + "\x00" + who.Name
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.costly[key] >= most {
		return nil, &Error{Status: http.StatusTooManyRequests, Detail: fmt.Sprintf("you have %d calls like this under way", most),
			Hint: "wait until one of them is answered", RetryAfter: time.Second}
	}
	l.costly[key]++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.costly[key]--; l.costly[key] == 0 {
			delete(l.costly, key)
		}
	}, nil
}

// room reserves memory for a body that may have size bytes.
func (l *limits) room(r *http.Request, size int64) (release func(), err error) {
	if r.ContentLength >= 0 {
		size = min(size, r.ContentLength)
	}
	bodies := l.small
	if size >= bigBody { // those that anybody may send take no room from the rest
		bodies = l.big
	}
	if !bodies.TryAcquire(size) {
		return nil, &Error{Status: http.StatusServiceUnavailable, Detail: "too much is being sent at once", Hint: "try again in a moment", RetryAfter: 2 * time.Second}
	}
	return func() { bodies.Release(size) }, nil
}
