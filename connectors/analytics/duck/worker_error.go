//go:build cgo

package duck

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/duckdb/duckdb-go/v2/mapping"

	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// told is an error as it is told to whoever asked: with a code, and without what
// belongs to the host.
func (w *worker) told(err error) *wire.Error {
	out, ok := errors.AsType[*wire.Error](err)
	if !ok {
		out = w.classified(err)
	}
	return &wire.Error{Code: out.Code, Message: w.withoutPaths(out.Message), Hint: w.withoutPaths(out.Hint)}
}

func (w *worker) classified(err error) *wire.Error {
	var e *engineError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &wire.Error{Code: wire.CodeDeadline, Message: "the statement took too long and was ended",
			Hint: "Ask for less: a filter, fewer columns, an aggregate, or a LIMIT before a sort."}
	case errors.Is(err, context.Canceled):
		return &wire.Error{Code: wire.CodeDeadline, Message: "the statement was ended, since nobody waits for it"}
	case !errors.As(err, &e):
		return &wire.Error{Code: wire.CodeFailed, Message: err.Error()}
	}
	out := &wire.Error{Code: code(e), Message: firstPart(e.text)}
	switch out.Code {
	case wire.CodeMemory:
		out.Message, out.Hint = "the statement needs more memory than a query may have", "Ask for less: a filter, fewer columns or groups, shorter lists."
	case wire.CodeNotFound:
		out.Hint = candidates(e.text)
	}
	return out
}

// code is the code for a class of the engine's errors.
func code(e *engineError) string {
	switch e.class {
	case mapping.ErrorTypeParser, mapping.ErrorTypeSyntax:
		return wire.CodeSyntax
	case mapping.ErrorTypeCatalog:
		return wire.CodeNotFound
	case mapping.ErrorTypeBinder:
		if strings.Contains(e.text, "not found") || strings.Contains(e.text, "does not have a column") {
			return wire.CodeNotFound
		}
	case mapping.ErrorTypePermission:
		return wire.CodeRefused
	case mapping.ErrorTypeOutOfMemory:
		return wire.CodeMemory
	case mapping.ErrorTypeInterrupt:
		return wire.CodeDeadline
	case mapping.ErrorTypeFatal, mapping.ErrorTypeInternal:
		return wire.CodeFatal
	}
	for _, sign := range []string{"std::bad_alloc", "Out of Memory", "could not allocate", "Failed to allocate"} {
		if strings.Contains(e.text, sign) {
			return wire.CodeMemory
		}
	}
	if strings.Contains(e.text, "database has been invalidated") {
		return wire.CodeFatal
	}
	return wire.CodeFailed
}

// firstPart leaves out the engine's advice, the stack of an error of its own, and
// the line of a text that the user did not write in this form.
func firstPart(text string) string {
	text, _, _ = strings.Cut(text, "\n\nStack Trace:")
	text, _, _ = strings.Cut(text, "\n\nLINE ")
	text, _, _ = strings.Cut(text, "\nCandidate ")
	text, _, _ = strings.Cut(text, "\nDid you mean ")
	return strings.TrimSpace(text)
}

// candidates are what the engine proposes in place of a name.
func candidates(text string) string {
	for _, sign := range []string{"Candidate bindings: ", "Candidate functions:", "Did you mean "} {
		if _, rest, ok := strings.Cut(text, sign); ok {
			rest, _, _ = strings.Cut(strings.TrimSpace(rest), "\n")
			return "Did you mean " + strings.TrimSuffix(strings.TrimSpace(rest), "?") + "?"
		}
	}
	return ""
}

// withoutPaths takes directories and secrets out of a message. Of any other
// absolute path the last part is left.
func (w *worker) withoutPaths(text string) string {
	return regexp.MustCompile(`(^|[\s'"(=,])(?:/[\w.@+-]+)*/([\w.@+-]+)`).ReplaceAllString(w.hidden(text), "$1$2")
}

// sortedKeys are those of a map, so that what is made of it is always the same.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
