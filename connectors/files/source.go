package files

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/sirupsen/logrus"
)

// state is what was seen of files, by table. It holds nothing secret.
type state struct {
	Version int             `json:"version"`
	Tables  map[string]left `json:"tables"`
}

// left is what a good run left of a table.
type left struct {
	Request string              `json:"request"` // what was asked for
	Columns []connectors.Column `json:"columns"`
	Files   map[string]seen     `json:"files"` // by what is shown of them
}

type seen struct {
	Tag  string `json:"tag,omitempty"`
	Part string `json:"part,omitempty"`
}

// readState never fails: without a state everything is read.
func readState(raw json.RawMessage) (s state, note string) {
	if len(raw) > 0 && string(raw) != "null" {
		if err := json.Unmarshal(raw, &s); err != nil || s.Version != 1 {
			s, note = state{}, "the state of the last run could not be read: everything was read again"
		}
	}
	return s, note
}

// Sync reads tables one after the other. It ends early only when ctx ends.
func (s *Source) Sync(ctx context.Context, job connectors.Job) (connectors.Report, error) {
	defer s.close()
	if job.Log != nil {
		retry := func(err error, after time.Duration) {
			job.Log.WithFields(logrus.Fields{"after": after.Round(time.Millisecond), "cause": err}).Debug("asking for files again")
		}
		s.web.Retry, s.cloud.Retry = retry, retry
	}
	past, note := readState(job.State)
	next := state{Version: 1, Tables: map[string]left{}}
	only, err := s.onlyHost(job.Tables)
	var report connectors.Report
	for _, spec := range job.Tables {
		was, had := past.Tables[spec.Name]
		if had {
			next.Tables[spec.Name] = was
		}
		result, now, problem := connectors.TableResult{}, left{}, err
		if problem == nil {
			result, now, problem = s.table(ctx, job, spec, was, only)
		}
		if problem != nil {
			result = connectors.TableResult{Table: spec.Name, Outcome: connectors.Failed, Error: problem.Error(), Hint: connectors.Hint(problem), Warnings: result.Warnings}
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
		} else {
			next.Tables[spec.Name] = now
		}
		if note != "" {
			result.Warnings = append(result.Warnings, note)
		}
		report.Tables = append(report.Tables, result)
	}
	report.State, _ = json.Marshal(next) // of strings alone: it cannot fail
	return report, err
}

func (s *Source) close() {
	s.web.Close()
	s.cloud.Close()
	s.s3.id.http.Close()
	if s.gs.tokens != nil {
		s.gs.tokens.Close()
	}
}

// find lists the files of a table, each once, in the order of their names.
func (s *Source) find(ctx context.Context, spec connectors.TableSpec, only string, most int) ([]object, error) {
	var found []object
	have := map[string]bool{}
	for _, raw := range pathsOf(spec) {
		p, err := parsePlace(raw)
		if err != nil {
			return nil, err
		}
		from, err := s.storeOf(p, only)
		if err != nil {
			return nil, err
		}
		err = from.list(ctx, p, func(o object) error {
			if have[o.shown] {
				return nil
			}
			if len(found) >= most {
				return tooMany{most}
			}
			have[o.shown] = true
			found = append(found, o)
			return nil
		})
		if err != nil {
			return found, connectors.WithHint(fmt.Errorf("%s: %w", p.shown, err), missingHint(err))
		}
	}
	slices.SortFunc(found, func(a, b object) int { return natural(a.shown, b.shown) })
	return found, nil
}

// tooMany ends a list.
type tooMany struct{ most int }

func (t tooMany) Error() string { return fmt.Sprintf("more than %d files", t.most) }

// request is of all that decides what is read of files, besides what they hold.
func request(spec connectors.TableSpec) string {
	text, _ := json.Marshal([]any{spec.Strategy, spec.PrimaryKey, spec.Columns, pathsOf(spec), spec.Format, spec.Types, spec.Options}) // of strings alone: it cannot fail
	return digest(string(text))
}

func (s *Source) reading(spec connectors.TableSpec, o options) reading {
	return reading{options: o, types: spec.Types, columns: spec.Columns}
}
