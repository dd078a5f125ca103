package secrets

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/desired"
)

// sample is a small file for testdata/age.key.
func sample(t testing.TB) []byte {
	t.Helper()
	return set(t, File, nil, Rule{Recipients: []string{ourRecipient}}, testKeys(t),
		map[string]string{"ALPHA": "first-value", "BETA": "second-value", "GAMMA": "third-value"})
}

// TestRefused changes a good file in every way that somebody without the key
// can, and holds what is said about it.
func TestRefused(t *testing.T) {
	good := string(sample(t))
	alpha, beta := lineOf(good, "ALPHA: "), lineOf(good, "BETA: ")
	encOf := func(line string) string { _, enc, _ := strings.Cut(line, ": "); return enc }
	tests := map[string]struct{ file, want string }{
		"a bit of a value":    {strings.Replace(good, alpha, flip(alpha, "data:"), 1), `:1: ALPHA: does not decrypt: it was changed`},
		"a bit of a tag":      {strings.Replace(good, beta, flip(beta, "tag:"), 1), `:2: BETA: does not decrypt`},
		"two exchanged":       {strings.Replace(strings.Replace(good, encOf(alpha), encOf(beta), 1), beta, "BETA: "+encOf(alpha), 1), `:1: ALPHA: does not decrypt: it was changed, or moved here`},
		"renamed":             {strings.Replace(good, "ALPHA: ", "OMEGA: ", 1), `:1: OMEGA: does not decrypt`},
		"one removed":         {strings.Replace(good, beta+"\n", "", 1), `sops.mac: does not fit the values`},
		"one twice":           {strings.Replace(good, beta, beta+"\n"+beta, 1), `:3: BETA: duplicate key (it stands on line 2 already)`},
		"another order":       {strings.Replace(strings.Replace(good, alpha+"\n", "", 1), beta+"\n", beta+"\n"+alpha+"\n", 1), `sops.mac: does not fit the values`},
		"emptied":             {strings.Replace(good, alpha, `ALPHA: ""`, 1), `sops.mac: does not fit the values`},
		"another type":        {strings.Replace(good, alpha, strings.Replace(alpha, "type:str", "type:comment", 1), 1), `ALPHA: was encrypted as something that is not known`},
		"unknown type":        {strings.Replace(good, alpha, strings.Replace(alpha, "type:str", "type:money", 1), 1), `ALPHA: was encrypted as something that is not known`},
		"in the clear":        {strings.Replace(good, alpha, "ALPHA: hunter22", 1), `:1: ALPHA: is not encrypted (set it with fairlead secret set`},
		"a number":            {strings.Replace(good, alpha, "ALPHA: 42", 1), `:1: ALPHA: is not encrypted`},
		"added in the clear":  {"MORE_unencrypted: x\n" + good, `sops.mac: does not fit the values`},
		"no mac":              {strings.Replace(good, lineOf(good, "    mac: ")+"\n", "", 1), `sops.mac: is missing or was changed`},
		"another time":        {strings.Replace(good, "12:00:00Z", "13:00:00Z", 1), `sops.mac: is missing or was changed`},
		"no time":             {strings.Replace(good, "2026-11-23T12:00:00Z", "yesterday", 1), `sops.lastmodified: is not a time`},
		"another rule":        {strings.Replace(good, "unencrypted_suffix: _unencrypted", "encrypted_suffix: NOTHING", 1), `sops.mac: does not fit the values`},
		"two rules":           {strings.Replace(good, "    unencrypted_suffix: _unencrypted", "    unencrypted_suffix: _unencrypted\n    encrypted_regex: x", 1), `stands beside another rule`},
		"comment rule":        {strings.Replace(good, "unencrypted_suffix: _unencrypted", "encrypted_comment_regex: x", 1), `sops.encrypted_comment_regex: is not supported`},
		"bad regex":           {strings.Replace(good, "unencrypted_suffix: _unencrypted", "encrypted_regex: '('", 1), `sops.encrypted_regex: is not a regular expression`},
		"data key changed":    {strings.Replace(good, encLine(good), encLine(good)[:20]+"AAAA"+encLine(good)[24:], 1), `names this key, and the data key beside it does not open with it`},
		"not SOPS":            {"ALPHA: hunter22\n", `:1: is not encrypted: it has no sops block`},
		"sops is no map":      {"ALPHA: hunter22\nsops: no\n", `is not encrypted: it has no sops block`},
		"nobody":              {withoutAge(good), `sops: has no age recipient`},
		"shamir":              {strings.Replace(good, "    mac:", "    key_groups: [{}, {}]\n    mac:", 1), `splits the data key among several groups`},
		"alias":               {"A: &a ENC[x]\nB: *a\n" + good, `:2: B: is an alias`},
		"bomb":                {bomb(), `is an alias`},
		"two documents":       {good + "---\nA: b\n", `holds more than one document`},
		"a list":              {"- a\n", `is not a map of names and values`},
		"a text":              {"hunter22", `is not a map of names and values`},
		"empty":               {"", `the file is empty (fairlead secret set makes it, or sops encrypt)`},
		"not YAML":            {"A: [\n", `is not YAML`},
		"odd key":             {"1: x\n" + good, `:1: a key is not text`},
		"too large":           {strings.Repeat("#", MaxFile+1), `larger than 1024 KiB`},
		"too deep":            {strings.Repeat("{a: ", 40) + strings.Repeat("}", 40), `nested too deeply`},
		"too many":            {"a: [" + strings.Repeat("1,", maxValues) + "1]\n", `too many values`},
		"too many recipients": {strings.Replace(good, "    lastmod", strings.Repeat("        - {recipient: age1x, enc: x}\n", maxRecipients+1)+"    lastmod", 1), `more than 200 recipients`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Open("x/"+File, []byte(tt.file), testKeys(t))
			var problems desired.Problems
			if !errors.As(err, &problems) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v\nwant %s", err, tt.want)
			}
			if problems[0].File != "x/"+File || (problems[0].Line == 0) != (name == "too large") {
				t.Errorf("place: %+v", problems[0])
			}
			for _, value := range []string{"hunter22", "first-value", "second-value", "third-value", "AGE-SECRET"} {
				if strings.Contains(err.Error(), value) {
					t.Errorf("a value is shown: %v", err)
				}
			}
			if _, err := Set(File, []byte(tt.file), Rule{Recipients: []string{ourRecipient}}, testKeys(t), pointers(map[string]string{"NEW": "x"}), noon()); err == nil && name != "empty" {
				t.Error("it was changed, and so made good")
			}
		})
	}
}

