package server

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/fairlead/fairlead/server/auth"
)

// public is the role of an operation that anybody may call.
const public auth.Role = "public"

// operation is one call of the API as it is declared, in one place: what it is,
// who may make it, and its bounds.
type operation struct {
	method, path string
	id           string // unique, lowerCamelCase: the name of the method in clients
	summary      string // a few words without a full stop
	description  string // sentences; may be empty
	tag          string
	role         auth.Role     // the least that is needed, or public
	scope        string        // of a token; empty: what goes with the role
	setup        bool          // is answered before there is an administrator
	status       int           // of success; 0: 200
	maxBody      int64         // bytes; 0: maxBody
	timeout      time.Duration // 0: callTimeout
	costly       bool          // a caller may only have a few of them under way
	secret       bool          // its answer holds a secret, which is kept nowhere
	// produces are the media types of a stream, each with a value of the type of
	// the answer, or of one line or event of it; nil: bytes or text.
	produces map[string]any
	// before is what a request has to pass before its body is read; nil: nothing.
	before func(*http.Request) error
	// endless says that a stream may go on until the client leaves.
	endless bool
	// errors are statuses that mean something particular here, with what.
	errors map[int]string
}

// stream reports whether an operation writes its answer itself.
func (o operation) stream() bool { return o.produces != nil }

// needs is the scope that a token must have, if it has any.
func (o operation) needs() string {
	switch {
	case o.role == public:
		return ""
	case o.scope != "":
		return o.scope
	case o.role == auth.RoleViewer:
		return auth.ScopeRead
	case o.role == auth.RoleAnalyst:
		return auth.ScopeQuery
	}
	return auth.ScopeWrite
}

// none is the input of an operation that takes nothing.
type none struct{}

// answered is the output of an operation that is only its JSON.
type answered[O any] struct{ Body O }

// route declares an operation whose answer is the JSON of what call returns. I
// is a struct whose exported fields are tagged path, query, header or cookie,
// and named Body for JSON; a Body that is a pointer may be left out by the
// client. What I embeds has to be exported as well: OfInstance takes {name}.
func route[I, O any](r *router, op operation, call func(context.Context, *I) (O, error)) {
	routeWhole(r, op, func(ctx context.Context, in *I) (*answered[O], error) {
		out, err := call(ctx, in)
		return &answered[O]{out}, err
	})
}

// routeWhole is route for an answer with headers or cookies: O is a struct with
// a field Body and fields tagged header.
func routeWhole[I, O any](r *router, op operation, call func(context.Context, *I) (*O, error)) {
	huma.Register(r.huma, r.declare(op), func(ctx context.Context, in *I) (*O, error) {
		out, err := call(ctx, in)
		if err != nil {
			return nil, AsError(err).advised()
		}
		return out, nil
	})
}

// routeStream declares an operation that writes its answer itself. An error that
// it returns is answered as that of any other call, so it returns one only as
// long as nothing is written.
func routeStream[I any](r *router, op operation, call func(context.Context, *I, http.ResponseWriter) error) {
	huma.Register(r.huma, r.declare(op), func(_ context.Context, in *I) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			req, w := humago.Unwrap(hc)
			if req.Method == http.MethodHead {
				w.Header().Set("Content-Type", slices.Min(slices.Collect(maps.Keys(op.produces))))
				return
			}
			if err := call(req.Context(), in, w); err != nil {
				answerError(w, err)
			}
		}}, nil
	})
}

// orZero is what an optional body says.
func orZero[T any](body *T) T {
	if body == nil {
		return *new(T)
	}
	return *body
}

// router collects operations: it routes them and describes them. It is huma's
// adapter, so that every operation passes through guard.
type router struct {
	*http.ServeMux
	api        *API
	huma       huma.API
	operations map[string]operation // by id
	early      map[string]bool      // paths that are answered before there is an administrator
	document   []byte               // OpenAPI as JSON, gzipped
}

// operationKey is where the declaration lies in huma's operation.
const operationKey = "fairlead"

func newRouter(a *API) *router {
	r := &router{ServeMux: http.NewServeMux(), api: a, operations: map[string]operation{}, early: map[string]bool{}}
	config := huma.Config{OpenAPI: describe(a.cfg.Version.Version), DefaultFormat: "application/json",
		Formats:                      map[string]huma.Format{"application/json": jsonFormat(), "json": jsonFormat()},
		RejectUnknownQueryParameters: true,
		// huma makes its errors by a variable of its package. To set that would
		// be for everybody in the process, so they are turned into ours here.
		Transformers: []huma.Transformer{r.ourErrors}}
	r.huma = huma.NewAPI(config, r)
	return r
}

// jsonFormat writes whole values, so that one that cannot be written leaves no
// half of an answer. It also takes problem+json, as huma calls its errors.
func jsonFormat() huma.Format {
	return huma.Format{Unmarshal: json.Unmarshal, Marshal: func(w io.Writer, v any) error {
		body, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("write answer: %w", err)
		}
		_, err = w.Write(append(body, '\n'))
		return err
	}}
}

