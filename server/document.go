package server

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/yaml"
)

// The media types of the document.
const (
	jsonType = "application/json"
	yamlType = "application/yaml"
)

// documentRoutes serve the description of the API itself.
func (a *API) documentRoutes(r *router) {
	serve := func(kind string, write func(io.Writer, io.Reader) error) func(context.Context, *none, http.ResponseWriter) error {
		return func(_ context.Context, _ *none, w http.ResponseWriter) error {
			document, err := a.Document()
			if err != nil {
				return err
			}
			w.Header().Set("Content-Type", kind)
			_ = write(w, bytes.NewReader(document)) // the client may be gone
			return nil
		}
	}
	declare := func(path, id, summary string, produces map[string]any) operation {
		return operation{method: http.MethodGet, path: path, id: id, summary: summary, tag: daemonTag, role: public, setup: true, produces: produces}
	}
	routeStream(r, declare("/api/openapi.json", "getOpenAPI", "This description", map[string]any{jsonType: map[string]any{}}),
		serve(jsonType, func(w io.Writer, document io.Reader) error { _, err := io.Copy(w, document); return err }))
	routeStream(r, declare("/api/openapi.yaml", "getOpenAPIAsYAML", "This description, as YAML", map[string]any{yamlType: nil}),
		serve(yamlType, yaml.Convert))
}

// Document describes the API: OpenAPI 3.1, as JSON.
func (a *API) Document() ([]byte, error) {
	packed := a.calls().document
	unpacked, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("write description of the API: %w", err)
	}
	document, err := io.ReadAll(unpacked)
	if err != nil {
		return nil, fmt.Errorf("write description of the API: %w", err)
	}
	return document, nil
}

// pack writes the document, and drops of its parts what no request is held
// against: a resting daemon has better use for two megabytes.
func (r *router) pack() {
	doc := r.huma.OpenAPI()
	schemas := r.schemas().Map()
	// Those of huma's own errors, which are never sent.
	delete(schemas, "V2ErrorModel")
	delete(schemas, "V2ErrorDetail")
	taken := r.taken()
	for name, schema := range schemas {
		if !taken[name] { // an answer may have more one day
			schema.AdditionalProperties = orSchema(schema.AdditionalProperties)
		}
	}
	doc.Tags = tags(r.operations)
	body, err := json.Marshal(doc)
	if err != nil {
		panic(fmt.Sprintf("describe the API: %v", err)) // a schema that is none: found by whoever adds it
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write(body) // a buffer takes everything
	_ = w.Close()
	r.document = bytes.Clone(packed.Bytes())
	maps.DeleteFunc(schemas, func(name string, _ *huma.Schema) bool { return !taken[name] })
	for _, item := range doc.Paths {
		for _, op := range operationsOf(item) {
			op.Responses, op.Security, op.Extensions, op.Metadata, op.Description = nil, nil, nil, nil, ""
		}
	}
}

// orSchema leaves a schema, which is what a map may hold, and drops false.
func orSchema(additional any) any {
	if _, says := additional.(bool); says {
		return nil
	}
	return additional
}

func operationsOf(item *huma.PathItem) (list []*huma.Operation) {
	for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
		if op != nil {
			list = append(list, op)
		}
	}
	return list
}

// taken are the names of the schemas that requests are held against.
func (r *router) taken() map[string]bool {
	found := map[string]bool{}
	for _, item := range r.huma.OpenAPI().Paths {
		for _, op := range operationsOf(item) {
			if op.RequestBody == nil {
				continue
			}
			for _, media := range op.RequestBody.Content {
				r.follow(media.Schema, found)
			}
		}
	}
	return found
}

// follow notes the names that a schema leads to.
func (r *router) follow(s *huma.Schema, found map[string]bool) {
	if s == nil {
		return
	}
	if name, refers := strings.CutPrefix(s.Ref, schemaPrefix); refers && !found[name] {
		found[name] = true
		r.follow(r.schemas().SchemaFromRef(s.Ref), found)
	}
	r.follow(s.Items, found)
	if more, is := s.AdditionalProperties.(*huma.Schema); is {
		r.follow(more, found)
	}
	for _, property := range s.Properties {
		r.follow(property, found)
	}
	for _, list := range [][]*huma.Schema{s.OneOf, s.AnyOf, s.AllOf} {
		for _, one := range list {
			r.follow(one, found)
		}
	}
}
