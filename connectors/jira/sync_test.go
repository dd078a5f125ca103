package jira

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/connectors"
)

var all_ = []string{"issues", "comments", "changelog", "worklogs", "links", "fields", "users"}

// both runs a test of Cloud and of Data Center, each in a bubble.
func both(t *testing.T, test func(t *testing.T, k *tracker, s *Source)) {
	t.Helper()
	for _, cloud := range []bool{true, false} {
		t.Run(map[bool]string{true: "Cloud", false: "Data Center"}[cloud], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newTracker(t, cloud)
				s, end := k.connect()
				defer end()
				time.Sleep(time.Until(time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)))
				test(t, k, s)
			})
		})
	}
}

func sync_(t *testing.T, s *Source, state json.RawMessage, specs ...connectors.TableSpec) (string, connectors.Report, error) {
	t.Helper()
	dir := t.TempDir()
	report, err := s.Sync(t.Context(), connectors.Job{Dir: dir, Tables: specs, State: state, Now: time.Now()})
	clean(t, string(report.State), fmt.Sprint(err))
	for _, r := range report.Tables {
		clean(t, r.Error, r.Hint)
		if left, _ := os.ReadDir(dir); r.Outcome == connectors.Failed && len(specs) == 1 && len(left) > 0 {
			t.Errorf("a table that failed left %v", left)
		}
	}
	return dir, report, err
}

func keys(rows []object, name string) (out []string) {
	for _, r := range rows {
		out = append(out, fmt.Sprint(r[name]))
	}
	return out
}

func TestWholeTablesWithAllThatIsPaged(t *testing.T) {
	both(t, func(t *testing.T, k *tracker, s *Source) {
		k.issues[7].more = object{"customfield_10016": 5, "customfield_10030": object{"value": "many"}, "customfield_10031": "own",
			"issuelinks":  []any{object{"id": "1", "type": object{"name": "Blocks", "inward": "is blocked by", "outward": "blocks"}, "outwardIssue": object{"id": "10001", "key": "SHOP-1"}}},
			"description": object{"type": "doc", "content": []any{object{"type": "paragraph", "content": []any{object{"type": "text", "text": "Hello"}}}}}}
		for i := range 450 {
			k.users = append(k.users, object{"accountId": fmt.Sprint("u", i), "displayName": "User", "active": true})
		}
		var specs []connectors.TableSpec
		for _, id := range all_ {
			specs = append(specs, spec(id, connectors.Full))
		}
		dir, report, err := sync_(t, s, nil, specs...)
		if err != nil || report.Outcome() != connectors.OK {
			t.Fatalf("came to %+v, %v", report, err)
		}
		for i, want := range []int64{8, 28, 2 * (0 + 1 + 2 + 3 + 4 + 0 + 1 + 2), 4, 1, 5, 450} {
			if got := report.Tables[i]; got.Rows != want || got.Bytes == 0 || got.Changes {
				t.Errorf("%s has %d rows, not %d", got.Table, got.Rows, want)
			}
		}
		last := lines(t, dir, "jira_issues")["jira_issues"][7]
		wanted := object{"id": "10008", "key": "SHOP-8", "story_points": 5.0, "story_points_10030": "many", "status": "Open", "status_10031": "own", "description": "Hello",
			"created": "2026-03-17T12:00:00.000", "assignee_id": "712020:jan", "spent_seconds": 3600.0, "labels": []any{"a<b"}, "components": []any{"cart"}, "due": nil}
		for name, want := range wanted {
			if got := last[name]; !reflect.DeepEqual(got, want) {
				t.Errorf("%s is %v, not %v", name, got, want)
			}
		}
		comments := lines(t, dir, "jira_comments")["jira_comments"]
		if got := comments[len(comments)-1]; got["body"] != "comment 6" || got["issue_key"] != "SHOP-8" || got["created"] != "2026-01-11T09:00:00.000" {
			t.Errorf("the last comment is %v", got)
		}
		if got := lines(t, dir, "jira_links")["jira_links"][0]; got["direction"] != "outward" || got["relation"] != "blocks" || got["other_key"] != "SHOP-1" {
			t.Errorf("the link is %v", got)
		}
		if len(k.jqls) > 5 {
			t.Errorf("the tables did not share a walk: %d searches", len(k.jqls))
		}
	})
}

