package bigquery

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2" // what reads the files
	"github.com/fairlead/fairlead/connectors"
)

// everything has a value of each type: as the API gives it, the type it is here,
// and what DuckDB shows of it.
var everything = []struct{ field, value, duck, shows string }{
	{`"type": "INTEGER"`, `"-9223372036854775808"`, "BIGINT", "-9223372036854775808"},
	{`"type": "FLOAT"`, `"1.0E10"`, "DOUBLE", "10000000000.0"},
	{`"type": "FLOAT"`, `"NaN"`, "DOUBLE", "nan"},
	{`"type": "FLOAT64"`, `"-Infinity"`, "DOUBLE", "-inf"},
	{`"type": "FLOAT"`, `"Infinity"`, "DOUBLE", "inf"},
	{`"type": "INTEGER"`, `"007"`, "BIGINT", "7"},
	{`"type": "FLOAT"`, `"-inf"`, "DOUBLE", "-inf"},
	{`"type": "BOOLEAN"`, `"true"`, "BOOLEAN", "true"},
	{`"type": "STRING"`, `"a\"\n\u00e9\u0000<&>"`, "VARCHAR", "a\"\né\x00<&>"},
	{`"type": "STRING"`, `""`, "VARCHAR", ""},
	{`"type": "STRING"`, `null`, "VARCHAR", "(null)"},
	{`"type": "NUMERIC"`, `"99999999999999999999999999999.999999999"`, "DECIMAL(38,9)", "99999999999999999999999999999.999999999"},
	{`"type": "NUMERIC", "precision": "10", "scale": "2"`, `"-1.5"`, "DECIMAL(10,2)", "-1.50"},
	{`"type": "NUMERIC", "precision": "10"`, `"15"`, "DECIMAL(10,0)", "15"},
	{`"type": "BIGNUMERIC"`, `"0.00000000000000000000000000000000000001"`, "VARCHAR", "0.00000000000000000000000000000000000001"},
	{`"type": "BIGNUMERIC", "precision": "38", "scale": "20"`, `"1.5"`, "DECIMAL(38,20)", "1.50000000000000000000"},
	{`"type": "BYTES"`, `"AP8nIlw="`, "BLOB", `\x00\xFF\x27\x22\x5C`},
	{`"type": "BYTES"`, `""`, "BLOB", ""},
	{`"type": "DATE"`, `"0001-01-01"`, "DATE", "0001-01-01"},
	{`"type": "TIME"`, `"23:59:59.999999"`, "TIME", "23:59:59.999999"},
	{`"type": "DATETIME"`, `"9999-12-31T23:59:59.999999"`, "TIMESTAMP", "9999-12-31 23:59:59.999999"},
	{`"type": "TIMESTAMP"`, `"-62135596800000000"`, "TIMESTAMPTZ", "0001-01-01 00:00:00+00"},
	{`"type": "TIMESTAMP"`, `"1767225600000001"`, "TIMESTAMPTZ", "2026-01-01 00:00:00.000001+00"},
	{`"type": "INTERVAL"`, `"1-2 3 4:5:6.789"`, "INTERVAL", "1 year 2 months 3 days 04:05:06.789"},
	{`"type": "INTERVAL"`, `"-1-2 -3 -0:0:0.5"`, "INTERVAL", "-1 year -2 months -3 days -00:00:00.5"},
	{`"type": "GEOGRAPHY"`, `"POINT(1 2)"`, "VARCHAR", "POINT(1 2)"},
	{`"type": "RANGE", "rangeElementType": {"type": "DATE"}`, `"[2020-01-01, UNBOUNDED)"`, "VARCHAR", "[2020-01-01, UNBOUNDED)"},
	{`"type": "JSON"`, `"{\"a\": [1, 12345678901234567890, \"x\"]}"`, "JSON", `{"a":[1,12345678901234567890,"x"]}`},
	{`"type": "JSON"`, `"\"text\""`, "JSON", `"text"`},
	{`"type": "INTEGER", "mode": "REPEATED"`, `[{"v": "1"}, {"v": "2"}]`, "BIGINT[]", "[1, 2]"},
	{`"type": "BYTES", "mode": "REPEATED"`, `[{"v": "AP8="}]`, "VARCHAR[]", "['AP8=']"},
	{`"type": "JSON", "mode": "REPEATED"`, `[{"v": "{}"}, {"v": "1"}]`, "JSON", "[{},1]"},
	{`"type": "STRING", "mode": "REPEATED"`, `[]`, "VARCHAR[]", "[]"},
	{`"type": "RECORD", "fields": [{"name": "a b", "type": "TIMESTAMP"}, {"name": "l", "type": "RECORD", "mode": "REPEATED", "fields": [{"name": "x", "type": "NUMERIC"}, {"name": "i", "type": "INTERVAL"}]}]`,
		`{"f": [{"v": "0"}, {"v": [{"v": {"f": [{"v": "1.5"}, {"v": null}]}}]}]}`, `STRUCT("a b" TIMESTAMPTZ, "l" STRUCT("x" DECIMAL(38,9), "i" INTERVAL)[])`, "{'a b': '1970-01-01 00:00:00+00', 'l': [{'x': 1.500000000, 'i': NULL}]}"},
	{`"type": "RECORD", "fields": [{"name": "x", "type": "STRING"}]`, `null`, `STRUCT("x" VARCHAR)`, "(null)"},
	{`"type": "RECORD", "fields": [{"name": "x", "type": "STRING"}, {"name": "X", "type": "STRING"}]`, `{"f": [{"v": "1"}, {"v": "2"}]}`, `JSON`, `{"x":"1","X":"2"}`},
}

