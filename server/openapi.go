package server

import (
	"cmp"
	"maps"
	"net/http"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/danielgtaylor/huma/v2"
)

// The ways to say who asks, as the document names them.
const (
	bearerScheme = "bearer"
	cookieScheme = "session"
)

const schemaPrefix = "#/components/schemas/"

// describe is the document before there is any operation in it.
func describe(version string) *huma.OpenAPI {
	return &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{Title: "Fairlead", Version: cmp.Or(version, "dev"),
			Description: "The API of a Fairlead daemon: what runs, why, and how to change it. Every change of configuration is a commit in the desired-state repository.\n\n" +
				"Errors are `{\"detail\", \"hint\"}`: what went wrong and what to do next. With 429 and 503, `Retry-After` says when to come again.",
			License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}},
		Servers: []*huma.Server{{URL: "/", Description: "this daemon"}},
		Components: &huma.Components{
			Schemas: huma.NewMapRegistry(schemaPrefix, schemaName),
			SecuritySchemes: map[string]*huma.SecurityScheme{
				bearerScheme: {Type: "http", Scheme: "bearer", Description: "A session token of POST /auth/token, or a personal access token."},
				cookieScheme: {Type: "apiKey", In: "cookie", Name: "fairlead_session", Description: "The session of somebody who signed in with a browser."},
			}},
	}
}

var notOfAName = regexp.MustCompile(`[^A-Za-z0-9]+`)

// schemaName names the schema of a type: plainly where it is one of the
// reconciler or the server, behind the name of its package otherwise.
func schemaName(t reflect.Type, hint string) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name := t.Name()
	if inner, rest, generic := strings.Cut(name, "["); generic {
		name = inner + upper(path.Ext(strings.TrimSuffix(rest, "]")))
	}
	name = notOfAName.ReplaceAllString(cmp.Or(name, hint), "")
	switch room := path.Base(t.PkgPath()); room {
	case ".", "server", "reconciler":
	default:
		name = upper(room) + name
	}
	return upper(name)
}

func upper(s string) string {
	s = strings.TrimPrefix(s, ".")
	for i, c := range s {
		return string(unicode.ToUpper(c)) + s[i+len(string(c)):]
	}
	return s
}

// tagTexts say what the parts of the API are about.
func tagTexts() map[string]string {
	return map[string]string{
		healthTag: "How the daemon and what it keeps are.", daemonTag: "The daemon itself, and the repository that it follows.", instanceTag: "What runs, why, and what is done about it.",
		certificateTag: "The certificates of instances.", connectorTag: "Where data comes from.", dataTag: "Asking the data.",
		jobTag: "Long work that was asked for.", accountTag: "Signing in, and what belongs to who asks.", peopleTag: "Users, their sessions and tokens, and who did what.",
		changeTag: "Changing the configuration; each change is a commit.", syncTag: "Having data fetched, as the seed's clients ask for it.",
		noticeTag: "Where notices go.", hookTag: "Hearing of changes elsewhere. What comes in is a trigger and nothing more.",
		secretTag: "Secrets that lie encrypted in the repository. Their values are never shown.",
	}
}

// tags are those that operations have.
func tags(operations map[string]operation) (list []*huma.Tag) {
	texts := tagTexts()
	for _, op := range operations {
		if _, there := texts[op.tag]; !there {
			texts[op.tag] = ""
		}
	}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		list = append(list, &huma.Tag{Name: name, Description: texts[name]})
	}
	return list
}

func (o operation) described() string {
	who := "Anybody may call it."
	if o.role != public {
		who = "Needs the role " + string(o.role) + " (scope " + o.needs() + ")."
	}
	return strings.TrimSpace(o.description + "\n\n" + who)
}

func (o operation) security() []map[string][]string {
	if o.role == public {
		return []map[string][]string{}
	}
	return []map[string][]string{{bearerScheme: {}}, {cookieScheme: {}}}
}

// ourErrors turns huma's own errors, those of a request that does not fit its
// description, into the errors of this API.
func (r *router) ourErrors(ctx huma.Context, _ string, v any) (any, error) {
	switch e := v.(type) {
	case *huma.ErrorModel:
		ctx.SetHeader("Content-Type", "application/json")
		return r.misfit(ctx.Operation(), e), nil
	case *Error:
		ctx.SetHeader("Content-Type", "application/json")
	}
	return v, nil
}

// shownProblems is how many things that are wrong with a request are told.
const shownProblems = 3

// misfit says in a sentence what is wrong with a request. Values that were sent
// are left out: one may be a password.
func (r *router) misfit(op *huma.Operation, e *huma.ErrorModel) *Error {
	var texts []string
	for _, d := range e.Errors[:min(len(e.Errors), shownProblems)] {
		texts = append(texts, strings.TrimPrefix(d.Location+": ", ": ")+d.Message)
	}
	detail := cmp.Or(strings.Join(texts, "; "), e.Detail)
	hint := "GET /api/openapi.json describes " + op.Method + " " + op.Path + " (" + op.OperationID + ")"
	if e.Status == http.StatusUnsupportedMediaType {
		hint = "send Content-Type: application/json"
	} else if takes := r.takenBy(op); takes != "" {
		hint = takes + "; " + hint
	}
	return &Error{Status: e.Status, Detail: detail, Hint: hint}
}

// takenBy lists what a request may have.
func (r *router) takenBy(op *huma.Operation) string {
	var query, parts []string
	for _, p := range op.Parameters {
		if p.In == "query" {
			query = append(query, p.Name)
		}
	}
	if len(query) > 0 {
		parts = append(parts, "the query takes "+strings.Join(query, ", "))
	}
	if op.RequestBody == nil || op.RequestBody.Content["application/json"] == nil {
		return strings.Join(parts, "; ")
	}
	schema := op.RequestBody.Content["application/json"].Schema
	if named := r.schemas().SchemaFromRef(schema.Ref); named != nil {
		schema = named
	}
	if names := slices.Sorted(maps.Keys(schema.Properties)); len(names) > 0 {
		parts = append(parts, "the body takes "+strings.Join(names, ", "))
	}
	return strings.Join(parts, "; ")
}

func (r *router) schemas() huma.Registry { return r.huma.OpenAPI().Components.Schemas }
