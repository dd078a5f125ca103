package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/certs"
	"github.com/fairlead/fairlead/connectors/program"
	"github.com/fairlead/fairlead/desired/git"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/dbfile"
	"github.com/fairlead/fairlead/reconciler/registry"
	"github.com/fairlead/fairlead/reconciler/verify"
	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
)

// engine is what is wanted of a container engine.
type engine interface {
	reconciler.Driver
	server.Logs
	certs.Servers
	Events(ctx context.Context) <-chan string
}

// engineOptions say which engine, and for whom.
type engineOptions struct {
	host, owner string
	certs       string // directory of certificates for host; empty: none
	log         *logrus.Entry
	memory      reconciler.DriverMemory
	keep        func(context.Context) (map[string]bool, error)
}

// How often is looked when nothing is heard.
const (
	passInterval = 30 * time.Second
	deepEvery    = 10 * time.Minute
)

// system is everything put together.
type system struct {
	data     *dataDir
	repo     *git.Repo
	events   *reconciler.Events
	manager  *reconciler.Manager
	releases *registry.Client
	lead     *lead           // nil: nothing is led
	certs    *certs.Manager  // nil: the data directory is only read
	sources  *dataParts      // nil: as certs
	entrance *reception      // nil: the API is on its socket only
	people   *auth.Store     // nil: as certs
	notices  *notices        // nil: nobody is told of anything
	copies   *dbfile.Keeper  // nil: as certs
	trouble  func() []string // of the database; nil: as certs
	api      *server.API
}

// wiring is a system while it is put together.
type wiring struct {
	*cli
	s     settings
	d     *dataDir
	log   *logrus.Entry
	alone bool // no loop will run
	store *reconciler.Store
	eng   engine
	sys   *system
	cfg   reconciler.ManagerConfig
	api   server.Config
}

// assemble wires a system over an open data directory, without I/O. Without l
// it leads no requests.
func (c *cli) assemble(s settings, d *dataDir, l *lead, log *logrus.Entry, alone bool) (*system, error) {
	store, err := reconciler.NewStore(d.db, d.key)
	if err != nil {
		return nil, err
	}
	w := &wiring{cli: c, s: s, d: d, log: log, alone: alone, store: store, sys: &system{data: d, lead: l, events: reconciler.NewEvents(store)}}
	for _, part := range []func() error{w.engine, w.desiredState, w.core, w.owned, w.told, w.doors} {
		if err := part(); err != nil {
			return nil, err
		}
	}
	w.join()
	return w.sys, nil
}

// engine is where containers run.
func (w *wiring) engine() (err error) {
	w.eng, err = w.newEngine(engineOptions{host: w.s.DockerHost, certs: w.s.DockerTLS, owner: w.d.path, log: w.log, memory: w.store.Memory(),
		keep: func(context.Context) (map[string]bool, error) { return w.store.ImagesInUse() }})
	return err
}

// desiredState is where revisions and releases come from.
func (w *wiring) desiredState() error {
	mirror := filepath.Join(w.d.path, "repo")
	if w.d.lock == nil { // another process may write to the mirror meanwhile
		mirror = filepath.Join(w.d.scratch, "repo")
	}
	w.sys.repo = git.Open(git.Options{Repo: w.s.Repo, Ref: w.s.Ref, Auth: w.s.Auth, Mirror: mirror, Poll: w.s.Poll, Push: w.s.Push, Log: w.log})
	w.sys.releases = registry.New(registry.Options{Memory: w.store.Memory(), Engine: platformOf(w.eng), CAFile: w.s.Registry.CAFile, Insecure: w.s.Registry.Insecure,
		Mirrors: w.s.Registry.Mirrors, Changed: func(string) { w.sys.manager.TriggerAll() }, Log: w.log.WithField("part", "registry")})
	return nil
}

