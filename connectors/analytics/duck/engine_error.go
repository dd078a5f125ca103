//go:build cgo

package duck

import (
	"strings"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// classes are how the engine begins its messages. Where it has a result it tells
// the class itself; of a statement that could not be prepared it tells the
// message only.
func classes() map[string]mapping.ErrorType {
	return map[string]mapping.ErrorType{
		"Parser Error":        mapping.ErrorTypeParser,
		"Syntax Error":        mapping.ErrorTypeSyntax,
		"Binder Error":        mapping.ErrorTypeBinder,
		"Catalog Error":       mapping.ErrorTypeCatalog,
		"Permission Error":    mapping.ErrorTypePermission,
		"Out of Memory Error": mapping.ErrorTypeOutOfMemory,
		"INTERRUPT Error":     mapping.ErrorTypeInterrupt,
		"FATAL Error":         mapping.ErrorTypeFatal,
		"INTERNAL Error":      mapping.ErrorTypeInternal,
		"IO Error":            mapping.ErrorTypeErrorIO,
		"Invalid Input Error": mapping.ErrorTypeInvalidInput,
		"Conversion Error":    mapping.ErrorTypeConversion,
		"Out of Range Error":  mapping.ErrorTypeOutOfRange,
	}
}

func readError(text string) error {
	prefix, _, _ := strings.Cut(text, ": ")
	class, ok := classes()[prefix]
	if !ok {
		class = mapping.ErrorTypeInvalid
	}
	return newError(class, text)
}

// maxErrorText is what is kept of a message: error(repeat('x', 100000000)) makes
// one that is longer than anything that is sent.
const maxErrorText = 16 << 10

func newError(class mapping.ErrorType, text string) *engineError {
	if len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:maxErrorText], "") + "…"
	}
	return &engineError{class: class, text: strings.Clone(text)}
}
