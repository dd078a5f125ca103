package keboola

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/internal/rest"
)

const orderHeader = "\"id\",\"amount\",\"note\"\n"

// in runs a test of a project in a bubble, where time costs nothing.
func in(t *testing.T, test func(t *testing.T, p *project, s *Source)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newProject(t)
		s, end := p.connect()
		defer end()
		test(t, p, s)
	})
}

func run(t *testing.T, s *Source, state json.RawMessage, specs ...connectors.TableSpec) (string, connectors.Report, error) {
	t.Helper()
	dir := t.TempDir()
	report, err := s.Sync(t.Context(), connectors.Job{Dir: dir, Tables: specs, State: state, Now: time.Now()})
	clean(t, string(report.State), fmt.Sprint(err))
	for _, r := range report.Tables {
		clean(t, r.Error, r.Hint, strings.Join(r.Warnings, " "))
		if r.Outcome == connectors.Failed {
			if left, _ := os.ReadDir(dir); len(left) > 0 && len(specs) == 1 {
				t.Errorf("a table that failed left %v", left)
			}
		}
	}
	return dir, report, err
}

func TestTablesAreExportedWholeWithTypes(t *testing.T) {
	in(t, func(t *testing.T, p *project, s *Source) {
		dir, report, err := run(t, s, nil, orderSpec())
		if err != nil {
			t.Fatal(err)
		}
		got := report.Tables[0]
		want := []connectors.Column{{Name: "id", Type: "BIGINT"}, {Name: "amount", Type: "DECIMAL(12,2)"}, {Name: "note", Type: "VARCHAR"}}
		if got.Outcome != connectors.OK || got.Rows != 3 || got.Bytes == 0 || got.Changes || !reflect.DeepEqual(got.Columns, want) || got.PrimaryKey[0] != "id" {
			t.Errorf("came to %+v", got)
		}
		if text := unpacked(t, dir, "orders"); text != orderHeader+p.rows["in.c-shop.orders"] {
			t.Errorf("the file is %q", text)
		}
		if ask := p.asked[0]; ask.ChangedSince != "" || ask.Columns != "id,amount,note" {
			t.Errorf("asked for %+v", ask)
		}
	})
}

func TestSlicesComeInTheirNaturalOrderFromEveryStore(t *testing.T) {
	for _, store := range []string{"s3", "gs", "azure"} {
		t.Run(store, func(t *testing.T) {
			in(t, func(t *testing.T, p *project, s *Source) {
				p.store = store
				want := ""
				for i := range 12 {
					row := fmt.Sprintf("\"%d\",\"1\",\"slice %d\"\n", i, i)
					p.slices["in.c-shop.orders"] = append(p.slices["in.c-shop.orders"], row)
					want += orderHeader + row
				}
				p.tables[0]["rowsCount"] = 12
				dir, report, err := run(t, s, nil, orderSpec())
				if err != nil || report.Tables[0].Outcome != connectors.OK || report.Tables[0].Rows != 12 {
					t.Fatalf("came to %+v, %v", report, err)
				}
				if text := unpacked(t, dir, "orders"); text != want {
					t.Errorf("the slices are\n%s", text)
				}
			})
		})
	}
}

func TestOnlyWhatChangedIsAskedForTheSecondTime(t *testing.T) {
	in(t, func(t *testing.T, p *project, s *Source) {
		spec := orderSpec()
		spec.Strategy = connectors.Incremental
		start := time.Now()
		_, first, err := run(t, s, nil, spec)
		if err != nil || first.Tables[0].Changes {
			t.Fatalf("the first run came to %+v, %v", first, err)
		}
		p.rows["in.c-shop.orders"] = "\"3\",\"7\",\"changed\"\n"
		dir, second, err := run(t, s, first.State, spec)
		if err != nil || !second.Tables[0].Changes || second.Tables[0].Rows != 1 {
			t.Fatalf("the second run came to %+v, %v", second, err)
		}
		since := start.Truncate(time.Second).Add(-time.Hour).Unix()
		if got := p.asked[1].ChangedSince; got != fmt.Sprint(since) {
			t.Errorf("asked for changes since %s, not %d", got, since)
		}
		if text := unpacked(t, dir, "orders"); text != orderHeader+"\"3\",\"7\",\"changed\"\n" {
			t.Errorf("the file is %q", text)
		}
	})
}