func lineOf(file, prefix string) string {
	for line := range strings.Lines(file) {
		if strings.HasPrefix(line, prefix) {
			return strings.TrimSuffix(line, "\n")
		}
	}
	panic("no line " + prefix)
}

// flip changes a character of the base64 behind a mark.
func flip(line, mark string) string {
	at := strings.Index(line, mark) + len(mark)
	c := byte('A')
	if line[at] == 'A' {
		c = 'B'
	}
	return line[:at] + string(c) + line[at+1:]
}

// encLine is a line of the armoured data key.
func encLine(file string) string {
	_, rest, _ := strings.Cut(file, "-----BEGIN AGE ENCRYPTED FILE-----\n")
	lines := strings.Split(rest, "\n")
	return lines[1]
}

func withoutAge(file string) string {
	before, rest, _ := strings.Cut(file, "    age:\n")
	_, rest, _ = strings.Cut(rest, "    lastmodified")
	return before + "    lastmodified" + rest
}

func bomb() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x]\n")
	for i := 1; i < 40; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [*a%d, *a%d]\n", i, i, i-1, i-1)
	}
	return b.String()
}

func TestForOthers(t *testing.T) {
	theirs := keysOf(t, "testdata/other.key")
	_, err := Open("instances/acme/"+File, sample(t), theirs)
	want := "is encrypted for " + ourRecipient + "; not for the key here, " + theirRecipient +
		" (whoever can open it runs fairlead secret recipients ./instances/acme --add " + theirRecipient + " --age-key-file KEY, and commits that)"
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v\nwant %s", err, want)
	}
	if _, err := Open(File, sample(t), nil); err == nil || !strings.Contains(err.Error(), "is encrypted for "+ourRecipient+", and there is no key here") {
		t.Errorf("without a key: %v", err)
	}
	both := &Keys{append(slices.Clone(theirs.ids), testKeys(t).ids...), append(theirs.Recipients(), ourRecipient)}
	if open(t, sample(t), both)["ALPHA"] != "first-value" {
		t.Error("the second key was not tried")
	}
	names, err := Names(File, sample(t))
	if err != nil || !slices.Equal(names, []string{"ALPHA", "BETA", "GAMMA"}) {
		t.Errorf("names without a key: %v, %v", names, err)
	}
}

