package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired/git"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

// backend is who carries out a command: the daemon over its socket, or this
// process where none runs.
type backend interface {
	Version(ctx context.Context) (server.Version, error)
	Sync(ctx context.Context) (server.SourceInfo, error)
	Source(ctx context.Context) (server.SourceInfo, error)
	Overview(ctx context.Context) (server.Overview, error)
	Status(ctx context.Context, name string) (reconciler.Status, error)
	Plan(ctx context.Context, name, ref string) (reconciler.PlanReport, error)
	History(ctx context.Context, name string, limit int) ([]reconciler.Record, error)
	Why(ctx context.Context, name, object string) ([]reconciler.Explanation, error)
	Events(ctx context.Context, name string, limit int, follow bool, emit func(reconciler.Event) error) error
	Logs(ctx context.Context, q server.LogQuery, emit func(server.LogLine) error) error
	Reconcile(ctx context.Context, name string, req server.ReconcileRequest, emit func(server.Update)) (server.Result, error)
	Rollback(ctx context.Context, name string, req server.RollbackRequest) (server.RolledBack, error)
	Suspend(ctx context.Context, name string, req server.SuspendRequest) (reconciler.Status, error)
	Resume(ctx context.Context, name, by string) (reconciler.Status, error)
	Certificates(ctx context.Context, instance string) ([]reconciler.CertificateStatus, error)
	Certificate(ctx context.Context, instance, name string) (reconciler.CertificateStatus, error)
	RenewCertificate(ctx context.Context, instance, name string, force bool) (reconciler.CertificateStatus, error)
	CertificateRequest(ctx context.Context, instance, name string) (server.CertificateRequest, error)
	RollbackCertificate(ctx context.Context, instance, name string, generation int) (reconciler.CertificateStatus, error)
	TestCertificate(ctx context.Context, instance string, t server.CertificateTest) (server.CertificateReport, error)
	dataBackend
	secretBackend
}

// dataBackend is the part that is about connectors and their data.
type dataBackend interface {
	Connectors(ctx context.Context, instance string) (server.ConnectorList, error)
	Connector(ctx context.Context, instance, name string) (reconciler.AttachmentStatus, error)
	RunConnector(ctx context.Context, instance, name string, req server.RunRequest) (server.RunStarted, error)
	CancelConnector(ctx context.Context, instance, name string) (reconciler.AttachmentStatus, error)
	ConnectorRuns(ctx context.Context, instance, name string, limit int) ([]connectors.Record, error)
	ConnectorLog(ctx context.Context, instance, name string, run int64, w io.Writer) error
	DiscoverTables(ctx context.Context, instance, name string, limit int) (server.Discovery, error)
	DataGenerations(ctx context.Context, instance, name string) ([]server.DataGeneration, error)
	RollbackData(ctx context.Context, instance, name string, generation int) (reconciler.AttachmentStatus, error)
	PurgeConnector(ctx context.Context, instance, name string) error
	Catalog(ctx context.Context, instance string) ([]connectors.CatalogTable, error)
	Query(ctx context.Context, instance string, q server.Query, begin func(server.QueryResult) error, w io.Writer) (server.QueryResult, error)
	Profile(ctx context.Context, instance, user, table, column string) (json.RawMessage, error)
}

// access is what a command needs when it works alone.
type access int

const (
	toRead access = iota // nothing is written: no lock
	toAct                // the data directory is taken
)

// connected is a backend with what it holds open.
type connected struct {
	backend
	daemon bool
	by     string // who asks
	close  func() error
}

func (c connected) Close() error { return c.close() }

// connect finds who carries out a command.
func (c *cli) connect(ctx context.Context, need access) (connected, error) {
	s, err := c.settings()
	if err != nil {
		return connected{}, err
	}
	by := c.operator()
	client, err := c.daemonOf(ctx, s)
	if err != nil {
		return connected{}, err
	}
	if client != nil {
		if err := sameRepo(ctx, client, s); err != nil {
			return connected{}, errors.Join(err, client.Close())
		}
		return connected{client, true, by, client.Close}, nil
	}
	sys, err := c.alone(ctx, s, need)
	if err != nil {
		return connected{}, err
	}
	return connected{newRecorded(sys.api, by), false, by, sys.Close}, nil
}

// daemonOf finds the daemon that runs on the data directory; nil: none does, and
// nobody else holds it.
func (c *cli) daemonOf(ctx context.Context, s settings) (*server.Client, error) {
	socket := filepath.Join(s.Data, "fairlead.sock")
	client := server.NewClient(socket, c.getenv("SUDO_USER"))
	err := untilAwake(ctx, client.Alive, func() bool { return lockHeld(s.Data) != nil })
	switch {
	case err == nil:
		return client, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, withHint(fmt.Errorf("ask the daemon at %s: permission denied", socket), "run it as the daemon's user: sudo fairlead …")
	case away(err):
	default:
		return nil, err
	}
	if err := lockHeld(s.Data); err != nil {
		return nil, withHint(fmt.Errorf("ask the daemon at %s: it does not answer, and the data directory %s: %w", socket, s.Data, err),
			"it may be starting or stopping; else look at its log: journalctl -u fairlead")
	}
	return nil, nil
}

