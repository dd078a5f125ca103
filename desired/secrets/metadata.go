package secrets

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/fairlead/fairlead/desired"
)

// metaKey is where sops keeps what belongs to the file as a whole.
const metaKey = "sops"

// Bounds of what is tried with each key.
const (
	maxRecipients = 200
	maxSealedKey  = 16 << 10
	maxPattern    = 1000
)

// which says which values of a file are encrypted.
type which struct {
	unencryptedSuffix, encryptedSuffix string
	unencryptedRegex, encryptedRegex   *regexp.Regexp
}

// encrypts follows sops: a part of the path counts wherever it stands.
func (w which) encrypts(path []string) bool {
	any := func(test func(string) bool) bool { return slices.ContainsFunc(path, test) }
	switch {
	case w.unencryptedSuffix != "":
		return !any(func(s string) bool { return strings.HasSuffix(s, w.unencryptedSuffix) })
	case w.encryptedSuffix != "":
		return any(func(s string) bool { return strings.HasSuffix(s, w.encryptedSuffix) })
	case w.unencryptedRegex != nil:
		return !any(w.unencryptedRegex.MatchString)
	case w.encryptedRegex != nil:
		return any(w.encryptedRegex.MatchString)
	}
	return true
}

// sealedKey is the data key, encrypted for one recipient.
type sealedKey struct{ recipient, enc string }

// metadata is what the key sops says.
type metadata struct {
	which
	node         *yaml.Node
	age          []sealedKey
	others       []string // KIND:KEY of recipients that only sops can serve
	groups       int      // more than one: the data key is split
	lastModified string
	mac          string
	macLine      *yaml.Node
	onlySealed   bool // mac_only_encrypted
}

// everybody are all recipients.
func (m metadata) everybody() []string {
	out := []string{}
	for _, k := range m.age {
		out = append(out, k.recipient)
	}
	return append(out, m.others...)
}