func TestChangesAreAskedForInTheZoneOfTheUser(t *testing.T) {
	for _, zone := range []string{"America/Los_Angeles", "Pacific/Kiritimati", "UTC", "", "Mars/Olympus"} {
		t.Run("zone "+zone, func(t *testing.T) {
			both(t, func(t *testing.T, k *tracker, s *Source) {
				k.zone = zone
				_, first, err := sync_(t, s, nil, spec("issues", connectors.Incremental))
				if err != nil || first.Tables[0].Changes || first.Tables[0].Rows != 8 {
					t.Fatalf("the first run came to %+v, %v", first, err)
				}
				time.Sleep(5 * time.Minute)
				k.issues[2].updated = time.Now()
				k.issues[5].updated = time.Now().Add(-15 * time.Minute) // before the first run, which the index did not show
				time.Sleep(time.Hour)
				dir, second, err := sync_(t, s, first.State, spec("issues", connectors.Incremental))
				if err != nil || !second.Tables[0].Changes {
					t.Fatalf("the second run came to %+v, %v", second, err)
				}
				if got := keys(lines(t, dir, "jira_issues")["jira_issues"], "key"); !slices.Equal(got, []string{"SHOP-3", "SHOP-6"}) {
					t.Errorf("changed were %v, asked for %s", got, k.jqls[len(k.jqls)-1])
				}
				if known := zoneNamed(zone) != nil; known == (len(second.Tables[0].Warnings) > 0) {
					t.Errorf("of the zone it says %q", second.Tables[0].Warnings)
				}
			})
		})
	}
}

func TestClockThatIsPutBack(t *testing.T) {
	zone := zoneNamed("Europe/Prague")
	at := &site{zone: zone}
	for _, c := range [][2]string{
		{"2026-10-25T00:30:00Z", "2026-10-25 01:30"}, // 02:30 summer time, which comes twice
		{"2026-10-25T01:30:00Z", "2026-10-25 01:30"}, // 02:30 winter time
		{"2026-10-25T03:30:00Z", "2026-10-25 04:30"},
		{"2026-07-01T10:00:00Z", "2026-07-01 12:00"},
	} {
		instant, err := time.Parse(time.RFC3339, c[0])
		if err != nil {
			t.Fatal(err)
		}
		got := at.wall(instant)
		read, err := time.ParseInLocation("2006-01-02 15:04", got, zone)
		if err != nil || read.After(instant) || got > c[1] {
			t.Errorf("%s is written %s, which may be read as %s", c[0], got, read)
		}
	}
	now := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	for hours := -12; hours <= 14; hours++ {
		read, err := time.ParseInLocation("2006-01-02 15:04", (&site{}).wall(now), time.FixedZone("unknown", hours*3600))
		if err != nil || read.After(now) {
			t.Errorf("in a zone of %d hours it is read as %s", hours, read)
		}
	}
}

func TestPartsOfAMonth(t *testing.T) {
	both(t, func(t *testing.T, k *tracker, s *Source) {
		k.issues[3].created = time.Date(2026, 1, 31, 23, 30, 0, 0, time.UTC) // February in Prague
		specs := []connectors.TableSpec{spec("issues", connectors.Partitioned), spec("comments", connectors.Partitioned)}
		dir, first, err := sync_(t, s, nil, specs...)
		if err != nil || first.Outcome() != connectors.OK || first.Tables[0].Changes || first.Tables[0].Parts != nil {
			t.Fatalf("the first run came to %+v, %v", first, err)
		}
		parts := lines(t, dir, "jira_issues")
		if got := keys(parts["2026-01"], "key"); len(parts) != 3 || !slices.Equal(got, []string{"SHOP-1", "SHOP-2", "SHOP-3", "SHOP-4"}) {
			t.Fatalf("the parts are %v", parts)
		}
		time.Sleep(time.Hour)
		k.issues[1].updated = time.Now()
		k.issues[3].comments = 1                 // one was deleted
		k.issues = slices.Delete(k.issues, 0, 1) // and so was an issue
		time.Sleep(time.Hour)
		dir, second, err := sync_(t, s, first.State, specs...)
		if err != nil || !second.Tables[0].Changes || !slices.Equal(second.Tables[0].Parts, []string{"2026-01"}) {
			t.Fatalf("the second run came to %+v, %v", second, err)
		}
		if got := keys(lines(t, dir, "jira_issues")["2026-01"], "key"); !slices.Equal(got, []string{"SHOP-2", "SHOP-3", "SHOP-4"}) {
			t.Errorf("the part has %v", got)
		}
		if got := lines(t, dir, "jira_comments")["2026-01"]; len(got) != 1+2+1 {
			t.Errorf("the comments are %v", got)
		}
		time.Sleep(time.Hour)
		_, third, err := sync_(t, s, second.State, specs...)
		if err != nil || third.Outcome() != connectors.OK || !third.Tables[0].Changes || len(third.Tables[0].Parts) != 0 {
			t.Errorf("of nothing new came %+v, %v", third, err)
		}
	})
}