// TestNamesFindClearValues is what validate relies on before a commit.
func TestNamesFindClearValues(t *testing.T) {
	file := strings.Replace(string(sample(t)), lineOf(string(sample(t)), "ALPHA: "), "ALPHA: oops", 1)
	file = "MAP: {inner: [hidden-1, 2]}\n" + strings.Replace(file, lineOf(file, "ALPHA"), "ALPHA: hidden-2", 1)
	_, err := Names(File, []byte(file))
	if err == nil || strings.Count(err.Error(), "is not encrypted") != 3 || strings.Contains(err.Error(), "hidden") {
		t.Errorf("got %v", err)
	}
}

func TestSetKeepsTheRest(t *testing.T) {
	before := sample(t)
	after := set(t, File, before, Rule{}, testKeys(t), map[string]string{"BETA": "changed", "GAMMA": "third-value", "NEW": "new"})
	lines := strings.Split(string(before), "\n")
	var changed []string
	for line := range strings.Lines(string(after)) {
		if line = strings.TrimSuffix(line, "\n"); !slices.Contains(lines, line) {
			key, _, _ := strings.Cut(strings.TrimSpace(line), ":")
			changed = append(changed, key)
		}
	}
	if !slices.Equal(changed, []string{"BETA", "NEW", "mac"}) { // the time is the same here
		t.Errorf("changed: %v", changed)
	}
	if got := open(t, after, testKeys(t)); !maps.Equal(got, map[string]string{"ALPHA": "first-value", "BETA": "changed", "GAMMA": "third-value", "NEW": "new"}) {
		t.Errorf("values %v", got)
	}
	same, err := Set(File, before, Rule{}, testKeys(t), map[string]*string{"NONE": nil}, noon())
	if err != nil || !bytes.Equal(same, before) {
		t.Errorf("nothing changed, and the file did: %v", err)
	}
	less := set(t, File, after, Rule{}, testKeys(t), map[string]string{"BETA": "\x00", "ALPHA": "\x00"})
	if got := open(t, less, testKeys(t)); !maps.Equal(got, map[string]string{"GAMMA": "third-value", "NEW": "new"}) {
		t.Errorf("values %v", got)
	}
	none := set(t, File, less, Rule{}, testKeys(t), map[string]string{"GAMMA": "\x00", "NEW": "\x00"})
	if got := open(t, none, testKeys(t)); len(got) != 0 {
		t.Errorf("values %v", got)
	}
}

// TestSetGolden changes files of the real sops, of every kind.
func TestSetGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/golden/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	for _, file := range files {
		before := open(t, read(t, file), testKeys(t))
		name := "PASSWORD_NEW" // which every rule of them encrypts
		if strings.HasSuffix(file, "endsealed.yaml") {
			name = "NEW_PASSWORD"
		}
		after := set(t, File, read(t, file), Rule{}, testKeys(t), map[string]string{name: "x y"})
		before[name] = "x y"
		if got := open(t, after, testKeys(t)); !maps.Equal(got, before) {
			t.Errorf("%s: %v, want %v", file, got, before)
		}
		if strings.Contains(string(after), "x y") {
			t.Errorf("%s: the value stands in the clear", file)
		}
	}
}

func TestSetRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		file  string
		name  string
		value string
		want  string
	}{
		"lower case":   {"", "token", "x", `"token" is not the name of a secret`},
		"dash":         {"", "A-B", "x", `is not the name of a secret`},
		"long":         {"", strings.Repeat("A", 65), "x", `is not the name of a secret`},
		"empty":        {"", "A", "", `the value of A is empty; remove the secret instead`},
		"NUL":          {"", "A", "hush\x00hush", `is not text: write it in base64`},
		"latin 1":      {"", "A", "hush\xff", `is not text`},
		"large":        {"", "A", strings.Repeat("h", MaxValue+1), `larger than 64 KiB`},
		"in the clear": {"regex", "TOKEN", "hush", `TOKEN: would stand in the clear`},
	} {
		var old []byte
		if tt.file != "" {
			old = read(t, "testdata/golden/"+tt.file+".yaml")
		}
		_, err := Set(File, old, Rule{Recipients: []string{ourRecipient}}, testKeys(t), map[string]*string{tt.name: &tt.value}, noon())
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	full, big := map[string]*string{}, strings.Repeat("x", MaxValue)
	for i := range 12 { // in base64
		full[fmt.Sprintf("BIG_%d", i)] = &big
	}
	if _, err := Set(File, sample(t), Rule{}, testKeys(t), full, noon()); err == nil || !strings.Contains(err.Error(), "would be larger than 1024 KiB") {
		t.Errorf("a file was written that cannot be read: %v", err)
	}
}

func TestKeys(t *testing.T) {
	good := string(read(t, "testdata/age.key"))
	other := string(read(t, "testdata/other.key"))
	k, err := ParseKeys("k", []byte("\n# two\r\n"+good+"\n"+other+good))
	if err != nil || !slices.Equal(k.Recipients(), []string{ourRecipient, theirRecipient}) {
		t.Errorf("%v, %v", k.Recipients(), err)
	}
	secret := lineOf(good, "AGE-SECRET")
	for name, tt := range map[string]struct{ in, want string }{
		"empty":      {"# nothing\n", "k: holds no age key"},
		"public":     {"\n" + ourRecipient, "k:2: is not an age key (this is the public half"},
		"cut off":    {secret[:40], "k:1: is not an age key (a line is"},
		"two":        {secret + " " + secret, "k:1: is not an age key"},
		"passphrase": {"-----BEGIN AGE ENCRYPTED FILE-----", "it is encrypted with a passphrase"},
		"ssh":        {"-----BEGIN OPENSSH PRIVATE KEY-----", "ssh keys are not read"},
		"plugin":     {"AGE-PLUGIN-YUBIKEY-1QQQ", "keys of plugins are not read"},
		"large":      {strings.Repeat("#", MaxKeys+1), "k: is larger than 64 KiB"},
	} {
		_, err := ParseKeys("k", []byte(tt.in))
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), secret[16:30]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	text, made, err := NewKey(noon())
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseKeys("k", text)
	if err != nil || !slices.Equal(again.Recipients(), made.Recipients()) {
		t.Errorf("%v: %v", again.Recipients(), err)
	}
	if _, err := (*Keys)(nil).Unseal(nil, 1); !errors.Is(err, ErrForOthers) {
		t.Error(err)
	}
}

func TestCheckRecipient(t *testing.T) {
	for in, want := range map[string]string{
		ourRecipient: "", "age1pq1x": "is not an age recipient", ourRecipient[:60]: "is not an age recipient",
		"ssh-ed25519 AAAA": "is an ssh key", lineOf(string(read(t, "testdata/age.key")), "AGE-SECRET"): "this is a private key",
	} {
		if err := CheckRecipient(in); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.20s: %v", in, err)
		}
	}
}