func TestWhatCannotBeJoinedIsExportedWhole(t *testing.T) {
	for name, change := range map[string]func(p *project, spec *connectors.TableSpec){
		"another column": func(p *project, _ *connectors.TableSpec) {
			p.tables[0]["columns"] = []string{"id", "amount", "note", "city"}
			p.rows["in.c-shop.orders"] = "\"1\",\"2\",\"3\",\"Brno\"\n"
			p.tables[0]["rowsCount"] = 1
		},
		"another type": func(p *project, _ *connectors.TableSpec) { p.tables[0]["columnMetadata"] = []any{} },
		"another key":  func(_ *project, spec *connectors.TableSpec) { spec.PrimaryKey = []string{"id", "note"} },
		"no key":       func(p *project, _ *connectors.TableSpec) { p.tables[0]["primaryKey"] = []string{} },
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, p *project, s *Source) {
				spec := orderSpec()
				spec.Strategy = connectors.Incremental
				_, first, err := run(t, s, nil, spec)
				if err != nil {
					t.Fatal(err)
				}
				change(p, &spec)
				_, second, err := run(t, s, first.State, spec)
				if err != nil || second.Tables[0].Outcome != connectors.OK || second.Tables[0].Changes || p.asked[1].ChangedSince != "" {
					t.Errorf("came to %+v, %v; asked for %+v", second, err, p.asked[1])
				}
				if said := strings.Join(second.Tables[0].Warnings, "; "); name != "another key" && said == "" {
					t.Error("nothing was said of it")
				}
			})
		})
	}
}

func TestSchemaChangesAreReported(t *testing.T) {
	before := []connectors.Column{{Name: "id", Type: "BIGINT"}, {Name: "old", Type: "DATE"}}
	now := []connectors.Column{{Name: "id", Type: "VARCHAR"}, {Name: "new", Type: "DOUBLE"}}
	want := []string{"schema: column id was BIGINT and is VARCHAR", "schema: column new is new (DOUBLE)", "schema: column old is gone"}
	if got := changes(before, now); !reflect.DeepEqual(got, want) {
		t.Errorf("said %q", got)
	}
	if got := changes(before, before); got != nil {
		t.Errorf("of no change it says %q", got)
	}
}

func TestFiltersAndColumnsArePassedOn(t *testing.T) {
	in(t, func(t *testing.T, p *project, s *Source) {
		spec := orderSpec()
		spec.Columns, spec.Where = []string{"id", "amount", "note"}, `{"column": "amount", "operator": "gt", "values": [40.5], "dataType": "DOUBLE"}`
		if _, report, err := run(t, s, nil, spec); err != nil || report.Tables[0].Outcome != connectors.OK {
			t.Fatalf("came to %+v, %v", report, err)
		}
		want := []filter{{Column: "amount", Operator: "gt", Values: []string{"40.5"}, DataType: "DOUBLE"}}
		if !reflect.DeepEqual(p.asked[0].WhereFilters, want) {
			t.Errorf("asked for %+v", p.asked[0])
		}
	})
}

func TestWrongWishesNameTheFaultAndCostNoExport(t *testing.T) {
	for want, spec := range map[string]connectors.TableSpec{
		"no column nope":          {Name: "a", ID: "in.c-shop.orders", Columns: []string{"nope"}},
		"where: filter 1":         {Name: "a", ID: "in.c-shop.orders", Where: `[{"column":"id","operator":"like","values":["1"]}]`},
		"where: the table has no": {Name: "a", ID: "in.c-shop.orders", Where: `[{"column":"nope","values":["1"]}]`},
		"incremental with where":  {Name: "a", ID: "in.c-shop.orders", Strategy: connectors.Incremental, Where: `[{"column":"id","values":["1"]}]`},
		"has no parts":            {Name: "a", ID: "in.c-shop.orders", Strategy: connectors.Partitioned},
		"not the name of a table": {Name: "a", ID: "../tokens"},
		"404 Not Found":           {Name: "a", ID: "in.c-shop.missing"},
		"named twice":             {Name: "a", ID: "in.c-shop.orders", Columns: []string{"id", "id"}},
		"primary_key: column id":  {Name: "a", ID: "in.c-shop.orders", Columns: []string{"note"}},
	} {
		t.Run(want, func(t *testing.T) {
			in(t, func(t *testing.T, p *project, s *Source) {
				_, report, err := run(t, s, nil, spec)
				if err != nil || report.Tables[0].Outcome != connectors.Failed || !strings.Contains(report.Tables[0].Error, want) {
					t.Errorf("came to %+v, %v", report, err)
				}
				if len(p.asked) > 0 {
					t.Error("it was exported")
				}
			})
		})
	}
}

