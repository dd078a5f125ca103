package secrets

import (
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/fairlead/fairlead/desired"
)

// macOnlySealed begins the code of a file that counts encrypted values only:
// the SHA-256 of the text sops.
var macOnlySealed = []byte{0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b,
	0x0b, 0x97, 0x5b, 0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69}

// opened is a document that was decrypted and proved.
type opened struct {
	key    []byte
	values map[string]string // at the top, that can be referred to
	plains map[*yaml.Node]plain
}

// open decrypts everything and compares the code of the file.
func (f *document) open(keys *Keys) (*opened, error) {
	key, err := f.dataKey(keys)
	if err != nil {
		return nil, err
	}
	o := &opened{key: key, values: map[string]string{}, plains: map[*yaml.Node]plain{}}
	code, err := f.code(func(l leaf) (plain, error) {
		p, err := f.plain(l, key)
		o.plains[l.node] = p
		return p, err
	})
	if err != nil {
		return nil, err
	}
	if err := f.prove(code, key); err != nil {
		return nil, err
	}
	for _, e := range f.entries() {
		if e.referable() {
			o.values[e.key.Value] = o.plains[e.value].value()
		}
	}
	return o, nil
}

// plain is one value in the clear.
func (f *document) plain(l leaf, key []byte) (plain, error) {
	if !f.meta.encrypts(l.path) {
		return clear(l.node)
	}
	if l.node.Tag != "!!str" {
		return plain{}, errNotSealed
	}
	p, err := unsealValue(l.node.Value, key, l.place())
	if err == nil && p.kind == kindComment && !l.inList {
		return plain{}, errKind // it would be left out of the code
	}
	return p, err
}

// code is the SHA-512 of all values, as sops writes it into the MAC. Everything
// wrong with the values is told at once.
func (f *document) code(of func(leaf) (plain, error)) (string, error) {
	sum, problems := f.newCode(), desired.Problems{}
	for _, l := range f.leaves() {
		p, err := of(l)
		if err != nil {
			problems = append(problems, f.valueProblem(l, err)...)
			continue
		}
		f.count(sum, l, p)
	}
	return fmt.Sprintf("%X", sum.Sum(nil)), problems.Err()
}

func (f *document) newCode() hash.Hash {
	sum := sha512.New()
	if f.meta.onlySealed {
		sum.Write(macOnlySealed)
	}
	return sum
}

func (f *document) count(sum hash.Hash, l leaf, p plain) {
	if p.kind != kindComment && (!f.meta.onlySealed || f.meta.encrypts(l.path)) {
		sum.Write([]byte(p.text))
	}
}

func (f *document) valueProblem(l leaf, err error) desired.Problems {
	hint := "take the file from an earlier commit, or set the value again with sops edit"
	if errors.Is(err, errNotSealed) {
		hint = clearHint
	}
	return f.problem(l.node, strings.Join(l.path, "."), err.Error(), hint)
}

// prove compares the code with the one that was written when the file was.
func (f *document) prove(code string, key []byte) error {
	const hint = "values were added, removed or exchanged without the key: take the file from an earlier commit, and look at who changed it"
	written, err := unsealValue(f.meta.mac, key, f.macPlace())
	switch {
	case f.meta.mac == "" || err != nil:
		return f.problem(f.macNode(), metaKey+".mac", "is missing or was changed", hint)
	case subtle.ConstantTimeCompare([]byte(written.text), []byte(code)) != 1:
		return f.problem(f.macNode(), metaKey+".mac", "does not fit the values", hint)
	}
	return nil
}

// macPlace is what the code is bound to: the time of the change.
func (f *document) macPlace() string {
	t, err := time.Parse(time.RFC3339, f.meta.lastModified)
	if err != nil {
		return "" // which was refused
	}
	return t.Format(time.RFC3339)
}

func (f *document) macNode() *yaml.Node {
	if f.meta.macLine != nil {
		return f.meta.macLine
	}
	return f.meta.node
}
