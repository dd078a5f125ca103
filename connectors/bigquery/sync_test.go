package bigquery

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
)

// in runs a test of a warehouse in a bubble, where time costs nothing.
func in(t *testing.T, settings Settings, test func(t *testing.T, b *warehouse, s *Source)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newWarehouse(t)
		s, end := b.connect(settings)
		defer end()
		test(t, b, s)
	})
}

func try(t *testing.T, s *Source, state json.RawMessage, specs ...connectors.TableSpec) (string, connectors.Report, error) {
	t.Helper()
	dir := t.TempDir()
	report, err := s.Sync(t.Context(), connectors.Job{Dir: dir, Tables: specs, State: state, Now: time.Now()})
	said := []string{fmt.Sprint(err), string(report.State)}
	for _, r := range report.Tables {
		said = append(said, r.Error, r.Hint, strings.Join(r.Warnings, " "))
		if left, _ := filepath.Glob(filepath.Join(dir, r.Table+"*")); r.Outcome == connectors.Failed && len(left) > 0 {
			t.Errorf("table %s failed and left %v", r.Table, left)
		}
	}
	for _, text := range said {
		if strings.Contains(text, bearer) {
			t.Errorf("the token is in %q", text)
		}
	}
	return dir, report, err
}

// one runs a table alone that has to be good.
func one(t *testing.T, s *Source, state json.RawMessage, spec connectors.TableSpec) (string, connectors.TableResult, json.RawMessage) {
	t.Helper()
	dir, report, err := try(t, s, state, spec)
	if err != nil || report.Tables[0].Outcome != connectors.OK {
		t.Fatalf("came to %+v, %v", report.Tables, err)
	}
	return dir, report.Tables[0], report.State
}