// core is what the loop and the API are in any process.
func (w *wiring) core() error {
	progress := server.NewProgress()
	w.cfg = reconciler.ManagerConfig{
		Data: w.d.path, Driver: w.eng, Store: w.store, Events: w.sys.events,
		Source: source{w.sys.repo, w.s, w.store}, Changed: w.sys.repo.Changed(),
		Discover: discover(w.s), Load: load(w.s), LoadedBy: w.s.loadedBy, Vouch: vouching(w.s), Hints: w.eng.Events,
		Interval: passInterval, DeepEvery: deepEvery, Progress: progress.For, Lines: progress.Lines,
		Releases: w.sys.releases, Prober: verify.New(verify.Options{}), Log: w.log,
	}
	w.api = server.Config{Source: source{w.sys.repo, w.s, w.store}, Events: w.sys.events, Log: w.log.WithField("part", "server"), AccessLog: w.s.Server.AccessLog,
		Logs: w.eng, Progress: progress, Alone: w.alone, Secrets: w.s.keyring(),
		Version: server.Version{Version: w.version, Go: runtime.Version(), PID: os.Getpid(), Started: time.Now().UTC()}}
	return nil
}

// owned is what only a process has whose the data directory is.
func (w *wiring) owned() (err error) {
	if w.d.lock == nil {
		return nil
	}
	w.sys.certs = keepCertificates(w.s, w.d, w.store, w.sys.events, w.eng, w.log)
	w.cfg.Certificates, w.api.Certificates = w.sys.certs, certificates{w.sys.certs}
	w.api.Metrics = append(w.api.Metrics, w.sys.certs)
	jobs, _ := w.eng.(program.Engine)
	w.sys.sources = keepConnectors(w.s, w.d, w.store, w.sys.events, jobs, w.log)
	w.cfg.Attachments, w.api.Connectors, w.api.Data = w.sys.sources, w.sys.sources, w.sys.sources
	w.api.Drafts = keepDrafts(source{w.sys.repo, w.s, w.store}, w.sys.sources)
	w.sys.copies = dbfile.NewKeeper(w.d.db, w.d.copies(), judgeOf(w.store))
	w.sys.people, err = keepPeople(w.s, w.d, w.sys.copies.Soon)
	w.api.Auth = w.sys.people
	return err
}

// told is who hears of what happens: whoever asks for health, and people.
func (w *wiring) told() error {
	w.keepHealth(&w.api, w.d, w.store)
	if w.d.lock != nil {
		w.sys.trouble = storeTrouble(w.d, w.sys.copies)
		w.api.StoreTrouble = w.sys.trouble
	}
	if w.d.lock != nil && !w.alone {
		if err := w.keepTelling(w.s, w.sys, w.store, &w.cfg, &w.api, w.log); err != nil {
			return err
		}
	}
	w.api.Metrics = append(w.api.Metrics, newHostFigures(w.d, w.sys.sources))
	return nil
}

// doors are where requests come in, for applications and for the API.
func (w *wiring) doors() error {
	if l := w.sys.lead; l != nil {
		l.certs.Manager = w.sys.certs
		w.cfg.Certificates = doorkeeper{w.sys.certs, l}
		w.cfg.Traffic, w.cfg.Routed, w.api.Front = l, l.Ready, l.listeners
		w.api.Metrics = append(w.api.Metrics, l.Front)
	}
	if w.alone {
		return nil
	}
	if w.sys.entrance = newReception(w.s, w.sys.lead, w.log); w.sys.entrance != nil {
		w.api.Server = w.sys.entrance.listener
	}
	return nil
}

// join makes the loop and the API of what was gathered, and tells each part of
// those that did not exist before it.
func (w *wiring) join() {
	var known fleet
	w.cfg.Discover = known.watch(w.cfg.Discover)
	w.sys.manager = reconciler.NewManager(w.cfg)
	known.Fleet = w.sys.manager
	if w.sys.lead != nil {
		w.sys.lead.certs.instances = w.sys.manager.Instances
	}
	if w.api.Fleet = &known; w.alone {
		w.api.Fleet = w.sys.manager // one pass, which looks before anything is asked
	}
	if w.sys.sources != nil {
		w.sys.sources.fleet, w.sys.sources.alone = w.sys.manager, w.alone
	}
	w.sys.api = server.NewAPI(w.api)
}

// platformOf asks the engine what it runs on; nil: it does not tell.
func platformOf(eng engine) func(context.Context) (string, error) {
	if e, tells := eng.(interface {
		Platform(ctx context.Context) (string, error)
	}); tells {
		return e.Platform
	}
	return nil
}

// Close gives back what the system holds.
func (s *system) Close() error {
	if s.sources != nil {
		s.sources.analytics.Close()
	}
	return errors.Join(s.repo.Close(), s.data.Close())
}

// quietLog is for commands that tell by themselves what happens.
func quietLog() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}