func TestMonthsThatAreWholeAreKept(t *testing.T) {
	both(t, func(t *testing.T, k *tracker, s *Source) {
		k.trouble = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/10008/comment") {
				refuse(w, 500, "Internal server error")
				return true
			}
			return false
		}
		dir, report, err := sync_(t, s, nil, spec("comments", connectors.Partitioned))
		got := report.Tables[0]
		if err != nil || got.Outcome != connectors.Partial || !slices.Equal(got.Parts, []string{"2026-01", "2026-02"}) || !got.Changes || got.Error == "" {
			t.Fatalf("came to %+v, %v", got, err)
		}
		if parts := lines(t, dir, "jira_comments"); len(parts) != 2 {
			t.Errorf("the parts are %v", parts)
		}
		if past, _ := readState(report.State); len(past.Tables) > 0 {
			t.Errorf("the state went on: %s", report.State)
		}
		if _, whole, err := sync_(t, s, nil, spec("comments", connectors.Full)); err != nil || whole.Tables[0].Outcome != connectors.Failed {
			t.Errorf("half a table came to %+v, %v", whole, err)
		}
	})
}

func TestIssuesThatComeAndGoWhileTheyAreRead(t *testing.T) {
	both(t, func(t *testing.T, k *tracker, s *Source) {
		k.afterPage = func(n int) {
			k.mu.Lock()
			defer k.mu.Unlock()
			switch n {
			case 1:
				k.issues = slices.Delete(k.issues, 0, 3) // all of the first page
			case 2:
				at := time.Date(2026, 3, 31, 0, 0, 0, 0, time.UTC)
				k.issues = append(k.issues, &ticket{id: 10090, created: at, updated: at})
			}
		}
		dir, report, err := sync_(t, s, nil, spec("issues", connectors.Full))
		if err != nil || report.Tables[0].Outcome != connectors.OK {
			t.Fatalf("came to %+v, %v", report, err)
		}
		want := []string{"SHOP-1", "SHOP-2", "SHOP-3", "SHOP-4", "SHOP-5", "SHOP-6", "SHOP-7", "SHOP-8", "SHOP-90"}
		if got := keys(lines(t, dir, "jira_issues")["jira_issues"], "key"); !slices.Equal(got, want) {
			t.Errorf("read were %v", got)
		}
	})
}

func TestIssueThatIsDeletedBeforeItsCommentsAreRead(t *testing.T) {
	both(t, func(t *testing.T, k *tracker, s *Source) {
		k.trouble = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/10005/comment") {
				refuse(w, 404, "Issue does not exist")
				return true
			}
			return false
		}
		_, report, err := sync_(t, s, nil, spec("comments", connectors.Full))
		if err != nil || report.Tables[0].Outcome != connectors.OK || report.Tables[0].Rows != 28-4 {
			t.Errorf("came to %+v, %v", report, err)
		}
	})
}

func TestRefusedCredentials(t *testing.T) {
	both(t, func(t *testing.T, k *tracker, s *Source) {
		s.auth = "Bearer wrong"
		_, report, err := sync_(t, s, nil, spec("issues", connectors.Full), spec("users", connectors.Full))
		if err == nil || !strings.Contains(connectors.Hint(err), "Missing/invalid Jira credentials") || report.Outcome() != connectors.Failed || report.Tables[1].Hint == "" {
			t.Errorf("came to %+v, %v", report, err)
		}
		if len(k.jqls) > 0 {
			t.Error("it searched as a stranger")
		}
	})
}