// field is the value of a key of a mapping; nil: there is none.
func field(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func text(n *yaml.Node, key string) string {
	if v := field(n, key); v != nil && v.Kind == yaml.ScalarNode && v.Tag != "!!null" {
		return v.Value
	}
	return ""
}

func list(n *yaml.Node, key string) []*yaml.Node {
	if v := field(n, key); v != nil && v.Kind == yaml.SequenceNode {
		return v.Content
	}
	return nil
}

// foreignKinds are the kinds of recipients beside age, with the field that
// tells one from another.
var foreignKinds = []struct{ key, id string }{
	{"pgp", "fp"}, {"kms", "arn"}, {"gcp_kms", "resource_id"}, {"azure_kv", "name"}, {"hc_vault", "key_name"}, {"hckms", "key_id"},
}

func (f *document) readMeta() error {
	n := field(f.root, metaKey)
	if n == nil || n.Kind != yaml.MappingNode {
		return f.problem(f.root, "", "is not encrypted: it has no "+metaKey+" block", clearHint)
	}
	m := metadata{node: n, lastModified: text(n, "lastmodified"), mac: text(n, "mac"), macLine: field(n, "mac"),
		onlySealed: text(n, "mac_only_encrypted") == "true", groups: len(list(n, "key_groups"))}
	for _, group := range append([]*yaml.Node{n}, list(n, "key_groups")...) {
		for _, k := range list(group, "age") {
			m.age = append(m.age, sealedKey{text(k, "recipient"), text(k, "enc")})
		}
		for _, kind := range foreignKinds {
			for _, k := range list(group, kind.key) {
				m.others = append(m.others, kind.key+":"+clip(text(k, kind.id)))
			}
		}
	}
	if err := f.readWhich(&m); err != nil {
		return err
	}
	f.meta = m
	switch {
	case m.groups > 1:
		return f.problem(field(n, "key_groups"), metaKey+".key_groups", "splits the data key among several groups, which Fairlead does not read", "use one group, or none")
	case len(m.age) > maxRecipients:
		return f.problem(n, metaKey+".age", fmt.Sprintf("has more than %d recipients", maxRecipients), "")
	}
	if _, err := time.Parse(time.RFC3339, m.lastModified); err != nil {
		return f.problem(n, metaKey+".lastmodified", "is not a time", clearHint)
	}
	return nil
}

// readWhich takes in the rule of what is encrypted, of which there is one.
func (f *document) readWhich(m *metadata) error {
	w, field, err := readWhich(func(key string) string { return text(m.node, key) })
	if err != nil {
		return f.problem(m.node, metaKey+"."+field, err.Error(), "")
	}
	if m.which = w; w == (which{}) {
		m.unencryptedSuffix = "_unencrypted" // what sops takes by default
	}
	return nil
}

// whichKeys are the keys of such a rule, in the block sops and in .sops.yaml.
func whichKeys() []string {
	return []string{"unencrypted_suffix", "encrypted_suffix", "unencrypted_regex", "encrypted_regex"}
}

func readWhich(get func(key string) string) (w which, key string, err error) {
	for _, key := range []string{"unencrypted_comment_regex", "encrypted_comment_regex"} {
		if get(key) != "" {
			return w, key, fmt.Errorf("is not supported: use %s", strings.Join(whichKeys(), ", "))
		}
	}
	found := 0
	for _, key := range whichKeys() {
		value := get(key)
		if value == "" {
			continue
		}
		if found++; found > 1 {
			return w, key, fmt.Errorf("stands beside another rule of what is encrypted")
		}
		if err := w.set(key, value); err != nil {
			return w, key, err
		}
	}
	return w, "", nil
}

func (w *which) set(key, value string) error {
	if len(value) > maxPattern {
		return fmt.Errorf("is longer than %d characters", maxPattern)
	}
	switch key {
	case "unencrypted_suffix":
		w.unencryptedSuffix = value
		return nil
	case "encrypted_suffix":
		w.encryptedSuffix = value
		return nil
	}
	re, err := regexp.Compile(value)
	if err != nil {
		return fmt.Errorf("is not a regular expression")
	}
	if key == "encrypted_regex" {
		w.encryptedRegex = re
	} else {
		w.unencryptedRegex = re
	}
	return nil
}

// dataKey decrypts the key of the file.
func (f *document) dataKey(keys *Keys) ([]byte, error) {
	if len(f.meta.age) == 0 {
		return nil, f.problem(f.meta.node, metaKey, "has no age recipient", "add one: sops rotate --add-age "+ownRecipient(keys)+" -i "+f.file)
	}
	mine := keys.Recipients()
	for _, strict := range []bool{true, false} { // first what is written for these keys
		for _, k := range f.meta.age {
			if slices.Contains(mine, k.recipient) != strict || len(k.enc) > maxSealedKey {
				continue
			}
			if key, err := keys.Unseal([]byte(k.enc), keySize); err == nil && len(key) == keySize {
				return key, nil
			}
		}
	}
	return nil, f.forOthers(keys)
}

func ownRecipient(keys *Keys) string {
	if mine := keys.Recipients(); len(mine) > 0 {
		return mine[0]
	}
	return "age1…"
}

// forOthers says who can open the file, and what lets this host do so.
func (f *document) forOthers(keys *Keys) desired.Problems {
	who := f.meta.everybody()
	if more := len(who) - 5; more > 0 {
		who = append(who[:5:5], fmt.Sprintf("%d more", more))
	}
	mine := keys.Recipients()
	if len(mine) == 0 {
		return f.problem(f.meta.node, "", "is encrypted for "+strings.Join(who, ", ")+", and there is no key here",
			"give the file of a key: --age-key-file")
	}
	if slices.ContainsFunc(f.meta.age, func(k sealedKey) bool { return slices.Contains(mine, k.recipient) }) {
		return f.problem(f.meta.node, metaKey+".age", "names this key, and the data key beside it does not open with it: it was changed", "take the file from an earlier commit, or: sops updatekeys "+f.file)
	}
	return f.problem(f.meta.node, "", "is encrypted for "+strings.Join(who, ", ")+"; not for the key here, "+strings.Join(mine, ", "),
		"whoever can open it runs fairlead secret recipients ./"+path.Dir(f.file)+" --add "+mine[0]+" --age-key-file KEY, and commits that")
}
