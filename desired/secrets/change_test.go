package secrets

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func treeOf(files map[string]string) fstest.MapFS {
	m := fstest.MapFS{}
	for name, text := range files {
		m[name] = &fstest.MapFile{Data: []byte(text), Mode: 0o644}
	}
	return m
}

// apply puts the files of a commit into a tree.
func apply(tree fstest.MapFS, files map[string][]byte) fstest.MapFS {
	out := maps.Clone(tree)
	for name, data := range files {
		out[name] = &fstest.MapFile{Data: data, Mode: 0o644}
	}
	return out
}

func TestFirstSecret(t *testing.T) {
	tree := treeOf(map[string]string{"instances/acme/instance.yaml": "name: acme"})
	files, err := Change(tree, "instances/acme", testKeys(t), pointers(map[string]string{"TOKEN": "hush-hush"}), noon())
	if err != nil || !slices.Equal(sorted(files), []string{"instances/acme/.sops.yaml", "instances/acme/secrets.enc.yaml"}) {
		t.Fatalf("%v, %v", sorted(files), err)
	}
	tree = apply(tree, files)
	rule, err := Recipients(tree, "instances/acme")
	if err != nil || rule.Config != "instances/acme/.sops.yaml" || !slices.Equal(rule.Recipients, []string{ourRecipient}) {
		t.Errorf("%+v, %v", rule, err)
	}
	if files, err := Change(tree, "instances/acme", testKeys(t), pointers(map[string]string{"TOKEN": "hush-hush"}), noon()); err != nil || len(files) != 0 {
		t.Errorf("the same again: %v, %v", sorted(files), err)
	}
	files, err = Change(tree, "instances/acme", testKeys(t), pointers(map[string]string{"OTHER": "x"}), noon())
	if err != nil || !slices.Equal(sorted(files), []string{"instances/acme/secrets.enc.yaml"}) {
		t.Errorf("a second: %v, %v", sorted(files), err)
	}
	if files, err := Change(treeOf(nil), ".", testKeys(t), map[string]*string{"GONE": nil}, noon()); err != nil || len(files) != 0 {
		t.Errorf("removing what is not there: %v, %v", sorted(files), err)
	}
}

const fleetConfig = `# the fleet
creation_rules:

  - path_regex: other/.*
    age: age1other
  - path_regex: secrets\.enc\.yaml$ # ours
    encrypted_regex: ^[A-Z]
    mac_only_encrypted: true
    age: ` + theirRecipient + ` # a person
`

// TestFirstSecretUnderTheFleetsRule adds this host to a rule that is there, and
// touches nothing else of it.
func TestFirstSecretUnderTheFleetsRule(t *testing.T) {
	tree := treeOf(map[string]string{".sops.yaml": fleetConfig, "instances/acme/instance.yaml": "name: acme"})
	files, err := Change(tree, "instances/acme", testKeys(t), pointers(map[string]string{"TOKEN": "hush-hush"}), noon())
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(fleetConfig, theirRecipient, theirRecipient+","+ourRecipient, 1); string(files[".sops.yaml"]) != want {
		t.Errorf("config is now\n%s", files[".sops.yaml"])
	}
	made := files["instances/acme/secrets.enc.yaml"]
	for _, keys := range []*Keys{testKeys(t), keysOf(t, "testdata/other.key")} {
		if open(t, made, keys)["TOKEN"] != "hush-hush" {
			t.Error("one of the two cannot read it")
		}
	}
	if !strings.Contains(string(made), "encrypted_regex: ^[A-Z]") || !strings.Contains(string(made), "mac_only_encrypted: true") {
		t.Errorf("the rule is not in the file\n%s", made)
	}
}

