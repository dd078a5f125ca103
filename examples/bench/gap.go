package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	requests "github.com/fairlead/fairlead/examples/load"
)

// gap counts the requests that fail while the image of an application is changed under them, by each contender in turn.
type gap struct {
	b       *bench
	repo    repo
	daemon  *daemon
	socket  *net.TCPListener // of the front, as systemd keeps one
	list    []*changed
	release int
}

// changed is one application with a steady load.
type changed struct {
	name    string
	project string
	target  requests.Options
	change  func(ctx context.Context, c *changed, image string) error
	order   string // of an update; empty: it is compose's
	image   string

	failed, stall, p99, window, took series
	total                            requests.Report
}

const (
	gapRate  = 200
	appPort  = 8000
	gapQuiet = time.Second // before and after a change
)

func measureGap(ctx context.Context, b *bench) error {
	g := &gap{b: b}
	defer g.hangUp()
	if err := g.setUp(ctx); err != nil {
		return err
	}
	rounds := b.rounds(10, 2)
	for round := range rounds {
		g.release++
		for i := range g.list {
			if err := g.round(ctx, g.list[(i+round)%len(g.list)]); err != nil {
				return err
			}
		}
	}
	if err := g.restarts(ctx); err != nil {
		return err
	}
	g.tell()
	if err := g.daemon.stop(ctx); err != nil {
		return err
	}
	for _, c := range g.list {
		if err := b.clear(ctx, c.project); err != nil {
			return err
		}
	}
	return nil
}

