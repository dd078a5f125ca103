package postgres

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/internal/rest"
	"github.com/fairlead/fairlead/desired"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/sirupsen/logrus"
)

const (
	tries      = 4
	firstPause = 2 * time.Second
)

// Source reads one database.
type Source struct {
	settings Settings
	target   target
	config   *pgconn.Config
	pause    time.Duration // before the second try
}

var _ connectors.Source = (*Source)(nil)

// run is one Sync.
type run struct {
	source  *Source
	job     connectors.Job
	past    connectors.State
	conn    *pgconn.PgConn
	results []connectors.TableResult // by the tables of the job
	next    connectors.State
	remotes []connectors.Remote
}

// Sync reads tables out of one snapshot. A server that goes away on the way is
// tried again, from the start: another connection would see another snapshot. It
// ends early when the server stays away or refuses us, or ctx ends.
func (s *Source) Sync(ctx context.Context, job connectors.Job) (connectors.Report, error) {
	past, lost := connectors.ReadState(job.State)
	r := &run{source: s, job: job, past: past}
	pause := s.pause
	var err error
	for try := 1; ; try++ {
		err = r.attempt(ctx)
		if !errors.Is(err, errLost) || try == tries {
			break
		}
		if job.Log != nil {
			job.Log.WithFields(logrus.Fields{"after": pause, "cause": err}).Debug("asking PostgreSQL again")
		}
		if stopped := rest.Sleep(ctx, pause); stopped != nil {
			err = stopped
			break
		}
		pause *= 2
	}
	for i := range r.results {
		if lost {
			r.results[i].Warnings = append(r.results[i].Warnings, "the state of the last run could not be read: everything was read whole")
		}
	}
	return connectors.Report{Tables: r.results, Remotes: r.remotes, State: r.next.Encode()}, err
}

// attempt reads everything once. The error is one that ends the run; tables that
// were whole before it are good.
func (r *run) attempt(ctx context.Context) error {
	r.results, r.remotes, r.next = make([]connectors.TableResult, len(r.job.Tables)), nil, r.past.Kept(r.job.Tables)
	for _, spec := range r.job.Tables {
		discard(r.job.Dir, spec.Name) // of the attempt before
	}
	conn, err := r.source.enter(ctx)
	if err == nil {
		defer leave(conn)
		r.conn = conn
	}
	for i, spec := range r.job.Tables {
		if err != nil {
			r.results[i] = failure(spec, err)
			continue
		}
		problem := r.table(ctx, i)
		if problem == nil {
			continue
		}
		discard(r.job.Dir, spec.Name)
		r.results[i] = failure(spec, problem)
		err = r.after(ctx, problem)
	}
	return err
}

// after says whether the run goes on after a table that failed: what the server
// did for it is taken back.
func (r *run) after(ctx context.Context, problem error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(problem, errLost), errors.Is(problem, errAccess):
		return problem
	case r.conn.IsClosed():
		return fmt.Errorf("%w after a table failed", errLost)
	}
	return r.exec(ctx, "ROLLBACK TO SAVEPOINT fairlead")
}

func (r *run) exec(ctx context.Context, sql string) error {
	_, err := r.conn.Exec(ctx, sql).ReadAll()
	return r.source.explain(ctx, err)
}

func failure(spec connectors.TableSpec, err error) connectors.TableResult {
	return connectors.TableResult{Table: spec.Name, Outcome: connectors.Failed, Error: err.Error(), Hint: connectors.Hint(err)}
}

func discard(dir, name string) {
	_ = os.Remove(filepath.Join(dir, name+".csv.gz"))
	_ = os.RemoveAll(filepath.Join(dir, name)) // Dir is thrown away with the run in any case
}

// enter connects and begins a transaction that reads one snapshot and cannot
// write. What texts of values depend on is set for it alone, so that a pooler in
// between gives no setting to others.
func (s *Source) enter(ctx context.Context) (*pgconn.PgConn, error) {
	conn, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	begin := []string{
		"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
		fmt.Sprintf("SET LOCAL statement_timeout = %d", s.settings.StatementTimeout.Milliseconds()),
		fmt.Sprintf("SET LOCAL lock_timeout = %d", s.settings.LockTimeout.Milliseconds()),
		"SET LOCAL idle_in_transaction_session_timeout = '10min'",
		"SET LOCAL standard_conforming_strings = on",
		"SET LOCAL \"TimeZone\" = 'UTC'",
		"SET LOCAL \"DateStyle\" = 'ISO, YMD'",
		"SET LOCAL \"IntervalStyle\" = 'postgres'",
		"SET LOCAL extra_float_digits = 3",
		"SET LOCAL bytea_output = 'hex'",
	}
	if _, err := conn.Exec(ctx, strings.Join(begin, ";\n")).ReadAll(); err != nil {
		leave(conn)
		return nil, fmt.Errorf("begin: %w", s.explain(ctx, err))
	}
	return conn, nil
}

// leave closes a connection; the server takes the transaction back.
func leave(conn *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // also when the run was cancelled
	defer cancel()
	_ = conn.Close(ctx) // nothing was written that could be lost
}

