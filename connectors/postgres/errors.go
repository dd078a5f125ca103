package postgres

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/internal/rest"
	"github.com/jackc/pgx/v5/pgconn"
)

// errAccess is a database that does not let us in: nothing else will work.
var errAccess = errors.New("access refused")

// errLost is a server that went away, or is not there yet: another try may do.
var errLost = errors.New("connection lost")

// errFile is trouble of our own with a file: the server has no part in it.
var errFile = errors.New("write file")

// said is an error in words that show no secret; kind is one of those above, or nil.
type said struct {
	text string
	kind error
}

func (s said) Error() string { return s.text }
func (s said) Unwrap() error { return s.kind }

// hints are the SQLSTATEs that a reader can do something about, by code or class.
var hints = map[string]string{
	"28":    "Missing/invalid PostgreSQL credentials: see the user and password in url, and that pg_hba.conf lets this host in",
	"3D":    "The server has no such database: see the end of url",
	"42P01": "Name the table as schema.table, as discovery shows it; it may have been renamed or dropped",
	"3F":    "Name the table as schema.table, as discovery shows it; it may have been renamed or dropped",
	"42703": "See the names of columns in columns, where, options and query: they are written as the database has them",
	"42501": "The user may not read this: GRANT USAGE ON SCHEMA … and GRANT SELECT ON … TO the user of url",
	"42601": "where is one condition and query one SELECT, without ;",
	"25006": "Everything is read in a read-only transaction: query must only read",
	"57014": "The statement was cancelled: by statement_timeout, or by an administrator. Read less (columns, where, incremental), or ask why it takes so long",
	"55P03": "Another session holds a lock on the table (ALTER TABLE, VACUUM FULL); it is tried again with the next run",
	"40001": "On a standby a query is cancelled when the primary needs what it reads: set hot_standby_feedback or max_standby_streaming_delay, or read the primary",
	"53300": "The server has no connection left: raise max_connections or the user's CONNECTION LIMIT",
	"53":    "The server is short of something: see its log",
	"57P":   "The server is stopping or starting",
	"XX":    "The server reports damage or a bug of its own: see its log",
	"08":    "See that host and port in url are right and that nothing between cuts connections",
}

func hintOf(code string) string {
	for n := len(code); n >= 2; n-- {
		if hint := hints[code[:n]]; hint != "" {
			return hint
		}
	}
	return ""
}

// explain puts an error of the driver into words: what the server said with its
// SQLSTATE, what can be done, and nothing of the password.
func (s *Source) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, errFile) || errors.Is(err, errLost) || errors.Is(err, errAccess) {
		return err
	}
	if errors.Is(err, errForbidden) {
		return connectors.WithHint(said{rest.Short(s.scrub(err.Error())), errAccess},
			"The operator of the host lists what may be connected to in fetch.allowedHosts of agent.yaml, with localhost for a socket")
	}
	if server, ok := errors.AsType[*pgconn.PgError](err); ok {
		text := fmt.Sprintf("%s (SQLSTATE %s)", rest.Short(s.scrub(server.Message)), server.Code)
		return connectors.WithHint(said{text, kindOf(server.Code)}, hintOf(server.Code))
	}
	return s.explainNet(err)
}

// kindOf sorts SQLSTATEs (PostgreSQL, appendix A).
func kindOf(code string) error {
	switch {
	case strings.HasPrefix(code, "28"), strings.HasPrefix(code, "3D"):
		return errAccess
	case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "57P"), code == "53300", code == "40001", code == "25P03":
		return errLost
	}
	return nil
}

func (s *Source) explainNet(err error) error {
	text := rest.Short(s.scrub(err.Error()))
	unknown, authority := errors.AsType[x509.UnknownAuthorityError](err)
	name, named := errors.AsType[x509.HostnameError](err)
	_, network := errors.AsType[net.Error](err)
	_, resolve := errors.AsType[*net.DNSError](err)
	switch {
	case authority && unknown.Cert != nil:
		return connectors.WithHint(said{text, errAccess}, "The server's certificate is signed by nobody that is trusted here: put the PEM of its authority in ca")
	case named && name.Certificate != nil:
		return connectors.WithHint(said{text, errAccess}, "The server's certificate is for another name: use that name in url, or sslmode=verify-ca")
	case strings.Contains(text, "refused TLS"):
		return connectors.WithHint(said{text, errAccess}, "The server speaks no TLS: switch ssl on there; sslmode=disable sends everything in the clear")
	case resolve, network, pgconn.SafeToRetry(err), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return connectors.WithHint(said{text, errLost}, hints["08"])
	}
	return said{text, nil}
}

// scrub takes the password, as it is and as it stands in the url, out of a text.
func (s *Source) scrub(text string) string {
	for _, secret := range []string{s.settings.URL, s.target.password, url.QueryEscape(s.target.password), url.PathEscape(s.target.password)} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "(sensitive)")
		}
	}
	return text
}