func TestOneTableFailsAlone(t *testing.T) {
	in(t, func(t *testing.T, _ *project, s *Source) {
		bad := connectors.TableSpec{Name: "gone", ID: "in.c-shop.gone"}
		past := connectors.State{Version: 1, Tables: map[string]connectors.Left{"gone": {Since: 17, Request: "r"}, "dropped": {Since: 1}}}.Encode()
		dir, report, err := run(t, s, past, bad, orderSpec())
		if err != nil || report.Outcome() != connectors.Partial || report.Tables[0].Hint == "" {
			t.Fatalf("came to %+v, %v", report, err)
		}
		if unpacked(t, dir, "orders") == "" {
			t.Error("the good table is not there")
		}
		after, note := readState(report.State)
		if _, kept := after.Tables["dropped"]; kept || note != "" || after.Tables["gone"].Since != 17 || after.Tables["orders"].Since == 0 {
			t.Errorf("the state is %s", report.State)
		}
	})
}

func TestRefusedTokens(t *testing.T) {
	in(t, func(t *testing.T, p *project, s *Source) {
		s.settings.Token = "another"
		_, report, err := run(t, s, nil, orderSpec())
		if err == nil || !strings.Contains(connectors.Hint(err), "Missing/invalid KEBOOLA_STORAGE_TOKEN") || rest.Code(err) != 401 {
			t.Errorf("the error is %v, the hint %q", err, connectors.Hint(err))
		}
		if report.Outcome() != connectors.Failed || report.Tables[0].Hint == "" || len(p.asked) > 0 {
			t.Errorf("came to %+v", report)
		}
		if _, _, err := s.Discover(t.Context(), 10); err == nil {
			t.Error("discovery went on")
		}
		if p.hits[apiHost+"/v2/storage/tokens/verify"] != 2 {
			t.Error("a refusal was tried again")
		}
	})
}

func TestTokenThatMayNotReadATable(t *testing.T) {
	in(t, func(t *testing.T, p *project, s *Source) {
		p.trouble = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/export-async") {
				refuse(w, 403, "You don't have access to the resource. token="+token)
				return true
			}
			return false
		}
		_, report, err := run(t, s, nil, orderSpec())
		if err != nil || report.Tables[0].Outcome != connectors.Failed || !strings.Contains(report.Tables[0].Error, "(sensitive)") || !strings.Contains(report.Tables[0].Hint, "read access") {
			t.Errorf("came to %+v, %v", report, err)
		}
	})
}

func TestTroubleThatPasses(t *testing.T) {
	abort := func(w http.ResponseWriter) { panic(http.ErrAbortHandler) }
	for name, c := range map[string]struct {
		path  string // ends with
		times int
		act   func(w http.ResponseWriter)
		least time.Duration
	}{
		"maintenance":          {"/tokens/verify", 1, func(w http.ResponseWriter) { w.Header().Set("Retry-After", "559"); refuse(w, 503, "maintenance") }, 559 * time.Second},
		"rate limit":           {"/export-async", 2, func(w http.ResponseWriter) { w.Header().Set("Retry-After", "30"); refuse(w, 429, "slow down") }, time.Minute},
		"errors while polling": {"/jobs/22070001", 3, func(w http.ResponseWriter) { refuse(w, 502, "bad gateway") }, 7 * time.Second},
		"cut connection":       {"/files/22070001", 2, abort, 3 * time.Second},
		"download cut in the middle": {"signed.example/in.c-shop.orders", 2, func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "5000")
			_, _ = w.Write(pack(orderHeader)[:20])
		}, 0},
		"gzip cut off": {"signed.example/in.c-shop.orders", 1, func(w http.ResponseWriter) {
			whole := pack(orderHeader + "\"1\",\"2\",\"3\"\n")
			_, _ = w.Write(whole[:len(whole)-9])
		}, 0},
		"expired signature": {"signed.example/in.c-shop.orders", 1, func(w http.ResponseWriter) { refuse(w, 403, "Request has expired "+signing) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, p *project, s *Source) {
				left := c.times
				p.trouble = func(w http.ResponseWriter, r *http.Request) bool {
					if !strings.HasSuffix(r.Host+r.URL.Path, c.path) || left == 0 {
						return false
					}
					left--
					c.act(w)
					return true
				}
				start := time.Now()
				dir, report, err := run(t, s, nil, orderSpec())
				if err != nil || report.Tables[0].Outcome != connectors.OK {
					t.Fatalf("came to %+v, %v", report, err)
				}
				if left > 0 || unpacked(t, dir, "orders") != orderHeader+p.rows["in.c-shop.orders"] {
					t.Errorf("the file is not whole, or there was no trouble (%d)", left)
				}
				if took := time.Since(start); took < c.least || took > c.least+2*time.Minute {
					t.Errorf("took %s", took)
				}
			})
		})
	}
}

