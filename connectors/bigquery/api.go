package bigquery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/internal/rest"
)

const (
	maxAnswer = 128 << 20 // a page has 20 MB at most, by the service's own bound
	maxPages  = 1_000_000
	pageRows  = 10_000
)

// number is an int64, which the API writes as a string.
type number int64

func (n *number) UnmarshalJSON(data []byte) error {
	text := string(bytes.Trim(data, `"`))
	if text == "null" || text == "" {
		*n = 0
		return nil
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return errors.New("a number that is none")
	}
	*n = number(v)
	return nil
}

// reference names a table.
type reference struct {
	Project string `json:"projectId"`
	Dataset string `json:"datasetId"`
	Table   string `json:"tableId"`
}

// sql is the name as GoogleSQL has it.
func (r reference) sql() string { return "`" + r.Project + "." + r.Dataset + "." + r.Table + "`" }

// path is the table's below /bigquery/v2.
func (r reference) path() string {
	return "projects/" + r.Project + "/datasets/" + r.Dataset + "/tables/" + r.Table
}

// table is a table as tables.get tells of it.
type table struct {
	Reference    reference `json:"tableReference"`
	Type         string    `json:"type"` // TABLE, VIEW, MATERIALIZED_VIEW, EXTERNAL, SNAPSHOT
	Description  string    `json:"description"`
	Rows         *number   `json:"numRows"`
	Bytes        *number   `json:"numBytes"`
	Modified     string    `json:"lastModifiedTime"`
	Schema       schema    `json:"schema"`
	Partitioning *struct {
		Type  string `json:"type"`
		Field string `json:"field"`
	} `json:"timePartitioning"`
	Range *struct {
		Field string `json:"field"`
	} `json:"rangePartitioning"`
	Constraints struct {
		PrimaryKey struct {
			Columns []string `json:"columns"`
		} `json:"primaryKey"`
	} `json:"tableConstraints"`
}

// stored reports whether rows can be listed without a query.
func (t table) stored() bool { return t.Type == "TABLE" || t.Type == "SNAPSHOT" || t.Type == "CLONE" }

// call asks once more with a fresh token when one is refused that was good before.
func (s *Source) call(ctx context.Context, method, path string, query url.Values, body, out any) error {
	var used string
	ask := func(ctx context.Context) (req *http.Request, err error) {
		var data []byte
		if body != nil {
			if data, err = json.Marshal(body); err != nil {
				return nil, fmt.Errorf("encode request: %w", err)
			}
		}
		u := *s.base
		u.Path, u.RawQuery = s.base.Path+"/bigquery/v2/"+path, query.Encode()
		if req, err = http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(data)); err != nil {
			return nil, err
		}
		if used, err = s.tokens.Get(ctx); err != nil {
			return nil, fmt.Errorf("%w: %w", errAccess, err)
		}
		req.Header.Set("Authorization", "Bearer "+used)
		req.Header.Set("Accept", "application/json")
		req.Header.Set("User-Agent", "fairlead")
		if body != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		return req, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute) // Retry-After may be a quarter of an hour
	defer cancel()
	err := s.http.Do(ctx, ask, rest.JSON(out, maxAnswer))
	if rest.Code(err) == http.StatusUnauthorized {
		s.tokens.Drop(used)
		err = s.http.Do(ctx, ask, rest.JSON(out, maxAnswer))
	}
	return s.explain(err)
}

func (s *Source) get(ctx context.Context, path string, query url.Values, out any) error {
	return s.call(ctx, http.MethodGet, path, query, nil, out)
}

// lookup finds a table by the name that a TableSpec has.
func (s *Source) lookup(ctx context.Context, id string) (t table, err error) {
	ref, err := s.parseID(id)
	if err != nil {
		return t, connectors.WithHint(fmt.Errorf("find table %q: %w", id, err), hintOf("notFound"))
	}
	if err := s.get(ctx, ref.path(), nil, &t); err != nil {
		return t, fmt.Errorf("find table %s: %w", id, err)
	}
	if t.Reference.Table != ref.Table || len(t.Schema.Fields) == 0 {
		return t, fmt.Errorf("find table %s: the answer is of table %q with %d columns", id, rest.Short(t.Reference.Table), len(t.Schema.Fields))
	}
	t.Reference = ref
	return t, nil
}

// parseID reads DATASET.TABLE or PROJECT.DATASET.TABLE; a project of a domain has
// dots of its own.
func (s *Source) parseID(id string) (r reference, err error) {
	parts := strings.Split(id, ".")
	if len(parts) < 2 {
		return r, errors.New("no dataset is named")
	}
	n := len(parts)
	r = reference{Project: strings.Join(parts[:n-2], "."), Dataset: parts[n-2], Table: parts[n-1]}
	if n == 2 {
		r.Project = s.settings.Project
	}
	switch {
	case !validProject(r.Project):
		return r, errors.New("not the name of a project")
	case !word(r.Dataset, "-"):
		return r, errors.New("not the name of a dataset")
	case !validTable(r.Table):
		return r, errors.New("not the name of a table")
	}
	return r, nil
}

// word reports whether a text has only letters of ASCII, digits, _ and others.
func word(s, others string) bool {
	if s == "" || len(s) > 1024 {
		return false
	}
	for _, c := range s {
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune(others, c) {
			return false
		}
	}
	return true
}

func validProject(s string) bool {
	return word(s, "-.:") && len(s) <= 200 && !strings.Contains(s, "..") && strings.Trim(s, ".:") == s
}

// validTable takes what tables are named with (letters of all scripts, marks,
// digits, connectors, dashes and spaces), and not what would leave a path or quotes.
func validTable(s string) bool {
	if s == "" || len(s) > 1024 || strings.ToValidUTF8(s, "") != s {
		return false
	}
	return !strings.ContainsAny(s, "`/\\.$@#?%*:[]\"'") && !strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f })
}

// paged goes through a list whose pages have a token for the next.
func paged(ctx context.Context, ask func(token string) (next string, err error)) error {
	token := ""
	for range maxPages {
		next, err := ask(token)
		if err != nil {
			return err
		}
		if next == "" {
			return nil
		}
		if next == token {
			return errors.New("a page names itself as the next")
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		token = next
	}
	return errors.New("there is no last page")
}
