package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/server/auth"
)

const dataTag = "data"

// dataRoutes ask what is attached.
func (a *API) dataRoutes(r *router) {
	route(r, operation{method: http.MethodGet, path: "/api/instances/{name}/catalog", id: "getCatalog", tag: dataTag, role: auth.RoleAnalyst,
		summary: "The tables of an instance"},
		func(ctx context.Context, in *OfInstance) ([]connectors.CatalogTable, error) {
			return a.Catalog(ctx, in.Name)
		})
	route(r, operation{method: http.MethodGet, path: "/api/instances/{name}/profile", id: "profileColumn", tag: dataTag, role: auth.RoleAnalyst,
		summary: "What is in a column"},
		func(ctx context.Context, in *struct {
			OfInstance
			Table  string `query:"table" required:"true" maxLength:"256" doc:"SOURCE.TABLE, or a flat name" example:"shop.orders"`
			Column string `query:"column" required:"true" maxLength:"256" example:"amount"`
		}) (json.RawMessage, error) {
			return a.Profile(ctx, in.Name, by(ctx), in.Table, in.Column)
		})
	query := operation{method: http.MethodPost, tag: dataTag, role: auth.RoleAnalyst,
		endless: true, // the host bounds its time
		summary: "Run a statement that only reads", produces: queryTypes(),
		description: "One SELECT in a sandbox. The rows come as the Accept header says: JSON, CSV, Arrow or Parquet. X-Row-Count and X-Truncated tell what came."}
	query.path, query.id = "/api/instances/{name}/query", "queryInstance"
	routeStream(r, query, func(ctx context.Context, in *struct {
		OfInstance
		QueryInput
	}, w http.ResponseWriter) error {
		return a.writeQuery(ctx, in.Name, in.QueryInput, w)
	})
	query.path, query.id = "/api/query", "query"
	routeStream(r, query, func(ctx context.Context, in *struct {
		QueryInput
		Instance string `query:"instance" maxLength:"128" doc:"which one; not needed where there is but one" example:"acme"`
	}, w http.ResponseWriter) error {
		name, err := a.queried(in.Instance)
		if err != nil {
			return err
		}
		return a.writeQuery(ctx, name, in.QueryInput, w)
	})
}

// queryRows is the answer to a query as JSON.
type queryRows struct {
	Columns   []string `json:"columns" doc:"their names"`
	Types     []string `json:"types" doc:"as DuckDB calls them"`
	Rows      [][]any  `json:"rows"`
	RowCount  int64    `json:"row_count"`
	Truncated bool     `json:"truncated" doc:"there are more rows"`
}

func queryTypes() map[string]any {
	types := map[string]any{}
	for _, name := range contentTypes() {
		types[name] = nil
	}
	types["application/json"] = queryRows{}
	return types
}

type QueryInput struct {
	Accept string `header:"Accept" doc:"the media type of the rows" example:"text/csv"`
	Body   Query
}

// writeQuery answers in the format that Accept names, JSON otherwise.
func (a *API) writeQuery(ctx context.Context, instance string, in QueryInput, w http.ResponseWriter) error {
	q := in.Body
	q.Format, q.User = formatOf(in.Accept), by(ctx)
	rows := &rowsWriter{w: w, json: q.Format == "json"}
	begun := false
	_, err := a.Query(ctx, instance, q, func(res QueryResult) error {
		begun = true
		deadline(w, callTimeout)
		h := w.Header()
		h.Set("Content-Type", contentTypes()[q.Format])
		h.Set("X-Row-Count", strconv.FormatInt(res.Rows, 10))
		h.Set("X-Truncated", strconv.FormatBool(res.Truncated))
		return rows.begin(res)
	}, rows)
	switch {
	case err == nil:
		rows.end()
	case begun: // half of an answer must not look like one
		panic(http.ErrAbortHandler)
	}
	return err
}

// queried is the instance that a query is about: the one that is named, or the
// only one. As long as there is none, the empty name stands for no data at all,
// of which SELECT 1 can be asked as of any other.
func (a *API) queried(name string) (string, error) {
	if name != "" {
		return name, nil
	}
	all := a.cfg.Fleet.Instances()
	if len(all) == 0 {
		return "", nil
	}
	if len(all) > 1 {
		return "", &Error{Status: http.StatusBadRequest, Detail: fmt.Sprintf("query: there are %d instances", len(all)), Hint: "name one: ?instance=NAME"}
	}
	return all[0].Name(), nil
}
