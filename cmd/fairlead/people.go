package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/dbfile"
	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
)

// ownProxies are proxies on this host. Whoever can pretend to be one could ask
// the daemon from here anyway.
var ownProxies = []string{"127.0.0.0/8", "::1/128"}

// keepPeople puts the users together over an open data directory, which has to
// be this process's. changed hears of changes of users and tokens; nil: nobody.
func keepPeople(s settings, d *dataDir, changed func()) (*auth.Store, error) {
	key, err := sessionKey(filepath.Join(d.path, "state", "jwt.key"))
	if err != nil {
		return nil, err
	}
	var proxies auth.Proxies
	for _, own := range ownProxies {
		proxies = append(proxies, netip.MustParsePrefix(own))
	}
	mark := setupMark(filepath.Join(d.path, "state", "setup.closed"))
	if d.damage != nil || len(dbfile.Reports(d.damaged())) > 0 { // what was lost may be that there was an administrator
		if err := mark.Make(); err != nil {
			return nil, fmt.Errorf("close the setup after a damage: %w", err)
		}
	}
	return auth.NewStore(auth.Options{DB: d.db, Key: key, Code: codeFile(filepath.Join(d.path, "state", "setup.code")),
		Mark: mark, Changed: changed, Proxies: append(proxies, s.Server.Proxies...)})
}

// setupMark is a file that says that there was an administrator. It is not in the
// database, which may be lost.
type setupMark string

// Made implements auth.Mark.
func (f setupMark) Made() (bool, error) {
	_, err := os.Lstat(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for the mark of the setup: %w", err)
	}
	return true, nil
}

// Make implements auth.Mark.
func (f setupMark) Make() error {
	if made, err := f.Made(); made || err != nil {
		return err
	}
	return writeFile(string(f), []byte("There was an administrator: the setup stays closed, whatever becomes of the database.\n"), 0o600)
}

// sessionKey reads the key that signs sessions, or makes it at the first start.
// A new one ends all sessions, and does no other harm.
func sessionKey(name string) ([]byte, error) {
	const most = 4096
	key, err := readBounded(name, most)
	if errors.Is(err, fs.ErrNotExist) {
		key = make([]byte, auth.MinKey)
		_, _ = rand.Read(key) // never fails (crypto/rand)
		return key, writeFile(name, key, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("read session key: %w", err)
	}
	if len(key) < auth.MinKey {
		return nil, withHint(fmt.Errorf("read session key: %s has %d bytes, not at least %d", name, len(key), auth.MinKey),
			"remove it: a new one is made at the next start, and everybody signs in again")
	}
	return key, nil
}

// codeFile is where the setup code is: whoever reads it is root here, or the
// daemon's user.
type codeFile string

const maxCode = 256

// Read implements auth.CodeFile.
func (f codeFile) Read() (string, error) {
	b, err := readBounded(string(f), maxCode)
	return strings.TrimSpace(string(b)), err
}

// Write implements auth.CodeFile.
func (f codeFile) Write(code string) error { return writeFile(string(f), []byte(code+"\n"), 0o600) }

// Remove implements auth.CodeFile.
func (f codeFile) Remove() error {
	if err := os.Remove(string(f)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove setup code: %w", err)
	}
	return nil
}

// runPeople keeps the store of users until ctx ends. As long as there is no
// administrator it says how one is made.
func runPeople(ctx context.Context, store *auth.Store, log *logrus.Entry) {
	log = log.WithField("part", "people")
	code, err := store.SetupCode()
	if err != nil {
		log.WithError(err).Error("Make setup code")
	}
	if code != "" {
		log.Warn("There is no administrator yet: open /setup, or fairlead user add EMAIL --role admin; from elsewhere than this host the setup asks for the code that fairlead user setup-code shows")
	}
	store.Run(ctx, func(err error) { log.WithError(err).Error("Keep users") })
}

// recorded is an API in this process whose changes are written down: there is no
// request that would be.
type recorded struct {
	*server.API
	who auth.Caller
}

func newRecorded(api *server.API, by string) recorded { return recorded{api, hostAdmin(by)} }

// hostAdmin is who runs a command on this host.
func hostAdmin(by string) auth.Caller {
	return auth.Caller{Name: by, Role: auth.RoleAdmin, Via: auth.ViaSocket}
}

func record[T any](ctx context.Context, r recorded, operation, target string, do func(context.Context) (T, error)) (T, error) {
	ctx = auth.With(ctx, r.who)
	v, err := do(ctx)
	return v, errors.Join(err, r.Record(context.WithoutCancel(ctx), operation, target, err))
}

func (r recorded) Reconcile(ctx context.Context, name string, req server.ReconcileRequest, emit func(server.Update)) (server.Result, error) {
	return record(ctx, r, "reconcile", name, func(ctx context.Context) (server.Result, error) { return r.API.Reconcile(ctx, name, req, emit) })
}

func (r recorded) Rollback(ctx context.Context, name string, req server.RollbackRequest) (server.RolledBack, error) {
	return record(ctx, r, "rollBack", name, func(ctx context.Context) (server.RolledBack, error) { return r.API.Rollback(ctx, name, req) })
}

func (r recorded) Suspend(ctx context.Context, name string, req server.SuspendRequest) (reconciler.Status, error) {
	return record(ctx, r, "suspend", name, func(ctx context.Context) (reconciler.Status, error) { return r.API.Suspend(ctx, name, req) })
}

func (r recorded) Resume(ctx context.Context, name, by string) (reconciler.Status, error) {
	return record(ctx, r, "resume", name, func(ctx context.Context) (reconciler.Status, error) { return r.API.Resume(ctx, name, by) })
}

func (r recorded) RenewCertificate(ctx context.Context, instance, name string, force bool) (reconciler.CertificateStatus, error) {
	return record(ctx, r, "renewCertificate", instance+"/"+name, func(ctx context.Context) (reconciler.CertificateStatus, error) {
		return r.API.RenewCertificate(ctx, instance, name, force)
	})
}

func (r recorded) RollbackCertificate(ctx context.Context, instance, name string, generation int) (reconciler.CertificateStatus, error) {
	return record(ctx, r, "rollBackCertificate", instance+"/"+name, func(ctx context.Context) (reconciler.CertificateStatus, error) {
		return r.API.RollbackCertificate(ctx, instance, name, generation)
	})
}

func (r recorded) RunConnector(ctx context.Context, instance, name string, req server.RunRequest) (server.RunStarted, error) {
	return record(ctx, r, "runConnector", instance+"/"+name, func(ctx context.Context) (server.RunStarted, error) {
		return r.API.RunConnector(ctx, instance, name, req)
	})
}

func (r recorded) RollbackData(ctx context.Context, instance, name string, generation int) (reconciler.AttachmentStatus, error) {
	return record(ctx, r, "rollBackData", instance+"/"+name, func(ctx context.Context) (reconciler.AttachmentStatus, error) {
		return r.API.RollbackData(ctx, instance, name, generation)
	})
}

func (r recorded) PurgeConnector(ctx context.Context, instance, name string) error {
	_, err := record(ctx, r, "purgeConnector", instance+"/"+name, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, r.API.PurgeConnector(ctx, instance, name)
	})
	return err
}
