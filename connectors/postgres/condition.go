package postgres

import (
	"errors"
	"strings"
)

// checkCondition sees that a text is one expression wherever it stands between
// parentheses: it closes none that it did not open, ends in no string, and holds
// no ; and no comment. The rest is for the server to judge. Strings are as
// PostgreSQL has them with standard_conforming_strings on (4.1.2.1).
func checkCondition(text string) error {
	depth := 0
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == 0:
			return wrong("it holds a zero byte")
		case c == ';':
			return wrong("it holds a ;")
		case c == '$':
			return wrong("it holds a $: write strings between single quotes")
		case strings.HasPrefix(text[i:], "--"), strings.HasPrefix(text[i:], "/*"):
			return wrong("it holds a comment")
		case c == '\'' || c == '"':
			end := closing(text, i, c == '\'' && escapes(text[:i]))
			if end < 0 {
				return wrong("a string is not closed")
			}
			i = end
			continue
		case c == '(' || c == '[':
			depth++
		case c == ')' || c == ']':
			depth--
		}
		if depth < 0 {
			return wrong("it closes a parenthesis that it did not open")
		}
		i++
	}
	switch {
	case depth != 0:
		return wrong("a parenthesis is not closed")
	case strings.TrimSpace(text) == "":
		return wrong("it is empty")
	}
	return nil
}

func wrong(what string) error { return errors.New("must be one condition: " + what) }

// escapes reports whether a string that begins after text has backslashes that
// escape: whether an e stands before it that ends no longer word.
func escapes(text string) bool {
	if !strings.HasSuffix(text, "e") && !strings.HasSuffix(text, "E") {
		return false
	}
	if len(text) == 1 {
		return true
	}
	c := text[len(text)-2]
	word := c == '_' || c == '$' || c >= 0x80 || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
	return !word
}

// closing is where what begins at i with a quote goes on; -1: nowhere.
func closing(text string, i int, backslash bool) int {
	quote := text[i]
	for i++; i < len(text); i++ {
		switch {
		case backslash && text[i] == '\\':
			i++
		case text[i] == quote && i+1 < len(text) && text[i+1] == quote:
			i++
		case text[i] == quote:
			return i + 1
		}
	}
	return -1
}
