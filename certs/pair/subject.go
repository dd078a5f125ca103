package pair

import (
	"encoding/asn1"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Attribute is one part of a subject, as in CN=data.acme.com.
type Attribute struct{ Type, Value string }

// Subject is a distinguished name, most significant part first. Most parts have
// one attribute.
type Subject [][]Attribute

// attribute is how a type is written: its number, its longest value (X.520, upper
// bounds) and its string type.
type attribute struct {
	oid  asn1.ObjectIdentifier
	most int
	tag  int
}

const maxSubject = 4096

func attributeTypes() map[string]attribute {
	x520 := func(n, most, tag int) attribute { return attribute{asn1.ObjectIdentifier{2, 5, 4, n}, most, tag} }
	return map[string]attribute{
		"CN": x520(3, 64, asn1.TagUTF8String), "SN": x520(4, 64, asn1.TagUTF8String), "serialNumber": x520(5, 64, asn1.TagPrintableString),
		"C": x520(6, 2, asn1.TagPrintableString), "L": x520(7, 128, asn1.TagUTF8String), "ST": x520(8, 128, asn1.TagUTF8String),
		"street": x520(9, 128, asn1.TagUTF8String), "O": x520(10, 64, asn1.TagUTF8String), "OU": x520(11, 64, asn1.TagUTF8String),
		"title": x520(12, 64, asn1.TagUTF8String), "postalCode": x520(17, 40, asn1.TagUTF8String), "GN": x520(42, 64, asn1.TagUTF8String),
		"emailAddress": {asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}, 255, asn1.TagIA5String},
		"UID":          {asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}, 256, asn1.TagUTF8String},
		"DC":           {asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}, 63, asn1.TagIA5String},
	}
}

// ParseSubject reads a subject as openssl req -subj takes it:
// /C=CZ/O=Acme/OU=Data/CN=data.acme.com. A backslash takes the next character as
// it is; a + joins attributes into one part, /OU=Data+CN=x. Types that are not
// known, empty values and values that X.520 does not allow are errors, where
// openssl leaves them out with a warning or writes them.
func ParseSubject(s string) (Subject, error) {
	if !strings.HasPrefix(s, "/") {
		return nil, fmt.Errorf("read subject: %q does not begin with /; write it as /C=CZ/O=Acme/CN=data.acme.com", clip(s))
	}
	if len(s) > maxSubject {
		return nil, fmt.Errorf("read subject: it has %d bytes, more than %d", len(s), maxSubject)
	}
	types, subject, part := attributeTypes(), Subject{}, []Attribute{}
	for rest := s[1:]; ; {
		name, after, found := strings.Cut(rest, "=")
		if !found || strings.ContainsAny(name, `/+\`) {
			return nil, fmt.Errorf("read subject: %q has no value; a / or + in a value is written \\/ and \\+", clip(name))
		}
		value, end, left, err := subjectValue(after)
		if err == nil {
			err = checkAttribute(types, name, value)
		}
		if err != nil {
			return nil, fmt.Errorf("read subject: %w", err)
		}
		part = append(part, Attribute{name, value})
		if rest = left; end == '+' {
			continue
		}
		subject, part = append(subject, part), nil
		if end == 0 {
			return subject, nil
		}
	}
}

// subjectValue reads up to the next / or +, which is end; 0 at the end.
func subjectValue(s string) (value string, end byte, rest string, err error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '/', '+':
			return b.String(), c, s[i+1:], nil
		case '\\':
			if i++; i == len(s) {
				return "", 0, "", errors.New("it ends with a backslash")
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), 0, "", nil
}

func checkAttribute(types map[string]attribute, name, value string) error {
	t, known := types[name]
	n := utf8.RuneCountInString(value)
	switch {
	case !known:
		return fmt.Errorf("there is no attribute %q; use %s", clip(name), strings.Join(slices.Sorted(maps.Keys(types)), ", "))
	case n == 0:
		return fmt.Errorf("%s is empty", name)
	case n > t.most:
		return fmt.Errorf("%s has %d characters, more than %d", name, n, t.most)
	case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
		return fmt.Errorf("%s has characters that cannot be printed", name)
	case name == "C" && (len(value) != 2 || strings.Trim(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != ""):
		return fmt.Errorf("C is %q; it is a country in two capital letters", clip(value))
	case t.tag == asn1.TagIA5String && strings.ContainsFunc(value, func(r rune) bool { return r > unicode.MaxASCII }):
		return fmt.Errorf("%s is %q; it has letters outside ASCII", name, clip(value))
	case t.tag == asn1.TagPrintableString && strings.ContainsFunc(value, func(r rune) bool { return !printable(r) }):
		return fmt.Errorf("%s is %q; it may have ASCII letters, digits and '()+,-./:=? only", name, clip(value))
	}
	return nil
}

func printable(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(" '()+,-./:=?", r)
}

// String writes the subject as ParseSubject reads it.
func (s Subject) String() string {
	var b strings.Builder
	escape := strings.NewReplacer(`\`, `\\`, `/`, `\/`, `+`, `\+`)
	for _, part := range s {
		for i, a := range part {
			b.WriteByte("/+"[min(i, 1)])
			b.WriteString(a.Type + "=" + escape.Replace(a.Value))
		}
	}
	return b.String()
}

// der encodes the subject with the string types that openssl uses.
func (s Subject) der() ([]byte, error) {
	type pairOf struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	type partSET []pairOf // encoding/asn1 writes a type whose name ends with SET as SET OF
	types, name := attributeTypes(), []partSET{}
	for _, part := range s {
		var set partSET
		for _, a := range part {
			if err := checkAttribute(types, a.Type, a.Value); err != nil {
				return nil, fmt.Errorf("encode subject: %w", err)
			}
			t := types[a.Type]
			set = append(set, pairOf{t.oid, asn1.RawValue{Tag: t.tag, Bytes: []byte(a.Value)}})
		}
		name = append(name, set)
	}
	der, err := asn1.Marshal(name)
	if err != nil {
		return nil, fmt.Errorf("encode subject: %w", err)
	}
	return der, nil
}

// clip shortens what a message quotes.
func clip(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:60], "") + "…"
	}
	return s
}