// TestValuesArriveAsTheyWere: DuckDB reads what is written as a build does.
func TestValuesArriveAsTheyWere(t *testing.T) {
	var s schema
	var r row
	var names, shows []string
	for i, c := range everything {
		var f field
		if err := json.Unmarshal([]byte(fmt.Sprintf(`{"name": "c%d", %s}`, i, c.field)), &f); err != nil {
			t.Fatal(err)
		}
		s.Fields, r.F = append(s.Fields, f), append(r.F, cell{json.RawMessage(c.value)})
		if got := f.duck(0); got != c.duck {
			t.Errorf("%s is %s, not %s", c.field, got, c.duck)
		}
		read := "VARCHAR"
		if c.duck == "JSON" || strings.HasSuffix(c.duck, "]") || strings.HasPrefix(c.duck, "STRUCT") {
			read = "JSON"
		}
		names = append(names, fmt.Sprintf("'c%d': '%s'", i, read))
		shows = append(shows, fmt.Sprintf("coalesce(CAST(CAST(c%d AS %s) AS VARCHAR), '(null)')", i, c.duck))
	}
	w, err := create(t.TempDir(), "v", "", s, 1<<20)
	if err == nil {
		err = w.row(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	got, into := make([]string, len(shows)), make([]any, len(shows))
	for i := range got {
		into[i] = &got[i]
	}
	query := fmt.Sprintf(`SELECT %s FROM read_json('%s', format = 'newline_delimited', records = true, compression = 'gzip', columns = {%s}, auto_detect = false)`, strings.Join(shows, ", "), w.file.Name(), strings.Join(names, ", "))
	if err := db.QueryRow(query).Scan(into...); err != nil {
		t.Fatal(err)
	}
	for i, c := range everything {
		if got[i] != c.shows {
			t.Errorf("%s %s is %q, not %q", c.field, c.value, got[i], c.shows)
		}
	}
}

func TestCursorsReachBack(t *testing.T) {
	for _, c := range []struct {
		cursor cursor
		past   string
		want   string
	}{
		{cursor{kind: "INT64", number: 10}, "100", "90"},
		{cursor{kind: "INT64", number: 10}, "-9223372036854775808", "-9223372036854775808"},
		{cursor{kind: "INT64"}, "7", "7"},
		{cursor{kind: "DATE", back: time.Hour}, "2026-01-01", "2025-12-31"},
		{cursor{kind: "DATETIME", back: time.Hour}, "2026-01-01T00:30:00.5", "2025-12-31T23:30:00.5"},
		{cursor{kind: "TIMESTAMP", back: 48 * time.Hour}, "1767225600000001", "2025-12-30 00:00:00.000001+00:00"},
		{cursor{kind: "TIMESTAMP"}, "x", ""},
	} {
		if got, err := c.cursor.since(c.past); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%+v of %s: %q, %v", c.cursor, c.past, got, err)
		}
	}
	for _, c := range [][4]string{{"INTEGER", "9", "10", "10"}, {"INTEGER", "10", "9", "10"}, {"INTEGER", "", "-1", "-1"}, {"DATE", "2026-01-01", "2025-12-31", "2026-01-01"}, {"INTEGER", "1", "x", "1"}, {"TIMESTAMP", "-5", "-4", "-4"}} {
		if got := later(c[0], c[1], c[2]); got != c[3] {
			t.Errorf("%v is %s", c, got)
		}
	}
}

func FuzzRow(f *testing.F) {
	for _, c := range everything {
		f.Add([]byte(`{"name": "c", `+c.field+`}`), []byte(`{"f": [{"v": `+c.value+`}]}`))
	}
	f.Add([]byte(`{"name": "c", "type": "RECORD", "fields": [{"type": "RECORD"}]}`), []byte(`{"f": [{"v": {"f": [{"v": {"f": []}}]}}]}`))
	f.Fuzz(func(t *testing.T, of, values []byte) {
		var one field
		var r row
		if json.Unmarshal(of, &one) != nil || json.Unmarshal(values, &r) != nil {
			return
		}
		s := schema{[]field{one}}
		if columns := s.plain(); columns[0].Type == "" {
			t.Errorf("%s has no type", of)
		}
		var line bytes.Buffer
		if err := s.line(&line, r); err != nil {
			return
		}
		text := line.String()
		if !json.Valid(line.Bytes()) || strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "\n") {
			t.Errorf("%s of %s is %q", values, of, text)
		}
	})
}

