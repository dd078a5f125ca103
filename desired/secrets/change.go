package secrets

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// Change returns what a commit has to hold so that secrets of the instance in
// dir are set, or with nil removed: files by their path in the tree. It is
// empty when nothing changes. The first secret of an instance makes the file
// and, where no .sops.yaml says who else may read it, one beside it; this host
// is always among the recipients of a new file.
func Change(tree fs.FS, dir string, keys *Keys, values map[string]*string, now time.Time) (map[string][]byte, error) {
	file := path.Join(dir, File)
	old, err := readFile(tree, file)
	if err != nil {
		return nil, err
	}
	if len(old) > 0 {
		return onlyChanged(file, old)(Set(file, old, Rule{}, keys, values, now))
	}
	if !slices.ContainsFunc(sorted(values), func(name string) bool { return values[name] != nil }) {
		return nil, checkValues(values)
	}
	rule, files, err := ruleWith(tree, dir, keys.Recipients())
	if err != nil {
		return nil, err
	}
	made, err := Set(file, nil, rule, keys, values, now)
	if err != nil {
		return nil, err
	}
	files[file] = made
	return files, nil
}

func onlyChanged(file string, old []byte) func([]byte, error) (map[string][]byte, error) {
	return func(made []byte, err error) (map[string][]byte, error) {
		if err != nil || string(made) == string(old) {
			return nil, err
		}
		return map[string][]byte{file: made}, nil
	}
}

// ruleWith is the rule of an instance with one of these recipients in it, and
// the file that has to change for that.
func ruleWith(tree fs.FS, dir string, mine []string) (Rule, map[string][]byte, error) {
	files := map[string][]byte{}
	rule, err := Recipients(tree, dir)
	if err != nil {
		return Rule{}, nil, err
	}
	if len(mine) == 0 && len(rule.Recipients) > 0 {
		return rule, files, nil // whoever has no key can write all the same
	}
	if len(mine) == 0 {
		return Rule{}, nil, fmt.Errorf("encrypt for nobody: there is no key here, and no %s names a recipient", ConfigFile)
	}
	if slices.ContainsFunc(rule.Recipients, func(r string) bool { return slices.Contains(mine, r) }) {
		return rule, files, nil
	}
	rule.Recipients = append(slices.Clone(rule.Recipients), mine[0])
	if rule.Config == "" {
		files[path.Join(dir, ConfigFile)] = newConfig(rule.Recipients)
		return rule, files, nil
	}
	config, err := rule.withRecipients(rule.Recipients)
	if err != nil {
		return Rule{}, nil, fmt.Errorf("change %s: %w", rule.Config, err)
	}
	files[rule.Config] = config
	return rule, files, nil
}

// Admission says who may read the secrets of an instance from now on.
type Admission struct {
	Add    []string
	Remove []string
	// Rotate makes a new data key although nobody is removed.
	Rotate bool
}

// Rekey returns the files of a commit that makes secrets readable for those
// whom .sops.yaml names, changed by the admission. When somebody is removed
// the file gets a new data key, and each value is encrypted anew: the old one
// is known to who was removed, and so are the values themselves.
func Rekey(tree fs.FS, dir string, keys *Keys, a Admission, now time.Time) (map[string][]byte, error) {
	for _, r := range a.Add {
		if err := CheckRecipient(r); err != nil {
			return nil, err
		}
	}
	file := path.Join(dir, File)
	old, err := readFile(tree, file)
	if err != nil {
		return nil, err
	}
	if len(old) == 0 {
		return nil, desired.Problems{{File: file, Text: "does not exist", Hint: "fairlead secret set makes it"}}
	}
	e, err := edited(file, old, Rule{}, keys)
	if err != nil {
		return nil, err
	}
	files, want, err := admitted(tree, dir, e.meta, a)
	if err != nil {
		return nil, err
	}
	if err := e.rekey(want, a.Rotate); err != nil {
		return nil, err
	}
	if !e.changed {
		return files, nil
	}
	made, err := e.finish(now)
	files[file] = made
	return files, err
}

// admitted are the recipients after an admission, with the changed .sops.yaml.
func admitted(tree fs.FS, dir string, m metadata, a Admission) (map[string][]byte, []string, error) {
	files := map[string][]byte{}
	rule, err := Recipients(tree, dir)
	if err != nil {
		return nil, nil, err
	}
	have := rule.Recipients
	if rule.Config == "" {
		for _, k := range m.age {
			have = append(have, k.recipient)
		}
	}
	for _, r := range a.Remove {
		if !slices.Contains(have, r) && !slices.ContainsFunc(m.age, func(k sealedKey) bool { return k.recipient == r }) {
			return nil, nil, fmt.Errorf("%q is not among the recipients; fairlead secret recipients lists them", clip(r))
		}
	}
	want := slices.DeleteFunc(slices.Clone(have), func(r string) bool { return slices.Contains(a.Remove, r) })
	for _, r := range a.Add {
		if !slices.Contains(want, r) {
			want = append(want, r)
		}
	}
	switch {
	case len(want) == 0:
		return nil, nil, fmt.Errorf("nobody could read the secrets any more: add somebody first")
	case slices.Equal(want, rule.Recipients):
		return files, want, nil
	case rule.Config == "":
		files[path.Join(dir, ConfigFile)] = newConfig(want)
		return files, want, nil
	}
	config, err := rule.withRecipients(want)
	if err != nil {
		return nil, nil, fmt.Errorf("change %s: %w", rule.Config, err)
	}
	files[rule.Config] = config
	return files, want, nil
}

// rekey encrypts the data key, or a new one, for others.
func (e *edit) rekey(want []string, rotate bool) error {
	var have []string
	for _, k := range e.meta.age {
		have = append(have, k.recipient)
		rotate = rotate || !slices.Contains(want, k.recipient)
	}
	if rotate {
		if err := e.rotate(); err != nil {
			return err
		}
	} else if slices.Equal(have, want) {
		return nil
	}
	return e.sealFor(want)
}
