package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server/auth"
)

// Fleet is the set of instances that the API steers; reconciler.Manager is one.
type Fleet interface {
	Instances() []*reconciler.Instance
	Instance(name string) (*reconciler.Instance, error)
	Discover(ctx context.Context) error
	// Problems is what is wrong with the repository as a whole.
	Problems() error
	Source() reconciler.SourceStatus
	// Attend makes the request of ctx the one that the passes are made for that
	// begin until done is called, and the next one after.
	Attend(ctx context.Context) (done func())
}

// Source is where revisions come from.
type Source interface {
	// Sync looks for a newer revision now.
	Sync(ctx context.Context) error
	Latest(ctx context.Context) (desired.Snapshot, error)
	// Uncommitted looks now for edits that no commit has.
	Uncommitted(ctx context.Context) []string
	// At reads another commit, branch or tag.
	At(ctx context.Context, ref string) (desired.Snapshot, error)
	// Commit adds a commit, once the whole result was found to load. Its errors
	// are *Error or desired.Problems; where pushing is not allowed the answer is a
	// patch.
	Commit(ctx context.Context, c Change) (Committed, error)
	// Restore commits a directory as it was at another commit.
	Restore(ctx context.Context, r Restoration) (Committed, error)
}

// Version says what is running.
type Version struct {
	Version string    `json:"version"`
	Go      string    `json:"go"`
	PID     int       `json:"pid,omitempty"`
	Started time.Time `json:"started,omitzero"`
	// Channel, ImageTag and CommitSHA are where the program came from, as far as
	// it knows. SchemaVersion is that of its data directory.
	Channel       string `json:"channel,omitempty"`
	ImageTag      string `json:"image_tag,omitempty"`
	CommitSHA     string `json:"commit_sha,omitempty"`
	SchemaVersion int    `json:"schema_version,omitempty"`
	// DeployedAt is Started, as clients of the seed's API call it.
	DeployedAt time.Time `json:"deployed_at,omitzero"`
}

// SourceInfo is how fresh the desired state is.
type SourceInfo struct {
	reconciler.SourceStatus
	Error    string            `json:"error,omitempty"`    // of the last attempt to read something newer
	Problem  string            `json:"problem,omitempty"`  // why the revision, or a part of it, cannot be used
	Problems []desired.Problem `json:"problems,omitempty"` // the same, where it is in files
	Revision desired.Revision  `json:"revision,omitzero"`
	Dirty    []string          `json:"uncommitted,omitempty"`
}

// Listener is where requests for applications come in.
type Listener struct {
	Name    string `json:"name"` // http or https
	Address string `json:"address"`
	// Open says that it listens. It does not while no instance has a front.
	Open   bool   `json:"open"`
	Passed bool   `json:"passed,omitempty"` // by the service manager
	Error  string `json:"error,omitempty"`  // why it does not listen; it is tried again
	URL    string `json:"url,omitempty"`    // for people, where they are meant to come
}

// Overview is the status of everything.
type Overview struct {
	Source    SourceInfo          `json:"source"`
	Front     []Listener          `json:"front,omitempty"`
	Server    *Listener           `json:"server,omitempty"` // of the API and the pages
	Instances []reconciler.Status `json:"instances"`
	// Store is what is wrong with the daemon's own database.
	Store []string `json:"store,omitempty" doc:"what is wrong with the daemon's own database, and what to do"`
	// Unconfined are processes that the kernel does not confine altogether.
	Unconfined []string `json:"unconfined,omitempty" doc:"processes that the kernel of this host does not confine altogether, and why"`
}