func TestTroubleThatStays(t *testing.T) {
	for name, c := range map[string]struct {
		path string
		act  func(w http.ResponseWriter)
		want string
	}{
		"always 500":      {"/export-async", func(w http.ResponseWriter) { refuse(w, 500, "Application error") }, "500 Internal Server Error: Application error"},
		"a wait too long": {"/export-async", func(w http.ResponseWriter) { w.Header().Set("Retry-After", "86400"); refuse(w, 503, "maintenance") }, "left alone for 24h"},
		"HTML instead": {"/export-async", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("<html>"))
		}, "a page of HTML"},
		"redirect": {"/export-async", func(w http.ResponseWriter) { w.Header().Set("Location", "https://evil.example/"); w.WriteHeader(307) }, "redirect"},
		"job fails": {"/jobs/22070001", func(w http.ResponseWriter) {
			reply(w, 200, map[string]any{"id": 1, "status": "error", "error": map[string]any{"message": "table is locked " + token}})
		}, "table is locked (sensitive)"},
		"job of no end": {"/jobs/22070001", func(w http.ResponseWriter) { reply(w, 200, map[string]any{"id": 1, "status": "processing"}) }, "export took longer than 1h0m0s"},
		"truncated always": {"signed.example/in.c-shop.orders", func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "9000")
			_, _ = w.Write(pack(orderHeader))
		}, "EOF"},
		"another header":    {"signed.example/in.c-shop.orders", func(w http.ResponseWriter) { _, _ = w.Write(pack("\"id\",\"note\",\"amount\"\n")) }, "header: the file has columns id,note,amount"},
		"a field too many":  {"signed.example/in.c-shop.orders", func(w http.ResponseWriter) { _, _ = w.Write(pack(orderHeader + "1,2,3,4\n")) }, "4 fields instead of 3"},
		"cut inside quotes": {"signed.example/in.c-shop.orders", func(w http.ResponseWriter) { _, _ = w.Write(pack(orderHeader + "\"1\",\"2\",\"3")) }, "cut off"},
		"rows missing":      {"signed.example/in.c-shop.orders", func(w http.ResponseWriter) { _, _ = w.Write(pack(orderHeader + "1,2,3\n")) }, "the export has 1 rows, the table 3"},
		"never a byte":      {"signed.example/in.c-shop.orders", nil, "signed.example"},
		"refused signature": {"signed.example/in.c-shop.orders", func(w http.ResponseWriter) { refuse(w, 403, signing) }, "403 Forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, p *project, s *Source) {
				p.trouble = func(w http.ResponseWriter, r *http.Request) bool {
					if !strings.HasSuffix(r.Host+r.URL.Path, c.path) {
						return false
					}
					if c.act == nil {
						w.WriteHeader(200)
						_ = http.NewResponseController(w).Flush()
						<-r.Context().Done()
						return true
					}
					c.act(w)
					return true
				}
				_, report, err := run(t, s, nil, orderSpec())
				if err != nil || report.Tables[0].Outcome != connectors.Failed || !strings.Contains(report.Tables[0].Error, c.want) {
					t.Errorf("came to %+v, %v", report, err)
				}
				if p.hits["evil.example/"] > 0 {
					t.Error("a redirect was followed")
				}
			})
		})
	}
}

