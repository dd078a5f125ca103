package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/certs"
	"github.com/fairlead/fairlead/connectors/program"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/compose"
	"github.com/fairlead/fairlead/desired/git"
	"github.com/fairlead/fairlead/reconciler"
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
	lead     *lead          // nil: nothing is led
	certs    *certs.Manager // nil: the data directory is only read
	sources  *dataParts     // nil: as certs
	entrance *reception     // nil: the API is on its socket only
	people   *auth.Store    // nil: as certs
	notices  *notices       // nil: nobody is told of anything
	api      *server.API
}

// assemble wires a system over an open data directory, without I/O. Without l
// it leads no requests.
func (c *cli) assemble(s settings, d *dataDir, l *lead, log *logrus.Entry, alone bool) (*system, error) {
	store, err := reconciler.NewStore(d.db, d.key)
	if err != nil {
		return nil, err
	}
	eng, err := c.newEngine(engineOptions{host: s.DockerHost, certs: s.DockerTLS, owner: d.path, log: log, memory: store.Memory(),
		keep: func(context.Context) (map[string]bool, error) { return store.ImagesInUse() }})
	if err != nil {
		return nil, err
	}
	mirror := filepath.Join(d.path, "repo")
	if d.lock == nil { // another process may write to the mirror meanwhile
		mirror = filepath.Join(d.scratch, "repo")
	}
	sys := &system{data: d, lead: l, events: reconciler.NewEvents(store)}
	sys.repo = git.Open(git.Options{Repo: s.Repo, Ref: s.Ref, Auth: s.Auth, Mirror: mirror, Poll: s.Poll, Push: s.Push, Log: log})
	sys.releases = registry.New(registry.Options{Memory: store.Memory(), Engine: platformOf(eng), CAFile: s.Registry.CAFile, Insecure: s.Registry.Insecure,
		Mirrors: s.Registry.Mirrors, Changed: func(string) { sys.manager.TriggerAll() }, Log: log.WithField("part", "registry")})
	progress := server.NewProgress()
	cfg := reconciler.ManagerConfig{
		Data: d.path, Driver: eng, Store: store, Events: sys.events,
		Source: source{sys.repo, s}, Changed: sys.repo.Changed(),
		Discover: discover(s), Load: load(s), LoadedBy: s.keyring().state, Hints: eng.Events,
		Interval: passInterval, DeepEvery: deepEvery, Progress: progress.For,
		Releases: sys.releases, Prober: verify.New(verify.Options{}), Log: log,
	}
	api := server.Config{Source: source{sys.repo, s}, Events: sys.events, Log: log.WithField("part", "server"), AccessLog: s.Server.AccessLog, Logs: eng, Progress: progress, Alone: alone,
		Version: server.Version{Version: c.version, Go: runtime.Version(), PID: os.Getpid(), Started: time.Now().UTC()}}
	api.Secrets = s.keyring()
	var known fleet
	cfg.Discover = known.watch(cfg.Discover)
	if d.lock != nil {
		sys.certs = keepCertificates(s, d, store, sys.events, eng, log)
		cfg.Certificates, api.Certificates = sys.certs, certificates{sys.certs}
		api.Metrics = append(api.Metrics, sys.certs)
		jobs, _ := eng.(program.Engine)
		sys.sources = keepConnectors(s, d, store, sys.events, jobs, log)
		cfg.Attachments, api.Connectors, api.Data = sys.sources, sys.sources, sys.sources
		api.Drafts = keepDrafts(source{sys.repo, s}, sys.sources)
		if sys.people, err = keepPeople(s, d); err != nil {
			return nil, err
		}
		api.Auth = sys.people
	}
	c.keepHealth(&api, d, store)
	if d.lock != nil && !alone {
		if err := c.keepTelling(s, sys, store, &cfg, &api, log); err != nil {
			return nil, err
		}
	}
	api.Metrics = append(api.Metrics, newHostFigures(d, sys.sources))
	if l != nil {
		l.certs.Manager = sys.certs
		cfg.Certificates = doorkeeper{sys.certs, l}
		cfg.Traffic, cfg.Routed, api.Front = l, l.Ready, l.listeners
		api.Metrics = append(api.Metrics, l.Front)
	}
	if sys.entrance = newReception(s, l, log); alone {
		sys.entrance = nil
	}
	if sys.entrance != nil {
		api.Server = sys.entrance.listener
	}
	sys.manager = reconciler.NewManager(cfg)
	if known.Fleet = sys.manager; l != nil {
		l.certs.instances = sys.manager.Instances
	}
	if api.Fleet = &known; alone {
		api.Fleet = sys.manager // one pass, which looks before anything is asked
	}
	if sys.sources != nil {
		sys.sources.fleet, sys.sources.alone = sys.manager, alone
	}
	sys.api = server.NewAPI(api)
	return sys, nil
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

// source is the repository as the reconciler and the server want it.
type source struct {
	*git.Repo
	settings settings
}

func (s source) Status() reconciler.SourceStatus {
	st := s.Repo.Status()
	ref := st.Ref
	if ref == "" {
		ref = s.settings.Ref
	}
	return reconciler.SourceStatus{Repo: redactURL(s.settings.Repo), Ref: ref, LastSuccess: st.LastSuccess, Err: st.Err}
}

// redactURL takes the password out of a repository's URL.
func redactURL(repo string) string {
	scheme, rest, found := strings.Cut(repo, "://")
	at := strings.LastIndexByte(strings.SplitN(rest, "/", 2)[0], '@')
	if !found || at < 0 {
		return repo
	}
	user, _, _ := strings.Cut(rest[:at], ":")
	return scheme + "://" + user + rest[at:]
}

// rootName names an instance at the root of the repository.
func rootName(s settings) string {
	return strings.TrimSuffix(path.Base(filepath.ToSlash(strings.TrimRight(s.Repo, "/"))), ".git")
}

func load(s settings) reconciler.LoadFunc {
	keys := s.keyring().reader()
	return func(tree fs.FS, dir string, local fs.FS) (desired.Spec, error) {
		return desired.Load(desired.Input{Tree: tree, Dir: dir, Local: local, RootName: rootName(s), Compose: compose.Load, Secrets: keys})
	}
}

// discover finds the instances of a tree. A directory whose name cannot be
// read is found without one, and the error says why.
func discover(s settings) func(fs.FS) ([]reconciler.Found, error) {
	return func(tree fs.FS) ([]reconciler.Found, error) {
		dirs, err := desired.Discover(tree, s.Paths)
		var all desired.Problems
		if err != nil && !errors.As(err, &all) {
			return nil, err
		}
		if s.begins() && len(dirs) == 0 && len(all) == 1 && all[0].File == "." {
			return nil, nil // nobody has set anything up yet
		}
		found, taken := []reconciler.Found{}, map[string]bool{}
		for _, dir := range dirs {
			name, err := desired.NameOf(tree, dir, rootName(s))
			var problems desired.Problems
			switch {
			case errors.As(err, &problems):
				all = append(all, problems...)
			case err != nil:
				return nil, err
			case taken[name]:
				continue // which is one of the problems
			}
			taken[name] = name != ""
			found = append(found, reconciler.Found{Name: name, Dir: dir})
		}
		return found, all.Err()
	}
}

// quietLog is for commands that tell by themselves what happens.
func quietLog() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}