func content(t testing.TB, dir, file string) string {
	t.Helper()
	in, err := os.Open(filepath.Join(dir, file+".ndjson.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	zip, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(zip)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

const (
	first  = `{"id":1,"amount":"10.5","note":"a","updated_at":"2026-01-01 00:00:01+00"}` + "\n"
	second = `{"id":2,"amount":"2","note":"two\nlines","updated_at":"2026-01-01 00:00:02+00"}` + "\n"
	third  = `{"id":3,"amount":null,"note":"","updated_at":"2026-01-01 00:00:03+00"}` + "\n"
)

var orders = connectors.TableSpec{Name: "orders", ID: "shop.orders"}

func TestTablesAreListedWholeWithTypes(t *testing.T) {
	in(t, Settings{MaxBytesBilled: 1}, func(t *testing.T, b *warehouse, s *Source) {
		dir, got, _ := one(t, s, nil, orders)
		want := []connectors.Column{{Name: "id", Type: "BIGINT"}, {Name: "amount", Type: "DECIMAL(12,2)"}, {Name: "note", Type: "VARCHAR"}, {Name: "updated_at", Type: "TIMESTAMPTZ"}}
		if got.Rows != 3 || got.Bytes == 0 || got.Changes || !reflect.DeepEqual(got.Columns, want) || got.PrimaryKey[0] != "id" || got.Description != "what was sold" {
			t.Errorf("came to %+v", got)
		}
		if text := content(t, dir, "orders"); text != first+second+third {
			t.Errorf("the file is %q", text)
		}
		spec := orders
		spec.Columns = []string{"note", "id"}
		dir, got, _ = one(t, s, nil, spec)
		if text := content(t, dir, "orders"); text != `{"id":1,"note":"a"}`+"\n"+`{"id":2,"note":"two\nlines"}`+"\n"+`{"id":3,"note":""}`+"\n" || len(got.Columns) != 2 {
			t.Errorf("the file is %q", text)
		}
	})
}

func TestDiscoveryGoesThroughAllPages(t *testing.T) {
	in(t, Settings{}, func(t *testing.T, b *warehouse, s *Source) {
		for i := range 5 {
			b.tables[fmt.Sprintf("set%d.orders", i)] = &stored{meta: map[string]any{"type": "VIEW", "schema": fields(`[{"name": "r", "type": "RECORD", "mode": "REPEATED", "fields": [{"name": "x", "type": "FLOAT"}]}]`)}}
			b.tables[fmt.Sprintf("shop.t%d", i)] = b.tables["shop.orders"]
		}
		found, more, err := s.Discover(t.Context(), 100)
		if err != nil || more || len(found) != 11 {
			t.Fatalf("found %d, %v, %v", len(found), more, err)
		}
		view, table := found[0], found[5]
		if view.ID != "set0.orders" || view.Rows != nil || view.Columns[0].Type != `STRUCT("x" DOUBLE)[]` {
			t.Errorf("a view is %+v", view)
		}
		if table.ID != "shop.orders" || table.Name != "shop_orders" || *table.Rows != 3 || *table.Bytes != 1024 || table.PrimaryKey[0] != "id" {
			t.Errorf("a table is %+v", table)
		}
		if found, more, err := s.Discover(t.Context(), 3); err != nil || !more || len(found) != 3 {
			t.Errorf("found %d, %v, %v", len(found), more, err)
		}
	})
}

func TestViewsAndFiltersAreQueried(t *testing.T) {
	in(t, Settings{MaxBytesBilled: 5000}, func(t *testing.T, b *warehouse, s *Source) {
		b.location = "europe-west3" // jobs there are found only with their location
		b.answer = func(sql string, _ map[string]string) outcome {
			if sql != "SELECT `id`, `amount`, `note`, `updated_at` FROM `acme-data.shop.orders` WHERE (\namount > 1\n)" {
				t.Errorf("asked %q", sql)
			}
			return outcome{schema: plainFields, rows: b.tables["shop.orders"].rows[:2], bytes: 4096}
		}
		spec := orders
		spec.Where = "amount > 1"
		dir, got, _ := one(t, s, nil, spec)
		if text := content(t, dir, "orders"); text != first+second || got.Columns[1].Type != "DECIMAL(12,2)" {
			t.Errorf("came to %+v: %q", got, text)
		}
		if b.dry != 1 || len(b.ran) != 1 || b.ran[0].MaximumBytesBilled != "5000" {
			t.Errorf("%d dry runs, then %+v", b.dry, b.ran)
		}
	})
}

func TestQueriesAreMaterializedWithinTheirBound(t *testing.T) {
	in(t, Settings{MaxBytesBilled: 1 << 30}, func(t *testing.T, b *warehouse, s *Source) {
		cost := int64(3 << 30)
		b.answer = func(string, map[string]string) outcome {
			return outcome{schema: `[{"name": "n", "type": "INTEGER"}]`, rows: []string{`{"f":[{"v":"7"}]}`}, bytes: cost}
		}
		spec := connectors.TableSpec{Name: "sums", Query: "SELECT COUNT(*) AS n FROM shop.orders", QueryMode: desired.QueryMaterialized}
		_, report, err := try(t, s, nil, spec)
		if err != nil || report.Tables[0].Error != "plan table sums: query: the query would read 3221225472 bytes (3.0 GiB), and max_bytes_billed is 1073741824 (1.0 GiB)" || !strings.Contains(report.Tables[0].Hint, "max_bytes_billed") || len(b.ran) > 0 {
			t.Errorf("came to %+v, %v", report, err)
		}
		cost = 10
		dir, got, _ := one(t, s, nil, spec)
		if text := content(t, dir, "sums"); text != `{"n":7}`+"\n" || got.Columns[0].Type != "BIGINT" {
			t.Errorf("came to %+v: %q", got, text)
		}
	})
}

func TestOnlyWhatIsNewIsAskedForTheSecondTime(t *testing.T) {
	in(t, Settings{}, func(t *testing.T, b *warehouse, s *Source) {
		spec := orders
		spec.Strategy, spec.Options = connectors.Incremental, map[string]string{"cursor": "updated_at", "overlap": "1s"}
		_, got, state := one(t, s, nil, spec)
		if got.Changes || got.Rows != 3 || len(b.ran) > 0 {
			t.Fatalf("the first run came to %+v", got)
		}
		since := ""
		b.answer = func(sql string, params map[string]string) outcome {
			if since = params["since"]; !strings.HasSuffix(sql, "WHERE (`updated_at` >= @since OR `updated_at` IS NULL)") {
				t.Errorf("asked %q", sql)
			}
			return outcome{schema: plainFields, rows: []string{orderRow(2, "2", "b"), orderRow(3, "3", "c"), orderRow(9, "9", "new")}}
		}
		dir, got, state := one(t, s, state, spec)
		if !got.Changes || got.Rows != 3 || since != "TIMESTAMP 2026-01-01 00:00:02+00:00" || !strings.Contains(content(t, dir, "orders"), `"id":9`) {
			t.Errorf("the second run came to %+v since %s", got, since)
		}
		b.answer = func(string, map[string]string) outcome { return outcome{schema: plainFields} }
		_, got, state = one(t, s, state, spec)
		if since = ""; got.Changes || got.Rows != 3 || !strings.Contains(strings.Join(got.Warnings, ""), "less than it was") {
			t.Errorf("after a reload came %+v", got)
		}
		b.tables["shop.orders"].meta["schema"] = fields(strings.Replace(orderFields, `"note", "type": "STRING"`, `"note", "type": "BYTES"`, 1))
		b.tables["shop.orders"].rows = nil
		_, got, _ = one(t, s, state, spec)
		if got.Changes || !slices.Contains(got.Warnings, "schema: column note was VARCHAR and is BLOB") {
			t.Errorf("after a change of type came %+v", got)
		}
	})
}

func TestOnlyPartitionsThatWereModifiedAreReadAgain(t *testing.T) {
	in(t, Settings{}, func(t *testing.T, b *warehouse, s *Source) {
		days := &stored{meta: map[string]any{"type": "TABLE", "schema": fields(orderFields), "timePartitioning": map[string]any{"type": "DAY"}},
			parts:    map[string][]string{"20260101": {orderRow(1, "1", "a"), orderRow(2, "1", "b"), orderRow(3, "1", "c")}, "20260102": {orderRow(4, "1", "d")}, "__NULL__": {}, "__UNPARTITIONED__": {orderRow(5, "1", "late")}},
			modified: map[string]int{"20260101": 1, "20260102": 1, "__NULL__": 1, "__UNPARTITIONED__": 1}}
		b.tables["shop.days"] = days
		b.answer = func(sql string, params map[string]string) outcome {
			if !strings.Contains(sql, "FROM `acme-data.shop`.INFORMATION_SCHEMA.PARTITIONS") || params["table"] != "STRING days" {
				t.Errorf("asked %q of %v", sql, params)
			}
			out := outcome{schema: `[{"name": "partition_id", "type": "STRING"}, {"name": "version", "type": "STRING"}]`}
			for id, version := range days.modified {
				out.rows = append(out.rows, fmt.Sprintf(`{"f": [{"v": %q}, {"v": "%d %d"}]}`, id, version, len(days.parts[id])))
			}
			return out
		}
		spec := connectors.TableSpec{Name: "days", ID: "shop.days", Strategy: connectors.Partitioned}
		dir, got, state := one(t, s, nil, spec)
		if got.Changes || got.Rows != 5 || len(got.Parts) > 0 || !exists(dir, "days/unpartitioned.ndjson.gz") || strings.Count(content(t, dir, "days/20260101"), "\n") != 3 || content(t, dir, "days/null") != "" {
			t.Fatalf("the first run came to %+v", got)
		}
		if dir, got, _ := one(t, s, state, spec); !got.Changes || got.Rows != 0 || len(got.Parts) > 0 || exists(dir, "days") {
			t.Errorf("where nothing changed came %+v", got)
		}
		days.parts["20260103"], days.modified["20260103"] = []string{orderRow(5, "1", "e")}, 2
		days.modified["20260101"] = 2
		delete(days.modified, "20260102")
		dir, got, _ = one(t, s, state, spec)
		if !got.Changes || !slices.Equal(got.Parts, []string{"20260101", "20260103"}) || !slices.Equal(got.Gone, []string{"20260102"}) || exists(dir, "days/20260102.ndjson.gz") {
			t.Errorf("came to %+v", got)
		}
		clear(days.modified)
		if dir, got, _ = one(t, s, state, spec); got.Changes || got.Rows != 0 || !exists(dir, "days/null.ndjson.gz") {
			t.Errorf("an empty table came to %+v", got)
		}
	})
}

func exists(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return err == nil
}

func TestRemoteTablesStayThere(t *testing.T) {
	in(t, Settings{}, func(t *testing.T, b *warehouse, s *Source) {
		spec := orders
		spec.QueryMode = desired.QueryRemote
		dir, report, err := try(t, s, nil, spec)
		if err != nil || len(report.Remotes) != 1 || report.Remotes[0].URL != "project=acme-data" || report.Remotes[0].Extension != "bigquery" || !connectors.ValidName(report.Remotes[0].Alias) {
			t.Fatalf("came to %+v, %v", report, err)
		}
		if got := report.Tables[0]; *got.Remote != (connectors.RemoteTable{Alias: report.Remotes[0].Alias, Schema: "shop", Table: "orders"}) || got.Rows != 3 || len(got.Columns) != 4 || exists(dir, "orders.ndjson.gz") {
			t.Errorf("came to %+v", got)
		}
		b.tables["shop.orders"].meta["type"] = "VIEW"
		if _, report, _ := try(t, s, nil, spec); report.Tables[0].Outcome != connectors.Failed || !strings.Contains(report.Tables[0].Hint, "materialized") {
			t.Errorf("a view came to %+v", report)
		}
	})
}

// TestTroubleOnTheWayIsOutlasted: each kind of it comes once, at every kind of call.
func TestTroubleOnTheWayIsOutlasted(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter){
		"cut": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"cut off": func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte(`{"rows": [`))
		},
		"429": func(w http.ResponseWriter) { w.Header().Set("Retry-After", "30"); w.WriteHeader(429) },
		"503": func(w http.ResponseWriter) { refuse(w, 503, "backendError", "Visibility check was unavailable.") },
		"500": func(w http.ResponseWriter) { refuse(w, 500, "internalError", "An internal error occurred") },
		"rate": func(w http.ResponseWriter) {
			refuse(w, 403, "rateLimitExceeded", "Exceeded rate limits: too many API requests per user")
		},
		"quota": func(w http.ResponseWriter) { refuse(w, 403, "quotaExceeded", "Quota exceeded: concurrent queries") },
		"old token": func(w http.ResponseWriter) {
			refuse(w, 401, "authError", "Request had invalid authentication credentials")
		},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, Settings{}, func(t *testing.T, b *warehouse, s *Source) {
				b.answer = func(string, map[string]string) outcome {
					return outcome{schema: plainFields, rows: b.tables["shop.orders"].rows}
				}
				seen := map[string]bool{}
				b.trouble = func(w http.ResponseWriter, r *http.Request) bool {
					kind, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/bigquery/v2/projects/acme-data/"), "fairlead_")
					key := r.Method + kind + r.URL.Query().Get("pageToken")
					if seen[key] {
						return false
					}
					seen[key] = true
					answer(w)
					return true
				}
				whole, filtered := orders, orders
				filtered.Name, filtered.Where = "filtered", "true"
				dir, report, err := try(t, s, nil, whole, filtered)
				if err != nil || report.Outcome() != connectors.OK || content(t, dir, "orders") != first+second+third || content(t, dir, "filtered") != first+second+third {
					t.Errorf("came to %+v, %v", report, err)
				}
				if len(b.jobs) != 1 {
					t.Errorf("%d jobs ran", len(b.jobs))
				}
			})
		})
	}
}

