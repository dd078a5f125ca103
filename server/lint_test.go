package server

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/fairlead/fairlead/server/auth"
)

// loadDocument reads the document as a library does that others use.
func loadDocument(t testing.TB, a *API) *openapi3.T {
	t.Helper()
	body, err := a.Document()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(body)
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestDocumentLints(t *testing.T) {
	a := NewAPI(Config{})
	doc := loadDocument(t, a)
	if err := doc.Validate(context.Background(), openapi3.IsOpenAPI31OrLater()); err != nil {
		t.Error(err)
	}
	if doc.OpenAPI != "3.1.0" || doc.Info.Version == "" {
		t.Errorf("it is OpenAPI %s of version %q", doc.OpenAPI, doc.Info.Version)
	}
	tags := map[string]bool{}
	for _, tag := range doc.Tags {
		tags[tag.Name] = true
		if tag.Description == "" {
			t.Errorf("nobody says what %s is about: tagTexts in openapi.go", tag.Name)
		}
	}
	ids := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			lintOperation(t, method+" "+path, op, tags)
			if ids[op.OperationID] {
				t.Errorf("%s is there twice", op.OperationID)
			}
			ids[op.OperationID] = true
		}
	}
	if len(ids) != len(a.calls().operations) {
		t.Errorf("%d operations are declared, %d described", len(a.calls().operations), len(ids))
	}
	for name := range doc.Components.Schemas {
		if !regexp.MustCompile(`^[A-Z][A-Za-z0-9]+$`).MatchString(name) {
			t.Errorf("a schema is called %s", name)
		}
	}
}

func lintOperation(t *testing.T, name string, op *openapi3.Operation, tags map[string]bool) {
	t.Helper()
	role, _ := op.Extensions["x-required-role"].(string)
	if !regexp.MustCompile(`^[a-z][A-Za-z]+$`).MatchString(op.OperationID) || op.Summary == "" || strings.HasSuffix(op.Summary, ".") ||
		len(op.Tags) != 1 || !tags[op.Tags[0]] || op.Security == nil {
		t.Errorf("%s: id %q, summary %q, tags %v, security %v", name, op.OperationID, op.Summary, op.Tags, op.Security)
	}
	if role != string(public) && !auth.Role(role).Allows(auth.RoleViewer) {
		t.Errorf("%s: the role is %q", name, role)
	}
	if (role == string(public)) != (len(*op.Security) == 0) {
		t.Errorf("%s: role %s, security %v", name, role, *op.Security)
	}
	for _, p := range op.Parameters {
		if p.Value.Schema == nil || (p.Value.In == "path" && !p.Value.Required) {
			t.Errorf("%s: parameter %s", name, p.Value.Name)
		}
	}
	failure := op.Responses.Default()
	if failure == nil || failure.Value.Content["application/json"].Schema.Ref != "#/components/schemas/Error" {
		t.Errorf("%s: errors are not those of this API", name)
	}
	for status, r := range op.Responses.Map() {
		if r.Value.Description == nil || *r.Value.Description == "" {
			t.Errorf("%s: nobody says what %s is", name, status)
		}
	}
}

// TestWhatIsAnsweredIsDescribed holds real answers against the document.
func TestWhatIsAnsweredIsDescribed(t *testing.T) {
	v := newTown(t)
	doc := loadDocument(t, v.api)
	fill := strings.NewReplacer("{name}", "acme")
	n := 0
	for _, path := range slices.Sorted(maps.Keys(doc.Paths.Map())) {
		op := doc.Paths.Value(path).Get
		if op == nil || strings.Contains(path, "{connector}") || strings.Contains(path, "{certificate}") {
			continue
		}
		query := url.Values{}
		for _, p := range op.Parameters {
			if p.Value.In == "query" && p.Value.Required {
				query.Set(p.Value.Name, "web")
			}
		}
		status, header, body := v.ask(http.MethodGet, fill.Replace(path)+"?"+query.Encode(), "admin", "", nil)
		checkAnswer(t, op, path, status, header, body)
		if status == http.StatusOK {
			n++
		}
	}
	if n < 12 {
		t.Errorf("only %d calls went well", n)
	}
}

// checkAnswer holds an answer against what its operation says.
func checkAnswer(t *testing.T, op *openapi3.Operation, path string, status int, header http.Header, body string) {
	t.Helper()
	described := op.Responses.Status(status)
	if described == nil {
		described = op.Responses.Default()
	}
	kind, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	if kind == "" && body == "" {
		return
	}
	media := described.Value.Content.Get(kind)
	if media == nil {
		t.Errorf("%s: %d with %s, which nobody describes", path, status, kind)
		return
	}
	if kind != "application/json" {
		return
	}
	var value any
	if err := json.Unmarshal([]byte(body), &value); err != nil {
		t.Errorf("%s: %v: %.200s", path, err, body)
		return
	}
	if err := media.Schema.Value.VisitJSON(value, openapi3.EnableJSONSchema2020(), openapi3.MultiErrors()); err != nil {
		t.Errorf("%s: %d %.300s\n%v", path, status, body, err)
	}
}