func (g *gap) setUp(ctx context.Context) (err error) {
	name := g.b.name("gap")
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	g.socket = l.(*net.TCPListener)
	https := l.Addr().String()
	for _, order := range []string{"stop-first", "start-first"} {
		host := order + ".example.com"
		g.list = append(g.list, &changed{name: order, project: name + "-" + order, order: order, change: g.commit,
			target: requests.Options{URL: "https://" + host + "/", Address: https, Insecure: true}})
	}
	published, err := freeAddress()
	if err != nil {
		return err
	}
	g.list = append(g.list, &changed{name: "compose", project: name + "-compose", change: g.compose,
		target: requests.Options{URL: "http://" + published + "/"}})
	if g.repo, err = makeRepo(ctx, filepath.Join(g.b.dir, name)); err != nil {
		return err
	}
	front := fmt.Sprintf("front: {http: \"off\", https: %q}\n", https)
	if g.daemon, err = g.b.configure(name, g.repo.dir, g.b.host, front); err != nil {
		return err
	}
	if g.daemon.https, err = g.socket.File(); err != nil {
		return err
	}
	g.b.daemons = append(g.b.daemons, g.daemon)
	if err := g.daemon.start(ctx); err != nil {
		return err
	}
	for _, c := range g.list {
		if err := c.change(ctx, c, g.b.images[0]); err != nil {
			return err
		}
		if err := g.answers(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (g *gap) hangUp() {
	if g.socket != nil {
		_ = g.socket.Close() // nobody waits in it
	}
	if g.daemon != nil && g.daemon.https != nil {
		_ = g.daemon.https.Close()
	}
}

// restarts stops and starts the daemon under load. Its socket stays open, as systemd keeps it.
func (g *gap) restarts(ctx context.Context) error {
	c := &changed{name: "daemon restarted"}
	for range g.b.rounds(10, 2) {
		opts := g.list[0].target
		opts.Rate = gapRate
		run, err := requests.Start(ctx, opts)
		if err != nil {
			return err
		}
		defer run.Stop()
		if err := pause(ctx, gapQuiet); err != nil {
			return err
		}
		began := time.Now()
		if err := g.daemon.stop(ctx); err != nil {
			return err
		}
		if err := g.daemon.start(ctx); err != nil {
			return err
		}
		c.took.add(time.Since(began))
		if err := pause(ctx, gapQuiet); err != nil {
			return err
		}
		c.add(run.Stop())
	}
	what := fmt.Sprintf("daemon restarted, %d requests a second: ", gapRate)
	g.b.figure(figure{name: what + "failed", ours: c.failed, unit: "requests", none: true})
	g.b.figure(figure{name: what + "longest without an answer", ours: c.stall, unit: "ms"})
	c.note(g.b)
	return nil
}

// files describe the applications that Fairlead runs.
func (g *gap) files() map[string]string {
	files := map[string]string{}
	for _, c := range g.list {
		if c.order == "" || c.image == "" {
			continue
		}
		dir := "instances/" + c.project + "/"
		files[dir+"instance.yaml"] = fmt.Sprintf("apiVersion: fairlead/v1\nname: %s\nhealth: {service: app, path: /api/health, port: %d}\n"+
			"front:\n  - {host: %s.example.com, to: \"app:%d\"}\n", c.project, appPort, c.order, appPort)
		files[dir+"compose.yaml"] = fmt.Sprintf("services:\n  app:\n    image: %s\n    deploy: {update_config: {order: %s}}\n", c.image, c.order)
	}
	return files
}

func (g *gap) commit(ctx context.Context, c *changed, image string) error {
	c.image = image
	commit, err := g.repo.commit(ctx, g.files())
	if err != nil {
		return err
	}
	return g.daemon.converged(ctx, c.project, commit)
}

func (g *gap) compose(ctx context.Context, c *changed, image string) error {
	host, port, err := net.SplitHostPort(strings.TrimSuffix(strings.TrimPrefix(c.target.URL, "http://"), "/"))
	if err != nil {
		return err
	}
	dir, err := g.b.composeDir(c.project, fmt.Sprintf("services:\n  app:\n    image: %s\n    ports: [%q]\n", image, host+":"+port+":"+strconv.Itoa(appPort)))
	if err != nil {
		return err
	}
	_, err = output(ctx, dir, nil, g.b.compose, "-p", c.project, "up", "-d")
	return err
}

// answers waits until an application is there for the first time.
func (g *gap) answers(ctx context.Context, c *changed) error {
	opts := c.target
	opts.Rate, opts.Timeout = 10, time.Second
	run, err := requests.Start(ctx, opts)
	if err != nil {
		return err
	}
	defer run.Stop()
	var last requests.Report
	err = until(ctx, upLimit, func() (bool, error) { last = run.Mark(); return last.OK > 0, nil })
	if err != nil {
		return fmt.Errorf("ask %s: %w: %s", c.name, err, last)
	}
	return nil
}

// round changes one application under load.
func (g *gap) round(ctx context.Context, c *changed) error {
	image := g.b.images[g.release%len(g.b.images)]
	want := fmt.Sprintf("v%d", g.release%len(g.b.images)+1)
	var seen sighting
	opts := c.target
	opts.Rate, opts.Check = gapRate, seen.look(want)
	run, err := requests.Start(ctx, opts)
	if err != nil {
		return err
	}
	defer run.Stop()
	if err := pause(ctx, gapQuiet); err != nil {
		return err
	}
	began := time.Now()
	if err := c.change(ctx, c, image); err != nil {
		return fmt.Errorf("change %s: %w", c.name, err)
	}
	c.took.add(time.Since(began))
	if err := pause(ctx, gapQuiet); err != nil {
		return err
	}
	r := run.Stop()
	if !seen.yes() {
		return fmt.Errorf("change %s: the new image never answered: %s", c.name, r)
	}
	if c.order != "" && r.Failed > 0 {
		g.b.tell("%s: %s; meanwhile the daemon said:\n%s", c.name, r, g.daemon.since(began))
	}
	c.add(r)
	return nil
}

func (c *changed) add(r requests.Report) {
	c.failed = append(c.failed, float64(r.Failed))
	c.stall.add(r.Stall)
	c.p99.add(r.P99)
	c.window.add(r.FailWindow)
	c.total.Sent += r.Sent
	c.total.Failed += r.Failed
	c.total.Retried += r.Retried
}

func (g *gap) tell() {
	other := g.list[len(g.list)-1]
	for _, c := range g.list[:len(g.list)-1] {
		what := fmt.Sprintf("image change, %s, %d requests a second: ", c.name, gapRate)
		g.b.figure(figure{name: what + "failed", ours: c.failed, against: "docker compose up -d", theirs: other.failed, unit: "requests", none: true})
		g.b.figure(figure{name: what + "longest without an answer", ours: c.stall, against: "docker compose up -d", theirs: other.stall, unit: "ms"})
		g.b.figure(figure{name: what + "p99", ours: c.p99, against: "docker compose up -d", theirs: other.p99, unit: "ms"})
	}
	for _, c := range g.list {
		c.note(g.b)
	}
}

func (c *changed) note(b *bench) {
	b.note("%s × %d under load: %d requests, %d failed, %d sent once more by the client; from the first to the last that failed %s ms; the change took %s ms.",
		c.name, len(c.failed), c.total.Sent, c.total.Failed, c.total.Retried, c.window, c.took)
}

// sighting remembers whether the new image has answered.
type sighting struct{ ch chan struct{} }

// look is for load.Options.Check.
func (s *sighting) look(version string) func(int, http.Header, []byte) error {
	s.ch = make(chan struct{}, 1)
	return func(_ int, _ http.Header, body []byte) error {
		if strings.HasPrefix(string(body), "app "+version+" ") {
			select {
			case s.ch <- struct{}{}:
			default:
			}
		}
		return nil
	}
}

func (s *sighting) yes() bool { return len(s.ch) > 0 }
