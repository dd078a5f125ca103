package desired

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// subjectLimits are the attributes of a subject with the longest value that
// X.520 gives each. certs/pair reads subjects; a test of cmd/fairlead holds the
// two against each other.
func subjectLimits() map[string]int {
	return map[string]int{"CN": 64, "SN": 64, "serialNumber": 64, "C": 2, "L": 128, "ST": 128, "street": 128, "O": 64, "OU": 64,
		"title": 64, "postalCode": 40, "GN": 64, "emailAddress": 255, "UID": 256, "DC": 63}
}

// checkSubject reads a subject as openssl req -subj takes it: a backslash takes
// the next character as it is, and a + joins attributes.
func checkSubject(s string) error {
	if len(s) > 4096 {
		return errors.New("it is longer than 4096 bytes")
	}
	limits := subjectLimits()
	for rest, more := s[1:], true; more; {
		name, after, found := strings.Cut(rest, "=")
		if !found || strings.ContainsAny(name, `/+\`) {
			return fmt.Errorf(`%q has no value; a / or + in a value is written \/ and \+`, clip(name))
		}
		value, left, next, err := subjectValue(after)
		if err != nil {
			return err
		}
		if err := checkAttribute(limits, name, value); err != nil {
			return err
		}
		rest, more = left, next
	}
	return nil
}

// subjectValue reads up to the next / or +; next is false at the end.
func subjectValue(s string) (value, rest string, next bool, err error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '/', '+':
			return b.String(), s[i+1:], true, nil
		case '\\':
			if i++; i == len(s) {
				return "", "", false, errors.New("it ends with a backslash")
			}
		}
		b.WriteByte(s[i])
	}
	return b.String(), "", false, nil
}

func checkAttribute(limits map[string]int, name, value string) error {
	most, known := limits[name]
	n := utf8.RuneCountInString(value)
	switch {
	case !known:
		return fmt.Errorf("there is no attribute %q", clip(name))
	case n == 0:
		return fmt.Errorf("%s is empty", name)
	case name == "C" && (len(value) != 2 || strings.Trim(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != ""):
		return errors.New("C is two capital letters")
	case n > most:
		return fmt.Errorf("%s has %d characters, more than %d", name, n, most)
	case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
		return fmt.Errorf("%s has characters that cannot be printed", name)
	case (name == "emailAddress" || name == "DC") && strings.ContainsFunc(value, func(r rune) bool { return r > unicode.MaxASCII }):
		return fmt.Errorf("%s has letters outside ASCII", name)
	case name == "serialNumber" && strings.ContainsFunc(value, func(r rune) bool { return !printableString(r) }):
		return fmt.Errorf("%s may have ASCII letters, digits and '()+,-./:=? only", name)
	}
	return nil
}

// printableString is the alphabet of the ASN.1 type of that name.
func printableString(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(" '()+,-./:=?", r)
}
