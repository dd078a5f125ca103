package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/examples/ports"
)

const (
	postgresDir     = "postgres.dir"  // names the directory of the server: it is not below ours, where its user may not go
	postgresAddress = "postgres.addr" // written when it answers
	postgresLimit   = 2 * time.Minute
)

// shopSQL is what a shop's database holds.
const shopSQL = `CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL, country text NOT NULL);
INSERT INTO customers VALUES (1, 'Alice', 'CZ'), (2, 'Bob', 'DE'), (3, 'Céline', 'FR');
CREATE ROLE reader LOGIN PASSWORD '%s';
GRANT SELECT ON customers TO reader;`

// postgresUp starts a PostgreSQL of the demo's own, with a small shop in it.
func (d *demo) postgresUp(ctx context.Context) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	if _, err := output(ctx, root, nil, "scripts/postgres.sh"); err != nil {
		return err
	}
	password := rand.Text()
	if err := d.addSecret("SHOP_PASSWORD", password); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	if err := d.start("postgres", self, "-dir", d.dir, "-name", d.name, "postgres"); err != nil {
		return err
	}
	ended := false
	err = waitUntil(ctx, postgresLimit, func() bool {
		_, runs := d.running("postgres")
		ended = !runs
		return ended || d.psql(ctx, "SELECT 1") == nil
	})
	if err == nil && ended {
		err = errors.New("it ended")
	}
	if err == nil {
		err = d.psql(ctx, fmt.Sprintf(shopSQL, password))
	}
	if err != nil {
		return fmt.Errorf("start PostgreSQL: %w\n%s", err, d.tail("postgres"))
	}
	return nil
}

// psql runs SQL as the server's own administrator, by its socket.
func (p place) psql(ctx context.Context, sql string) error {
	dir, port, ok := p.postgres()
	if !ok {
		return errors.New("it has not started")
	}
	_, err := output(ctx, "", nil, "psql", "-h", dir, "-p", port, "-U", "admin", "-d", "postgres", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql)
	return err
}

// postgres is where the server is; false while it is nowhere.
func (p place) postgres() (dir, port string, ok bool) {
	data, err := os.ReadFile(p.in(postgresAddress))
	if err != nil {
		return "", "", false
	}
	dir, port, ok = strings.Cut(strings.TrimSpace(string(data)), " ")
	return dir, port, ok
}

// servePostgres makes a cluster and runs its server until a signal comes. It is the demo binary itself, in the
// background; PostgreSQL refuses to run as root.
func servePostgres(ctx context.Context, p place) error {
	dir, err := os.MkdirTemp("", "fairlead-demo-postgres-")
	if err != nil {
		return fmt.Errorf("serve PostgreSQL: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := writeFile(p.in(postgresDir), dir+"\n"); err != nil {
		return fmt.Errorf("serve PostgreSQL: %w", err)
	}
	as, err := unprivileged(dir)
	if err != nil {
		return fmt.Errorf("serve PostgreSQL: %w", err)
	}
	bin, err := postgresPrograms()
	if err != nil {
		return fmt.Errorf("serve PostgreSQL: %w", err)
	}
	program := func(name string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, filepath.Join(bin, name), args...)
		cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: as}
		cmd.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // what a fast end is asked for by
		cmd.WaitDelay = stopLimit
		return cmd
	}
	data := filepath.Join(dir, "data")
	if err := program("initdb", "-D", data, "-U", "admin", "-E", "UTF8", "--locale=C", "--no-sync", "--auth-local=trust", "--auth-host=scram-sha-256").Run(); err != nil {
		return fmt.Errorf("make cluster: %w", err)
	}
	port, err := ports.Free()
	if err != nil {
		return err
	}
	if err := writeFile(p.in(postgresAddress), fmt.Sprintf("%s %d\n", dir, port)); err != nil {
		return fmt.Errorf("tell address of PostgreSQL: %w", err)
	}
	err = program("postgres", "-D", data, "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "listen_addresses=127.0.0.1",
		"-c", "unix_socket_directories="+dir, "-p", strconv.Itoa(port)).Run()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("serve PostgreSQL: %w", err)
}

// unprivileged gives a directory to a user without rights, when we are root.
func unprivileged(dir string) (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	who, err := user.Lookup("nobody")
	if err != nil {
		return nil, err
	}
	uid, err1 := strconv.ParseUint(who.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(who.Gid, 10, 32)
	if err := errors.Join(err1, err2, os.Chown(dir, int(uid), int(gid))); err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// postgresPrograms is where they are: Debian keeps them out of PATH.
func postgresPrograms() (string, error) {
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb"); len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	path, err := exec.LookPath("initdb")
	return filepath.Dir(path), err
}

// removePostgres removes what a server left that was killed.
func (p place) removePostgres() error {
	data, err := os.ReadFile(p.in(postgresDir))
	dir := strings.TrimSpace(string(data))
	if err != nil || !strings.HasPrefix(filepath.Base(dir), "fairlead-demo-postgres-") {
		return nil
	}
	return os.RemoveAll(dir)
}
