package keboola

import (
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/connectors"
)

func TestSettings(t *testing.T) {
	for name, s := range map[string]Settings{
		"plain http": {URL: "http://connection.keboola.com", Token: token}, "no host": {URL: "https:///x", Token: token},
		"a query": {URL: "https://h/?token=1", Token: token}, "a user": {URL: "https://u:p@h", Token: token}, "no token": {URL: "https://h"},
		"token with a line": {URL: "https://h", Token: "a\nb"}, "negative": {URL: "https://h", Token: token, Timeout: -1},
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
	p := newProject(t)
	server := httptest.NewServer(p)
	defer server.Close()
	p.polls, p.host, p.signed = 0, strings.TrimPrefix(server.URL, "http://"), server.URL+"/signed/"
	s, err := New(Settings{URL: server.URL, Token: token, Reach: anywhere})
	if err != nil {
		t.Fatal(err)
	}
	dir, report, err := run(t, s, nil, orderSpec())
	if err != nil || report.Tables[0].Outcome != connectors.OK || unpacked(t, dir, "orders") != orderHeader+p.rows["in.c-shop.orders"] {
		t.Errorf("came to %+v, %v", report, err)
	}
}

var anywhere = connectors.Reach{Allow: func(string, netip.Addr) error { return nil }}

// TestTheHostSaysWhatIsReached has the token stay here when the host does not
// permit the place that git names, nor one that the service names.
func TestTheHostSaysWhatIsReached(t *testing.T) {
	p := newProject(t)
	server := httptest.NewServer(p)
	defer server.Close()
	inner := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { t.Errorf("was sent to %s", r.URL) }))
	defer inner.Close()
	p.polls, p.host, p.signed = 0, strings.TrimPrefix(server.URL, "http://"), strings.Replace(inner.URL, "127.0.0.1", "localhost", 1)+"/signed/"
	only := connectors.Reach{Allow: func(host string, _ netip.Addr) error {
		if host != "127.0.0.1" {
			return errors.New("it is not on the list")
		}
		return nil
	}}
	for name, reach := range map[string]connectors.Reach{"nothing": {}, "the service alone": only} {
		s, err := New(Settings{URL: server.URL, Token: token, Reach: reach})
		if err != nil {
			t.Fatal(err)
		}
		_, report, err := run(t, s, nil, orderSpec())
		if all := fmt.Sprint(report.Tables, err); report.Tables[0].Outcome == connectors.OK || !strings.Contains(all, "permits no other") && !strings.Contains(all, "not on the list") {
			t.Errorf("%s: came to %+v, %v", name, report, err)
		}
	}
	if n := len(p.hits); n == 0 {
		t.Error("the service was not asked where it may be")
	}
}

func TestStoresOfCloudsAreReached(t *testing.T) {
	for host, want := range map[string]bool{
		"kbc-sapi-files.s3.eu-central-1.amazonaws.com": true, "s3.eu-central-1.amazonaws.com": true, "b.s3-eu-west-1.amazonaws.com": true, "b.s3.cn-north-1.amazonaws.com.cn": true,
		"storage.googleapis.com": true, "KBC.storage.googleapis.com": true, "kbc.blob.core.windows.net": true,
		"ec2-1-2-3-4.compute.amazonaws.com": false, "x.elb.amazonaws.com": false, "s3.amazonaws.com.evil.com": false, "evilstorage.googleapis.com": false, "blob.core.windows.net": false, "127.0.0.1": false, "": false,
	} {
		err := (Settings{}).permits(host, netip.Addr{})
		if (err == nil) != want {
			t.Errorf("%q: %v", host, err)
		}
		if err := (Settings{}).permits(host, netip.MustParseAddr("127.0.0.1")); err == nil {
			t.Errorf("%q is this machine", host)
		}
	}
}

func TestTypes(t *testing.T) {
	for in, want := range map[[2]string]string{
		{"INTEGER", ""}: "BIGINT", {"NUMERIC", "38,9"}: "DECIMAL(38,9)", {"NUMERIC", "10"}: "DECIMAL(10,0)", {"NUMERIC", ""}: "DOUBLE", {"NUMERIC", "99,1"}: "DOUBLE",
		{"NUMERIC", "5,9"}: "DOUBLE", {"FLOAT", ""}: "DOUBLE", {"BOOLEAN", ""}: "BOOLEAN", {"DATE", ""}: "DATE", {"TIMESTAMP", "9"}: "TIMESTAMP", {"STRING", "255"}: "VARCHAR", {"", ""}: "VARCHAR",
	} {
		if got := duckType(in[0], in[1]); got != want {
			t.Errorf("%v is %s, not %s", in, got, want)
		}
	}
	native := table{Columns: []string{"a"}, ColumnMetadata: metadata{"a": {{Key: "KBC.datatype.basetype", Value: "STRING"}}}}
	if err := native.Definition.UnmarshalJSON([]byte(`{"columns":[{"name":"a","basetype":"NUMERIC","definition":{"type":"NUMBER","length":"38,0"}}]}`)); err != nil {
		t.Fatal(err)
	}
	if got := native.typeOf("a"); got != "DECIMAL(38,0)" {
		t.Errorf("a native column is %s", got)
	}
}