// TestAnswersToAStranger: Jira gives what anyone may see when it does not take the
// credentials, and that must not look as if issues were gone.
func TestAnswersToAStranger(t *testing.T) {
	both(t, func(t *testing.T, k *tracker, s *Source) {
		k.trouble = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, "/search") {
				w.Header().Set("X-Seraph-LoginReason", "AUTHENTICATED_FAILED")
				reply(w, object{"issues": []any{}, "total": 0, "isLast": true})
				return true
			}
			return false
		}
		_, report, err := sync_(t, s, nil, spec("issues", connectors.Full), spec("fields", connectors.Full))
		if err == nil || report.Tables[0].Outcome != connectors.Failed || report.Tables[1].Outcome != connectors.Failed {
			t.Errorf("came to %+v, %v", report, err)
		}
	})
}

func TestTroubleThatPasses(t *testing.T) {
	for name, act := range map[string]func(w http.ResponseWriter){
		"rate limit": func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "30")
			refuse(w, 429, "Rate limit exceeded")
		},
		"bad gateway":    func(w http.ResponseWriter) { refuse(w, 502, "bad gateway") },
		"cut connection": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"half an answer": func(w http.ResponseWriter) {
			w.Header().Set("Content-Length", "900")
			_, _ = w.Write([]byte(`{"issues":[`))
		},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, k *tracker, s *Source) {
				n := 0
				k.trouble = func(w http.ResponseWriter, r *http.Request) bool {
					if n++; n%3 == 0 {
						act(w)
						return true
					}
					return false
				}
				start := time.Now()
				_, report, err := sync_(t, s, nil, spec("issues", connectors.Full), spec("comments", connectors.Full))
				if err != nil || report.Outcome() != connectors.OK || report.Tables[0].Rows != 8 || report.Tables[1].Rows != 28 {
					t.Errorf("came to %+v, %v", report, err)
				}
				if took := time.Since(start); took < time.Second || (name == "rate limit" && took < time.Minute) {
					t.Errorf("took %s only", took)
				}
			})
		})
	}
}

func TestTroubleThatStays(t *testing.T) {
	for want, act := range map[string]func(w http.ResponseWriter){
		"500 Internal Server Error":         func(w http.ResponseWriter) { refuse(w, 500, "no") },
		"400 Bad Request: Error in the JQL": func(w http.ResponseWriter) { refuse(w, 400, "Error in the JQL Query") },
		"a page of HTML": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("<html>login"))
		},
		"redirect":             func(w http.ResponseWriter) { w.Header().Set("Location", "https://evil.test/"); w.WriteHeader(302) },
		"decode answer":        func(w http.ResponseWriter) { reply(w, "text") },
		"without id or fields": func(w http.ResponseWriter) { reply(w, object{"issues": []any{object{"id": "../x"}}, "total": 1}) },
	} {
		t.Run(want, func(t *testing.T) {
			both(t, func(t *testing.T, k *tracker, s *Source) {
				k.trouble = func(w http.ResponseWriter, r *http.Request) bool {
					if strings.Contains(r.URL.Path, "/search") {
						act(w)
						return true
					}
					return false
				}
				_, report, err := sync_(t, s, nil, spec("issues", connectors.Incremental))
				if err != nil || report.Tables[0].Outcome != connectors.Failed || !strings.Contains(report.Tables[0].Error, want) || k.hits["evil.test/"] > 0 {
					t.Errorf("came to %+v, %v", report, err)
				}
			})
		})
	}
}

func TestPageThatComesAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newTracker(t, true)
		s, end := k.connect()
		defer end()
		k.trouble = func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/search/jql") {
				reply(w, object{"issues": []any{}, "nextPageToken": "same"})
				return true
			}
			return false
		}
		_, report, err := sync_(t, s, nil, spec("issues", connectors.Full))
		if err != nil || !strings.Contains(report.Tables[0].Error, "again and again") {
			t.Errorf("came to %+v, %v", report, err)
		}
	})
}

func TestPagesOfOneIssueEndTheWalk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newTracker(t, false)
		s, end := k.connect()
		defer end()
		k.page = 1 // so that no page can begin with the last of the one before
		_, report, err := sync_(t, s, nil, spec("issues", connectors.Full))
		if err != nil || !strings.Contains(report.Tables[0].Error, "does not move on") {
			t.Errorf("came to %+v, %v", report, err)
		}
	})
}

