package server

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
)

// Data answers questions over what is attached.
type Data interface {
	// Catalog lists the tables of an instance.
	Catalog(instance string) ([]connectors.CatalogTable, error)
	// Query runs one statement that only reads; for an empty instance, one that
	// needs no data. begin is told of the result
	// before its first byte; nothing is written when there is an error.
	Query(ctx context.Context, instance string, q Query, begin func(QueryResult) error, w io.Writer) (QueryResult, error)
	// Profile tells what is in a column, as JSON.
	Profile(ctx context.Context, instance, user, source, table, column string) (json.RawMessage, error)
}

// Query is one statement that only reads.
type Query struct {
	SQL string `json:"sql" doc:"one SELECT" example:"SELECT * FROM shop.orders"`
	// Limit bounds the rows; 0 is 1,000. Offset leaves out rows before, which is
	// the same from one call to the next only with an ORDER BY.
	Limit  int64 `json:"limit,omitempty" minimum:"0" doc:"rows; 0: 1000"`
	Offset int64 `json:"offset,omitempty" minimum:"0" doc:"rows that are left out before; only with ORDER BY the same each time"`
	// Timeout bounds the statement, in seconds; 0, and what is more, is the host's.
	Timeout float64 `json:"timeout,omitempty" minimum:"0" doc:"seconds; 0, and what is more, is the host's limit"`
	Format  string  `json:"-"` // json, csv, arrow or parquet
	User    string  `json:"-"`
}

// QueryResult is what a query gave, beside its rows.
type QueryResult struct {
	Columns   []connectors.Column
	Rows      int64
	Truncated bool // there are more rows
	Took      time.Duration
}

// defaultRows is the limit of a query that names none.
const defaultRows = 1000

// contentTypes are the formats of results, as Accept and Content-Type name them.
func contentTypes() map[string]string {
	return map[string]string{"json": "application/json", "csv": "text/csv", "arrow": "application/vnd.apache.arrow.stream",
		"parquet": "application/vnd.apache.parquet"}
}

// Catalog lists the tables of an instance.
func (a *API) Catalog(ctx context.Context, instance string) ([]connectors.CatalogTable, error) {
	if err := a.data(ctx, instance); err != nil {
		return nil, err
	}
	list, err := a.cfg.Data.Catalog(instance)
	return orEmpty(list), err
}

// data makes sure that there is an instance whose data can be asked. Where no
// loop runs, the status is what has it attached.
func (a *API) data(ctx context.Context, instance string) error {
	if instance == "" && a.cfg.Data != nil && len(a.cfg.Fleet.Instances()) == 0 {
		return nil
	}
	r, err := a.find(instance)
	if err == nil && a.cfg.Data == nil {
		err = absent("ask data: nobody keeps any here")
	}
	if err == nil && a.cfg.Alone {
		_, err = a.status(ctx, r)
	}
	return err
}

// Query runs one statement and writes its rows.
func (a *API) Query(ctx context.Context, instance string, q Query, begin func(QueryResult) error, w io.Writer) (QueryResult, error) {
	if err := a.data(ctx, instance); err != nil {
		return QueryResult{}, err
	}
	switch {
	case strings.TrimSpace(q.SQL) == "":
		return QueryResult{}, &Error{Status: http.StatusBadRequest, Detail: "query: there is no statement", Hint: `send {"sql": "SELECT …"}`}
	case q.Limit < 0 || q.Offset < 0 || q.Timeout < 0:
		return QueryResult{}, &Error{Status: http.StatusBadRequest, Detail: "query: limit, offset and timeout must not be negative"}
	case q.Limit == 0:
		q.Limit = defaultRows
	}
	began := time.Now()
	res, err := a.cfg.Data.Query(ctx, instance, q, begin, w)
	a.traffic.queried(instance, err, time.Since(began))
	return res, err
}

