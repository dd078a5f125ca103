package notify

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// View is what there is to see of the daemon.
type View interface {
	Statuses() []reconciler.Status
	Host() HostView
	// Recent returns up to limit events of an instance, newest first.
	Recent(instance string, limit int) ([]reconciler.Event, error)
	// History returns up to limit applies of an instance, newest first.
	History(instance string, limit int) ([]reconciler.Record, error)
	Listen() (<-chan reconciler.Event, func())
}

// Options wire a Manager. View and Book are needed, the others may be nil.
type Options struct {
	View View
	Book Book
	// Host are the channels that the host itself configures; they hear of
	// everything, or of some instances.
	Host []desired.NotifySpec
	// HostName is how this machine is called in notices.
	HostName string
	// Link is the page of an instance, or of all for an empty name.
	Link func(instance string) string
	// Reach is what webhooks may connect to.
	Reach Reach
	// Command starts a child that runs Shout; ChildHost is what it needs to say
	// what is in reach.
	Command   func(context.Context) *exec.Cmd
	ChildHost json.RawMessage
	Agent     string // User-Agent of webhooks
	// Jitter returns a number between 0 and 1.
	Jitter func() float64
	// Every is how often is looked when nothing is heard; 10 s when 0.
	Every time.Duration
	Log   *logrus.Entry

	send sender // tests
}

// sender delivers one notice.
type sender func(ctx context.Context, spec desired.NotifySpec, q queued) error

// Manager decides what is told and delivers it. It implements
// reconciler.Notices.
type Manager struct {
	opts     Options
	kick     chan struct{}
	children chan struct{} // a place for each that runs

	mu     sync.Mutex // no I/O is done under it
	wanted map[string]wish
	state  *state // nil until Run
	began  time.Time
}

// wish is what Set was given last, since when there is something.
type wish struct {
	specs []desired.NotifySpec
	since time.Time
}

var _ reconciler.Notices = (*Manager)(nil)

// maxChildren bounds the processes that send at a time.
const maxChildren = 8

// New does no I/O; Run does.
func New(o Options) *Manager {
	if o.Every <= 0 {
		o.Every = 10 * time.Second
	}
	if o.Jitter == nil {
		o.Jitter = func() float64 { return 0 }
	}
	if o.Link == nil {
		o.Link = func(string) string { return "" }
	}
	m := &Manager{opts: o, kick: make(chan struct{}, 1), children: make(chan struct{}, maxChildren), wanted: map[string]wish{}}
	if m.opts.send == nil {
		m.opts.send = m.send
	}
	return m
}

// Set implements reconciler.Notices.
func (m *Manager) Set(instance string, specs []desired.NotifySpec) {
	m.mu.Lock()
	old, known := m.wanted[instance]
	same := known && reflect.DeepEqual(old.specs, specs)
	if !same {
		since := old.since
		if since.IsZero() {
			since = time.Now().UTC()
		}
		m.wanted[instance] = wish{slices.Clone(specs), since}
	}
	m.mu.Unlock()
	if !same {
		m.wake()
	}
}

func (m *Manager) wake() {
	select {
	case m.kick <- struct{}{}:
	default:
	}
}

// result is how a try to deliver ended.
type result struct {
	id  string   // of the channel
	ids []string // of what was delivered
	err error
}

// Run tells what there is to tell until ctx ends. Deliveries that are under way
// then end with it, and are made again at the next start.
func (m *Manager) Run(ctx context.Context) error {
	s, saved, err := readState(m.opts.Book)
	if err != nil {
		m.opts.Log.WithError(err).Error("Begin without what is known of notices")
	}
	m.mu.Lock()
	m.state, m.began = s, time.Now().UTC()
	m.mu.Unlock()
	heard, stop := m.opts.View.Listen()
	defer stop()
	l := &loop{Manager: m, results: make(chan result, 16), dirty: map[string]bool{}, all: true, saved: saved}
	defer l.end()
	l.begin()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-heard:
			l.dirty[e.Instance] = true
			timer.Reset(0) // those that come with it are taken together
			continue
		case r := <-l.results:
			l.settle(r)
		case <-m.kick:
		case <-timer.C:
		}
		timer.Reset(l.pass(ctx))
	}
}