func TestSchemaChanges(t *testing.T) {
	both(t, func(t *testing.T, k *tracker, s *Source) {
		_, first, err := sync_(t, s, nil, spec("issues", connectors.Incremental))
		if err != nil {
			t.Fatal(err)
		}
		k.fields = append(k.fields[:2:2], object{"id": "customfield_10040", "name": "Team", "custom": true, "schema": object{"type": "option"}})
		_, second, err := sync_(t, s, first.State, spec("issues", connectors.Incremental))
		said := strings.Join(second.Tables[0].Warnings, "; ")
		if err != nil || !second.Tables[0].Changes || !strings.Contains(said, "team is new (VARCHAR)") || !strings.Contains(said, "sprint is gone") {
			t.Errorf("said %q, %v", said, err)
		}
		k.fields[1] = object{"id": "customfield_10016", "name": "Story Points", "custom": true, "schema": object{"type": "string"}}
		_, third, err := sync_(t, s, second.State, spec("issues", connectors.Incremental))
		if err != nil || third.Tables[0].Changes || third.Tables[0].Rows != 8 {
			t.Errorf("a type that changed came to %+v, %v", third.Tables[0], err)
		}
	})
}

func TestColumnsAndConditions(t *testing.T) {
	both(t, func(t *testing.T, k *tracker, s *Source) {
		s.settings.JQL = "project = SHOP OR project = X"
		wanted := connectors.TableSpec{Name: "i", ID: "issues", Where: `status = "Open"`, Columns: []string{"Story Points", "summary", "customfield_10020"}}
		_, report, err := sync_(t, s, nil, wanted)
		if err != nil || report.Tables[0].Outcome != connectors.OK {
			t.Fatalf("came to %+v, %v", report, err)
		}
		want := []connectors.Column{{Name: "id", Type: "VARCHAR"}, {Name: "story_points", Type: "DOUBLE"}, {Name: "summary", Type: "VARCHAR"}, {Name: "sprint", Type: "JSON"}}
		if !reflect.DeepEqual(report.Tables[0].Columns, want) {
			t.Errorf("the columns are %v", report.Tables[0].Columns)
		}
		if got := k.jqls[0]; !strings.HasPrefix(got, `(project = SHOP OR project = X) AND (status = "Open") AND (created >= `) {
			t.Errorf("asked for %s", got)
		}
	})
}

func TestWrongWishes(t *testing.T) {
	both(t, func(t *testing.T, k *tracker, s *Source) {
		for want, wish := range map[string]connectors.TableSpec{
			"there is no table":  {Name: "a", ID: "boards"},
			"no column or field": {Name: "a", ID: "issues", Columns: []string{"Nope"}},
			"no ORDER BY":        {Name: "a", ID: "issues", Where: "project = A order  by key"},
			"was not opened":     {Name: "a", ID: "issues", Where: "a = 1) OR (b = 2"},
			"has no times":       {Name: "a", ID: "users", Strategy: connectors.Incremental},
			"must be full":       {Name: "a", ID: "issues", Strategy: "often"},
		} {
			_, report, err := sync_(t, s, nil, wish)
			if err != nil || report.Tables[0].Outcome != connectors.Failed || !strings.Contains(report.Tables[0].Error, want) {
				t.Errorf("%s: came to %+v, %v", want, report, err)
			}
		}
		if len(k.jqls) > 0 {
			t.Error("it was searched for")
		}
	})
}

func TestDiscover(t *testing.T) {
	both(t, func(t *testing.T, _ *tracker, s *Source) {
		found, more, err := s.Discover(t.Context(), 100)
		var names []string
		for _, f := range found {
			names = append(names, f.ID)
		}
		if err != nil || more || !slices.Equal(names, all_) || !slices.Contains(found[0].Columns, connectors.Column{Name: "story_points", Type: "DOUBLE"}) {
			t.Errorf("found %v, %v, %v", found, more, err)
		}
		if found, more, err := s.Discover(t.Context(), 2); err != nil || !more || len(found) != 2 {
			t.Errorf("of two it found %d, %v, %v", len(found), more, err)
		}
	})
}