// TestAStartWhoseAnswerIsLostIsOneJob: the job was started, and the second start
// is told so.
func TestAStartWhoseAnswerIsLostIsOneJob(t *testing.T) {
	in(t, Settings{}, func(t *testing.T, b *warehouse, s *Source) {
		b.answer = func(string, map[string]string) outcome {
			return outcome{schema: plainFields, rows: b.tables["shop.orders"].rows}
		}
		starts := 0
		b.trouble = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == "POST" {
				if starts++; starts == 2 { // the first is the dry run
					b.insert(blind{w}, r)
					panic(http.ErrAbortHandler)
				}
			}
			return false
		}
		spec := orders
		spec.Where = "true"
		if _, got, _ := one(t, s, nil, spec); got.Rows != 3 || len(b.ran) != 1 || starts != 3 {
			t.Errorf("came to %+v after %d starts of %d jobs", got, starts, len(b.ran))
		}
	})
}

// blind throws an answer away.
type blind struct{ http.ResponseWriter }

func (blind) Write(p []byte) (int, error) { return len(p), nil }
func (blind) WriteHeader(int)             {}

func TestJobsThatFailAreRunAgainOrExplained(t *testing.T) {
	for reason, c := range map[string]struct {
		runs int
		hint string
	}{"backendError": {3, ""}, "accessDenied": {1, "dataViewer"}, "resourcesExceeded": {1, "simpler"}, "responseTooLarge": {1, "larger"}, "stopped": {1, "cancelled"}} {
		t.Run(reason, func(t *testing.T) {
			in(t, Settings{}, func(t *testing.T, b *warehouse, s *Source) {
				b.answer = func(string, map[string]string) outcome {
					return outcome{schema: plainFields, fails: &jobError{reason, "it went wrong"}}
				}
				spec := orders
				spec.Where = "true"
				_, report, err := try(t, s, nil, spec)
				got := report.Tables[0]
				if err != nil || got.Outcome != connectors.Failed || !strings.Contains(got.Error, "it went wrong ("+reason+")") || !strings.Contains(got.Hint, c.hint) || len(b.ran) != c.runs {
					t.Errorf("came to %+v, %v after %d runs", got, err, len(b.ran))
				}
			})
		})
	}
}

