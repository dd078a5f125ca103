package server

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/api.md anew")

// described is as much of the document as the tests read.
type described struct {
	OpenAPI    string                               `json:"openapi"`
	Tags       []struct{ Name, Description string } `json:"tags"`
	Paths      map[string]map[string]describedCall
	Components struct {
		Schemas         map[string]describedSchema
		SecuritySchemes map[string]json.RawMessage
	}
}

type describedCall struct {
	ID          string `json:"operationId"`
	Summary     string
	Description string
	Tags        []string
	Role        string `json:"x-required-role"`
	Scope       string `json:"x-required-scope"`
	Security    []map[string][]string
	Parameters  []struct {
		Name, In, Description string
		Required              bool
		Schema                describedSchema
	}
	RequestBody *struct {
		Required bool
		Content  map[string]struct{ Schema describedSchema }
	}
	Responses map[string]struct {
		Description string
		Content     map[string]struct{ Schema describedSchema }
	}
}

type describedSchema struct {
	Ref         string `json:"$ref"`
	Type        any
	Description string
	Default     any
	Enum        []any
	Examples    []any
	Minimum     *float64
	Maximum     *float64
	MaxLength   *int
	Items       *describedSchema
	Properties  map[string]describedSchema
	Required    []string
	Additional  any `json:"additionalProperties"`
}

func readDocument(t testing.TB, a *API) described {
	t.Helper()
	body, err := a.Document()
	if err != nil {
		t.Fatal(err)
	}
	var d described
	if err := json.Unmarshal(body, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// kind is a type in a word.
func (s describedSchema) kind() string {
	if s.Ref != "" {
		name := s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
		return "[" + name + "](#" + strings.ToLower(name) + ")"
	}
	name := ""
	switch types := s.Type.(type) {
	case string:
		name = types
	case []any:
		name = fmt.Sprint(types[0])
	}
	switch {
	case name == "array" && s.Items != nil:
		return "list of " + s.Items.kind()
	case len(s.Enum) > 0:
		var words []string
		for _, e := range s.Enum {
			words = append(words, fmt.Sprintf("`%v`", e))
		}
		return strings.Join(words, " \\| ")
	}
	return cmp.Or(name, "any JSON")
}

// said is what there is to say of a field beside its type.
func (s describedSchema) said(description string) string {
	text := cmp.Or(description, s.Description)
	if s.Default != nil {
		text += fmt.Sprintf(" (default `%v`)", s.Default)
	}
	return strings.ReplaceAll(strings.TrimSpace(text), "|", "\\|")
}

// apiPage is docs/api.md.
func apiPage(d described) string {
	var b strings.Builder
	b.WriteString(`# The API

<!-- generated from the OpenAPI document by go test ./server -update -->

The daemon answers on its unix socket, where root is an administrator, and on the address that ` + "`server`" + ` in
` + "`agent.yaml`" + ` names. ` + "`GET /api/openapi.json`" + ` (and ` + "`.yaml`" + `) has all of this for programs: OpenAPI 3.1, made of the same
declarations that answer.

- **Who asks** is said by ` + "`Authorization: Bearer TOKEN`" + `: a personal access token, or the session token of
  ` + "`POST /auth/token`" + `. Browsers have a cookie. Each call below names the least role that it needs: viewer, analyst
  or admin; each includes those before it. A token with scopes needs the call's scope as well.
- **Errors** are ` + "`{\"detail\": \"…\", \"hint\": \"…\"}`" + `: what went wrong, and what to do next. 400 and 422: what was sent; unknown
  keys and parameters are refused. 401: nobody known. 403: not allowed. 409: not now. 429 and 503 carry ` + "`Retry-After`" + `.
- **POST may be repeated** with an ` + "`Idempotency-Key`" + ` of the client's choice: within 24 hours the same key and body get the
  first answer again, with ` + "`Idempotency-Replayed: true`" + `. Another body under the key is 422; while the first is under
  way, 409. Calls that answer with a stream take no key.
- **Long work** is a job: the answer has its id, and ` + "`GET /api/jobs/ID?wait=60`" + ` waits for its end.
- Bodies are JSON, at most 64 KiB unless a call says otherwise. There is no CORS. Every answer has ` + "`X-Request-Id`" + `, which
  is found again in the log, the history and the events.

`)
	for _, tag := range d.Tags {
		fmt.Fprintf(&b, "## %s\n\n%s\n\n", tag.Name, tag.Description)
		writeCalls(&b, d, tag.Name)
	}
	b.WriteString("## Objects\n\n")
	for _, name := range slices.Sorted(maps.Keys(d.Components.Schemas)) {
		s := d.Components.Schemas[name]
		fmt.Fprintf(&b, "### %s\n\n", name)
		writeProperties(&b, s)
	}
	return b.String()
}

func writeCalls(b *strings.Builder, d described, tag string) {
	for _, path := range slices.Sorted(maps.Keys(d.Paths)) {
		for _, method := range []string{"get", "post", "put", "patch", "delete"} {
			if call, there := d.Paths[path][method]; there && call.Tags[0] == tag {
				writeCall(b, strings.ToUpper(method), path, call)
			}
		}
	}
}

func writeCall(b *strings.Builder, method, path string, c describedCall) {
	fmt.Fprintf(b, "### `%s %s`\n\n%s. %s\n\n", method, path, c.Summary, strings.ReplaceAll(c.Description, "\n\n", " "))
	rows := ""
	for _, p := range c.Parameters {
		need := ""
		if p.Required {
			need = ", needed"
		}
		rows += fmt.Sprintf("| `%s` | %s%s | %s | %s |\n", p.Name, p.In, need, p.Schema.kind(), p.Schema.said(p.Description))
	}
	if rows != "" {
		b.WriteString("| parameter | in | type | |\n| --- | --- | --- | --- |\n" + rows + "\n")
	}
	if c.RequestBody != nil {
		for _, kind := range slices.Sorted(maps.Keys(c.RequestBody.Content)) {
			optional := " (may be left out)"
			if c.RequestBody.Required {
				optional = ""
			}
			fmt.Fprintf(b, "Body: %s%s\n\n", c.RequestBody.Content[kind].Schema.kind(), optional)
		}
	}
	for _, status := range slices.Sorted(maps.Keys(c.Responses)) {
		if status == "default" {
			continue
		}
		var kinds []string
		for _, kind := range slices.Sorted(maps.Keys(c.Responses[status].Content)) {
			kinds = append(kinds, fmt.Sprintf("%s (`%s`)", c.Responses[status].Content[kind].Schema.kind(), kind))
		}
		fmt.Fprintf(b, "%s: %s\n\n", status, cmp.Or(strings.Join(kinds, ", "), c.Responses[status].Description))
	}
}

func writeProperties(b *strings.Builder, s describedSchema) {
	if len(s.Properties) == 0 {
		b.WriteString("An object without fields of its own.\n\n")
		return
	}
	b.WriteString("| field | type | |\n| --- | --- | --- |\n")
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		need := ""
		if !slices.Contains(s.Required, name) {
			need = ", optional"
		}
		fmt.Fprintf(b, "| `%s` | %s%s | %s |\n", name, p.kind(), need, p.said(""))
	}
	b.WriteString("\n")
}

// TestDocsOfTheAPI keeps docs/api.md what the declarations say.
func TestDocsOfTheAPI(t *testing.T) {
	const file = "../docs/api.md"
	want := []byte(apiPage(readDocument(t, NewAPI(Config{}))))
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("docs/api.md is stale (%v): go test ./server -run TestDocsOfTheAPI -update", err)
	}
}
