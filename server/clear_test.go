package server

import (
	"encoding/json"
	"io/fs"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/edit"
)

// TestSecretsLeaveTheFile holds that nothing secret stays in what is committed,
// and that the loader puts the same value back where it was.
func TestSecretsLeaveTheFile(t *testing.T) {
	for name, c := range map[string]struct {
		connector, fields string
		secret            string // that must not stay
		file              string // a part of what is written
		names             string
	}{
		"token":               {"keboola", `{"keboola":{"url":"https://c.keboola.com","token":"tok-en-1"}}`, "tok-en-1", "token: ${secret:KEBOOLA_STORAGE_TOKEN}", "KEBOOLA_STORAGE_TOKEN"},
		"of another name":     {"my_shop", `{"keboola":{"url":"https://c.keboola.com","token":"tok-en-1"}}`, "tok-en-1", "token: ${secret:MY_SHOP_TOKEN}", "MY_SHOP_TOKEN"},
		"reference":           {"keboola", `{"keboola":{"url":"https://c.keboola.com","token":"${secret:MINE}"}}`, "no such text", "token: ${secret:MINE}", ""},
		"password":            {"shop", `{"postgres":{"url":"postgres://reader:p%40ss%2Fword@db.acme.com:5432/shop?sslmode=require"}}`, "ss%2Fword", "url: postgres://reader:${secret:SHOP_PASSWORD}@db.acme.com:5432/shop?sslmode=require", "SHOP_PASSWORD"},
		"password with marks": {"shop", `{"postgres":{"url":"postgres://reader:p@ss:w@db.acme.com/shop"}}`, "p@ss:w", "url: postgres://reader:${secret:SHOP_PASSWORD}@db.acme.com/shop", "SHOP_PASSWORD"},
		"no password":         {"shop", `{"postgres":{"url":"postgres://reader@db.acme.com/shop"}}`, "no such text", "url: postgres://reader@db.acme.com/shop", ""},
		"header":              {"web", `{"files":{"headers":{"Authorization":"Bearer abc.def","Accept":"text/csv"}}}`, "abc.def", "Authorization: ${secret:WEB_AUTHORIZATION}", "WEB_AUTHORIZATION"},
		"variable":            {"sap", `{"image":"acme/sap:1","env":{"SAP_PASSWORD":"geheim","REGION":"eu"}}`, "geheim", "SAP_PASSWORD: ${secret:SAP_SAP_PASSWORD}", "SAP_SAP_PASSWORD"},
		"pat":                 {"jira", `{"jira":{"url":"https://jira.acme.com","pat":"pat-1234","webhookSecret":"hook-1"}}`, "pat-1234", "pat: ${secret:JIRA_PAT}", "JIRA_PAT JIRA_WEBHOOK_SECRET"},
	} {
		fields, err := (ConnectorDraft{Name: c.connector, Fields: json.RawMessage(c.fields)}).content()
		if err != nil {
			t.Fatal(err)
		}
		out, values, err := sealed(c.connector, fields, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text, err := edit.Render(out)
		if err != nil || strings.Contains(string(text), c.secret) || !strings.Contains(string(text), c.file) {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
		if got := strings.Join(sortedNames(values), " "); got != c.names {
			t.Errorf("%s: secrets are %s, want %s", name, got, c.names)
		}
		if leak := leaks(text, values); leak != "" {
			t.Errorf("%s: %s leaks", name, leak)
		}
		if c.connector != "shop" || len(values) == 0 {
			continue
		}
		in := desired.Input{Tree: emptyTree{}, Dir: "i"}
		spec, err := desired.LoadConnector(in, "acme", c.connector, text, values)
		if err != nil || spec.Postgres == nil || !strings.Contains(spec.Postgres.URL, "@db.acme.com") {
			t.Errorf("%s: %+v, %v", name, spec.Postgres, err)
		}
	}
	if _, _, err := sealed("k", edit.Map{}, map[string]string{"EMPTY": ""}); err == nil {
		t.Error("an empty secret was taken")
	}
}

func TestFilesWithSecretsInTheClear(t *testing.T) {
	for text, want := range map[string]string{
		"keboola: {url: 'https://a', token: abc}":            "keboola.token",
		"keboola: {url: 'https://a', token: '${secret:A}'}":  "",
		"jira: {url: 'https://a', pat: abc}":                 "jira.pat",
		"files: {s3: {accessKey: a, secretKey: b}}":          "files.s3.secretKey",
		"postgres: {url: 'postgres://a:b@c/d'}":              "postgres.url",
		"postgres: {url: 'postgres://a:${secret:B}@c/d'}":    "",
		"postgres: {url: 'postgres://a@c/d'}":                "",
		"postgres: {url: 'postgres://a:b@${secret:C}/d'}":    "postgres.url",
		"image: a\nenv: {API_TOKEN: abc}":                    "env.API_TOKEN",
		"image: a\nenv: {API_TOKEN: '${secret:A}', B: c}":    "",
		"files: {headers: {Authorization: Bearer a}}":        "files.headers.Authorization",
		"files: {headers: {auth.acme.com/Accept: text/csv}}": "",
		"not: [yaml": "",
	} {
		if got := inTheClear("c.yaml", []byte(text)); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// TestNamesOfWhatIsNew holds that no name becomes a path or YAML of its own.
func TestNamesOfWhatIsNew(t *testing.T) {
	for _, name := range []string{"", "..", "../x", "a/b", "a b", "b #", "&a x", "a\r", "a\nb", ".git", "Acme", "1", strings.Repeat("a", 40)} {
		p := place{instance: name}
		if answeredStatus(p.check()) != 422 {
			t.Errorf("%q is the name of an instance", name)
		}
		if p = (place{instance: "acme", connector: name}); name != "" && name != "Acme" && len(name) != 40 && answeredStatus(p.check()) != 422 {
			t.Errorf("%q is the name of a connector", name)
		}
	}
	for _, name := range []string{"acme", "a-1", "true", "null"} {
		if err := (place{instance: name, connector: "shop"}).check(); err != nil {
			t.Error(err)
		}
		var file struct{ Name any }
		if err := yaml.Unmarshal(newInstance(name), &file); err != nil || file.Name != name {
			t.Errorf("%s: the file says %v, %v", name, file.Name, err)
		}
	}
}

// TestFieldsGoIntoWhatIsThere keeps comments, order and tables of a file.
func TestFieldsGoIntoWhatIsThere(t *testing.T) {
	was := "# of the shop\nkeboola:\n  token: ${secret:OLD} # rotate in May\n  url: https://old.keboola.com\nowner: sales\ntables:\n  - {name: a, id: in.c-x.a} # first\n"
	fields := edit.Map{{Key: "keboola", Value: edit.Map{{Key: "url", Value: "https://new.keboola.com"}}}, {Key: "schedule", Value: "daily 07:00"}, {Key: "tables", Value: []any{}}}
	out, err := merged([]byte(was), fields)
	want := strings.Replace(was, "old.keboola.com", "new.keboola.com", 1) + "schedule: daily 07:00\n"
	if err != nil || string(out) != want {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = merged([]byte(was), edit.Map{{Key: "files", Value: edit.Map{{Key: "dir", Value: "/srv"}}}})
	if err != nil || strings.Contains(string(out), "keboola:") || !strings.Contains(string(out), "files:\n  dir: /srv\n") || !strings.Contains(string(out), "# of the shop") {
		t.Errorf("another source: %v\n%s", err, out)
	}
}

// emptyTree has no files.
type emptyTree struct{}

func (emptyTree) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}