// startsWithin is how long a daemon may take from holding the data directory
// until its socket answers.
const startsWithin = 3 * time.Second

// untilAwake asks whether a daemon is there, and again while one starts: a script
// restarts it and goes on at once.
func untilAwake(ctx context.Context, alive func(context.Context) error, held func() bool) error {
	for end := time.Now().Add(startsWithin); ; {
		err := alive(ctx)
		if !away(err) || !held() || !time.Now().Before(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// away reports whether nobody serves the socket.
func away(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

// sameRepo refuses to ask a daemon that follows another repository than the one
// that the command names.
func sameRepo(ctx context.Context, client *server.Client, s settings) error {
	if !s.repoGiven {
		return nil
	}
	source, err := client.Source(ctx)
	if err == nil && source.Repo != redactURL(s.Repo) {
		err = withHint(fmt.Errorf("the daemon that runs on %s follows %s, not %s", s.Data, source.Repo, redactURL(s.Repo)),
			"leave --repo out, or work apart from it with --data DIR")
	}
	return err
}

// alone puts the system together in this process.
func (c *cli) alone(ctx context.Context, s settings, need access) (sys *system, err error) {
	if err := s.repoThere(); err != nil {
		return nil, err
	}
	var d *dataDir
	if need == toAct {
		d, err = openData(s.Data)
	} else {
		d, err = peekData(s.Data)
	}
	if err != nil {
		return nil, err
	}
	c.complainOfDamage(d)
	if need == toAct {
		err = errors.Join(s.keyring().make(), s.commitKey().make())
	}
	if err == nil {
		sys, err = c.assemble(s, d, nil, quietLog(), true)
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if err := sys.recall(quietLog()); err != nil {
		return nil, errors.Join(err, sys.Close())
	}
	_, err = sys.api.Sync(ctx)
	if err := firstError(context.Cause(ctx), err); err != nil {
		return nil, errors.Join(err, sys.Close())
	}
	return sys, nil
}

// ownRepo says whether the repository is the one under the data directory.
func (s settings) ownRepo() bool { return s.Repo == filepath.Join(s.Data, "repo") }

func (s settings) repoThere() error {
	if !s.ownRepo() {
		return nil
	}
	if _, err := os.Stat(filepath.Join(s.Repo, ".git")); err != nil {
		return withHint(fmt.Errorf("no daemon answers at %s, and no repository is given", filepath.Join(s.Data, "fairlead.sock")),
			"start the daemon, or name the repository with --repo, FAIRLEAD_REPO or agent.yaml")
	}
	return nil
}

const starterReadme = `# Desired state

Fairlead keeps the containers of this host as the commits of this repository say.

Put a directory for each instance below ` + "`instances/`" + `: an ordinary compose file makes one, an ` + "`instance.yaml`" + ` beside it
says more (` + "`fairlead init DIR`" + ` writes a commented one). Then commit. Uncommitted edits are not applied.
`

// ensureRepo makes the repository under the data directory when none is given.
func (s settings) ensureRepo() error {
	if !s.ownRepo() {
		return nil
	}
	if _, err := os.Stat(filepath.Join(s.Repo, ".git")); err == nil {
		return nil
	}
	_, err := git.Init(s.Repo, map[string][]byte{"README.md": []byte(starterReadme)}, git.Author{})
	return err
}

// operator names who runs the command.
func (c *cli) operator() string {
	if who := c.getenv("SUDO_USER"); who != "" && os.Getuid() == 0 {
		return who
	}
	return server.UserName(os.Getuid())
}

// pick returns the names that a command is about: the given ones, or all.
func pick(ctx context.Context, b backend, names []string) ([]string, error) {
	if len(names) > 0 {
		return names, nil
	}
	o, err := b.Overview(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range o.Instances {
		names = append(names, s.Name)
	}
	if len(names) == 0 {
		return nil, noInstance(o.Source)
	}
	return names, nil
}

// pickOne returns the name that a command about one instance is about.
func pickOne(ctx context.Context, b backend, names []string) (string, error) {
	all, err := pick(ctx, b, names)
	if err != nil {
		return "", err
	}
	if len(all) > 1 {
		return "", withHint(errors.New("there are several instances: name one"), fmt.Sprintf("there are: %s", commas(all)))
	}
	return all[0], nil
}

func noInstance(source server.SourceInfo) error {
	switch {
	case source.Error != "":
		return fmt.Errorf("read %s: %s", source.Repo, source.Error)
	case source.Problem != "":
		return fmt.Errorf("read %s: %s", source.Repo, source.Problem)
	}
	return withHint(fmt.Errorf("read %s: it holds no instance", source.Repo),
		"an instance is a directory with a compose file or an instance.yaml; fairlead init DIR makes one")
}