// Channel is what may be known of a channel.
type Channel struct {
	ID        string
	Name      string
	Service   string
	Instances []string // that name it; none: it is the host's own
	Host      bool     // the host's own
	Hears     []string // globs of the instances that the host has it hear of; none: everything
	On        []string
	Remind    time.Duration
	Waiting   int
	Lost      int
	LastOK    time.Time
	Error     string
	Failing   time.Time
	Next      time.Time
}

// Channels lists the channels in order of name.
func (m *Manager) Channels() (list []Channel) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state == nil {
		return nil
	}
	for id, c := range m.state.Channels {
		one := Channel{ID: id, Name: Label(c.Spec), Service: schemeOf(c.Spec.URL), On: c.Spec.On, Remind: c.Spec.Remind, Waiting: len(c.Queue), Lost: c.Lost,
			LastOK: c.LastOK, Error: c.Error, Failing: c.Failing, Next: c.Next}
		for name, specs := range m.state.Wanted {
			if slices.ContainsFunc(specs, func(s desired.NotifySpec) bool { return channelID(s) == id }) {
				one.Instances = append(one.Instances, name)
			}
		}
		slices.Sort(one.Instances)
		for _, s := range m.opts.Host {
			if channelID(s) == id {
				one.Host, one.Hears = true, s.Instances
			}
		}
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b Channel) int { return strings.Compare(a.Name+a.ID, b.Name+b.ID) })
	return list
}

// Warnings are the channels that have been failing for long, for whoever looks
// at the daemon's health: nobody else would be told.
func (m *Manager) Warnings() (list []string) {
	for _, c := range m.Channels() {
		if !c.Failing.IsZero() && time.Since(c.Failing) > failingLong {
			list = append(list, fmt.Sprintf("notices do not reach %s since %s: %s", c.Name, c.Failing.UTC().Format(time.RFC3339), c.Error))
		}
	}
	return list
}

// ErrNoChannel says that there is no such channel.
var ErrNoChannel = errors.New("no such channel")

// Test sends a notice to the channels of an ID or name, or to all for an empty
// one, and returns what came of it, by ID.
func (m *Manager) Test(ctx context.Context, which, by string) (map[string]error, error) {
	m.mu.Lock()
	specs := map[string]desired.NotifySpec{}
	if m.state != nil {
		for id, c := range m.state.Channels {
			if which == "" || which == id || which == Label(c.Spec) {
				specs[id] = c.Spec
			}
		}
	}
	m.mu.Unlock()
	if len(specs) == 0 {
		return nil, fmt.Errorf("test notices %s: %w", which, ErrNoChannel)
	}
	n := Notice{Kind: kindTest, Host: m.opts.HostName, Title: m.opts.HostName + ": this is a test", Message: "Notices of Fairlead arrive here. Asked for by " + by + ".",
		Link: m.opts.Link(""), At: time.Now().UTC()}.bounded()
	var mu sync.Mutex
	var group sync.WaitGroup
	results := map[string]error{}
	for _, id := range slices.Sorted(maps.Keys(specs)) {
		group.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, sendTimeout)
			defer cancel()
			err := m.opts.send(ctx, specs[id], queued{ID: newID(), Notice: n, Since: n.At})
			mu.Lock()
			defer mu.Unlock()
			results[id] = err
		})
	}
	group.Wait()
	return results, nil
}

// send delivers by what the URL says.
func (m *Manager) send(ctx context.Context, spec desired.NotifySpec, q queued) error {
	if strings.HasPrefix(spec.URL, "generic+") {
		client := m.opts.Reach.client()
		defer client.CloseIdleConnections()
		return postWebhook(ctx, client, spec, q, m.opts.Agent)
	}
	if m.opts.Command == nil {
		return refusal{errors.New("no sender is wired")}
	}
	select {
	case m.children <- struct{}{}:
		defer func() { <-m.children }()
	case <-ctx.Done():
		return errors.New("too many other services take their time")
	}
	return shout(ctx, m.opts.Command, m.opts.ChildHost, spec.URL, q.Notice, spec.Template)
}

func newID() string {
	b := make([]byte, 12)
	_, _ = rand.Read(b) // it never fails (crypto/rand)
	return hex.EncodeToString(b)
}
