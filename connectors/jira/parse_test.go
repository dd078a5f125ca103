package jira

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/internal/rest"
)

func TestSettings(t *testing.T) {
	for name, s := range map[string]Settings{
		"plain http": {URL: "http://acme.atlassian.net", PAT: pat}, "nothing to sign in with": {URL: "https://h"}, "both ways": {URL: "https://h", PAT: pat, Email: "a", Token: "b"},
		"no email": {URL: "https://h", Token: apiToken}, "a line in the token": {URL: "https://h", PAT: "a\r\nb"}, "an order": {URL: "https://h", PAT: pat, JQL: "a = 1 ORDER BY b"},
		"negative": {URL: "https://h", PAT: pat, Overlap: -1},
	} {
		if _, err := New(s); err == nil {
			t.Errorf("%s: is taken", name)
		} else {
			clean(t, err.Error())
		}
	}
}

// TestOverASocket runs once over real TCP, with the client as it is shipped.
func TestOverASocket(t *testing.T) {
	k := newTracker(t, false)
	server := httptest.NewServer(k)
	defer server.Close()
	s, err := New(Settings{URL: server.URL + "/jira/", PAT: pat, Reach: anywhere})
	if err != nil {
		t.Fatal(err)
	}
	_, report, err := sync_(t, s, nil, spec("issues", connectors.Full), spec("worklogs", connectors.Full))
	if err != nil || report.Outcome() != connectors.OK || report.Tables[0].Rows != 8 || report.Tables[1].Rows != 4 {
		t.Errorf("came to %+v, %v", report, err)
	}
}

var anywhere = connectors.Reach{Allow: func(string, netip.Addr) error { return nil }}

// TestTheHostSaysWhatIsReached has the token stay here when the host does not
// permit the place that git names.
func TestTheHostSaysWhatIsReached(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer server.Close()
	for name, reach := range map[string]connectors.Reach{"nothing": {}, "another": {Allow: func(host string, at netip.Addr) error { return errors.New("not " + host + " at " + at.String()) }}} {
		s, err := New(Settings{URL: server.URL, PAT: pat, Reach: reach})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = sync_(t, s, nil, spec("issues", connectors.Full))
		if err == nil || !strings.Contains(err.Error(), "127.0.0.1") || !rest.IsPermanent(err) || asked > 0 {
			t.Errorf("%s: asked %d times, %v", name, asked, err)
		}
	}
}

func sign(secret, body string) string {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(h.Sum(nil))
}

func TestWebhook(t *testing.T) {
	// the example of Atlassian's documentation
	if _, err := Webhook([]byte("It's a Secret to Everybody"), "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9", []byte("Hello World!")); errors.Is(err, ErrSignature) || err == nil {
		t.Errorf("the signature of the documentation gave %v", err)
	}
	for body, want := range map[string]Event{
		`{"webhookEvent":"jira:issue_updated","issue":{"id":"10002","key":"SHOP-2"}}`:                         {Name: "jira:issue_updated", Issues: []string{"SHOP-2"}},
		`{"webhookEvent":"jira:issue_deleted","issue":{"id":"10002","key":"SHOP-2"}}`:                         {Name: "jira:issue_deleted", Issues: []string{"SHOP-2"}, Deleted: true},
		`{"webhookEvent":"comment_created","comment":{"id":"1"},"issue":{"id":"10002","key":"SHOP-2"}}`:       {Name: "comment_created", Issues: []string{"SHOP-2"}},
		`{"webhookEvent":"worklog_updated","worklog":{"id":"1","issueId":"10002"}}`:                           {Name: "worklog_updated", Issues: []string{"10002"}},
		`{"webhookEvent":"issuelink_created","issueLink":{"sourceIssueId":10002,"destinationIssueId":10003}}`: {Name: "issuelink_created", Issues: []string{"10002", "10003"}},
		`{"webhookEvent":"jira:version_released","version":{"id":"1"}}`:                                       {Name: "jira:version_released"},
		`{"webhookEvent":"x","issue":{"key":"../../etc"}}`:                                                    {Name: "x"},
	} {
		got, err := Webhook([]byte("s"), sign("s", body), []byte(body))
		if err != nil || got.Name != want.Name || got.Deleted != want.Deleted || !slices.Equal(got.Issues, want.Issues) {
			t.Errorf("%s gave %+v, %v", body, got, err)
		}
	}
	body := `{"webhookEvent":"x"}`
	for name, signature := range map[string]string{
		"none": "", "another secret": sign("t", body), "another body": sign("s", body+" "), "another method": strings.Replace(sign("s", body), "sha256", "sha1", 1),
		"half": sign("s", body)[:30], "no hex": "sha256=zz",
	} {
		if _, err := Webhook([]byte("s"), signature, []byte(body)); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: gave %v", name, err)
		}
	}
	if _, err := Webhook(nil, sign("", body), []byte(body)); err == nil {
		t.Error("a webhook without a secret is believed")
	}
}