func TestMissingSliceIsNoticed(t *testing.T) {
	in(t, func(t *testing.T, p *project, s *Source) {
		p.slices["in.c-shop.orders"] = []string{"1,2,3\n", "2,2,2\n"}
		_, report, err := run(t, s, nil, orderSpec())
		if err != nil || !strings.Contains(report.Tables[0].Error, "has 2 rows, the table 3") {
			t.Errorf("came to %+v, %v", report, err)
		}
	})
}

func TestSlicesOfAnotherBucketGetNoCredentials(t *testing.T) {
	for address, store := range map[string]string{"s3://other/k": "s3", "gs://other/k": "gs", "azure://evil.blob.core.windows.net/exp-2/k": "azure",
		"azure://acct.blob.core.windows.net/other/k": "azure", "ftp://x/y": "s3", "http://files.example/k": "s3", "s3://kbc-files": "s3"} {
		in(t, func(t *testing.T, p *project, s *Source) {
			p.store, p.slices["in.c-shop.orders"] = store, []string{"1,2,3\n"}
			p.trouble = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Host == "signed.example" {
					reply(w, 200, map[string]any{"entries": []any{map[string]any{"url": address}}})
					return true
				}
				if r.Host != apiHost {
					t.Errorf("%s: asked at %s%s", address, r.Host, r.URL.Path)
				}
				return false
			}
			_, report, err := run(t, s, nil, orderSpec())
			if err != nil || report.Tables[0].Outcome != connectors.Failed {
				t.Errorf("%s: came to %+v, %v", address, report, err)
			}
		})
	}
}

func TestTableOfNoRows(t *testing.T) {
	in(t, func(t *testing.T, p *project, s *Source) {
		p.slices["in.c-shop.orders"], p.tables[0]["rowsCount"] = []string{}, 0
		dir, report, err := run(t, s, nil, orderSpec())
		if err != nil || report.Tables[0].Outcome != connectors.OK || unpacked(t, dir, "orders") != orderHeader {
			t.Errorf("came to %+v, %v", report, err)
		}
	})
}

func TestLimitOfBytes(t *testing.T) {
	in(t, func(t *testing.T, _ *project, s *Source) {
		s.settings.MaxBytes = 40
		_, report, err := run(t, s, nil, orderSpec())
		if err != nil || !strings.Contains(report.Tables[0].Error, "larger than is allowed") {
			t.Errorf("came to %+v, %v", report, err)
		}
	})
}

func TestEndOfTheRun(t *testing.T) {
	in(t, func(t *testing.T, p *project, s *Source) {
		p.polls = 1 << 30
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errors.New("stopping"))
		defer cancel()
		report, err := s.Sync(ctx, connectors.Job{Dir: t.TempDir(), Tables: []connectors.TableSpec{orderSpec(), {Name: "b", ID: "in.c-shop.b"}}, Now: time.Now()})
		if err == nil || !strings.Contains(err.Error(), "stopping") || len(report.Tables) != 2 || report.Outcome() != connectors.Failed {
			t.Errorf("came to %+v, %v", report, err)
		}
	})
}

func TestDiscover(t *testing.T) {
	in(t, func(t *testing.T, p *project, s *Source) {
		second := orders()
		second["id"], second["metadata"] = "out.c-x.orders", []any{map[string]any{"key": "KBC.description", "value": "all of them"}}
		p.tables = append(p.tables, second)
		found, more, err := s.Discover(t.Context(), 10)
		if err != nil || more || len(found) != 2 || *found[0].Rows != 3 || *found[0].Bytes != 1024 || found[0].Columns[1].Type != "DECIMAL(12,2)" || found[0].PrimaryKey[0] != "id" {
			t.Fatalf("found %+v, %v, %v", found, more, err)
		}
		if found[0].Name != "orders" || found[1].Name != "out_c_x_orders" || found[1].Description != "all of them" {
			t.Errorf("named %s, %s", found[0].Name, found[1].Name)
		}
		if found, more, err := s.Discover(t.Context(), 1); err != nil || !more || len(found) != 1 {
			t.Errorf("of one it found %d, %v, %v", len(found), more, err)
		}
	})
}