// Profile tells what is in a column; table is SOURCE.TABLE, or a flat name.
func (a *API) Profile(ctx context.Context, instance, user, table, column string) (json.RawMessage, error) {
	list, err := a.Catalog(ctx, instance)
	if err != nil {
		return nil, err
	}
	for _, t := range list {
		if !strings.EqualFold(t.Source+"."+t.Name, table) && (t.Flat == "" || !strings.EqualFold(t.Flat, table)) {
			continue
		}
		for _, c := range t.Columns {
			if strings.EqualFold(c.Name, column) {
				return a.cfg.Data.Profile(ctx, instance, user, t.Source, t.Name, c.Name)
			}
		}
		return nil, &Error{Status: http.StatusNotFound, Detail: fmt.Sprintf("profile %s: there is no column %s", table, column), Hint: "fairlead tables " + table + " lists them"}
	}
	return nil, &Error{Status: http.StatusNotFound, Detail: "profile " + table + ": there is no such table", Hint: "fairlead tables lists them"}
}

func formatOf(accept string) string {
	for part := range strings.SplitSeq(accept, ",") {
		kind, _, err := mime.ParseMediaType(part)
		for format, name := range contentTypes() {
			if err == nil && kind == name {
				return format
			}
		}
	}
	return "json"
}

// rowsWriter writes the body of an answer. JSON comes as a line a row and goes
// out as one object.
type rowsWriter struct {
	w     http.ResponseWriter
	json  bool
	tail  []byte // of the object, after the rows
	begun bool
	line  bool // a line has been written, so that a comma comes before the next
}

func (r *rowsWriter) begin(res QueryResult) error {
	r.begun = true
	if !r.json {
		return nil
	}
	names, types := []string{}, []string{}
	for _, c := range res.Columns {
		names, types = append(names, c.Name), append(types, c.Type)
	}
	head, err := json.Marshal(map[string]any{"columns": names, "types": types})
	if err != nil {
		return err
	}
	r.tail = fmt.Appendf(nil, `],"row_count":%d,"truncated":%t}`+"\n", res.Rows, res.Truncated)
	_, err = r.w.Write(append(head[:len(head)-1], `,"rows":[`...))
	return err
}

// Write takes whole lines or parts of them: a comma goes where a line begins.
func (r *rowsWriter) Write(p []byte) (int, error) {
	if !r.json {
		return r.w.Write(p)
	}
	out := make([]byte, 0, len(p)+16)
	for _, c := range p {
		switch {
		case c == '\n':
			r.line = true
			continue
		case r.line:
			out, r.line = append(out, ',', '\n'), false
		}
		out = append(out, c)
	}
	_, err := r.w.Write(out)
	return len(p), err
}

func (r *rowsWriter) end() {
	if r.json {
		_, _ = r.w.Write(r.tail) // the client may be gone
	}
}

// Query is API.Query over the socket: begin is told the columns of JSON only.
func (c *Client) Query(ctx context.Context, instance string, q Query, begin func(QueryResult) error, w io.Writer) (QueryResult, error) {
	accept := contentTypes()[q.Format]
	resp, err := c.do(ctx, http.MethodPost, of(instance, "query", nil), accept, q)
	if err != nil {
		return QueryResult{}, err
	}
	defer resp.Body.Close()
	var res QueryResult
	res.Rows, _ = strconv.ParseInt(resp.Header.Get("X-Row-Count"), 10, 64)
	res.Truncated = resp.Header.Get("X-Truncated") == "true"
	if q.Format != "json" {
		if err := begin(res); err != nil {
			return res, err
		}
		_, err = io.Copy(w, resp.Body)
		return res, err
	}
	return res, readRows(resp.Body, &res, begin, w)
}

// readRows turns the object of an answer into the lines that API.Query writes.
func readRows(body io.Reader, res *QueryResult, begin func(QueryResult) error, w io.Writer) error {
	var answer struct {
		Columns []string          `json:"columns"`
		Types   []string          `json:"types"`
		Rows    []json.RawMessage `json:"rows"`
	}
	if err := json.NewDecoder(bufio.NewReader(body)).Decode(&answer); err != nil {
		return fmt.Errorf("read the daemon's answer: %w", err)
	}
	for i, name := range answer.Columns {
		column := connectors.Column{Name: name}
		if i < len(answer.Types) {
			column.Type = answer.Types[i]
		}
		res.Columns = append(res.Columns, column)
	}
	if err := begin(*res); err != nil {
		return err
	}
	for _, row := range answer.Rows {
		if _, err := w.Write(append(row, '\n')); err != nil {
			return err
		}
	}
	return nil
}