func FuzzPage(f *testing.F) {
	f.Add([]byte(`{"totalRows": "3", "pageToken": "x", "rows": [{"f": [{"v": null}]}], "schema": {"fields": [{"name": "a", "type": "STRING"}]}}`))
	f.Add([]byte(`{"statistics": {"totalBytesProcessed": "12"}, "status": {"state": "DONE", "errorResult": {"reason": "x"}}}`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		var page rowsPage
		var j job
		var about table
		_ = json.Unmarshal(data, &page)
		_ = json.Unmarshal(data, &j)
		_ = json.Unmarshal(data, &about)
		for _, r := range page.Rows {
			_, _, _ = pair(r)
		}
		_ = about.Schema.like(page.Schema)
	})
}

func FuzzInterval(f *testing.F) {
	for _, seed := range []string{"1-2 3 4:5:6.789", "-0-1 -2 -0:0:0.000001", "10000-0 3660000 87840000:0:0"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, said string) {
		got, err := interval(said)
		if err != nil {
			return
		}
		var months, days, us int64
		if n, err := fmt.Sscanf(got, "%d months %d days %d microseconds", &months, &days, &us); n != 3 || err != nil {
			t.Errorf("%q is %q", said, got)
		}
	})
}

func TestSettings(t *testing.T) {
	key := rsaKey(t)
	for name, c := range map[string]struct {
		settings Settings
		good     bool
	}{
		"machine":       {Settings{Project: "acme-data"}, true},
		"domain":        {Settings{Project: "acme.com:data"}, true},
		"of the key":    {Settings{Key: keyFile(key, "https://oauth2.googleapis.com/token")}, true},
		"no project":    {Settings{}, false},
		"path":          {Settings{Project: "acme/../x"}, false},
		"location":      {Settings{Project: "acme", Location: "EU&x"}, false},
		"endpoint":      {Settings{Project: "acme", Endpoint: "http://bigquery.example"}, false},
		"key":           {Settings{Project: "acme", Key: "{}"}, false},
		"regional":      {Settings{Project: "acme-data", Endpoint: "https://bigquery-acme.p.googleapis.com"}, true},
		"token goes":    {Settings{Project: "acme-data", Endpoint: "https://evil.example"}, false},
		"likeness":      {Settings{Project: "acme-data", Endpoint: "https://evilgoogleapis.com"}, false},
		"in the clear":  {Settings{Project: "acme-data", Endpoint: "http://127.0.0.1:1"}, false},
		"negative":      {Settings{Project: "acme", MaxBytesBilled: -1}, false},
		"key elsewhere": {Settings{Key: keyFile(key, "https://evil.example/token")}, false},
	} {
		_, err := New(c.settings)
		if (err == nil) != c.good || err != nil && strings.Contains(err.Error(), "PRIVATE") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func rsaKey(t *testing.T) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func keyFile(key *rsa.PrivateKey, tokenURI string) string {
	der, _ := x509.MarshalPKCS8PrivateKey(key)
	data, _ := json.Marshal(map[string]string{"type": "service_account", "project_id": project, "private_key_id": "k1", "client_email": "reader@acme-data.iam.gserviceaccount.com", "token_uri": tokenURI,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))})
	return string(data)
}