func TestRecipientsRule(t *testing.T) {
	const rules = "creation_rules:\n"
	for name, tt := range map[string]struct {
		files map[string]string
		dir   string
		want  string // recipients, others after |, or part of the error
	}{
		"none":        {nil, "a", ""},
		"nearest":     {map[string]string{".sops.yaml": rules + "- age: age1far", "a/.sops.yaml": rules + "- age: age1near"}, "a/b", "age1near"},
		"first":       {map[string]string{".sops.yaml": rules + "- {path_regex: no, age: age1no}\n- {age: age1yes}\n- {age: age1late}"}, "a", "age1yes"},
		"relative":    {map[string]string{"a/.sops.yaml": rules + "- {path_regex: ^b/secrets, age: age1yes}"}, "a/b", "age1yes"},
		"root":        {map[string]string{".sops.yaml": rules + "- {path_regex: ^secrets.enc, age: age1yes}"}, ".", "age1yes"},
		"list":        {map[string]string{".sops.yaml": rules + "- age: [age1a, 'age1b, age1c', age1a]"}, ".", "age1a age1b age1c"},
		"folded":      {map[string]string{".sops.yaml": rules + "- age: >-\n    age1a,\n    age1b"}, ".", "age1a age1b"},
		"group":       {map[string]string{".sops.yaml": rules + "- key_groups: [{age: [age1a], pgp: [X]}]"}, ".", "age1a|pgp"},
		"others":      {map[string]string{".sops.yaml": rules + "- {age: age1a, kms: 'arn:aws:x'}"}, ".", "age1a|kms"},
		"no fit":      {map[string]string{".sops.yaml": rules + "- {path_regex: no, age: age1no}"}, ".", "creation_rules: no rule fits secrets.enc.yaml (add one: {path_regex: 'secrets\\.enc\\.yaml$'"},
		"empty":       {map[string]string{".sops.yaml": ""}, ".", "no rule fits"},
		"two groups":  {map[string]string{".sops.yaml": rules + "- key_groups: [{age: [age1a]}, {age: [age1b]}]"}, ".", ".sops.yaml:2: creation_rules[0].key_groups: splits the data key"},
		"bad regex":   {map[string]string{".sops.yaml": rules + "- path_regex: '('"}, ".", "creation_rules[0].path_regex: is not a regular expression"},
		"two kinds":   {map[string]string{".sops.yaml": rules + "- {encrypted_regex: a, unencrypted_regex: b}"}, ".", "stands beside another rule"},
		"not YAML":    {map[string]string{".sops.yaml": "a: ["}, ".", ".sops.yaml:1: is not YAML"},
		"rule is odd": {map[string]string{".sops.yaml": rules + "- x\n- age: age1a"}, ".", ".sops.yaml:2: creation_rules[0]: is not a map"},
	} {
		r, err := Recipients(treeOf(tt.files), tt.dir)
		got := strings.Join(r.Recipients, " ")
		if len(r.Others) > 0 {
			got += "|" + strings.Join(r.Others, " ")
		}
		if err != nil {
			got = err.Error()
		}
		if got != tt.want && (err == nil || !strings.Contains(got, tt.want)) {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
}

func TestChangeRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		keys  *Keys
		want  string
	}{
		"nobody":   {nil, nil, "there is no key here, and no .sops.yaml names a recipient"},
		"others":   {map[string]string{".sops.yaml": "creation_rules: [{age: " + ourRecipient + ", pgp: X}]"}, testKeys(t), "keys that are not of age: pgp (make the file with sops"},
		"ssh":      {map[string]string{".sops.yaml": "creation_rules: [{age: ssh-ed25519 AAAA}]"}, testKeys(t), "is an ssh key"},
		"not ours": {map[string]string{File: string(sample(t))}, keysOf(t, "testdata/other.key"), "is encrypted for " + ourRecipient},
	} {
		_, err := Change(treeOf(tt.files), ".", tt.keys, pointers(map[string]string{"A": "hush"}), noon())
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	files, err := Change(treeOf(map[string]string{".sops.yaml": "creation_rules: [{age: " + ourRecipient + "}]"}), ".", nil, pointers(map[string]string{"A": "hush"}), noon())
	if err != nil || open(t, files[File], testKeys(t))["A"] != "hush" {
		t.Errorf("whoever has no key can write a first secret: %v", err)
	}
}

// TestAdmit adds and removes a recipient: who is removed cannot read what is
// written afterwards, not even with the data key from before.
func TestAdmit(t *testing.T) {
	ours, theirs := testKeys(t), keysOf(t, "testdata/other.key")
	tree := treeOf(nil)
	step := func(what string, files map[string][]byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		tree = apply(tree, files)
		return tree[File].Data
	}
	files, err := Change(tree, ".", ours, pointers(map[string]string{"TOKEN": "hush-hush"}), noon())
	first := step("set", files, err)

	files, err = Rekey(tree, ".", ours, Admission{Add: []string{theirRecipient}}, noon())
	added := step("add", files, err)
	if open(t, added, theirs)["TOKEN"] != "hush-hush" || lineOf(string(first), "TOKEN") != lineOf(string(added), "TOKEN") {
		t.Error("adding somebody changed more than that, or not that")
	}
	if r, err := Recipients(tree, "."); err != nil || !slices.Equal(r.Recipients, []string{ourRecipient, theirRecipient}) {
		t.Errorf("%v, %v", r.Recipients, err)
	}

	files, err = Rekey(tree, ".", ours, Admission{Remove: []string{theirRecipient}}, noon())
	removed := step("remove", files, err)
	f, err := parse(File, added)
	if err != nil {
		t.Fatal(err)
	}
	oldKey, err := f.dataKey(theirs)
	if err != nil {
		t.Fatal(err)
	}
	_, enc, _ := strings.Cut(lineOf(string(removed), "TOKEN"), ": ")
	if _, err := unsealValue(enc, oldKey, "TOKEN:"); err == nil {
		t.Error("the old data key still opens the value")
	}
	if _, err := Open(File, removed, theirs); err == nil || open(t, removed, ours)["TOKEN"] != "hush-hush" {
		t.Errorf("after the removal: %v", err)
	}
	if r, err := Recipients(tree, "."); err != nil || !slices.Equal(r.Recipients, []string{ourRecipient}) {
		t.Errorf("%v, %v", r.Recipients, err)
	}

	for want, a := range map[string]Admission{
		"nobody could read the secrets any more":                        {Remove: []string{ourRecipient}},
		"is not among the recipients; fairlead secret recipients lists": {Remove: []string{theirRecipient}},
		"is not an age recipient":                                       {Add: []string{"age1nobody"}},
	} {
		if _, err := Rekey(tree, ".", ours, a, noon()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", a, err)
		}
	}
	if files, err := Rekey(tree, ".", ours, Admission{}, noon()); err != nil || len(files) != 0 {
		t.Errorf("nothing to do: %v, %v", sorted(files), err)
	}
	files, err = Rekey(tree, ".", ours, Admission{Rotate: true}, noon())
	if rotated := step("rotate", files, err); lineOf(string(rotated), "TOKEN") == lineOf(string(removed), "TOKEN") || len(files) != 1 {
		t.Error("nothing was encrypted anew")
	}
}

// TestRekeyFollowsTheConfig brings the file in line with a .sops.yaml that
// somebody edited.
func TestRekeyFollowsTheConfig(t *testing.T) {
	tree := treeOf(map[string]string{File: string(sample(t)), ".sops.yaml": "creation_rules:\n- age:\n  - " + theirRecipient + " # a person\n  - " + ourRecipient + "\n"})
	files, err := Rekey(tree, ".", testKeys(t), Admission{}, noon())
	if err != nil || !slices.Equal(sorted(files), []string{File}) {
		t.Fatalf("%v, %v", sorted(files), err)
	}
	if who, err := RecipientsOf(File, files[File]); err != nil || !slices.Equal(who, []string{theirRecipient, ourRecipient}) {
		t.Errorf("%v, %v", who, err)
	}
	files, err = Rekey(apply(tree, files), ".", testKeys(t), Admission{Remove: []string{ourRecipient}}, noon())
	if err != nil || strings.Contains(string(files[".sops.yaml"]), ourRecipient) || !strings.Contains(string(files[".sops.yaml"]), theirRecipient+" # a person") {
		t.Errorf("%s, %v", files[".sops.yaml"], err)
	}
}

// TestRotateKeepsWhatSopsKnows encrypts every golden file anew, with its types,
// lists, comments and rules.
func TestRotateKeepsWhatSopsKnows(t *testing.T) {
	for name := range goldens() {
		old := read(t, "testdata/golden/"+name+".yaml")
		files, err := Rekey(treeOf(map[string]string{File: string(old)}), ".", testKeys(t), Admission{Rotate: true}, noon())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, want := open(t, files[File], testKeys(t)), open(t, old, testKeys(t)); !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
		for line := range strings.Lines(string(files[File])) {
			_, enc, is := strings.Cut(line, "ENC[")
			if is && strings.Contains(string(old), strings.TrimSpace(enc)) {
				t.Errorf("%s: not encrypted anew: %.60s", name, line)
			}
		}
	}
}
