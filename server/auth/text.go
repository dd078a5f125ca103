package auth

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// clip makes a text valid, one line, and at most so many bytes long.
func clip(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, " "))
	if len(s) <= limit {
		return s
	}
	cut := limit
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}

// plainText reports whether a text is valid and one line, without characters
// that show it as another one.
func plainText(s string) bool { return clip(s, len(s)) == s && utf8.ValidString(s) }
