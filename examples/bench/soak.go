package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	requests "github.com/fairlead/fairlead/examples/load"
)

const (
	soakInstances = 10
	soakRate      = 200 // requests a second, over all instances
	soakHold      = 50 * time.Second
	soakBake      = 200 * time.Millisecond
	soakWarm      = 2 // waves before anything is counted
)

// soak changes the images of several applications at once, wave after wave, under load, and looks at what is left.
type soak struct {
	b             *bench
	repo          repo
	daemon        *daemon
	list          []*soaked
	wave          int
	took          series // of a wave
	before, after vitals
}

// soaked is one application with its share of the load.
type soaked struct {
	order   string
	host    string
	project string
	target  requests.Options
	run     *requests.Run
	want    atomic.Pointer[string] // what the new image answers first
	seen    atomic.Bool

	longest series // wait of a request, of each switch
	gaps    series // without a container that takes requests, as the daemon has it
	total   requests.Report
}

func measureSoak(ctx context.Context, b *bench) error {
	s := &soak{b: b}
	defer s.halt()
	if err := s.setUp(ctx); err != nil {
		return err
	}
	waves := (b.opt.switches + soakInstances - 1) / soakInstances
	for range soakWarm {
		if err := s.change(ctx); err != nil {
			return err
		}
	}
	if err := s.look(ctx, &s.before); err != nil {
		return err
	}
	if err := s.load(ctx); err != nil {
		return err
	}
	for n := range waves {
		if err := s.turn(ctx); err != nil {
			return err
		}
		if (n+1)%10 == 0 {
			b.tell("soak: %d of %d switches, %d requests failed", (n+1)*soakInstances, waves*soakInstances, s.failed())
		}
	}
	s.halt()
	if err := s.look(ctx, &s.after); err != nil {
		return err
	}
	s.tell()
	if err := s.leftOver(ctx); err != nil {
		return err
	}
	if err := s.tearDown(ctx); err != nil { // what was measured is worth more than an engine that is tidy
		b.note("Soak: what it made could not be removed: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return nil
}

func (s *soak) setUp(ctx context.Context) (err error) {
	https, err := freeAddress()
	if err != nil {
		return err
	}
	for i := range soakInstances {
		c := &soaked{order: "stop-first", host: fmt.Sprintf("soak%d.example.com", i), project: s.b.name(fmt.Sprintf("soak%d", i))}
		if i%2 == 1 {
			c.order = "start-first"
		}
		c.target = requests.Options{URL: "https://" + c.host + "/", Address: https, Insecure: true, Rate: soakRate / soakInstances,
			HTTP2: i%4 >= 2, Check: c.look}
		s.list = append(s.list, c)
	}
	name := s.b.name("soak")
	if s.repo, err = makeRepo(ctx, filepath.Join(s.b.dir, name)); err != nil {
		return err
	}
	if s.daemon, err = s.b.configure(name, s.repo.dir, s.b.host, fmt.Sprintf("front: {http: \"off\", https: %q}\n", https)); err != nil {
		return err
	}
	s.b.daemons = append(s.b.daemons, s.daemon)
	return s.daemon.start(ctx)
}

// look is for load.Options.Check.
func (c *soaked) look(_ int, _ http.Header, body []byte) error {
	if want := c.want.Load(); want != nil && strings.HasPrefix(string(body), *want) {
		c.seen.Store(true)
	}
	return nil
}

// change makes the next wave: a commit with another image for every instance. It waits until all of them run it.
func (s *soak) change(ctx context.Context) error {
	image := s.wave % len(s.b.images)
	want := fmt.Sprintf("app v%d ", image+1)
	s.wave++
	files := map[string]string{}
	for _, c := range s.list {
		dir := "instances/" + c.project + "/"
		files[dir+"instance.yaml"] = fmt.Sprintf("apiVersion: fairlead/v1\nname: %s\nhealth: {service: app, path: /api/health, port: %d, bake: %s}\n"+
			"front:\n  - {host: %s, to: \"app:%d\", hold: %s}\n", c.project, appPort, soakBake, c.host, appPort, soakHold)
		files[dir+"compose.yaml"] = fmt.Sprintf("services:\n  app:\n    image: %s\n    deploy: {update_config: {order: %s}}\n", s.b.images[image], c.order)
		c.want.Store(&want)
		c.seen.Store(false)
	}
	commit, err := s.repo.commit(ctx, files)
	if err != nil {
		return err
	}
	for _, c := range s.list {
		if err := s.daemon.converged(ctx, c.project, commit); err != nil {
			return err
		}
	}
	return nil
}

// load starts the requests.
func (s *soak) load(ctx context.Context) (err error) {
	for _, c := range s.list {
		if c.run, err = requests.Start(ctx, c.target); err != nil {
			return err
		}
	}
	return nil
}

func (s *soak) halt() {
	for _, c := range s.list {
		if c.run != nil {
			c.total = c.run.Stop()
		}
	}
}

// turn is a wave under load.
func (s *soak) turn(ctx context.Context) error {
	began := time.Now()
	if err := s.change(ctx); err != nil {
		return err
	}
	s.took.add(time.Since(began))
	for _, c := range s.list {
		if err := s.count(ctx, c, began); err != nil {
			return err
		}
	}
	return nil
}

// count keeps what a switch was like, once the new image has answered.
func (s *soak) count(ctx context.Context, c *soaked, began time.Time) error {
	if err := until(ctx, upLimit, func() (bool, error) { return c.seen.Load(), nil }); err != nil {
		return fmt.Errorf("change %s: the new image never answered: %w", c.project, err)
	}
	r := c.run.Mark()
	c.longest.add(r.Max)
	if r.Failed > 0 {
		s.b.tell("%s, %s: %s; meanwhile the daemon said:\n%s", c.project, c.order, r, s.daemon.since(began))
	}
	records, err := s.daemon.client.History(ctx, c.project, 1)
	if err != nil {
		return err
	}
	var longest time.Duration
	for _, rec := range records {
		for _, g := range rec.Gaps {
			longest = max(longest, g.For)
		}
	}
	c.gaps.add(longest)
	return nil
}

func (s *soak) failed() (n int) {
	for _, c := range s.list {
		if c.run != nil {
			n += c.run.Failed()
		}
	}
	return n
}

func (s *soak) tearDown(ctx context.Context) error {
	err := s.daemon.stop(ctx)
	for _, c := range s.list {
		err = errors.Join(err, s.b.clear(ctx, c.project))
	}
	return err
}