// Config wires an API. Logs, Progress, Front and Metrics may be nil.
type Config struct {
	Fleet    Fleet
	Source   Source
	Events   *reconciler.Events
	Logs     Logs
	Progress *Progress
	Version  Version
	// Front says where requests for applications come in.
	Front func() []Listener
	// Server says where the API and the pages are; nil: on the socket only.
	Server func() Listener
	// Metrics are served beside those of the API itself.
	Metrics []prometheus.Collector
	// Log is where requests are logged, as far as AccessLog says; nil: nowhere.
	Log       *logrus.Entry
	AccessLog AccessLog
	// Certificates are steered; nil: there are none.
	Certificates Certificates
	// Connectors are steered and Data is asked; nil: there are none.
	Connectors Connectors
	Data       Data
	// Drafts are asked about what is in no commit yet; nil: nothing is configured
	// here.
	Drafts Drafts
	// Write writes to the daemon's store, to find out whether that can be done;
	// nil: there is none.
	Write func(context.Context) error
	// StoreTrouble is what is wrong with the daemon's store, for people who are
	// known; nil: nobody looks.
	StoreTrouble func() []string
	// Unconfined are the processes that the kernel of this host does not confine
	// altogether; nil: nobody knows.
	Unconfined func() []string
	// Notes keep jobs and the answers to repeated requests over restarts; nil:
	// they are forgotten.
	Notes Notes
	// Auth knows people; nil: there are none, and only the socket is answered.
	Auth *auth.Store
	// Secrets makes the encrypted files of secrets; nil: there are none.
	Secrets Secrets
	// Webhooks are taken; nil: they are not.
	Webhooks *Webhooks
	// Notices are sent; nil: nobody is told of anything. CommitStatus says why the
	// status of commits cannot be set; nil: it is not set at all.
	Notices      Notices
	CommitStatus func() error
	// Alone says that no loop runs: passes are made by the API itself, and a
	// status is read afresh each time.
	Alone bool
}

// API holds the operations. It may be used from several goroutines when a loop
// runs, and from one when Alone.
type API struct {
	cfg             Config
	once            sync.Once
	router          *router
	jobs            *Jobs
	limits          *limits
	doubts          time.Duration // how often an open stream asks whether its reader is still somebody
	replays         *replays
	replaysInMemory *replays // of what must not be written down
	canary          *canary
	lastHealth      lastHealth
	hooks           *hookState
	traffic         traffic
	syncs           syncJobs
}

// NewAPI does no I/O.
func NewAPI(cfg Config) *API {
	if cfg.Progress == nil {
		cfg.Progress = NewProgress()
	}
	a := &API{cfg: cfg, traffic: newTraffic(), jobs: NewJobs(cfg.Notes, cfg.Log), limits: newLimits(), doubts: 15 * time.Second, replays: newReplays(cfg.Notes), replaysInMemory: newReplays(nil), hooks: newHookState()}
	a.canary = newCanary(a)
	return a
}

// Version returns what is running.
func (a *API) Version(context.Context) (Version, error) {
	v := a.cfg.Version
	v.Version, v.Channel, v.DeployedAt = cmp.Or(v.Version, "dev"), cmp.Or(v.Channel, "dev"), v.Started
	v.ImageTag, v.CommitSHA = cmp.Or(v.ImageTag, "unknown"), cmp.Or(v.CommitSHA, "unknown")
	return v, nil
}

// Source returns how fresh the desired state is.
func (a *API) Source(ctx context.Context) (SourceInfo, error) {
	s := SourceInfo{SourceStatus: a.cfg.Fleet.Source()}
	snapshot, err := a.cfg.Source.Latest(ctx)
	if err == nil {
		err = a.cfg.Fleet.Problems()
	}
	if err != nil {
		s.Problem = err.Error()
	}
	var problems desired.Problems
	if errors.As(err, &problems) {
		s.Problems = problems
	}
	s.Revision, s.Dirty = snapshot.Revision, a.cfg.Source.Uncommitted(ctx)
	if s.Err != nil {
		s.Error = s.Err.Error()
	}
	return s, nil
}

