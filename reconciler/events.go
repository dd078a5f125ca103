package reconciler

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Event is something that happened to an instance and that people may want to
// be told of.
type Event struct {
	Seq        int       `json:"seq"`
	At         time.Time `json:"at"`
	Instance   string    `json:"instance"`
	Reason     string    `json:"reason"` // Applied, RolledBack, Failed, Quarantined, DriftHealed, Refused, Suspended, …
	Message    string    `json:"message"`
	Revision   string    `json:"revision,omitempty"`
	Generation int       `json:"generation,omitempty"`
	// Correlation is the id of the request that led to it; empty: none did.
	Correlation string `json:"correlation,omitempty"`
}

// maxEvents bounds the events kept of an instance.
const maxEvents = 500

// Events keeps what happened and tells whoever listens.
type Events struct {
	store *Store

	mu        sync.Mutex
	listeners map[chan Event]bool
}

// NewEvents keeps events in the store.
func NewEvents(s *Store) *Events { return &Events{store: s, listeners: map[chan Event]bool{}} }

// add records an event. Losing one is not worth stopping a pass for, so an
// error is only returned.
func (e *Events) add(ev Event) error {
	ev.At = time.Now().UTC()
	err := e.store.db.Update(func(tx *bolt.Tx) error {
		b, err := ensureBucket(tx, ev.Instance, eventsBucket)
		if err != nil {
			return err
		}
		return appendBounded(b, maxEvents, func(seq int) any { ev.Seq = seq; return ev })
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	for ch := range e.listeners {
		select {
		case ch <- ev:
		default: // a listener that does not read misses events, never blocks the loop
		}
	}
	if err != nil {
		return fmt.Errorf("write event of %s: %w", ev.Instance, err)
	}
	return nil
}

// Report records what another part of the daemon saw happen to an instance.
func (e *Events) Report(instance, reason, message string) error {
	return e.ReportFor("", instance, reason, message)
}

// ReportFor is Report for what a request led to, by its id.
func (e *Events) ReportFor(correlation, instance, reason, message string) error {
	return e.add(Event{Instance: instance, Reason: reason, Message: message, Correlation: correlation})
}

// Listen returns a channel of what happens from now on, and a function that
// ends it.
func (e *Events) Listen() (<-chan Event, func()) {
	ch := make(chan Event, 64)
	e.mu.Lock()
	e.listeners[ch] = true
	e.mu.Unlock()
	return ch, func() {
		e.mu.Lock()
		delete(e.listeners, ch)
		e.mu.Unlock()
	}
}

// Recent returns up to limit events of an instance, newest first.
func (e *Events) Recent(instance string, limit int) (list []Event, err error) {
	err = e.store.db.View(func(tx *bolt.Tx) error {
		return newestFirst(bucket(tx, instance, eventsBucket), limit, func(v []byte) error {
			var ev Event
			if err := json.Unmarshal(v, &ev); err != nil {
				return err
			}
			list = append(list, ev)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read events of %s: %w", instance, err)
	}
	return list, nil
}
