package forge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// Book keeps bytes by key over restarts; reconciler.Notebook is one.
type Book interface {
	Get(key string) ([]byte, error)
	Put(key string, data []byte) error
}

// Options wire a Poster. Log, Book and Client are needed.
type Options struct {
	Site  Site
	Token func() (string, error)
	Book  Book
	// Client asks the API; its transport says which authorities are trusted.
	Client *http.Client
	Agent  string
	// Jitter returns a number between 0 and 1.
	Jitter func() float64
	Log    *logrus.Entry
}

// Poster has a git host say what is wanted of it.
type Poster struct {
	opts Options
	kick chan struct{}

	mu   sync.Mutex
	want map[string]Status // by context
	sick error             // of the last try
}

// New does no I/O; Run does.
func New(o Options) *Poster {
	if o.Jitter == nil {
		o.Jitter = func() float64 { return 0 }
	}
	client := *o.Client
	// Whoever it is redirected to would be given the token.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	o.Client = &client
	return &Poster{opts: o, kick: make(chan struct{}, 1), want: map[string]Status{}}
}

// Want says what is to be said of commits until the next Want. It never waits.
func (p *Poster) Want(list []Status) {
	want := map[string]Status{}
	for _, s := range list {
		want[s.Context] = s
	}
	p.mu.Lock()
	same := reflect.DeepEqual(want, p.want)
	p.want = want
	p.mu.Unlock()
	if same {
		return
	}
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// Err is why statuses cannot be set now; nil: they can.
func (p *Poster) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sick
}

const (
	bookKey    = "commits"
	firstRetry = 5 * time.Second
	lastRetry  = 10 * time.Minute
	setTimeout = 30 * time.Second
)

// kept is what a git host was told of a context last.
type kept struct {
	Status
	// Refused says that it does not want to hear of it.
	Refused bool `json:"refused,omitempty"`
}

// Run sets statuses until ctx ends.
func (p *Poster) Run(ctx context.Context) error {
	stands := map[string]kept{}
	if data, err := p.opts.Book.Get(bookKey); err != nil || len(data) > 0 && json.Unmarshal(data, &stands) != nil {
		p.opts.Log.WithError(err).Warn("Set the status of commits anew: what was set is not known")
		stands = map[string]kept{}
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	tries := 0
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		case <-p.kick:
			if p.Err() != nil {
				continue // its time comes, and what is wanted then counts
			}
		}
		after, err := p.settle(ctx, stands)
		if err == nil {
			tries = 0
			timer.Reset(time.Hour)
			continue
		}
		if tries == 0 && ctx.Err() == nil {
			p.opts.Log.WithError(err).Warn("Set status of commit; it is tried again")
		}
		pause := min(firstRetry<<min(tries, 10), lastRetry)
		pause += time.Duration(p.opts.Jitter() * float64(pause) / 4)
		tries++
		timer.Reset(max(pause, after))
	}
}

// settle sets what is wanted and does not stand. What is wanted is read anew
// before each: when commits race the newest wins.
func (p *Poster) settle(ctx context.Context, stands map[string]kept) (after time.Duration, err error) {
	defer func() {
		p.mu.Lock()
		p.sick = err
		p.mu.Unlock()
	}()
	for {
		next, open := p.next(stands)
		if !open {
			return 0, nil
		}
		token, err := p.opts.Token()
		if err != nil {
			return 0, fmt.Errorf("read token: %w", err)
		}
		try, cancel := context.WithTimeout(ctx, setTimeout)
		err = p.opts.Site.set(try, p.opts.Client, token, p.opts.Agent, next)
		cancel()
		var refused hopeless
		var wait later
		switch {
		case errors.As(err, &refused):
			p.opts.Log.WithError(err).WithField("context", next.Context).Warn("Leave the status of a commit unset")
		case errors.As(err, &wait):
			return wait.after, err
		case err != nil:
			return 0, err
		}
		stands[next.Context] = kept{next, err != nil}
		if err := p.keep(stands); err != nil {
			p.opts.Log.WithError(err).Warn("Remember the status of a commit")
		}
	}
}

// next is what is to be set, in order of context.
func (p *Poster) next(stands map[string]kept) (Status, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var open []Status
	for name, s := range p.want {
		if stands[name].Status != s {
			open = append(open, s)
		}
	}
	if len(open) == 0 {
		return Status{}, false
	}
	return slices.MinFunc(open, func(a, b Status) int { return strings.Compare(a.Context, b.Context) }), true
}

func (p *Poster) keep(stands map[string]kept) error {
	data, err := json.Marshal(stands)
	if err != nil {
		return err
	}
	return p.opts.Book.Put(bookKey, data)
}
