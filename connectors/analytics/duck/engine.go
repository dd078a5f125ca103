//go:build cgo

package duck

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// engineOptions are the settings of an engine. Zero values are the engine's own.
type engineOptions struct {
	Memory     string // 512MB
	Threads    int
	Temp       string // a directory that it may spill into; empty: it does not spill
	MaxTemp    string // 256MB
	Extensions string // the directory that extensions are loaded from
}

// engine is one DuckDB in memory with one connection. It is for one goroutine.
// It goes through the C interface, as database/sql and Arrow of the driver hold
// a result as a whole before its first row.
type engine struct {
	db   mapping.Database
	conn mapping.Connection
}

// openEngine opens an engine that never downloads an extension and keeps no
// secret on disk. What it may read is not restricted until lockDown.
func openEngine(o engineOptions) (*engine, error) {
	var config mapping.Config
	if mapping.CreateConfig(&config) == mapping.StateError {
		return nil, errors.New("open engine: no configuration")
	}
	defer mapping.DestroyConfig(&config)
	for _, s := range o.settings() {
		if mapping.SetConfig(config, s[0], s[1]) == mapping.StateError {
			return nil, fmt.Errorf("open engine: setting %s is not %q", s[0], s[1])
		}
	}
	e, message := &engine{}, ""
	if mapping.OpenExt("", &e.db, config, &message) == mapping.StateError {
		mapping.Close(&e.db)
		return nil, fmt.Errorf("open engine: %s", message)
	}
	if mapping.Connect(e.db, &e.conn) == mapping.StateError {
		mapping.Close(&e.db)
		return nil, errors.New("open engine: no connection")
	}
	if err := e.exec(context.Background(), "SET TimeZone = 'UTC'"); err != nil {
		e.close()
		return nil, fmt.Errorf("open engine: %w", err)
	}
	return e, nil
}

func (o engineOptions) settings() [][2]string {
	out := [][2]string{
		{"autoinstall_known_extensions", "false"},
		{"autoload_known_extensions", "false"},
		{"allow_community_extensions", "false"},
		{"allow_unsigned_extensions", "false"},
		{"allow_persistent_secrets", "false"},
	}
	add := func(name, value string) {
		if value != "" {
			out = append(out, [2]string{name, value})
		}
	}
	add("memory_limit", o.Memory)
	add("temp_directory", o.Temp)
	add("max_temp_directory_size", o.MaxTemp)
	add("extension_directory", o.Extensions)
	if o.Threads > 0 {
		add("threads", strconv.Itoa(o.Threads))
	}
	return out
}

func (e *engine) close() {
	mapping.Disconnect(&e.conn)
	mapping.Close(&e.db)
}

// lockDown closes what the engine itself can close: files outside of the
// directories, extensions, and every setting. The order is that of the engine:
// the directories are fixed when access is taken away.
func (e *engine) lockDown(ctx context.Context, allowed []string) error {
	quoted := make([]string, len(allowed))
	for i, dir := range allowed {
		quoted[i] = quoteText(strings.TrimSuffix(dir, "/") + "/")
	}
	return e.exec(ctx,
		"SET allowed_directories = ["+strings.Join(quoted, ", ")+"]",
		"SET enable_external_access = false",
		"SET lock_configuration = true")
}

// engineError is what DuckDB said, with its class.
type engineError struct {
	class mapping.ErrorType
	text  string // begins with the class in words: "Catalog Error: …"
}

func (e *engineError) Error() string { return e.text }

// exec runs statements, one in each text, and drops their rows.
func (e *engine) exec(ctx context.Context, statements ...string) error {
	for _, text := range statements {
		if err := e.rows(ctx, text, nil); err != nil {
			return err
		}
	}
	return nil
}

// rows runs one statement and hands each row over: nil, bool, int64, uint64,
// float64 or string, which anything else is made into. The row is good until
// the next.
func (e *engine) rows(ctx context.Context, text string, each func(row []any) error) error {
	s, err := e.prepare(text)
	if err != nil {
		return err
	}
	defer s.close()
	return s.run(ctx, func(b *batch) error {
		if each == nil {
			return nil
		}
		row := make([]any, len(b.columns))
		for i := range b.size {
			for c := range b.columns {
				row[c] = b.columns[c].value(i)
			}
			if err := each(row); err != nil {
				return err
			}
		}
		return nil
	})
}

// one is the first value of the first row; nil when there is none.
func (e *engine) one(ctx context.Context, text string) (value any, err error) {
	found := false
	err = e.rows(ctx, text, func(row []any) error {
		if !found && len(row) > 0 {
			value, found = row[0], true
		}
		return nil
	})
	return value, err
}

// interruptEvery is how often a running statement is told again to stop, since
// the engine forgets it at the start of a statement.
const interruptEvery = 100 * time.Millisecond

// during calls f, which is in the engine, and interrupts it when ctx ends.
func (e *engine) during(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		again := time.NewTicker(interruptEvery)
		defer again.Stop()
		for {
			mapping.Interrupt(e.conn)
			select {
			case <-done:
				return
			case <-again.C:
			}
		}
	}()
	err := f()
	close(done)
	<-stopped // an interrupt that came later would hit the next statement
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

// quoteText and quoteName write a text and a name as SQL.
func quoteText(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
func quoteName(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
