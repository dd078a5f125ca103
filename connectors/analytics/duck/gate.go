//go:build cgo

package duck

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// gate decides which statements of users are run. It reads each with an engine
// of its own that holds nothing, and lets pass what it knows: every kind of node
// of the syntax tree, every function and every table is on a list.
type gate struct {
	parser    *engine
	functions map[string]bool
	tables    map[string]string // by name in lower case: orders, shop.orders, as they are written
	sources   map[string]bool   // schemas, in lower case
	rules     *rules
}

// newGate opens the engine that statements are read with.
func newGate(ctx context.Context) (*gate, error) {
	parser, err := openEngine(engineOptions{Memory: "256MB", Threads: 1})
	if err != nil {
		return nil, fmt.Errorf("open gate: %w", err)
	}
	if err := parser.lockDown(ctx, nil); err != nil {
		parser.close()
		return nil, fmt.Errorf("open gate: %w", err)
	}
	return &gate{parser: parser, functions: allowedFunctions(), rules: newRules(),
		tables: map[string]string{}, sources: map[string]bool{}}, nil
}

func (g *gate) close() { g.parser.close() }

// publish sets the names that may be read: "orders", "shop.orders".
func (g *gate) publish(names []string) {
	g.tables, g.sources = make(map[string]string, len(names)), map[string]bool{}
	for _, name := range names {
		g.tables[lower(name)] = name
		if schema, _, ok := strings.Cut(name, "."); ok {
			g.sources[lower(schema)] = true
		}
	}
}

// admitted is a statement that may be run.
type admitted struct {
	text   string // without a semicolon or a comment at its end
	tree   any
	tables []string // that it reads, in lower case; some more than once
	lists  []string // schemas whose tables it lists, likewise
}

// admit reads a statement and says whether it may be run. The error is a
// *wire.Error.
func (g *gate) admit(ctx context.Context, text string) (admitted, error) {
	text, err := checkText(text)
	if err != nil {
		return admitted{}, err
	}
	tree, err := g.parse(ctx, text)
	if err != nil {
		return admitted{}, err
	}
	w := walk{gate: g}
	if err := w.query(tree, nil); err != nil {
		return admitted{}, err
	}
	return admitted{text: text, tree: tree, tables: w.tables, lists: w.lists}, nil
}

// parse gives the syntax tree of the one statement.
func (g *gate) parse(ctx context.Context, text string) (any, error) {
	out, err := g.parser.one(ctx, "SELECT json_serialize_sql("+quoteText(text)+")")
	if err != nil {
		return nil, err
	}
	serialized, _ := out.(string)
	dec := json.NewDecoder(strings.NewReader(serialized))
	dec.UseNumber()
	var reply struct {
		Error      bool   `json:"error"`
		Type       string `json:"error_type"`
		Message    string `json:"error_message"`
		Statements []any  `json:"statements"`
	}
	if err := dec.Decode(&reply); err != nil {
		return nil, fmt.Errorf("read syntax tree: %w", err)
	}
	switch {
	case reply.Error && reply.Type == "not implemented":
		return nil, refused("this is not a statement that may be run: only one SELECT is",
			"SELECT, WITH, FROM, VALUES, DESCRIBE, SUMMARIZE, SHOW TABLES and PIVOT … ON … IN (…) are read-only; name the values of a PIVOT.")
	case reply.Error:
		return nil, &wire.Error{Code: wire.CodeSyntax, Message: reply.Message}
	case len(reply.Statements) == 0:
		return nil, &wire.Error{Code: wire.CodeSyntax, Message: "there is no statement"}
	case len(reply.Statements) > 1:
		return nil, refused("this is more than one statement", "Send one SELECT at a time.")
	}
	return reply.Statements[0], nil
}

// inside verifies that a text which was put around an admitted statement reads
// as this statement in brackets and nothing else, so that no trick of quoting or
// comments makes another statement of it.
func (g *gate) inside(ctx context.Context, a admitted, wrapped string) error {
	tree, err := g.parse(ctx, wrapped)
	if err != nil {
		return err
	}
	subquery, err := dig(tree, "node", "from_table", "subquery")
	if err != nil || !reflect.DeepEqual(unplaced(subquery), unplaced(a.tree)) {
		return refused("this statement reads differently inside another one", "Take comments and unusual quoting out of it.")
	}
	return nil
}

func dig(tree any, path ...string) (any, error) {
	for _, key := range path {
		m, ok := tree.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("read syntax tree: no %s", key)
		}
		tree = m[key]
	}
	return tree, nil
}

// unplaced is a tree without the places in the text.
func unplaced(tree any) any {
	switch v := tree.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			if key != "query_location" {
				out[key] = unplaced(value)
			}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = unplaced(value)
		}
		return out
	}
	return tree
}

// lower folds a name as the engine does: ASCII only. Folding more would let a
// name pass for another one.
func lower(s string) string { return string(bytes.Map(lowerASCII, []byte(s))) }

func lowerASCII(r rune) rune {
	if r >= 'A' && r <= 'Z' {
		return r + 'a' - 'A'
	}
	return r
}
