//go:build cgo

package duck

import (
	"context"
	"errors"
	"fmt"

	bindings "github.com/duckdb/duckdb-go-bindings"
	"github.com/duckdb/duckdb-go/v2/mapping"
)

// errStatements says that a text is not exactly one statement.
var errStatements = errors.New("not one statement")

// statement is one statement that was prepared: read, bound and planned, but
// not run.
type statement struct {
	engine   *engine
	prepared mapping.PreparedStatement
}

// prepare reads exactly one statement. Unlike the driver's PrepareContext it
// never runs those before the last.
func (e *engine) prepare(text string) (*statement, error) {
	var all mapping.ExtractedStatements
	n := mapping.ExtractStatements(e.conn, text, &all)
	defer mapping.DestroyExtracted(&all)
	if n == 0 {
		if message := mapping.ExtractStatementsError(all); message != "" {
			return nil, newError(mapping.ErrorTypeParser, message)
		}
	}
	if n != 1 {
		return nil, fmt.Errorf("%w: %d", errStatements, n)
	}
	s := &statement{engine: e}
	if mapping.PrepareExtractedStatement(e.conn, all, 0, &s.prepared) == mapping.StateError {
		err := readError(mapping.PrepareError(s.prepared))
		mapping.DestroyPrepare(&s.prepared)
		return nil, err
	}
	return s, nil
}

func (s *statement) close() { mapping.DestroyPrepare(&s.prepared) }

func (s *statement) isSelect() bool {
	return mapping.PreparedStatementType(s.prepared) == mapping.StatementTypeSelect
}

func (s *statement) parameters() int { return int(mapping.NParams(s.prepared)) }

// columns are those of the result.
func (s *statement) columns() (names []string, types []kind) {
	for i := range mapping.PreparedStatementColumnCount(s.prepared) {
		names = append(names, mapping.PreparedStatementColumnName(s.prepared, i))
		t := mapping.PreparedStatementColumnLogicalType(s.prepared, i)
		types = append(types, readKind(t))
		mapping.DestroyLogicalType(&t)
	}
	return names, types
}

// errStop ends a run early without an error.
var errStop = errors.New("enough")

// run runs the statement and hands over its rows in batches, while the engine
// makes them: what was handed over before is gone, so that a long result needs
// no more memory than a short one. each returns errStop when it has enough.
func (s *statement) run(ctx context.Context, each func(*batch) error) error {
	err := s.engine.during(ctx, func() error {
		var result mapping.Result
		defer mapping.DestroyResult(&result)
		if err := s.start(&result); err != nil {
			return err
		}
		return s.fetch(ctx, &result, each)
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

func (s *statement) start(result *mapping.Result) error {
	var pending mapping.PendingResult
	if bindings.PendingPreparedStreaming(s.prepared, &pending) == mapping.StateError {
		defer mapping.DestroyPending(&pending)
		return readError(mapping.PendingError(pending))
	}
	defer mapping.DestroyPending(&pending)
	if mapping.ExecutePending(pending, result) == mapping.StateError {
		return resultError(result)
	}
	return nil
}

func (s *statement) fetch(ctx context.Context, result *mapping.Result, each func(*batch) error) error {
	var b batch
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		chunk := mapping.FetchChunk(*result)
		if chunk.Ptr == nil {
			return resultError(result)
		}
		b.read(chunk)
		err := each(&b)
		mapping.DestroyDataChunk(&chunk)
		if err != nil {
			return err
		}
	}
}

// script runs statements one after the other, until one fails. They are our own:
// each is planned once, where preparing and running plans it twice.
func (e *engine) script(ctx context.Context, text string) error {
	return e.during(ctx, func() error {
		var result mapping.Result
		defer mapping.DestroyResult(&result)
		if mapping.Query(e.conn, text, &result) == mapping.StateError {
			return resultError(&result)
		}
		return nil
	})
}

func resultError(result *mapping.Result) error {
	text := mapping.ResultError(result)
	if text == "" {
		return nil
	}
	return newError(mapping.ResultErrorType(result), text)
}
