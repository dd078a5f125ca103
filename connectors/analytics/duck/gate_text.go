//go:build cgo

package duck

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

const (
	maxStatement = 64 << 10 // bytes of a statement
	maxNesting   = 128      // brackets in brackets: the parser is recursive, and its stack is not ours to grow
)

// checkText refuses what is not even given to the parser: a text that is too
// long, too deep, or that another reader would take for another text. It gives
// the statement back without what may follow it: semicolons and comments.
func checkText(text string) (string, error) {
	switch {
	case len(text) > maxStatement:
		return "", refused(fmt.Sprintf("the statement has %d bytes, which is more than %d", len(text), maxStatement), "")
	case strings.ContainsRune(text, 0) || !utf8.ValidString(text):
		return "", refused("the statement is not valid UTF-8 text", "")
	}
	s := scanner{text: text}
	if err := s.scan(); err != nil {
		return "", err
	}
	return strings.TrimSpace(text[:s.end]), nil
}

// scanner finds brackets and the end of the statement between quoted things and
// comments, by the rules of the engine's lexer (PostgreSQL, Lexical Structure).
type scanner struct {
	text string
	at   int
	end  int // of what is neither comment, space nor a semicolon at the end
}

func (s *scanner) scan() error {
	depth, deepest := 0, 0
	for s.at < len(s.text) {
		from := s.at
		if s.skipped() {
			continue
		}
		switch b := s.text[s.at]; {
		case b == ';':
			s.at++
			continue // it counts only when something follows
		case b == '(' || b == '[' || b == '{':
			depth++
			deepest = max(deepest, depth)
			s.at++
		case b == ')' || b == ']' || b == '}':
			depth--
			s.at++
		default:
			s.token()
		}
		if between := s.text[s.end:from]; s.end > 0 && hasSemicolon(between) {
			return refused("this is more than one statement", "Send one SELECT at a time.")
		}
		s.end = s.at
	}
	if deepest > maxNesting {
		return refused(fmt.Sprintf("brackets are nested %d deep, more than %d", deepest, maxNesting), "")
	}
	return nil
}

// hasSemicolon looks between two tokens, where there is nothing but space,
// comments and semicolons.
func hasSemicolon(between string) bool {
	s := scanner{text: between}
	for s.at < len(between) {
		if !s.skipped() {
			return true
		}
	}
	return false
}

// skipped steps over a space or a comment.
func (s *scanner) skipped() bool {
	rest := s.text[s.at:]
	switch {
	case strings.HasPrefix(rest, "--"):
		n := strings.IndexAny(rest, "\n\r")
		if n < 0 {
			n = len(rest)
		}
		s.at += n
	case strings.HasPrefix(rest, "/*"):
		s.at += commentLength(rest)
	case strings.IndexByte(" \t\n\r\f\v", rest[0]) >= 0:
		s.at++
	default:
		return false
	}
	return true
}

// commentLength is that of a comment, which may hold others.
func commentLength(text string) int {
	depth := 0
	for i := 0; i < len(text)-1; i++ {
		switch text[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			depth--
			i++
		}
		if depth == 0 {
			return i + 1
		}
	}
	return len(text)
}

// token steps over a quoted text or name, a word or a sign.
func (s *scanner) token() {
	rest := s.text[s.at:]
	switch b := rest[0]; {
	case b == '\'' || b == '"':
		s.at += quotedLength(rest, b, false)
	case b == '$':
		s.at += dollarLength(rest)
	case isWord(b):
		n := 1
		for n < len(rest) && (isWord(rest[n]) || rest[n] == '$') {
			n++
		}
		s.at += n
		// E'…' is the one prefix that changes how a text is read.
		if n == 1 && (b == 'e' || b == 'E') && len(rest) > 1 && rest[1] == '\'' {
			s.at += quotedLength(rest[1:], '\'', true)
		}
	default:
		s.at++
	}
}

func isWord(b byte) bool {
	return b == '_' || b >= utf8.RuneSelf || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}

func quotedLength(text string, quote byte, escapes bool) int {
	for i := 1; i < len(text); i++ {
		switch {
		case escapes && text[i] == '\\':
			i++
		case text[i] == quote && i+1 < len(text) && text[i+1] == quote:
			i++
		case text[i] == quote:
			return i + 1
		}
	}
	return len(text)
}

// dollarLength is that of $tag$ … $tag$, or of a single $.
func dollarLength(text string) int {
	n := 1
	for n < len(text) && isWord(text[n]) && (n > 1 || text[n] < '0' || text[n] > '9') {
		n++
	}
	if n >= len(text) || text[n] != '$' {
		return n
	}
	tag := text[:n+1]
	end := strings.Index(text[len(tag):], tag)
	if end < 0 {
		return len(text)
	}
	return len(tag) + end + len(tag)
}

func refused(message, hint string) error {
	return &wire.Error{Code: wire.CodeRefused, Message: message, Hint: hint}
}
