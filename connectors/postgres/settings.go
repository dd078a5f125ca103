package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
)

// Settings say which database is read, and as whom.
type Settings struct {
	URL string // postgres://user:password@host:5432/database; a secret
	CA  string // PEM, trusted beside the system's
	// TokenEnv is the name of the variable that an attached database takes the
	// password from (query mode remote).
	TokenEnv string
	// StatementTimeout bounds one statement at the server, the copy of a table
	// included; 2 hours when it is 0.
	StatementTimeout time.Duration
	// LockTimeout is how long a statement waits for a lock; 30 s when it is 0.
	LockTimeout time.Duration
	// MaxBytes of one table, as CSV; 1 TiB when it is 0.
	MaxBytes int64
	// Reach is what may be connected to; a socket of this machine is localhost. The
	// zero value reaches nothing. A database is connected to through no proxy.
	Reach connectors.Reach
}

const urlHint = "Write url as postgres://USER:PASSWORD@HOST:5432/DATABASE, with ?sslmode=verify-full, verify-ca, require or disable; a character such as @ or / in the password is written as %40 or %2F"

// target is a URL taken apart.
type target struct {
	host     string // or the directory of a unix socket
	port     uint16
	user     string
	password string
	database string
	sslmode  string
}

// parseURL reads the address of a database. Its errors show nothing of it: the
// whole of it is a secret.
func parseURL(raw string) (t target, err error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil || u.Opaque != "" || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return t, errors.New("url: not an address that begins with postgres://")
	}
	t = target{host: u.Hostname(), port: 5432, user: u.User.Username(), database: strings.TrimPrefix(u.Path, "/")}
	t.password, _ = u.User.Password()
	if port := u.Port(); port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return t, errors.New("url: the port is no number from 1 to 65535")
		}
		t.port = uint16(n)
	}
	if err := t.query(u.RawQuery); err != nil {
		return t, err
	}
	for name, part := range map[string]string{"user": t.user, "database": t.database, "host": t.host} {
		if part == "" {
			return t, fmt.Errorf("url: has no %s", name)
		}
		if strings.ContainsFunc(part, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			return t, fmt.Errorf("url: the %s holds a control character", name)
		}
	}
	if u.Fragment != "" {
		return t, errors.New("url: has a #, which is written %23 in a password")
	}
	if strings.ContainsAny(t.host, ", ") || strings.ContainsRune(t.password, 0) {
		return t, errors.New("url: one host, without spaces")
	}
	return t, t.security()
}

func (t *target) query(raw string) error {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return errors.New("url: what follows ? cannot be read")
	}
	for key, v := range values {
		switch {
		case len(v) != 1:
			return fmt.Errorf("url: a key after ? is there %d times", len(v))
		case key == "sslmode":
			t.sslmode = v[0]
		case key == "host" && t.host == "" && filepath.IsAbs(v[0]):
			t.host = filepath.Clean(v[0])
		case key == "host":
			return errors.New("url: host after ? is the directory of a unix socket, and stands alone")
		default:
			return errors.New("url: after ? only sslmode and host are known")
		}
	}
	return nil
}

// security decides how the connection is secured. allow and prefer, which go on
// in the clear when a server, or whoever is between, wants it, are not taken.
func (t *target) security() error {
	switch t.sslmode {
	case "disable", "require", "verify-ca", "verify-full":
	case "":
		t.sslmode = "verify-full"
		if t.local() {
			t.sslmode = "disable"
		}
	default:
		return errors.New("url: sslmode must be disable, require, verify-ca or verify-full")
	}
	if t.socket() {
		t.sslmode = "disable" // as in libpq: a socket has no TLS
	}
	return nil
}

func (t target) socket() bool { return strings.HasPrefix(t.host, "/") }

// local reports whether nobody else is on the way.
func (t target) local() bool {
	if t.socket() || t.host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(t.host)
	return err == nil && ip.IsLoopback()
}

// public is the address without the password.
func (t target) public() string {
	u := url.URL{Scheme: "postgres", User: url.User(t.user), Path: "/" + t.database, RawQuery: "sslmode=" + t.sslmode}
	if t.socket() {
		u.RawQuery = url.Values{"host": {t.host}}.Encode()
		return u.String()
	}
	u.Host = net.JoinHostPort(t.host, strconv.Itoa(int(t.port)))
	return u.String()
}