func TestPlainText(t *testing.T) {
	const doc = `{"type":"doc","version":1,"content":[
		{"type":"heading","content":[{"type":"text","text":"Plan"}]},
		{"type":"paragraph","content":[{"type":"text","text":"Hi "},{"type":"mention","attrs":{"id":"1","text":"@Jan"}},{"type":"hardBreak"},{"type":"emoji","attrs":{"shortName":":ok:"}},{"type":"inlineCard","attrs":{"url":"https://a.b/c"}}]},
		{"type":"bulletList","content":[{"type":"listItem","content":[{"type":"paragraph","content":[{"type":"text","text":"one"}]}]},{"type":"listItem","content":[{"type":"paragraph","content":[{"type":"text","text":"two"}]}]}]},
		{"type":"table","content":[{"type":"tableRow","content":[{"type":"tableCell","content":[{"type":"paragraph","content":[{"type":"text","text":"a"}]}]},{"type":"tableCell","content":[{"type":"paragraph","content":[{"type":"text","text":"b"}]}]}]}]},
		{"type":"paragraph","content":[{"type":"date","attrs":{"timestamp":"1767225600000"}},{"type":"status","attrs":{"text":"DONE"}}]}]}`
	var value any
	if err := json.Unmarshal([]byte(doc), &value); err != nil {
		t.Fatal(err)
	}
	got, ok := plainText(value)
	if want := "Plan\nHi @Jan\n:ok:https://a.b/c\n- one\n- two\na\tb\t\n2026-01-01DONE"; !ok || got != want {
		t.Errorf("the text is %q, not %q", got, want)
	}
	if got, ok := plainText("wiki *text*"); !ok || got != "wiki *text*" {
		t.Errorf("a string is %q", got)
	}
}

func TestConditions(t *testing.T) {
	for text, good := range map[string]bool{
		"": true, `project = A AND (text ~ "order by \" (" OR b in ('x)'))`: true, `"Order By" = 1`: true, "a = 1) OR (b = 2": false, `a = "b`: false, "a = 1 Order\tBy b": false, "(a": false, `a \ b`: false,
	} {
		if err := checkJQL(text); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzJQL(f *testing.F) {
	f.Add(`project = A AND (text ~ "x" OR b in ('y'))`)
	f.Add(`a = 1) OR (b = 2`)
	f.Add(`a = "\" order by b`)
	f.Fuzz(func(t *testing.T, text string) {
		if checkJQL(text) != nil {
			return
		}
		// what is taken alone is taken inside brackets, and closes none of them
		if err := checkJQL("(" + text + ")"); err != nil {
			t.Errorf("%q in brackets: %v", text, err)
		}
		if checkJQL(text+")") == nil {
			t.Errorf("%q leaves a bracket open", text)
		}
	})
}

func FuzzDocument(f *testing.F) {
	f.Add([]byte(`{"type":"doc","content":[{"type":"paragraph","content":[{"type":"text","text":"a"}]}]}`))
	f.Add([]byte(`{"type":"doc","content":[{"type":"table","content":[{"type":"tableCell","content":[{"type":"date","attrs":{"timestamp":9e99}}]}]},null,5]}`))
	f.Add([]byte(`{"type":"doc","content":[{"type":"listItem","content":[{"type":"media","attrs":{"alt":{}}}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var value any
		if json.Unmarshal(data, &value) != nil {
			return
		}
		for _, kind := range []string{"VARCHAR", "BIGINT", "DOUBLE", "TIMESTAMP", "DATE", "JSON", "BOOLEAN"} {
			if _, err := json.Marshal(convert(kind, value)); err != nil {
				t.Errorf("as %s: %v", kind, err)
			}
		}
		if got, ok := plainText(value); ok && (len(got) > len(data)*3+maxText || !utf8.ValidString(got)) {
			t.Errorf("made %q", got)
		}
	})
}

func FuzzWebhook(f *testing.F) {
	f.Add([]byte(`{"webhookEvent":"jira:issue_updated","issue":{"id":"10002","key":"SHOP-2"}}`))
	f.Add([]byte(`{"issueLink":{"sourceIssueId":10002,"destinationIssueId":"3"}}`))
	f.Add([]byte(`{"issue":{"id":1e5}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := Webhook([]byte("s"), sign("s", string(body)), body)
		if errors.Is(err, ErrSignature) {
			t.Error("a good signature is refused")
		}
		for _, issue := range e.Issues {
			if !validIssue(issue) {
				t.Errorf("gave the issue %q", issue)
			}
		}
	})
}

func FuzzIssue(f *testing.F) {
	f.Add([]byte(`{"id":"1","key":"A-1","fields":{"issuelinks":[{"id":"1","inwardIssue":{"id":"2"}}],"comment":{"total":1,"comments":[{"id":"1"}]}},"changelog":{"total":1,"histories":[{"id":"1","items":[{}]}]}}`))
	f.Add([]byte(`{"id":"1","fields":{"issuelinks":[null],"comment":[]},"changelog":{"histories":[{"items":[5]}]}}`))
	kinds := kindsOf([]field{{ID: "customfield_1", Name: "key", Custom: true}, {ID: "customfield_2", Name: "Ž", Custom: true}})
	f.Fuzz(func(t *testing.T, data []byte) {
		var one issue
		if json.Unmarshal(data, &one) != nil {
			return
		}
		rows := append(links(one), one.Fields)
		if one.Changelog != nil {
			rows = append(rows, items(one.Changelog.items())...)
		}
		if p := embedded(one.Fields["comment"]); p != nil {
			rows = append(rows, p.items()...)
		}
		for _, k := range kinds {
			for _, c := range k.columns {
				for _, row := range rows {
					if _, err := json.Marshal(c.from(row)); err != nil {
						t.Errorf("%s.%s: %v", k.id, c.Name, err)
					}
				}
			}
		}
		name := columnName(string(data))
		if name == "" || len(name) > 101 || name[0] >= '0' && name[0] <= '9' {
			t.Errorf("made the column %q", name)
		}
	})
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"version":1,"tables":{"a":{"since":5,"request":"x","columns":[]}}}`))
	f.Add([]byte(`nonsense`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, note := readState(data)
		if note != "" && len(s.Tables) > 0 {
			t.Error("a state that cannot be read is used")
		}
		if again, note := readState(s.Kept([]connectors.TableSpec{{Name: "a"}}).Encode()); note != "" || again.Version != 1 {
			t.Error("what is written cannot be read")
		}
	})
}