// TestAKeyIsTradedForATokenThatIsUsed goes the whole way over sockets: a claim
// that is signed, for this scope and service, a token, and rows.
func TestAKeyIsTradedForATokenThatIsUsed(t *testing.T) {
	key, b := rsaKey(t), newWarehouse(t)
	given := 0
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/token" {
			b.ServeHTTP(w, r)
			return
		}
		parts := strings.Split(r.PostFormValue("assertion"), ".")
		if len(parts) != 3 || r.PostFormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
			refuse(w, 400, "invalid_grant", "no JWT")
			return
		}
		signature, _ := base64.RawURLEncoding.DecodeString(parts[2])
		digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
		claim := struct {
			Iss, Aud, Scope string
			Iat, Exp        int64
		}{}
		text, _ := base64.RawURLEncoding.DecodeString(parts[1])
		_ = json.Unmarshal(text, &claim)
		if rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, digest[:], signature) != nil || claim.Scope != "https://www.googleapis.com/auth/bigquery" || claim.Aud != server.URL+"/token" ||
			claim.Iss != "reader@acme-data.iam.gserviceaccount.com" || claim.Exp-claim.Iat > 3600 || claim.Exp < time.Now().Unix() {
			t.Errorf("the claim is %s", text)
			refuse(w, 400, "invalid_grant", "Invalid JWT Signature.")
			return
		}
		given++
		reply(w, map[string]any{"access_token": bearer, "expires_in": 3599, "token_type": "Bearer"})
	}))
	defer server.Close()
	s, err := New(Settings{Key: keyFile(key, server.URL+"/token"), Endpoint: server.URL, TokenEndpoint: server.URL + "/token",
		Reach: connectors.Reach{Allow: func(string, netip.Addr) error { return nil }}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	report, err := s.Sync(t.Context(), connectors.Job{Dir: dir, Tables: []connectors.TableSpec{orders}})
	if err != nil || report.Tables[0].Rows != 3 || given != 1 {
		t.Errorf("came to %+v, %v with %d tokens", report, err, given)
	}
	if _, err := os.Stat(filepath.Join(dir, "orders.ndjson.gz")); err != nil {
		t.Error(err)
	}
}

// TestTheHostSaysWhatIsReached has a token stay here when the host does not
// permit the endpoint that git names.
func TestTheHostSaysWhatIsReached(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer server.Close()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Settings{Key: keyFile(key, "https://oauth2.googleapis.com/token"), Endpoint: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	s.tokens = fixed{newWarehouse(t)}
	report, err := s.Sync(t.Context(), connectors.Job{Dir: t.TempDir(), Tables: []connectors.TableSpec{orders}})
	if all := fmt.Sprint(report.Tables, err); !strings.Contains(all, "permits no other") || asked > 0 {
		t.Errorf("asked %d times: %s", asked, all)
	}
}