func TestWhatFailsFailsAloneAndIsSaidWithWhatToDo(t *testing.T) {
	for name, c := range map[string]struct {
		spec   connectors.TableSpec
		damage func(b *warehouse)
		want   string
		hint   string
	}{
		"no table":     {spec: connectors.TableSpec{ID: "shop.none"}, want: "Not found: Table", hint: "dataset.table"},
		"project":      {spec: connectors.TableSpec{ID: "other-project.shop.orders"}, want: "Access Denied", hint: "dataViewer"},
		"name":         {spec: connectors.TableSpec{ID: "shop.`orders"}, want: "not the name of a table"},
		"path":         {spec: connectors.TableSpec{ID: "shop.../../x"}, want: "not the name of"},
		"no dataset":   {spec: connectors.TableSpec{ID: "orders"}, want: "no dataset"},
		"column":       {spec: connectors.TableSpec{ID: "shop.orders", Columns: []string{"nope"}}, want: "there is no nope", hint: "There are id"},
		"where":        {spec: connectors.TableSpec{ID: "shop.orders", Where: "bad"}, want: "Unrecognized name: bad", hint: "GoogleSQL"},
		"semicolon":    {spec: connectors.TableSpec{ID: "shop.orders", Where: "true; DROP TABLE x"}, want: "without ;"},
		"script":       {spec: connectors.TableSpec{Query: "script"}, want: "it is SCRIPT, not one SELECT"},
		"query where":  {spec: connectors.TableSpec{Query: "SELECT 1", Where: "true"}, want: "a query has no where"},
		"no query":     {spec: connectors.TableSpec{ID: "shop.orders", QueryMode: desired.QueryMaterialized}, want: "query: is missing"},
		"no cursor":    {spec: connectors.TableSpec{ID: "shop.orders", Strategy: connectors.Incremental}, want: "cursor is missing", hint: "updated_at"},
		"text cursor":  {spec: connectors.TableSpec{ID: "shop.orders", Strategy: connectors.Incremental, Options: map[string]string{"cursor": "note"}}, want: "is no column"},
		"no partition": {spec: connectors.TableSpec{ID: "shop.orders", Strategy: connectors.Partitioned}, want: "no partitions"},
		"strategy":     {spec: connectors.TableSpec{ID: "shop.orders", Strategy: "half"}, want: "must be full"},
		"a row short": {spec: orders, want: "row 1: a row has 3 fields instead of 4", damage: func(b *warehouse) {
			b.tables["shop.orders"].rows[0] = `{"f": [{"v": "1"}, {"v": "1"}, {"v": "x"}]}`
		}},
		"a value": {spec: orders, want: "column id: a value of INTEGER", damage: func(b *warehouse) {
			b.tables["shop.orders"].rows[0] = `{"f": [{"v": "one"}, {"v": "1"}, {"v": "x"}, {"v": "1"}]}`
		}},
		"a page missing": {spec: orders, want: "1 of 3 rows came", damage: func(b *warehouse) {
			b.trouble = func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "/orders/data") && b.hits["GET "+r.URL.Path] == 1 {
					reply(w, map[string]any{"totalRows": "3", "rows": []json.RawMessage{json.RawMessage(orderRow(1, "1", "x"))}})
					return true
				}
				return false
			}
		}},
		"another schema": {spec: connectors.TableSpec{ID: "shop.orders", Where: "changed"}, want: "changed while it was read"},
		"html": {spec: orders, want: "HTML", damage: func(b *warehouse) {
			b.trouble = func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasSuffix(r.URL.Path, "/orders/data") && b.hits["GET "+r.URL.Path] == 1 {
					w.Header().Set("Content-Type", "text/html")
					return true
				}
				return false
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, Settings{}, func(t *testing.T, b *warehouse, s *Source) {
				b.answer = func(sql string, _ map[string]string) outcome {
					switch {
					case strings.Contains(sql, "bad"):
						return outcome{invalid: "Unrecognized name: bad at [1:2]"}
					case sql == "script":
						return outcome{statement: "SCRIPT", schema: "[]"}
					}
					return outcome{schema: `[{"name": "other", "type": "STRING"}]`}
				}
				b.tables["shop.good"] = &stored{meta: b.tables["shop.orders"].meta, rows: slices.Clone(b.tables["shop.orders"].rows)}
				if c.damage != nil {
					c.damage(b)
				}
				c.spec.Name = "x"
				_, report, err := try(t, s, nil, c.spec, connectors.TableSpec{Name: "good", ID: "shop.good"})
				got := report.Tables[0]
				if err != nil || got.Outcome != connectors.Failed || !strings.Contains(got.Error, c.want) || !strings.Contains(got.Hint, c.hint) {
					t.Errorf("came to %+v, %v", got, err)
				}
				if report.Tables[1].Rows != 3 {
					t.Errorf("the other came to %+v", report.Tables[1])
				}
			})
		})
	}
}

