package secrets

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/fairlead/fairlead/desired"
)

// Bounds of a file of keys.
const (
	MaxKeys     = 64 << 10
	maxKeyCount = 100
)

// Keys are the private keys of a host or a person. They may be used from
// several goroutines.
type Keys struct {
	ids        []age.Identity
	recipients []string
}

// NewKey makes a key and the text of its file, as age-keygen writes it.
func NewKey(now time.Time) ([]byte, *Keys, error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, nil, fmt.Errorf("make age key: %w", err)
	}
	public := id.Recipient().String()
	text := fmt.Sprintf("# created: %s\n# public key: %s\n%s\n", now.UTC().Format(time.RFC3339), public, id)
	return []byte(text), &Keys{[]age.Identity{id}, []string{public}}, nil
}

// ParseKeys reads a file of age identities, one a line. What is wrong is
// desired.Problems, which never repeat a line.
func ParseKeys(file string, data []byte) (*Keys, error) {
	refuse := func(line int, text, hint string) (*Keys, error) {
		return nil, desired.Problems{{File: file, Line: line, Text: text, Hint: hint}}
	}
	if len(data) > MaxKeys {
		return refuse(0, fmt.Sprintf("is larger than %d KiB", MaxKeys>>10), "a file of keys has a line of some 70 characters a key")
	}
	k := &Keys{}
	for n, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		id, public := parseKey(line)
		if id == nil {
			return refuse(n+1, "is not an age key", keyHint(line))
		}
		if !slices.Contains(k.recipients, public) {
			k.ids, k.recipients = append(k.ids, id), append(k.recipients, public)
		}
		if len(k.ids) > maxKeyCount {
			return refuse(n+1, fmt.Sprintf("holds more than %d keys", maxKeyCount), "keep those that files are encrypted for")
		}
	}
	if len(k.ids) == 0 {
		return refuse(0, "holds no age key", "fairlead secret key --new, or age-keygen, makes one")
	}
	return k, nil
}

// parseKey reads a line; nil: it is no key.
func parseKey(line string) (age.Identity, string) {
	if id, err := age.ParseX25519Identity(line); err == nil {
		return id, id.Recipient().String()
	}
	if id, err := age.ParseHybridIdentity(line); err == nil {
		return id, id.Recipient().String()
	}
	return nil, ""
}

func keyHint(line string) string {
	switch {
	case strings.HasPrefix(line, "age1"):
		return "this is the public half; the file holds the line AGE-SECRET-KEY-1…"
	case strings.HasPrefix(line, "-----BEGIN AGE ENCRYPTED"), strings.HasPrefix(line, "age-encryption.org/"):
		return "it is encrypted with a passphrase, which a daemon cannot be asked for; give it a key of its own: age-keygen"
	case strings.HasPrefix(line, "-----BEGIN"), strings.HasPrefix(line, "ssh-"):
		return "ssh keys are not read; age-keygen makes a key"
	case strings.HasPrefix(line, "AGE-PLUGIN-"):
		return "keys of plugins are not read; age-keygen makes a key"
	}
	return "a line is AGE-SECRET-KEY-1…, as age-keygen writes it"
}

// Recipients are the public halves, in the order of the file.
func (k *Keys) Recipients() []string {
	if k == nil {
		return nil
	}
	return slices.Clone(k.recipients)
}

// The ways in which Unseal fails.
var (
	ErrForOthers = errors.New("it is encrypted for others")
	ErrNotAge    = errors.New("it is not a file that age encrypted")
	ErrDamaged   = errors.New("it is cut off or was changed after age encrypted it")
)

// Unseal decrypts a file that age encrypted, armoured or not. Of a larger
// content the answer is one byte more than most.
func (k *Keys) Unseal(sealed []byte, most int64) ([]byte, error) {
	if k == nil || len(k.ids) == 0 {
		return nil, ErrForOthers
	}
	var in io.Reader = bytes.NewReader(sealed)
	if bytes.HasPrefix(bytes.TrimLeft(sealed, " \t\r\n"), []byte(armor.Header)) {
		in = armor.NewReader(bufio.NewReader(in))
	}
	out, err := age.Decrypt(in, k.ids...)
	var nobody *age.NoIdentityMatchError
	switch {
	case errors.As(err, &nobody):
		return nil, ErrForOthers
	case err != nil:
		return nil, ErrNotAge
	}
	data, err := io.ReadAll(io.LimitReader(out, most+1))
	if err != nil {
		return nil, ErrDamaged
	}
	return data, nil
}

// CheckRecipient says what is wrong with a public key that is to be written for.
func CheckRecipient(s string) error {
	_, err := parseRecipient(s)
	return err
}

func parseRecipient(s string) (age.Recipient, error) {
	if strings.HasPrefix(strings.ToUpper(s), "AGE-SECRET-KEY") {
		return nil, errors.New("this is a private key: give the public half, age1…, and replace the key if others saw this")
	}
	if r, err := age.ParseX25519Recipient(s); err == nil {
		return r, nil
	}
	if r, err := age.ParseHybridRecipient(s); err == nil {
		return r, nil
	}
	if strings.HasPrefix(s, "ssh-") {
		return nil, fmt.Errorf("%q is an ssh key: Fairlead writes for age keys (age1…); sops can write for both", clip(s))
	}
	return nil, fmt.Errorf("%q is not an age recipient: age1 and 58 letters and digits", clip(s))
}

// seal encrypts the data key for one recipient, armoured as sops keeps it.
func seal(key []byte, recipient string) (string, error) {
	to, err := parseRecipient(recipient)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	armoured := armor.NewWriter(&out)
	w, err := age.Encrypt(armoured, to)
	if err == nil {
		_, err = w.Write(key)
	}
	if err == nil {
		err = errors.Join(w.Close(), armoured.Close())
	}
	if err != nil {
		return "", fmt.Errorf("encrypt the data key for %s: %w", recipient, err)
	}
	return out.String(), nil
}