// Sync looks for a newer revision and for new instances. An error to read the
// repository is in what it returns, since the last revision still counts.
func (a *API) Sync(ctx context.Context) (SourceInfo, error) {
	defer a.cfg.Fleet.Attend(ctx)()
	syncErr := a.cfg.Source.Sync(ctx)
	_ = a.cfg.Fleet.Discover(ctx) // which Problems remembers
	s, err := a.Source(ctx)
	if syncErr != nil && s.Error == "" {
		s.Error = syncErr.Error()
	}
	return s, err
}

// Overview returns the status of all instances.
func (a *API) Overview(ctx context.Context) (Overview, error) {
	source, err := a.Source(ctx)
	if err != nil {
		return Overview{}, err
	}
	o := Overview{Source: source, Instances: []reconciler.Status{}}
	if a.cfg.Front != nil {
		o.Front = a.cfg.Front()
	}
	if a.cfg.Server != nil {
		l := a.cfg.Server()
		o.Server = &l
	}
	if a.cfg.StoreTrouble != nil {
		o.Store = a.cfg.StoreTrouble()
	}
	if a.cfg.Unconfined != nil {
		o.Unconfined = a.cfg.Unconfined()
	}
	for _, r := range a.cfg.Fleet.Instances() {
		s, err := a.status(ctx, r)
		if err != nil {
			return o, err
		}
		s.Uncommitted = source.Dirty
		o.Instances = append(o.Instances, s)
	}
	return o, nil
}

// Status returns the status of one instance.
func (a *API) Status(ctx context.Context, name string) (reconciler.Status, error) {
	r, err := a.find(name)
	if err != nil {
		return reconciler.Status{}, err
	}
	s, err := a.status(ctx, r)
	s.Uncommitted = a.cfg.Source.Uncommitted(ctx)
	return s, err
}

func (a *API) status(ctx context.Context, r *reconciler.Instance) (reconciler.Status, error) {
	if a.cfg.Alone {
		return r.Look(ctx)
	}
	return r.Status(), nil
}

// find returns an instance; the error names those that there are.
func (a *API) find(name string) (*reconciler.Instance, error) {
	r, err := a.cfg.Fleet.Instance(name)
	if err == nil {
		return r, nil
	}
	var names []string
	for _, r := range a.cfg.Fleet.Instances() {
		names = append(names, r.Name())
	}
	hint := "there are: " + strings.Join(names, ", ")
	if len(names) == 0 {
		hint = "the repository holds no instance yet; fairlead status shows its state"
	}
	return nil, withHint(err, hint)
}

// Plan says what a revision would change now; an empty ref is the newest.
func (a *API) Plan(ctx context.Context, name, ref string) (reconciler.PlanReport, error) {
	r, err := a.find(name)
	if err != nil {
		return reconciler.PlanReport{}, err
	}
	if ref == "" {
		return r.Preview(ctx, nil)
	}
	snapshot, err := a.cfg.Source.At(ctx, ref)
	if err != nil {
		return reconciler.PlanReport{}, invalid(fmt.Errorf("read %s: %w", ref, err))
	}
	return r.Preview(ctx, &snapshot)
}

// History returns up to limit applies, newest first.
func (a *API) History(_ context.Context, name string, limit int) ([]reconciler.Record, error) {
	r, err := a.find(name)
	if err != nil {
		return nil, err
	}
	list, err := r.History(limit)
	return orEmpty(list), err
}

// Generations returns the generations that are kept, oldest first.
func (a *API) Generations(_ context.Context, name string) ([]reconciler.Generation, error) {
	r, err := a.find(name)
	if err != nil {
		return nil, err
	}
	list, err := r.Generations()
	return orEmpty(list), err
}

// Why explains a service, container, network or volume.
func (a *API) Why(ctx context.Context, name, object string) ([]reconciler.Explanation, error) {
	r, err := a.find(name)
	if err != nil {
		return nil, err
	}
	if _, err := a.status(ctx, r); err != nil {
		return nil, err
	}
	list, err := r.Why(object)
	if errors.Is(err, reconciler.ErrUnknownObject) {
		return nil, withHint(err, "fairlead status "+name+" lists what there is")
	}
	return list, err
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