// Handle implements huma.Adapter.
func (r *router) Handle(op *huma.Operation, handler func(huma.Context)) {
	declared := op.Metadata[operationKey].(operation)
	for _, name := range placeholders(op.Path) {
		if !slices.ContainsFunc(op.Parameters, func(p *huma.Param) bool { return p.In == "path" && p.Name == name }) {
			panic(fmt.Sprintf("declare %s: no exported field of the input takes {%s}", declared.id, name))
		}
	}
	next := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { handler(humago.NewContext(op, req, w)) })
	r.ServeMux.Handle(op.Method+" "+op.Path, r.api.guard(declared, next))
}

// placeholders are the names in the braces of a path.
func placeholders(path string) (names []string) {
	for segment := range strings.SplitSeq(path, "/") {
		if name, is := strings.CutPrefix(segment, "{"); is {
			names = append(names, strings.TrimSuffix(strings.TrimSuffix(name, "}"), "..."))
		}
	}
	return names
}

// declare says to huma what an operation is. That an id is used twice, or that
// something is missing, is found at the first start by whoever added it.
func (r *router) declare(op operation) huma.Operation {
	_, twice := r.operations[op.id]
	if twice || op.id == "" || op.summary == "" || op.tag == "" || (op.role != public && !op.role.Allows(auth.RoleViewer)) {
		panic(fmt.Sprintf("declare %s %s: id %q, summary %q, tag %q and role %q must be given, the id once", op.method, op.path, op.id, op.summary, op.tag, op.role))
	}
	r.operations[op.id] = op
	if op.setup {
		r.early[op.path] = true
	}
	h := huma.Operation{Method: op.method, Path: op.path, OperationID: op.id, Summary: op.summary, Description: op.described(),
		Tags: []string{op.tag}, DefaultStatus: op.status, Responses: r.responses(op),
		Metadata: map[string]any{operationKey: op}, Security: op.security(),
		Extensions:   map[string]any{"x-required-role": string(op.role), "x-required-scope": op.needs()},
		Parameters:   op.headers(),
		MaxBodyBytes: -1, BodyReadTimeout: -1} // guard has read the body, within its bounds
	return h
}

// headers are those that guard takes.
func (o operation) headers() []*huma.Param {
	if o.method != http.MethodPost || o.stream() {
		return nil
	}
	most := 128
	return []*huma.Param{{Name: idempotencyHeader, In: "header", Description: "has the call made once, however often it comes within 24 hours",
		Schema: &huma.Schema{Type: huma.TypeString, MaxLength: &most}}}
}

// responses are those that huma does not find out by itself.
func (r *router) responses(op operation) map[string]*huma.Response {
	schema := r.schemas().Schema(reflect.TypeFor[Error](), true, "Error")
	failure := func(text string) *huma.Response {
		return &huma.Response{Description: text, Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}
	}
	all := map[string]*huma.Response{"default": failure("What went wrong, and what to do.")}
	for status, text := range op.errors {
		all[strconv.Itoa(status)] = failure(text)
	}
	if !op.stream() {
		return all
	}
	ok := &huma.Response{Description: "OK", Content: map[string]*huma.MediaType{}}
	for kind, sample := range op.produces {
		kind, _, _ = strings.Cut(kind, ";")
		ok.Content[kind] = &huma.MediaType{}
		if sample != nil {
			ok.Content[kind].Schema = r.schemas().Schema(reflect.TypeOf(sample), true, op.id+"Line")
		} else {
			ok.Content[kind].Schema = &huma.Schema{Type: huma.TypeString}
		}
	}
	all["200"] = ok
	return all
}

// serve answers a call. What is none is answered by other.
func (r *router) serve(w http.ResponseWriter, req *http.Request, other http.Handler) {
	if _, pattern := r.Handler(req); pattern != "" {
		r.ServeMux.ServeHTTP(w, req)
		return
	}
	if allowed := r.allowed(req); len(allowed) > 0 {
		refuseMethod(w, req, allowed)
		return
	}
	other.ServeHTTP(w, req)
}

// allowed are the methods for which there is a call with this path.
func (r *router) allowed(req *http.Request) (list []string) {
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if _, pattern := r.Handler(&http.Request{Method: method, URL: req.URL, Host: req.Host}); pattern != "" {
			list = append(list, method)
		}
	}
	if len(list) > 0 {
		list = append(list, http.MethodOptions)
	}
	return list
}

// refuseMethod answers what is asked of a path by a method that it does not
// have, and OPTIONS. There is no CORS: pages of other origins get nothing.
func refuseMethod(w http.ResponseWriter, req *http.Request, allowed []string) {
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	if req.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	answerError(w, &Error{Status: http.StatusMethodNotAllowed, Detail: req.URL.Path + " does not take " + req.Method,
		Hint: "it takes " + strings.Join(allowed, ", ")})
}
