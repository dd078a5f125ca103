package git

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/fairlead/fairlead/desired"
	"golang.org/x/crypto/ssh"
)

const (
	// MaxSigners bounds a file of allowed signers.
	MaxSigners = 256 << 10
	// maxSignerLines bounds what is compared for one signature.
	maxSignerLines = 2000
)

// signer is a line of a file of allowed signers (ALLOWED SIGNERS in
// ssh-keygen(1)).
type signer struct {
	line       int
	principals string
	authority  bool   // its key signs certificates, and no commits
	namespaces string // patterns; empty: all
	after      time.Time
	before     time.Time
	key        ssh.PublicKey
}

// Signers are those whose signatures count.
type Signers struct {
	file string
	list []signer
}

// ParseSigners reads a file of allowed signers, in the format of ssh-keygen.
// What is wrong is returned as desired.Problems, with file as the name.
func ParseSigners(file string, data []byte) (Signers, error) {
	s := Signers{file: file}
	if len(data) > MaxSigners {
		return s, desired.Problems{{File: file, Text: fmt.Sprintf("the file is larger than %d KiB", MaxSigners>>10)}}
	}
	var problems desired.Problems
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.Trim(line, " \t\r")
		if line == "" || line[0] == '#' {
			continue
		}
		one, err := parseSigner(line)
		if err != nil {
			problems = append(problems, desired.Problem{File: file, Line: i + 1, Text: err.Error(), Hint: `as in: jan@acme.com namespaces="git" ssh-ed25519 AAAA…`})
			continue
		}
		one.line = i + 1
		s.list = append(s.list, one)
	}
	switch {
	case len(problems) > 20:
		return s, problems[:20].Err()
	case len(problems) > 0:
		return s, problems.Err()
	case len(s.list) == 0:
		return s, desired.Problems{{File: file, Text: "it lists nobody", Hint: `add a line: jan@acme.com namespaces="git" ssh-ed25519 AAAA…`}}
	case len(s.list) > maxSignerLines:
		return s, desired.Problems{{File: file, Text: fmt.Sprintf("it lists more than %d signers", maxSignerLines), Hint: "list an authority that signs their keys: cert-authority"}}
	}
	return s, nil
}

// CheckSigners says what is wrong with a file of allowed signers.
func CheckSigners(file string, data []byte) error {
	_, err := ParseSigners(file, data)
	return err
}

// parseSigner reads PRINCIPALS [OPTIONS] TYPE KEY [COMMENT].
func parseSigner(line string) (signer, error) {
	s, rest, err := signerPrincipals(line)
	if err != nil {
		return s, err
	}
	if s.key, err = signerKey(rest); err == nil {
		return s, s.check()
	}
	options, keyText := pastOptions(rest)
	if key, keyErr := signerKey(keyText); keyErr == nil {
		s.key = key
		if err := s.options(options); err != nil {
			return s, err
		}
		return s, s.check()
	}
	return s, err
}

func signerPrincipals(line string) (s signer, rest string, err error) {
	if quoted, ok := strings.CutPrefix(line, `"`); ok {
		if s.principals, rest, ok = strings.Cut(quoted, `"`); !ok {
			return s, "", errors.New("a quote is not closed")
		}
	} else {
		end := strings.IndexAny(line, " \t")
		if end < 0 {
			return s, "", errors.New("it has no key")
		}
		s.principals, rest = line[:end], line[end:]
	}
	if s.principals == "" {
		return s, "", errors.New("it says not whose key it is")
	}
	return s, strings.TrimLeft(rest, " \t"), nil
}

// signerKey reads a key; what is after it is a comment.
func signerKey(text string) (ssh.PublicKey, error) {
	part := strings.Fields(text)
	if len(part) < 2 {
		return nil, errors.New("it has no key")
	}
	key, _, _, rest, err := ssh.ParseAuthorizedKey([]byte(part[0] + " " + part[1]))
	if err != nil || len(rest) > 0 || key.Type() != part[0] {
		return nil, errors.New("its key cannot be read")
	}
	return key, nil
}

// pastOptions splits at the first blank that is in no quotes.
func pastOptions(text string) (options, rest string) {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text) && text[i+1] == '"':
			i++
		case c == '"':
			quoted = !quoted
		case (c == ' ' || c == '\t') && !quoted:
			return text[:i], strings.TrimLeft(text[i:], " \t")
		}
	}
	return text, ""
}

// options reads NAME or NAME="VALUE", with commas between them.
func (s *signer) options(text string) error {
	seen := map[string]bool{}
	for {
		end := strings.IndexAny(text, `=,`)
		name := strings.ToLower(text)
		if end >= 0 {
			name = strings.ToLower(text[:end])
		}
		if seen[name] {
			return fmt.Errorf("%s stands twice", clip(name))
		}
		seen[name] = true
		rest := text[len(name):]
		var value string
		if name != "cert-authority" {
			var err error
			if value, rest, err = optionValue(name, rest); err != nil {
				return err
			}
		}
		if err := s.option(name, value); err != nil {
			return err
		}
		more, comma := strings.CutPrefix(rest, ",")
		if rest == "" {
			return nil
		}
		if !comma || more == "" {
			return fmt.Errorf("after %s stands what is no option", clip(name))
		}
		text = more
	}
}

// optionValue reads ="VALUE", in which \" is a quote.
func optionValue(name, text string) (value, rest string, err error) {
	text, ok := strings.CutPrefix(text, `="`)
	if !ok {
		return "", "", fmt.Errorf("%s is not an option; there are namespaces=\"…\", valid-after=\"…\", valid-before=\"…\" and cert-authority", clip(name))
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text) && text[i+1] == '"':
			i++
			b.WriteByte('"')
		case text[i] == '"':
			return b.String(), text[i+1:], nil
		default:
			b.WriteByte(text[i])
		}
	}
	return "", "", errors.New("a quote is not closed")
}

