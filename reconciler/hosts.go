package reconciler

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// hosts says whose each host of the front is, so that two instances never serve
// one by turns: whoever has it applied, or came first to apply it, keeps it. An
// instance that is gone from the repository gives way.
type hosts struct {
	store *Store

	mu     sync.Mutex
	live   map[string]*routing // by instance
	gone   map[string]*routing
	coming map[string]string // host to the instance that is about to have it
}

func newHosts(store *Store) *hosts {
	return &hosts{store: store, live: map[string]*routing{}, gone: map[string]*routing{}, coming: map[string]string{}}
}

// join makes an instance one of those that may have hosts.
func (h *hosts) join(instance string, g *routing) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.live[instance] = g
	delete(h.gone, instance)
	g.hosts = h
}

// leave says that an instance is gone from the repository. It keeps its hosts
// until another asks for them.
func (h *hosts) leave(instance string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if g, here := h.live[instance]; here {
		h.gone[instance] = g
		delete(h.live, instance)
	}
	for host, owner := range h.coming {
		if owner == instance {
			delete(h.coming, host)
		}
	}
}

// takenAgain is how soon a host that another has is asked for again: the commit
// that takes it from the other may be the same one.
const takenAgain = 5 * time.Second

// take asks for the hosts of a specification.
func (h *hosts) take(instance string, spec desired.Spec) error {
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for host, owner := range h.coming {
		if owner == instance {
			delete(h.coming, host)
		}
	}
	owner, host, err := h.takenLocked(instance, spec)
	if err != nil {
		return err
	}
	if owner != "" {
		return RetryAfter(heldError{hostTaken(owner, host)}, takenAgain)
	}
	for _, f := range spec.Front {
		h.coming[f.Host] = instance
	}
	return nil
}

func hostTaken(owner, host string) Held {
	return Held{Reason: "HostTaken", Message: fmt.Sprintf("%s is served for instance %s already; take it out of front in one of the two", host, owner)}
}

// taken is the first host of a specification that another instance has.
func (h *hosts) taken(instance string, spec desired.Spec) (owner, host string, err error) {
	if h == nil {
		return "", "", nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.takenLocked(instance, spec)
}

func (h *hosts) takenLocked(instance string, spec desired.Spec) (owner, host string, err error) {
	for _, f := range spec.Front {
		if owner, err = h.ownerLocked(f.Host, instance); err != nil || owner != "" {
			return owner, f.Host, err
		}
	}
	return "", "", nil
}

// ownerLocked is the other instance that has a host; h.mu is held.
func (h *hosts) ownerLocked(host, instance string) (string, error) {
	if owner := h.coming[host]; owner != "" && owner != instance {
		return owner, nil
	}
	for _, other := range sortedKeys(h.live) {
		if other == instance {
			continue
		}
		m, err := h.store.memo(other)
		if err != nil {
			return "", err
		}
		if m.LastGood == 0 {
			continue
		}
		_, t, err := h.store.generation(other, m.LastGood)
		if err != nil {
			return "", err
		}
		if slices.ContainsFunc(t.Spec.Front, func(f desired.FrontRoute) bool { return f.Host == host }) {
			return other, nil
		}
	}
	return "", nil
}

// giveWay takes from the instances that are gone what others lead now.
func (h *hosts) giveWay() {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.gone) == 0 {
		return
	}
	led := map[string]bool{}
	for _, g := range h.live {
		g.addHosts(led)
	}
	for _, g := range h.gone {
		g.drop(led)
	}
}

// left are the routes that nobody else leads.
func (h *hosts) left(front []desired.FrontRoute) []desired.FrontRoute {
	if h == nil {
		return front
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	led := map[string]bool{}
	for _, g := range h.live {
		g.addHosts(led)
	}
	return slices.DeleteFunc(slices.Clone(front), func(f desired.FrontRoute) bool { return led[f.Host] })
}

// addHosts adds the hosts that requests are led for.
func (g *routing) addHosts(led map[string]bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.routes {
		led[r.Host] = true
	}
}

// drop ends the routes of hosts.
func (g *routing) drop(led map[string]bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	rest := slices.DeleteFunc(slices.Clone(g.routes), func(r Route) bool { return led[r.Host] })
	if len(rest) != len(g.routes) {
		g.routes = rest
		g.setLocked()
	}
}
