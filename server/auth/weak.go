package auth

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// The bounds of a password. NIST SP 800-63B asks for length and a look at a
// list, and against rules of composition.
const (
	minPassword      = 12  // characters
	maxPassword      = 256 // characters
	minDifferent     = 5
	minEmailFragment = 4
)

// common are the words that passwords are made of, as published lists rank them.
//
//go:embed common.txt
var common string

const passwordHint = "take at least 12 characters that nobody would guess: several unrelated words, or what a password manager makes"

// sameForm writes a password the same way whatever keyboard it came from
// (NIST SP 800-63B 3.1.1.2: normalise before hashing).
func sameForm(password string) string { return norm.NFC.String(password) }

// checkPassword says why a password may not be taken; nil: it may.
func checkPassword(password, email, name string) error {
	weak := func(why string) error { return refuse(Invalid, "password: "+why, passwordHint) }
	switch n := utf8.RuneCountInString(password); {
	case password == "":
		return weak("there is none")
	case !utf8.ValidString(password) || strings.ContainsFunc(password, unicode.IsControl):
		return weak("it holds a character that no keyboard types")
	case n > maxPassword:
		return weak(fmt.Sprintf("it has more than %d characters", maxPassword))
	case n < minPassword:
		return weak(fmt.Sprintf("it has fewer than %d characters", minPassword))
	case different(password) < minDifferent:
		return weak(fmt.Sprintf("it is made of fewer than %d different characters", minDifferent))
	case isRow(password):
		return weak("it is a row of neighbouring characters")
	case holdsOwn(password, email, name):
		return weak("it holds the email address or the name")
	case isCommon(password):
		return weak("it is one of those that are guessed first")
	}
	return nil
}

func different(s string) int {
	seen := map[rune]bool{}
	for _, r := range s {
		seen[r] = true
	}
	return len(seen)
}

// isRow reports whether each character follows the one before it, up or down.
func isRow(s string) bool {
	runes := []rune(s)
	up, down := 0, 0
	for i := 1; i < len(runes); i++ {
		switch runes[i] - runes[i-1] {
		case 1:
			up++
		case -1:
			down++
		}
	}
	return max(up, down) >= len(runes)*3/4
}

func holdsOwn(password, email, name string) bool {
	password = plainForm(password)
	local, domain, _ := strings.Cut(email, "@")
	company, _, _ := strings.Cut(domain, ".")
	holds := func(part string, spare int) bool {
		part = plainForm(part)
		return len(part) >= minEmailFragment && strings.Contains(password, part) && len(password)-len(part) < spare
	}
	if holds(email, maxPassword*utf8.UTFMax) || holds(local, maxPassword*utf8.UTFMax) {
		return true
	}
	// One word of several may be the company's or the family's.
	words := append([]string{company}, strings.FieldsFunc(local+" "+name, func(r rune) bool { return !unicode.IsLetter(r) })...)
	return slices.ContainsFunc(words, func(w string) bool { return holds(w, minPassword) })
}

// plainForm takes off what people put in place of letters.
func plainForm(s string) string {
	return strings.NewReplacer("@", "a", "4", "a", "0", "o", "1", "i", "!", "i", "3", "e", "$", "s", "5", "s", "7", "t").Replace(strings.ToLower(s))
}

// isCommon reports whether a password is made of common words only, once
// numbers and signs are left out: Password2026!, qwerty-qwerty, Welcome@Admin1.
func isCommon(password string) bool {
	words := strings.Fields(common)
	only := letters(strings.ToLower(password))
	// Nothing is left of numbers and signs alone.
	return only == "" || madeOf(only, words) || madeOf(letters(plainForm(password)), words)
}

func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) {
			return r
		}
		return -1
	}, s)
}

// spare is how many letters beside the words make no difference.
const spare = 3

// madeOf reports whether a text is words one after another, but for a few
// letters, and of few enough of them: four words by chance are a good password.
func madeOf(s string, words []string) bool {
	used := map[string]bool{}
	for rest := s; ; {
		longest := ""
		for _, w := range words {
			if strings.HasPrefix(rest, w) && len(w) > len(longest) {
				longest = w
			}
		}
		if longest == "" {
			return len(used) > 0 && len(used) <= 2 && len(rest) <= spare
		}
		used[longest], rest = true, rest[len(longest):]
	}
}