func TestAnAccountThatIsRefusedEndsTheRun(t *testing.T) {
	in(t, Settings{}, func(t *testing.T, b *warehouse, s *Source) {
		b.trouble = func(w http.ResponseWriter, r *http.Request) bool {
			refuse(w, 401, "authError", "Invalid credentials "+r.Header.Get("Authorization"))
			return true
		}
		_, report, err := try(t, s, nil, orders, orders)
		if !errors.Is(err, errAccess) || !strings.Contains(connectors.Hint(err), "reader@acme-data") || report.Outcome() != connectors.Failed || len(b.hits) != 1 {
			t.Errorf("came to %+v, %v (%s)", report, err, connectors.Hint(err))
		}
	})
}

func TestARunThatIsCancelledCancelsItsJob(t *testing.T) {
	in(t, Settings{}, func(t *testing.T, b *warehouse, s *Source) {
		b.polls = 1 << 30
		b.answer = func(string, map[string]string) outcome { return outcome{schema: plainFields} }
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("the daemon stops")
		time.AfterFunc(time.Minute, func() { cancel(stop) })
		spec := orders
		spec.Where = "true"
		report, err := s.Sync(ctx, connectors.Job{Dir: t.TempDir(), Tables: []connectors.TableSpec{spec, orders}})
		if !errors.Is(err, stop) || report.Outcome() != connectors.Failed || len(b.cancelled) != 1 || b.jobs[b.cancelled[0]] == nil {
			t.Errorf("came to %+v, %v; cancelled %v", report, err, b.cancelled)
		}
	})
	in(t, Settings{Timeout: time.Minute}, func(t *testing.T, b *warehouse, s *Source) {
		b.polls = 1 << 30
		b.answer = func(string, map[string]string) outcome { return outcome{schema: plainFields} }
		spec := orders
		spec.Where = "true"
		_, report, err := try(t, s, nil, spec)
		if err != nil || !strings.Contains(report.Tables[0].Error, "longer than 1m0s") || len(b.cancelled) != 1 {
			t.Errorf("came to %+v, %v; cancelled %v", report, err, b.cancelled)
		}
	})
}
