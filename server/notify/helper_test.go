package notify

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// world is what a Manager sees in tests, with a record of what was sent.
type world struct {
	t *testing.T

	mu        sync.Mutex
	statuses  map[string]reconciler.Status
	host      HostView
	events    map[string][]reconciler.Event
	records   map[string][]reconciler.Record
	listeners []chan reconciler.Event
	book      map[string][]byte
	bookErr   error
	sent      []delivery
	// answer says what a channel does with a notice; nil: it takes it.
	answer func(ctx context.Context, url string, n Notice) error

	every   time.Duration
	manager *Manager
	stop    func()
}

type delivery struct {
	url string
	id  string
	n   Notice
}

func newWorld(t *testing.T) *world {
	return &world{t: t, statuses: map[string]reconciler.Status{}, events: map[string][]reconciler.Event{}, records: map[string][]reconciler.Record{}, book: map[string][]byte{}}
}

func (w *world) Statuses() (list []reconciler.Status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.statuses {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b reconciler.Status) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return list
}

func (w *world) Host() HostView { w.mu.Lock(); defer w.mu.Unlock(); return w.host }

func newest[T any](list []T, limit int) (out []T) {
	for _, v := range slices.Backward(list) {
		if len(out) < limit {
			out = append(out, v)
		}
	}
	return out
}

func (w *world) Recent(name string, limit int) ([]reconciler.Event, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return newest(w.events[name], limit), nil
}

func (w *world) History(name string, limit int) ([]reconciler.Record, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return newest(w.records[name], limit), nil
}

func (w *world) Listen() (<-chan reconciler.Event, func()) {
	ch := make(chan reconciler.Event, 64)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listeners = append(w.listeners, ch)
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.listeners = slices.DeleteFunc(w.listeners, func(c chan reconciler.Event) bool { return c == ch })
	}
}

func (w *world) Get(key string) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.book[key], nil
}

func (w *world) Put(key string, data []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.bookErr != nil {
		return w.bookErr
	}
	w.book[key] = slices.Clone(data)
	return nil
}

// start runs a Manager until end, or the test is over.
func (w *world) start(host ...desired.NotifySpec) {
	log := logrus.New()
	log.SetOutput(io.Discard)
	w.manager = New(Options{View: w, Book: w, Host: host, HostName: "vm7", Every: w.every, Log: logrus.NewEntry(log), send: w.send,
		Link: func(instance string) string { return "https://fairlead.acme.com/instances/" + instance }})
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := w.manager.Run(ctx); !errors.Is(err, context.Canceled) {
			w.t.Errorf("run: %v", err)
		}
	}()
	w.stop = func() { cancel(); <-done }
}

func (w *world) send(ctx context.Context, spec desired.NotifySpec, q queued) error {
	w.mu.Lock()
	answer := w.answer
	w.mu.Unlock()
	if answer != nil {
		if err := answer(ctx, spec.URL, q.Notice); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, delivery{spec.URL, q.ID, q.Notice})
	return nil
}

// took returns what was sent since it was asked last.
func (w *world) took() []delivery {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.sent
	w.sent = nil
	return list
}

// kinds is took in short: the kinds, in order.
func (w *world) kinds() (list []string) {
	for _, d := range w.took() {
		kind := string(d.n.Kind)
		if d.n.Reminder {
			kind += " again"
		}
		list = append(list, kind)
	}
	return list
}

func (w *world) want(what string, kinds ...string) {
	w.t.Helper()
	if got := w.kinds(); !slices.Equal(got, kinds) {
		w.t.Errorf("%s: sent %q, want %q", what, got, kinds)
	}
}

func (w *world) event(e reconciler.Event) {
	w.mu.Lock()
	e.Seq, e.At = len(w.events[e.Instance])+1, time.Now().UTC()
	w.events[e.Instance] = append(w.events[e.Instance], e)
	listeners := slices.Clone(w.listeners)
	w.mu.Unlock()
	for _, ch := range listeners {
		select {
		case ch <- e:
		default:
		}
	}
}

func (w *world) set(s reconciler.Status) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.LastPass.IsZero() {
		s.LastPass = time.Now()
	}
	w.statuses[s.Name] = s
}

// well is an instance with which all is well.
func well(name string) reconciler.Status {
	return reconciler.Status{Name: name, Sync: reconciler.Synced, Health: reconciler.Healthy, Phase: reconciler.PhaseIdle,
		Conditions: []reconciler.Condition{{Type: reconciler.ContainersReady, Status: "True", Reason: "Ready"}}}
}

func sick(name string) reconciler.Status {
	s := well(name)
	s.Health, s.Conditions = reconciler.Degraded, []reconciler.Condition{{Type: reconciler.ContainersReady, Status: "False", Reason: "Degraded", Message: name + "-app-1 restarts", Since: time.Now()}}
	return s
}

func hook(path string) desired.NotifySpec {
	return desired.NotifySpec{URL: "generic+https://hooks.acme.com/" + path, Remind: 24 * time.Hour}
}

func chat(token string) desired.NotifySpec {
	return desired.NotifySpec{URL: "slack://hook:" + token + "@webhook", Remind: 24 * time.Hour}
}