// table reads one table and says what it came to.
func (r *run) table(ctx context.Context, i int) error {
	spec := r.job.Tables[i]
	if err := r.exec(ctx, "SAVEPOINT fairlead"); err != nil {
		return err
	}
	if spec.QueryMode == desired.QueryRemote {
		return r.remote(ctx, i)
	}
	p, err := r.plan(ctx, spec, r.past.Tables[spec.Name])
	if err != nil {
		return fmt.Errorf("plan table %s: %w", spec.Name, err)
	}
	if r.job.Log != nil {
		r.job.Log.WithFields(logrus.Fields{"table": spec.Name, "strategy": spec.Strategy, "columns": len(p.columns)}).Debug("copying a table")
	}
	result := connectors.TableResult{Table: spec.Name, Outcome: connectors.OK, Columns: p.plain(), PrimaryKey: p.key, Description: p.about}
	keep := connectors.Left{Request: p.request, Columns: result.Columns}
	switch spec.Strategy {
	case connectors.Incremental:
		err = r.incremental(ctx, p, &result, &keep)
	case connectors.Partitioned:
		err = r.partitioned(ctx, p, &result, &keep)
	default:
		err = r.copy(ctx, p, "", p.conditions(), &result)
	}
	if err != nil {
		return fmt.Errorf("copy table %s: %w", spec.Name, err)
	}
	result.Warnings = p.said
	r.results[i] = result
	if spec.Strategy == connectors.Incremental || spec.Strategy == connectors.Partitioned {
		r.next.Tables[spec.Name] = keep
	}
	return r.exec(ctx, "RELEASE SAVEPOINT fairlead")
}

// incremental reads what its cursor says is new, less the overlap, for rows whose
// transactions ended late. Rows without a cursor come each time.
func (r *run) incremental(ctx context.Context, p *plan, result *connectors.TableResult, keep *connectors.Left) error {
	name := "t." + quote(p.cursor.Name)
	finite := "pg_catalog.isfinite(" + name + ")"
	switch p.cursor.OID {
	case oidNumeric:
		finite = name + " <> 'NaN'"
	case oidInt2, oidInt4, oidInt8:
		finite = "true"
	}
	greatest := "pg_catalog.max(" + name + ") FILTER (WHERE " + finite + ")"
	from := " FROM " + p.from + " AS t" + p.conditions()
	rows, err := r.source.ask(ctx, r.conn, "SELECT coalesce("+greatest+"::pg_catalog.text, '')"+from)
	if err != nil {
		return fmt.Errorf("find the greatest %s: %w", p.cursor.Name, err)
	}
	keep.Cursor = rows[0]
	if past := p.past.Cursor; past != "" {
		before := literal(past) + "::" + p.cast
		shrunk, err := r.source.ask(ctx, r.conn, "SELECT coalesce("+greatest+" < "+before+", true)"+from)
		if err != nil {
			return fmt.Errorf("compare the greatest %s: %w", p.cursor.Name, err)
		}
		if result.Changes = shrunk[0] == "f"; result.Changes {
			since := "(" + name + " >= " + before + " - " + p.overlap + " OR " + name + " IS NULL)"
			return r.copy(ctx, p, "", p.conditions(since), result)
		}
		p.said = append(p.said, "the greatest "+p.cursor.Name+" is less than it was: the table was read whole")
	}
	return r.copy(ctx, p, "", p.conditions(), result)
}

// remote says where a table is, which stays where it is.
func (r *run) remote(ctx context.Context, i int) error {
	spec, s := r.job.Tables[i], r.source
	if spec.Query != "" || spec.Where != "" || len(spec.Columns) > 0 || len(spec.Options) > 0 || (spec.Strategy != "" && spec.Strategy != connectors.Full) {
		return connectors.WithHint(fmt.Errorf("plan table %s: a remote table is there as it is: it has no query, where, columns, options or strategy", spec.Name), "Ask the table with a WHERE, or make it local or materialized")
	}
	if s.target.password != "" && s.settings.TokenEnv == "" {
		return connectors.WithHint(fmt.Errorf("plan table %s: token_env is missing: a remote table is asked with a password that no file holds", spec.Name), "Set token_env to the name of the variable that has the password")
	}
	t, err := s.find(ctx, r.conn, cmp.Or(spec.ID, spec.Name))
	if err != nil {
		return fmt.Errorf("plan table %s: %w", spec.Name, err)
	}
	remote := connectors.Remote{Alias: s.alias(), Extension: "postgres", URL: s.target.public(), TokenEnv: s.settings.TokenEnv}
	if len(r.remotes) == 0 {
		r.remotes = append(r.remotes, remote)
	}
	p := &plan{spec: spec}
	if err := p.choose(t.Columns); err != nil {
		return fmt.Errorf("plan table %s: %w", spec.Name, err)
	}
	result := connectors.TableResult{Table: spec.Name, Outcome: connectors.OK, Columns: p.plain(), PrimaryKey: t.PrimaryKey, Description: t.Comment,
		Remote: &connectors.RemoteTable{Alias: remote.Alias, Schema: t.Schema, Table: t.Name}}
	if t.Rows != nil {
		result.Rows = int64(*t.Rows)
	}
	r.results[i] = result
	return r.exec(ctx, "RELEASE SAVEPOINT fairlead")
}

// alias names the attached database: the same for the same one.
func (s *Source) alias() string {
	sum := sha256.Sum256([]byte(s.target.public()))
	return "pg_" + hex.EncodeToString(sum[:6])
}
