package keboola

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/internal/rest"
)

const (
	maxAnswer = 16 << 20
	maxList   = 512 << 20 // all tables with all columns and their metadata
	maxTables = 100_000
)

// request makes the question of path, with the token, and with body as JSON when
// there is one.
func (s *Source) request(method, path string, query url.Values, body any) func(context.Context) (*http.Request, error) {
	return func(ctx context.Context) (*http.Request, error) {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		if body == nil {
			data = nil
		}
		u := s.base.JoinPath("v2", "storage", path)
		u.RawQuery = query.Encode()
		req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		req.Header.Set("X-StorageApi-Token", s.settings.Token)
		req.Header.Set("Accept", "application/json")
		req.Header.Set("User-Agent", "fairlead")
		if body != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		return req, nil
	}
}

func (s *Source) get(ctx context.Context, path string, query url.Values, out any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute) // a maintenance may ask for a quarter of an hour
	defer cancel()
	return explain(s.http.Do(ctx, s.request(http.MethodGet, path, query, nil), rest.JSON(out, maxAnswer)))
}

// verify asks whether the token is good before anything else is asked.
func (s *Source) verify(ctx context.Context) error {
	var token struct {
		IsExpired  bool `json:"isExpired"`
		IsDisabled bool `json:"isDisabled"`
	}
	if err := s.get(ctx, "tokens/verify", nil, &token); err != nil {
		return fmt.Errorf("verify token: %w", err)
	}
	if token.IsExpired || token.IsDisabled {
		return connectors.WithHint(fmt.Errorf("verify token: %w: it is disabled or has expired", errToken), tokenHint)
	}
	return nil
}

// tables lists at most limit tables, in the order of the service.
func (s *Source) tables(ctx context.Context, limit int) (found []table, more bool, err error) {
	if limit <= 0 || limit > maxTables {
		limit = maxTables
	}
	query := url.Values{"include": {"buckets,columns,metadata,columnMetadata"}}
	read := func(answer *http.Response) error {
		found, more = nil, false
		dec := json.NewDecoder(rest.Bounded(answer.Body, maxList))
		if start, err := dec.Token(); err != nil {
			return fmt.Errorf("read answer: %w", err)
		} else if start != json.Delim('[') {
			return rest.Permanent(errors.New("the answer is no list of tables"))
		}
		for dec.More() {
			if len(found) == limit {
				more = true
				return nil
			}
			var t table
			if err := dec.Decode(&t); err != nil {
				return fmt.Errorf("read table %d: %w", len(found)+1, err)
			}
			found = append(found, t)
		}
		_, err := dec.Token()
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	err = explain(s.http.Do(ctx, s.request(http.MethodGet, "tables", query, nil), read))
	return found, more, err
}

func (s *Source) table(ctx context.Context, id string) (t table, err error) {
	if !validID(id) {
		return t, connectors.WithHint(fmt.Errorf("find table %q: not the name of a table", id), "Name it as stage.c-bucket.table, as discovery shows it")
	}
	if err := s.get(ctx, "tables/"+id, nil, &t); err != nil {
		return t, fmt.Errorf("find table %s: %w", id, err)
	}
	if t.ID != id || len(t.Columns) == 0 {
		return t, fmt.Errorf("find table %s: the answer is of table %q with %d columns", id, rest.Short(t.ID), len(t.Columns))
	}
	return t, nil
}

// job is an asynchronous task of the service.
type job struct {
	ID          number          `json:"id"`
	Status      string          `json:"status"`
	CreatedTime string          `json:"createdTime"`
	Error       json.RawMessage `json:"error"`
	Results     json.RawMessage `json:"results"`
}

// number is an identifier that comes as a number or as a string of digits.
type number string

func (n *number) UnmarshalJSON(data []byte) error {
	text := string(bytes.Trim(data, `"`))
	if text == "null" {
		text = ""
	}
	if len(text) > 20 {
		return errors.New("an identifier of more than 20 digits")
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return errors.New("an identifier that is no number")
		}
	}
	*n = number(text)
	return nil
}

// exportRequest is what export-async takes.
type exportRequest struct {
	Format       string   `json:"format"`
	FileType     string   `json:"fileType"`
	Gzip         bool     `json:"gzip"`
	Columns      string   `json:"columns"` // separated by commas
	ChangedSince string   `json:"changedSince,omitempty"`
	WhereFilters []filter `json:"whereFilters,omitempty"`
}

// unload has the service write a table into a file, and waits for it. It returns
// the file and when, by the service's clock, the export was asked for.
func (s *Source) unload(ctx context.Context, id string, ask exportRequest) (file number, asked time.Time, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.settings.Timeout, fmt.Errorf("export took longer than %s", s.settings.Timeout))
	defer cancel()
	var j job
	start := s.request(http.MethodPost, "tables/"+id+"/export-async", nil, ask)
	if err := explain(s.http.Do(ctx, start, rest.JSON(&j, maxAnswer))); err != nil {
		return "", asked, fmt.Errorf("start export: %w", err)
	}
	if j.ID == "" {
		return "", asked, errors.New("start export: the answer names no job")
	}
	asked, _ = parseTime(j.CreatedTime)
	if err := s.wait(ctx, &j); err != nil {
		return "", asked, fmt.Errorf("export job %s: %w", j.ID, err)
	}
	var results struct {
		File struct {
			ID number `json:"id"`
		} `json:"file"`
	}
	if err := json.Unmarshal(j.Results, &results); err != nil || results.File.ID == "" {
		return "", asked, fmt.Errorf("export job %s: it names no file", j.ID)
	}
	return results.File.ID, asked, nil
}

// wait polls a job with pauses from one second to twenty.
func (s *Source) wait(ctx context.Context, j *job) error {
	id := j.ID
	for pause := time.Second; ; pause = min(pause*3/2, 20*time.Second) {
		switch j.Status {
		case "success":
			return nil
		case "error", "cancelled", "terminated":
			return s.jobError(*j)
		case "waiting", "processing", "":
		default:
			return fmt.Errorf("unknown status %q", rest.Short(j.Status))
		}
		if err := rest.Sleep(ctx, pause); err != nil {
			return err
		}
		*j = job{}
		if err := s.get(ctx, "jobs/"+string(id), nil, j); err != nil {
			j.ID = id
			return err
		}
		j.ID = id
	}
}

func (s *Source) jobError(j job) error {
	var said struct {
		Message string `json:"message"`
	}
	_ = json.Unmarshal(j.Error, &said) // without one the status has to do
	return fmt.Errorf("ended with status %s: %s", j.Status, s.http.Scrub(rest.Short(said.Message)))
}

// parseTime reads the times of the service: 2017-02-13T12:56:57+0100.
func parseTime(text string) (time.Time, error) {
	if t, err := time.Parse("2006-01-02T15:04:05-0700", text); err == nil {
		return t, nil
	}
	return time.Parse(time.RFC3339, text)
}

// validID reports whether a text may stand in a path as the name of a table.
func validID(id string) bool {
	if id == "" || len(id) > 300 || id == "." || id == ".." {
		return false
	}
	for _, c := range id {
		word := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !word && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