func TestNaturalOrder(t *testing.T) {
	got := []string{"s3://b/k_10", "s3://b/k_9", "s3://b/k_2_10", "s3://b/k_2_9", "s3://b/k_007", "s3://b/k"}
	slices.SortFunc(got, natural)
	if want := []string{"s3://b/k", "s3://b/k_2_9", "s3://b/k_2_10", "s3://b/k_007", "s3://b/k_9", "s3://b/k_10"}; !slices.Equal(got, want) {
		t.Errorf("the order is %v", got)
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"entries":[{"url":"s3://b/a10"},{"url":"s3://b/a2"}]}`))
	f.Add([]byte(`{"entries":[{"url":"a01"},{"url":"a1"},{"url":""}]}`))
	f.Add([]byte(`{"entries":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		found, err := parseManifest(data)
		if err != nil {
			return
		}
		for i := 1; i < len(found); i++ {
			if natural(found[i-1], found[i]) >= 0 || natural(found[i], found[i-1]) <= 0 {
				t.Errorf("%q stands before %q", found[i-1], found[i])
			}
		}
	})
}

func FuzzWhere(f *testing.F) {
	f.Add(`[{"column":"a","operator":"ge","values":["-2 days"],"type":"TIME_STRING"}]`)
	f.Add(`{"column":"a","values":[1,2.5e3]}`)
	f.Add(`[{"column":"a","values":[null]}]`)
	f.Add(`[] []`)
	f.Fuzz(func(t *testing.T, text string) {
		filters, err := parseWhere(text)
		for _, one := range filters {
			if err == nil && (one.check() != nil || len(one.Values) == 0) {
				t.Errorf("%q gave %+v", text, one)
			}
		}
	})
}

// FuzzRows compares the counter with the standard reader wherever both take a
// text, and demands that how it is cut into blocks makes no difference.
func FuzzRows(f *testing.F) {
	f.Add("\"1\",\"a\"\"b\"\n\"2\",\"x\ny\"\n", 2, 3)
	f.Add("1,2\r\n3,4", 2, 1)
	f.Add("a,\"b", 2, 2)
	f.Add("\n\n", 1, 1)
	f.Fuzz(func(t *testing.T, text string, fields, cut int) {
		if fields < 1 || fields > 50 || cut < 1 {
			return
		}
		count := func(size int) (int64, error) {
			c := &counter{fields: fields}
			for rest := text; rest != ""; {
				n := min(size, len(rest))
				if _, err := c.Write([]byte(rest[:n])); err != nil {
					return c.rows, err
				}
				rest = rest[n:]
			}
			err := c.Close()
			return c.rows, err
		}
		whole, err := count(len(text) + 1)
		parts, again := count(cut)
		if whole != parts || (err == nil) != (again == nil) {
			t.Fatalf("%q: %d, %v whole and %d, %v in parts", text, whole, err, parts, again)
		}
		reader := csv.NewReader(strings.NewReader(text))
		reader.FieldsPerRecord = fields
		records, theirs := reader.ReadAll()
		if err == nil && theirs == nil && fields > 1 && int64(len(records)) != whole {
			t.Errorf("%q has %d rows, counted were %d", text, len(records), whole)
		}
		if errors.Is(theirs, csv.ErrFieldCount) && err == nil && !strings.Contains(text, "\r") {
			t.Errorf("%q has rows of different lengths and is taken", text)
		}
	})
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"version":1,"tables":{"a":{"since":5,"request":"x","columns":[]}}}`))
	f.Add([]byte(`{"version":2}`))
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

func FuzzTable(f *testing.F) {
	f.Add([]byte(`{"id":"in.c-a.b","columns":["x"],"columnMetadata":[],"definition":[],"metadata":[]}`))
	f.Add([]byte(`{"id":"a","columns":["x"],"columnMetadata":{"x":[{"key":"KBC.datatype.basetype","value":"NUMERIC"}]},"definition":{"columns":[{"name":"x","definition":{"length":5}}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var one table
		if one.ColumnMetadata.UnmarshalJSON(data) == nil {
			_ = one.typeOf("x")
		}
		_ = one.Definition.UnmarshalJSON(data)
		name := identifier(string(data))
		if len(name) < 1 || len(name) > 64 || digit(name[0]) {
			t.Errorf("made the name %q", name)
		}
		if at, err := parseTime(string(data)); err == nil && at.IsZero() && data[0] != '0' {
			t.Errorf("%q is no time and is taken for one", data)
		}
	})
}
