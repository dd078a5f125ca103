package postgres

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/examples/ports"
	"github.com/jackc/pgx/v5/pgconn"
)

// password has what has to be escaped in an address.
const password = "p@ss/w:rd-%41!"

// server is a PostgreSQL of the tests: a real one, of their own, with a socket
// and a port with TLS.
type server struct {
	dir  string
	port int
	ca   string // PEM
	run  func(name string, args ...string) error
}

var (
	shared = sync.OnceValues(begin)
	wanted atomic.Bool
)

func TestMain(m *testing.M) {
	code := m.Run()
	if wanted.Load() {
		if s, err := shared(); err == nil {
			_ = s.stop("immediate")
			_ = os.RemoveAll(s.dir)
		}
	}
	os.Exit(code)
}

func running(t testing.TB) *server {
	t.Helper()
	wanted.Store(true)
	s, err := shared()
	if err != nil {
		t.Fatalf("start PostgreSQL (scripts/postgres.sh installs it): %v", err)
	}
	return s
}

// binaries is where initdb and postgres are: Debian keeps them out of PATH.
func binaries() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	path, err := exec.LookPath("initdb")
	return filepath.Dir(path), err
}

// begin makes a cluster and starts it, as a user without rights: PostgreSQL
// refuses to run as root.
func begin() (*server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "fairlead-pg-")
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir}
	var as *syscall.Credential
	if os.Getuid() == 0 {
		who, err := user.Lookup("nobody")
		if err != nil {
			return nil, err
		}
		uid, _ := strconv.Atoi(who.Uid)
		gid, _ := strconv.Atoi(who.Gid)
		as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(dir, uid, gid); err != nil {
			return nil, err
		}
	}
	s.run = func(name string, args ...string) error {
		cmd := exec.Command(filepath.Join(bin, name), args...)
		cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: as}
		cmd.Env = []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")}
		log, err := os.OpenFile(filepath.Join(dir, "out.log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o666)
		if err != nil {
			return err
		}
		defer log.Close()
		cmd.Stdout, cmd.Stderr = log, log // a pipe would be held open by the server
		if err := cmd.Run(); err != nil {
			said, _ := os.ReadFile(log.Name())
			return fmt.Errorf("%s: %w: %s", name, err, said)
		}
		return nil
	}
	if err := s.run("initdb", "-D", s.data(), "-U", "admin", "-E", "UTF8", "--locale=C", "--no-sync", "--auth-local=trust", "--auth-host=scram-sha-256"); err != nil {
		return nil, err
	}
	if err := s.certify(as); err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		if s.port, err = ports.Free(); err != nil {
			return nil, err
		}
		if err = s.start(); err == nil {
			break
		}
		if try == 5 {
			return nil, err
		}
	}
	return s, s.do("CREATE ROLE reader LOGIN PASSWORD " + literal(password) + "; CREATE DATABASE shop; CREATE ROLE nobody_else LOGIN PASSWORD 'x'")
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

func (s *server) start() error {
	options := fmt.Sprintf("-c fsync=off -c full_page_writes=off -c shared_buffers=16MB -c max_connections=20 -c ssl=on -c ssl_cert_file=server.crt -c ssl_key_file=server.key "+
		"-c listen_addresses=127.0.0.1 -c unix_socket_directories=%s -p %d", s.dir, s.port)
	return s.run("pg_ctl", "-D", s.data(), "-w", "-t", "120", "-o", options, "-l", filepath.Join(s.dir, "server.log"), "start")
}

func (s *server) stop(mode string) error {
	return s.run("pg_ctl", "-D", s.data(), "-w", "-t", "120", "-m", mode, "stop")
}

// certify gives the server a certificate for the name localhost.
func (s *server) certify(as *syscall.Credential) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour * 24), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	s.ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	for name, data := range map[string][]byte{"server.crt": []byte(s.ca), "server.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})} {
		path := filepath.Join(s.data(), name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return err
		}
		if as != nil {
			if err := os.Chown(path, int(as.Uid), int(as.Gid)); err != nil {
				return err
			}
		}
	}
	return nil
}

// admin connects as who may do anything, by the socket.
func (s *server) admin(database string) (*pgconn.PgConn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return pgconn.Connect(ctx, fmt.Sprintf("host=%s port=%d user=admin dbname=%s sslmode=disable", s.dir, s.port, database))
}

// do runs statements outside of the tests' database, each by itself.
func (s *server) do(sql string) error {
	conn, err := s.admin("postgres")
	if err != nil {
		return err
	}
	defer leave(conn)
	for one := range strings.SplitSeq(sql, ";") {
		if _, err := conn.Exec(context.Background(), one).ReadAll(); err != nil {
			return fmt.Errorf("%s: %w", one, err)
		}
	}
	return nil
}

// shop begins with an empty database that reader may use, and returns what runs
// statements in it.
func (s *server) shop(t testing.TB) func(sql string) {
	t.Helper()
	conn, err := s.admin("shop")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { leave(conn) })
	exec := func(sql string) {
		t.Helper()
		if conn.IsClosed() { // the server was restarted
			if conn, err = s.admin("shop"); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := conn.Exec(context.Background(), sql).ReadAll(); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'shop' AND pid <> pg_backend_pid()`)
	exec(`DROP SCHEMA IF EXISTS public, other, "odd.schema" CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO reader;
		ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO reader`)
	return exec
}

// settings are those of reader by the port of 127.0.0.1.
func (s *server) settings(port int, query string) Settings {
	u := url.URL{Scheme: "postgres", User: url.UserPassword("reader", password), Host: fmt.Sprintf("127.0.0.1:%d", port), Path: "/shop", RawQuery: query}
	return Settings{URL: u.String(), Reach: anywhere}
}

var anywhere = connectors.Reach{Allow: func(string, netip.Addr) error { return nil }}

func source(t testing.TB, settings Settings) *Source {
	t.Helper()
	s, err := New(settings)
	if err != nil {
		t.Fatal(err)
	}
	s.pause = 10 * time.Millisecond
	return s
}

// proxy passes on connections to the server, and cuts each after what budget says
// of it; 0 passes on everything.
func (s *server) proxy(t testing.TB, budget func(connection int) int64) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	all.Go(func() {
		for n := 1; ; n++ {
			in, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { s.pass(in, budget(n)) })
		}
	})
	return l.Addr().(*net.TCPAddr).Port
}

func (s *server) pass(in net.Conn, budget int64) {
	defer in.Close()
	out, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.port))
	if err != nil {
		return
	}
	defer out.Close()
	go func() {
		_, _ = out.(*net.TCPConn).ReadFrom(in)
		_ = out.Close()
	}()
	block := make([]byte, 4096)
	for sent := int64(0); budget == 0 || sent < budget; {
		n, err := out.Read(block)
		sent += int64(n)
		if _, werr := in.Write(block[:n]); errors.Join(err, werr) != nil {
			return
		}
	}
	_ = in.(*net.TCPConn).SetLinger(0) // a cut connection, not one that was ended
}
