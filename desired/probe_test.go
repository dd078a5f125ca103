package desired

import (
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func TestCheck(t *testing.T) {
	const smoke = "\nsmoke: [{name: a, get: /}]\n"
	one := "services: {app: {image: a}}"
	tests := map[string]struct {
		in, compose string
		want        *HTTPCheck
		problem     string
	}{
		"nothing":             {"", one, nil, ""},
		"path":                {"health: {service: app, path: /readyz, port: 8000}", "", &HTTPCheck{"app", "/readyz", 8000}, ""},
		"the only service":    {"health: {path: /readyz, port: 8000}", one, &HTTPCheck{"app", "/readyz", 8000}, ""},
		"which service":       {"health: {path: /readyz, port: 8000}", "", nil, "health.service: is required (the services are app, db)"},
		"no port":             {"health: {service: app, path: /readyz}", "", nil, "health.port: is required"},
		"smoke by health":     {"health: {service: db, port: 1}" + smoke + toApp, "", &HTTPCheck{"db", "", 1}, ""},
		"smoke by port":       {"health: {port: 1}" + smoke, one, &HTTPCheck{"app", "", 1}, ""},
		"smoke without port":  {"health: {service: app}" + smoke + toApp, "", nil, "health.port: is required"},
		"smoke by front":      {smoke + toApp, "", &HTTPCheck{"app", "", 8000}, ""},
		"smoke and timeout":   {"health: {timeout: 9s}" + smoke + toApp, "", &HTTPCheck{"app", "", 8000}, ""},
		"smoke of nobody":     {smoke, one, nil, "smoke: has no service to ask (add health.service and health.port, or a route under front)"},
		"no container":        {"health: {path: /, port: 1}", "services: {app: {image: a, scale: 0}}", nil, "asks app, which has no container"},
		"no network":          {"health: {path: /, port: 1}", "services: {app: {image: a, network_mode: none}}", nil, "asks app, which has no network"},
		"front to no network": {toApp, "services: {app: {image: a, network_mode: none}}", nil, "front[0].to: app has no network"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.compose == "" {
				tt.compose = twoServices
			}
			files := tree(map[string]string{"instance.yaml": "apiVersion: fairlead/v1\nname: a\n" + tt.in, "compose.yaml": tt.compose})
			s, err := Load(Input{Tree: files, Dir: ".", Compose: composeForTest})
			if tt.problem != "" {
				if err == nil || !strings.Contains(err.Error(), tt.problem) || len(err.(Problems)) != 1 {
					t.Errorf("got %v, want %s", err, tt.problem)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(s.Check, tt.want) {
				t.Errorf("got %+v, %v", s.Check, err)
			}
		})
	}
	s, err := loadText("health: {service: app, port: 1}")
	if err != nil || s.Check != nil || len(s.Notes) != 1 || !strings.Contains(s.Notes[0], "have no effect without path or smoke") {
		t.Errorf("got %+v, %q, %v", s.Check, s.Notes, err)
	}
}

func TestRoutesAndCertificates(t *testing.T) {
	s, err := loadText("front: [{host: a.b, to: 'app:8000'}, {host: c.b.d, to: 'db:1', certificate: c, hsts: 5, redirectHTTP: true, drain: 0s, hold: 1h}]\n" +
		"certificates: {c: {domains: ['*.b.d']}, d: {domains: [d.b], fullchain: 'file:///x%20y/c.pem', privkey: 'file:///k', fallback: self-signed}}")
	if err != nil {
		t.Fatal(err)
	}
	front := []FrontRoute{{Host: "a.b", Service: "app", Port: 8000, Drain: 10 * time.Second, Hold: 30 * time.Second},
		{Host: "c.b.d", Service: "db", Port: 1, Certificate: "c", HSTS: 5, RedirectHTTP: true, Hold: time.Hour}}
	if !reflect.DeepEqual(s.Front, front) {
		t.Errorf("front %+v", s.Front)
	}
	pairs := map[string]CertificateSpec{"c": {Domains: []string{"*.b.d"}, Key: "p256", Keep: 3},
		"d": {Domains: []string{"d.b"}, Fullchain: "file:///x%20y/c.pem", Privkey: "file:///k", Fallback: "self-signed", Every: time.Minute, Keep: 3}}
	if !reflect.DeepEqual(s.Certificates, pairs) {
		t.Errorf("certificates %+v", s.Certificates)
	}
}

const withSecrets = "apiVersion: fairlead/v1\nname: a\n" + toApp + `smoke:
  - name: one
    post: "/hook/${secret:KEY}?a=${secret:KEY}&b=${secret:SHORT}"
    headers: {Authorization: "Bearer ${secret:KEY}"}
    body: {plain: x, list: [1, {deep: "${secret:KEY}${secret:SHORT}"}]}
  - {name: two, put: /, body: "${secret:LINES}"}
`

func loadSecrets(text, env string, anyHost bool) (Spec, error) {
	local := fstest.MapFS{}
	if env != "" {
		local[".env"] = &fstest.MapFile{Data: []byte(env)}
	}
	files := tree(map[string]string{"instance.yaml": text, "compose.yaml": twoServices, ".env": "KEY=git\nSHORT=git\nLINES=git"})
	return Load(Input{Tree: files, Dir: ".", Local: local, Compose: composeForTest, AnyHost: anyHost})
}

func TestSecretsAreFilledIn(t *testing.T) {
	s, err := loadSecrets(withSecrets, "KEY=a b/\"ö&\nSHORT=x+\nLINES=first\\n2nd line\n", false)
	if err != nil {
		t.Fatal(err)
	}
	one := s.Smoke[0]
	if want := "/hook/a%20b%2F%22%C3%B6%26?a=a%20b%2F%22%C3%B6%26&b=x%2B"; one.Post != want {
		t.Errorf("path %s", one.Post)
	}
	body := map[string]any{"plain": "x", "list": []any{1, map[string]any{"deep": `a b/"ö&x+`}}}
	if one.Headers["Authorization"] != `Bearer a b/"ö&` || !reflect.DeepEqual(one.Body, body) || s.Smoke[1].Body != "first\n2nd line" {
		t.Errorf("got %+v", s.Smoke)
	}
	hidden := []string{`a b/"ö&`, "a%20b%2F%22%C3%B6%26", `a b/\"ö\u0026`, "first", "2nd line", "first\n2nd line", `first\n2nd line`}
	for _, want := range hidden {
		if !contains(s.Sensitive, want) {
			t.Errorf("%q is not hidden", want)
		}
	}
	if len(s.Sensitive) != len(hidden) {
		t.Errorf("hidden are %q", s.Sensitive)
	}
	other, err := loadSecrets(withSecrets, "KEY=other\nSHORT=x+\nLINES=first\\n2nd line\n", false)
	if err != nil || other.Hash() == s.Hash() {
		t.Errorf("another secret is the same spec: %v", err)
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func TestMissingSecrets(t *testing.T) {
	_, err := loadSecrets(withSecrets, "SHORT=\nLINES=x\n", false)
	const fill = "=VALUE into instances/a/local/.env of the host's data directory)"
	want := strings.Join([]string{
		"instance.yaml:6: smoke[0].post: this host has no value for the secret KEY (fairlead secret set a KEY; or write KEY" + fill,
		"instance.yaml:6: smoke[0].post: the secret SHORT is empty on this host (fairlead secret set a SHORT; or write SHORT" + fill,
		"instance.yaml:7: smoke[0].headers.Authorization: this host has no value for the secret KEY (fairlead secret set a KEY; or write KEY" + fill,
		"instance.yaml:8: smoke[0].body.list[1].deep: this host has no value for the secret KEY (fairlead secret set a KEY; or write KEY" + fill,
		"instance.yaml:8: smoke[0].body.list[1].deep: the secret SHORT is empty on this host (fairlead secret set a SHORT; or write SHORT" + fill,
	}, "\n")
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	if _, err := loadSecrets(withSecrets, "", false); err == nil || len(err.(Problems)) != 6 {
		t.Errorf("without a file: %v", err)
	}
	s, err := loadSecrets(withSecrets, "", true)
	if err != nil || s.Smoke[0].Headers["Authorization"] != "Bearer ${secret:KEY}" {
		t.Errorf("for any host: %+v, %v", s.Smoke, err)
	}
	if want := []string{"instance.yaml:4: smoke: each host needs values for KEY, LINES, SHORT (fairlead secret set a NAME; or NAME=VALUE in instances/a/local/.env of its data directory)"}; !reflect.DeepEqual(s.Notes, want) {
		t.Errorf("notes %q", s.Notes)
	}
}

// What a secret makes of a request is checked, and not repeated.
func TestSecretsThatDoNotFit(t *testing.T) {
	_, err := loadSecrets(withSecrets, "KEY=hunter2\\nX: y\nSHORT=x\nLINES=x\n", false)
	if err == nil || !strings.Contains(err.Error(), "smoke[0].headers.Authorization: is not a header's value") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
	_, err = loadSecrets(strings.Replace(withSecrets, "/hook/", "hook /", 1), "KEY=hunter2\nSHORT=x\nLINES=x\n", false)
	if err == nil || !strings.Contains(err.Error(), "smoke[0].post: is not a path") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

// A value is never taken for a saved variable by what makes the requests.
func TestSecretsAreNotTemplates(t *testing.T) {
	tests := map[string][2]string{ // text, wanted with KEY=a${b}$ and SHORT={x
		"in it":      {"${secret:KEY}", "a$${b}$"},
		"after it":   {"${secret:KEY}{c}", "a$${b}$${c}"},
		"before it":  {"$${secret:SHORT}", "$${x"},
		"two":        {"${secret:KEY}${secret:SHORT}", "a$${b}$${x"},
		"a variable": {"${token} ${secret:SHORT}", "${token} {x"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := &filler{loader: &loader{}, doc: &document{}, env: map[string]string{"KEY": "a${b}$", "SHORT": "{x"}, told: map[string]bool{}}
			got := f.text("smoke[0].body", tt[0], func(s string) string { return s })
			if got != tt[1] || len(f.doc.problems) > 0 {
				t.Errorf("got %s, %v", got, f.doc.problems)
			}
		})
	}
}

// A ${name} in a step is a variable that a step above saves: a slip would fail
// the smoke test of a release that is right.
func TestStepVariables(t *testing.T) {
	steps := func(path, body string) string {
		return "smoke:\n  - {name: a, get: /, save: {id: x}}\n  - {name: b, put: '" + path + "', headers: {A: '$${plain}'}, body: {list: ['" + body + "']}}\n"
	}
	const head = "apiVersion: fairlead/v1\nname: a\n"
	if _, err := ParseInstance("i", []byte(head+steps("/n/${id}?a=${secret:B}", "${id} $${x}"))); err != nil {
		t.Error(err)
	}
	tests := []struct{ path, body, want string }{
		{"/${di}", "", `i:5: smoke[1].put: no step above saves "di" (did you mean id?)`},
		{"/", "a ${b", `i:5: smoke[1].body.list[0]: "${" has no } (write $${ for a plain ${)`},
		{"/", "${}", `i:5: smoke[1].body.list[0]: no step above saves "" (allowed: id)`},
	}
	for _, tt := range tests {
		if _, err := ParseInstance("i", []byte(head+steps(tt.path, tt.body))); err == nil || err.Error() != tt.want {
			t.Errorf("%s %s: %v", tt.path, tt.body, err)
		}
	}
}
