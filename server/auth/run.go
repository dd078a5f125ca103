package auth

import (
	"context"
	"time"
)

// keepEvery is how often what was seen is written down.
const keepEvery = time.Minute

// Run writes down who was seen, and forgets sessions that are over, until ctx
// ends. Where nobody came there is nothing to write. What cannot be written is
// complained of, and tried again.
func (s *Store) Run(ctx context.Context, complain func(error)) {
	ticker := time.NewTicker(keepEvery)
	defer ticker.Stop()
	for ended := false; !ended; {
		select {
		case <-ctx.Done():
			ended = true
		case <-ticker.C:
		}
		if err := s.Tidy(); err != nil {
			complain(err)
		}
	}
}

// Tidy does once what Run does every minute.
func (s *Store) Tidy() error {
	if err := s.load(); err != nil {
		return err
	}
	seen := s.takeGlimpses()
	if len(seen) == 0 && !s.anyOver() {
		return nil
	}
	err := s.change(func(c *change) error { return c.tidy(seen) })
	if err != nil {
		s.putBack(seen)
	}
	return err
}

func (c *change) tidy(seen map[string]glimpse) error {
	defer func() { c.grave = false }() // when somebody was seen may be forgotten
	for id, g := range seen {
		if err := c.keepSeen(id, g); err != nil {
			return err
		}
	}
	for _, x := range c.sessions {
		if !time.Now().Before(x.Expires) {
			if err := c.endSession(x.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// putBack remembers what could not be written.
func (s *Store) putBack(seen map[string]glimpse) {
	s.glimpsed.Lock()
	defer s.glimpsed.Unlock()
	for id, g := range seen {
		if !s.glimpses[id].at.After(g.at) {
			s.glimpses[id] = g
		}
	}
}

// takeGlimpses returns what is not on disk yet, and forgets what is.
func (s *Store) takeGlimpses() map[string]glimpse {
	s.glimpsed.Lock()
	defer s.glimpsed.Unlock()
	fresh := map[string]glimpse{}
	for id, g := range s.glimpses {
		if g.dirty {
			fresh[id] = g
			g.dirty = false
			s.glimpses[id] = g
			continue
		}
		delete(s.glimpses, id)
	}
	return fresh
}

func (s *Store) anyOver() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	now := time.Now()
	return count(s.sessions, func(x *Session) bool { return !now.Before(x.Expires) }) > 0
}

// keepSeen stores when a user, a session or a token was seen.
func (c *change) keepSeen(id string, g glimpse) error {
	if a, there := c.users[id]; there && g.at.After(a.Seen) {
		u := *a
		u.Seen = g.at
		return c.putUser(u)
	}
	if x, there := c.sessions[id]; there && g.at.After(x.Seen) {
		one := *x
		one.Seen = g.at
		return c.putSession(one)
	}
	if t, there := c.tokens[id]; there && g.at.After(t.Seen) {
		one := *t
		one.Seen, one.SeenFrom = g.at, g.from
		return c.putToken(one)
	}
	return nil
}
