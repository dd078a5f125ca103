// Package secrets reads and writes secrets.enc.yaml: files in the format of SOPS whose data key is encrypted for age
// recipients. It knows nothing of hosts, daemons and git, keeps nothing and does no I/O but reading from an fs.FS. It is
// the only importer of age. No error of it holds a value.
package secrets

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/fairlead/fairlead/desired"
)

// File is the name of the file of an instance's secrets.
const File = "secrets.enc.yaml"

// Bounds of a file. The count of values bounds what a file costs: each is
// decrypted by itself.
const (
	MaxFile   = 1 << 20
	MaxValue  = 64 << 10
	maxValues = 10_000
	maxDepth  = 32
)

var (
	// setName is what Fairlead gives a name to; any reference can be read that
	// desired permits, since people make these files, too.
	setName   = regexp.MustCompile(`^[A-Z][A-Z0-9_]{0,63}$`)
	referable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)
)

// CheckName says what is wrong with the name of a secret that is to be set.
func CheckName(name string) error {
	if !setName.MatchString(name) {
		return fmt.Errorf("%q is not the name of a secret: up to 64 capitals, digits and _, a capital first", clip(name))
	}
	return nil
}

// Open decrypts a file and proves that nobody changed it. The answer has the
// values at the top of the file whose names can be referred to; what stands
// deeper is proved, too, and left out. What is wrong is desired.Problems, which
// carry file as the name.
func Open(file string, data []byte, keys *Keys) (map[string]string, error) {
	f, err := parse(file, data)
	if err != nil {
		return nil, err
	}
	opened, err := f.open(keys)
	if err != nil {
		return nil, err
	}
	return opened.values, nil
}

// Names lists what Open would find, in order, without any key: which names
// there are stands in the clear. It refuses a file in which a value stands in
// the clear that should not.
func Names(file string, data []byte) ([]string, error) {
	f, err := parse(file, data)
	if err != nil {
		return nil, err
	}
	if err := f.sealed(); err != nil {
		return nil, err
	}
	var names []string
	for _, e := range f.entries() {
		if e.referable() {
			names = append(names, e.key.Value)
		}
	}
	slices.Sort(names)
	return names, nil
}

// RecipientsOf lists for whom a file is encrypted, in its order: age
// recipients, and keys of other kinds as KIND:KEY.
func RecipientsOf(file string, data []byte) ([]string, error) {
	f, err := parse(file, data)
	if err != nil {
		return nil, err
	}
	return f.meta.everybody(), nil
}

// Reader is how desired.Load reads the files with the keys of this host.
type Reader struct {
	// Keys are asked for each time; nil stands for a host without.
	Keys func() (*Keys, error)
}

var _ desired.Secrets = Reader{}

// Names implements desired.Secrets.
func (Reader) Names(file string, data []byte) ([]string, error) { return Names(file, data) }

// Open implements desired.Secrets.
func (r Reader) Open(file string, data []byte) (map[string]string, error) {
	if r.Keys == nil {
		return Open(file, data, nil)
	}
	keys, err := r.Keys()
	if err != nil {
		return nil, err
	}
	return Open(file, data, keys)
}

// clip shortens what is repeated of a file.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