// dial says how the database is connected to. Nothing comes from the environment,
// a .pgpass or a service file of whoever runs the daemon.
func (t target) dial(ca string, reach connectors.Reach) (*pgconn.Config, error) {
	config, err := pgconn.ParseConfig("host=localhost port=5432 user=nobody password=none dbname=none sslmode=disable")
	if err != nil {
		return nil, errors.New("the PG variables of the environment cannot be read: unset them")
	}
	config.Host, config.Port, config.User, config.Password, config.Database = t.host, t.port, t.user, t.password, t.database
	config.Fallbacks, config.ValidateConnect, config.AfterConnect = nil, nil, nil
	config.RuntimeParams = map[string]string{"application_name": "fairlead", "client_encoding": "UTF8"}
	config.ConnectTimeout = 30 * time.Second
	config.DialFunc = t.dialer(reach).DialContext
	config.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: 5 * time.Second}
	}
	config.TLSConfig, err = t.tls(ca)
	return config, err
}

// dialer asks the host about each address that is connected to, also to cancel a
// statement, beside the name that stands in the URL.
func (t target) dialer(reach connectors.Reach) *net.Dialer {
	control := func(network, address string, _ syscall.RawConn) error {
		host, at := "localhost", netip.AddrFrom4([4]byte{127, 0, 0, 1})
		if network != "unix" {
			to, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			host, at = t.host, to.Addr().Unmap()
		}
		if err := reach.Permits(host, at); err != nil {
			return fmt.Errorf("%w: host %s: %w", errForbidden, host, err)
		}
		return nil
	}
	return &net.Dialer{Timeout: 15 * time.Second, Control: control,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 4}}
}

// errForbidden is a server that the operator does not let be asked.
var errForbidden = errors.New("this host does not permit it")

func (t target) tls(ca string) (*tls.Config, error) {
	if t.sslmode == "disable" {
		return nil, nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool() // a machine without certificates has its own in CA
	}
	if ca != "" && !roots.AppendCertsFromPEM([]byte(ca)) {
		return nil, errors.New("ca: no certificate in PEM")
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: t.host}
	if t.sslmode != "verify-full" {
		config.InsecureSkipVerify = true // require asks for encryption alone; verify-ca checks below
	}
	if t.sslmode == "verify-ca" {
		config.VerifyConnection = func(state tls.ConnectionState) error { return verifyChain(state, roots) }
	}
	return config, nil
}

// verifyChain checks who signed a certificate, but not for which name.
func verifyChain(state tls.ConnectionState, roots *x509.CertPool) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the server has no certificate")
	}
	between := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
	return err
}

// New checks settings; it connects to nothing.
func New(settings Settings) (*Source, error) {
	to, err := parseURL(settings.URL)
	if err != nil {
		return nil, connectors.WithHint(fmt.Errorf("check postgres settings: %w", err), urlHint)
	}
	config, err := to.dial(settings.CA, settings.Reach)
	if err != nil {
		return nil, fmt.Errorf("check postgres settings: %w", err)
	}
	s := &Source{settings: settings, target: to, config: config, pause: firstPause}
	if err := s.defaults(); err != nil {
		return nil, fmt.Errorf("check postgres settings: %w", err)
	}
	return s, nil
}

func (s *Source) defaults() error {
	set := &s.settings
	if set.StatementTimeout < 0 || set.LockTimeout < 0 || set.MaxBytes < 0 {
		return errors.New("timeouts and max_bytes: must not be negative")
	}
	if set.StatementTimeout == 0 {
		set.StatementTimeout = 2 * time.Hour
	}
	if set.LockTimeout == 0 {
		set.LockTimeout = 30 * time.Second
	}
	if set.MaxBytes == 0 {
		set.MaxBytes = 1 << 40
	}
	return nil
}

// connect opens a connection, and tries again while the server is away, starting,
// or full.
func (s *Source) connect(ctx context.Context) (*pgconn.PgConn, error) {
	conn, err := pgconn.ConnectConfig(ctx, s.config)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", s.explain(ctx, err))
	}
	return conn, nil
}
