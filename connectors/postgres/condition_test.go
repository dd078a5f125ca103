package postgres

import (
	"strings"
	"testing"
)

func TestConditionsStayBetweenTheirParentheses(t *testing.T) {
	for text, good := range map[string]bool{
		"a > 1": true, "a IN (1, 2) AND (b = ')' OR c = ';')": true, `"odd;)" = 1`: true, `a = E'it\'s )'`: true, `a = e'\\'`: true, "a[1] = 2": true,
		"note = 'it''s --'": true, `"a""b)" > 1`: true, "type'x' = a": true, `a = 'back\' AND b = ')'`: true,
		"": false, "  ": false, "a > 1;": false, "a) OR (b": false, "(a": false, "a'": false, `"a`: false, "a -- b": false, "a /* b */": false,
		"a = $$x$$": false, `a = E'x\'`: false, "a]": false, "a\x00": false, `a = type'x\' OR b = ')'`: true, `a = type'x\'')`: false,
	} {
		if err := checkCondition(text); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// FuzzCondition: the server itself has to agree that what passes is one
// expression: appended text stays outside of it.
func FuzzCondition(f *testing.F) {
	for _, seed := range []string{"a > 1", "note = 'it''s'", `E'\''`, `"a"`, "1) OR (1", "e'\\'", "xe'\\'", "U&'\\'", "$1", "x'1'"} {
		f.Add(seed)
	}
	pg := running(f)
	conn, err := pg.admin("postgres")
	if err != nil {
		f.Fatal(err)
	}
	defer leave(conn)
	f.Fuzz(func(t *testing.T, text string) {
		if checkCondition(text) != nil || strings.ToValidUTF8(text, "") != text {
			return
		}
		// Where the text is one expression, a row constructor around it parses and
		// one with a parenthesis less does not.
		alone := "SELECT ROW(\n" + text + "\n)"
		if _, err := conn.Prepare(t.Context(), "", alone, nil); err != nil {
			return
		}
		if _, err := conn.Prepare(t.Context(), "", "SELECT ROW(\n"+text+"\n", nil); err == nil {
			t.Errorf("%q closes what it did not open", text)
		}
	})
}

func FuzzID(f *testing.F) {
	for _, seed := range []string{"a", "a.b", `"a.b".c`, `"a""b"`, `"`, ".", "a.b.c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		schema, name, err := parseID(id)
		if err != nil || schema == "" {
			return
		}
		again, same, err := parseID((table{Schema: schema, Name: name}).id())
		if err != nil || again != schema || same != name {
			t.Errorf("%q is %q and %q, then %q and %q, %v", id, schema, name, again, same, err)
		}
	})
}
