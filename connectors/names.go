package connectors

// maxName bounds every name of the contract, in bytes.
const maxName = 64

// ValidName reports whether s may name a source, a table, an alias or an
// extension: [a-zA-Z_][a-zA-Z0-9_]{0,63} (SPEC, The extract contract). Such a
// name is safe in a path and, between double quotes, in SQL.
func ValidName(s string) bool {
	return valid(s, func(c byte, first bool) bool {
		return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || !first && c >= '0' && c <= '9'
	})
}

// ValidEnv reports whether s may name a variable of the environment:
// [A-Z][A-Z0-9_]{0,63} (SPEC, The extract contract).
func ValidEnv(s string) bool {
	return valid(s, func(c byte, first bool) bool {
		return c >= 'A' && c <= 'Z' || !first && (c == '_' || c >= '0' && c <= '9')
	})
}

// valid goes by bytes: nothing outside of ASCII passes, and no newline at the
// end, which $ of a regular expression lets through in other languages.
func valid(s string, allowed func(c byte, first bool) bool) bool {
	if s == "" || len(s) > maxName {
		return false
	}
	for i := range len(s) {
		if !allowed(s[i], i == 0) {
			return false
		}
	}
	return true
}