func (s *signer) option(name, value string) (err error) {
	switch name {
	case "cert-authority":
		s.authority = true
	case "namespaces":
		if s.namespaces = value; value == "" {
			return errors.New("namespaces is empty: the key may sign nothing")
		}
	case "valid-after":
		s.after, err = signerTime(value)
	case "valid-before":
		s.before, err = signerTime(value)
	default:
		return fmt.Errorf("%s is not an option; there are namespaces, valid-after, valid-before and cert-authority", clip(name))
	}
	return err
}

// signerTime reads YYYYMMDD[HHMM[SS]], in the time zone of this host unless Z
// ends it, as ssh-keygen does.
func signerTime(value string) (time.Time, error) {
	text, utc := strings.CutSuffix(strings.ToUpper(value), "Z")
	zone := time.Local
	if utc {
		zone = time.UTC
	}
	for _, layout := range []string{"20060102", "200601021504", "20060102150405"} {
		if len(layout) != len(text) {
			continue
		}
		if t, err := time.ParseInLocation(layout, text, zone); err == nil && t.Unix() > 0 {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time; write YYYYMMDDZ or YYYYMMDDHHMMSSZ", clip(value))
}

// check looks at what a line says as a whole.
func (s *signer) check() error {
	if !s.after.IsZero() && !s.before.IsZero() && !s.before.After(s.after) {
		return errors.New("valid-before is not after valid-after")
	}
	if _, cert := s.key.(*ssh.Certificate); cert {
		return errors.New("it is a certificate; list the key of the authority with cert-authority, or the plain key")
	}
	return goodKey(s.key)
}

// By says who of the signers made the signature of a commit. The time is the
// committer's, as git takes it. An error says why the signature does not count.
func (s Signers) By(sig desired.Signature) (who string, err error) {
	if sig.Armoured == "" {
		return "", errors.New("it has no signature")
	}
	if !strings.HasPrefix(sig.Armoured, sshsigBegin) {
		return "", errors.New("its signature is not one of SSH (gpg.format ssh)")
	}
	parsed, err := parseSSHSignature(sig.Armoured)
	if err != nil {
		return "", err
	}
	if err := parsed.verify(sig.Payload, commitNamespace); err != nil {
		return "", fmt.Errorf("its signature does not count: %w", err)
	}
	why := fmt.Errorf("its key %s is not listed in %s", ssh.FingerprintSHA256(plainKey(parsed.key)), s.file)
	for _, line := range s.list {
		principal, match, err := line.vouches(parsed.key, sig.Time)
		if match && err == nil {
			return principal, nil
		}
		if match {
			why = fmt.Errorf("the signature of %s (%s:%d) does not count: %w", clip(line.principals), s.file, line.line, err)
		}
	}
	return "", why
}

// vouches says whether a line is about a key, and why it does not count.
func (s signer) vouches(key ssh.PublicKey, at time.Time) (who string, match bool, err error) {
	cert, certified := key.(*ssh.Certificate)
	switch {
	case s.authority != certified:
		return "", false, nil
	case certified && !sameKey(cert.SignatureKey, s.key), !certified && !sameKey(key, s.key):
		return "", false, nil
	case s.namespaces != "" && !matchList(s.namespaces, commitNamespace):
		return "", true, fmt.Errorf("its namespaces are %s, without git", clip(s.namespaces))
	case !s.after.IsZero() && at.Before(s.after):
		return "", true, fmt.Errorf("the commit is of %s, and the key is valid from %s", at.UTC().Format(time.RFC3339), s.after.UTC().Format(time.RFC3339))
	case !s.before.IsZero() && at.After(s.before):
		return "", true, fmt.Errorf("the commit is of %s, and the key was valid until %s", at.UTC().Format(time.RFC3339), s.before.UTC().Format(time.RFC3339))
	case !certified:
		return s.principals, true, nil
	}
	who, err = s.certified(cert, at)
	return who, true, err
}

// certified looks for a name in a certificate that the line is for.
func (s signer) certified(cert *ssh.Certificate, at time.Time) (string, error) {
	checker := ssh.CertChecker{Clock: func() time.Time { return at }}
	if cert.CertType != ssh.UserCert {
		return "", errors.New("its certificate is not a user's")
	}
	for _, name := range cert.ValidPrincipals {
		if !matchList(s.principals, name) {
			continue
		}
		if err := checker.CheckCert(name, cert); err != nil {
			return "", fmt.Errorf("its certificate: %w", err)
		}
		return name, nil
	}
	return "", errors.New("its certificate is for nobody whom the line is for")
}

func sameKey(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }

// matchList matches OpenSSH's lists of patterns: a name is in one when some
// pattern matches, and none with an exclamation mark does.
func matchList(list, name string) bool {
	found := false
	for pattern := range strings.SplitSeq(list, ",") {
		negated, not := strings.CutPrefix(pattern, "!")
		if !matchPattern(negated, name) {
			continue
		}
		if not {
			return false
		}
		found = true
	}
	return found
}

// matchPattern knows * and ? and nothing else. A slash is a letter as any.
func matchPattern(pattern, name string) bool {
	escaped := strings.NewReplacer(`\`, `\\`, "[", `\[`, "/", "\x01").Replace(pattern)
	ok, err := path.Match(escaped, strings.ReplaceAll(name, "/", "\x01"))
	return ok && err == nil
}
