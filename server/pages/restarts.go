package pages

import (
	"context"
	"sync"
	"time"

	"github.com/fairlead/fairlead/server"
)

// restartsGood is how long an answer of the engine about restarts counts: it
// inspects every container for it, and a page is asked for every second.
const (
	restartsGood    = 10 * time.Second
	restartsTimeout = 3 * time.Second
)

// restartCounts keeps what the engine said, by instance. One asks at a time.
type restartCounts struct {
	mu   sync.Mutex
	kept map[string]countedRestarts
}

type countedRestarts struct {
	counts map[string]int
	at     time.Time
}

// get returns nil where the engine does not say.
func (r *restartCounts) get(ctx context.Context, api *server.API, instance string) map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if kept, there := r.kept[instance]; there && time.Since(kept.at) < restartsGood {
		return kept.counts
	}
	ctx, cancel := context.WithTimeout(ctx, restartsTimeout)
	defer cancel()
	counts, err := api.Restarts(ctx, instance)
	if err != nil {
		counts = nil // the page has its say about the engine elsewhere
	}
	for name, kept := range r.kept {
		if time.Since(kept.at) > restartsGood {
			delete(r.kept, name)
		}
	}
	if r.kept == nil {
		r.kept = map[string]countedRestarts{}
	}
	r.kept[instance] = countedRestarts{counts, time.Now()}
	return counts
}
