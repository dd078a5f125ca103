package secrets

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// sops finds the real sops, built by scripts/sops.sh; empty: the comparison is
// left out, as the golden files are read all the same.
func sops(t testing.TB) string {
	t.Helper()
	name := os.Getenv("FAIRLEAD_SOPS_ORACLE")
	if name == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		name = filepath.Join(cache, "fairlead", "sops-v3.13.3")
	}
	if _, err := os.Stat(name); err == nil {
		return name
	}
	if os.Getenv("FAIRLEAD_NO_ORACLE") == "1" {
		t.Logf("not compared with sops: %s is not there, and FAIRLEAD_NO_ORACLE=1", name)
		return ""
	}
	t.Fatalf("%s is not there: run scripts/sops.sh (about two minutes), or set FAIRLEAD_NO_ORACLE=1 to leave the comparison out", name)
	return ""
}

// runSops runs it in a directory with a key and nothing else of this machine.
func runSops(t testing.TB, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(sops(t), args...)
	cmd.Dir = dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "SOPS_AGE_KEY_FILE=" + filepath.Join(dir, "age.key"), "SOPS_DISABLE_VERSION_CHECK=1"}
	err := cmd.Run()
	if err != nil {
		t.Logf("sops %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.String(), err
}

func mustSops(t testing.TB, dir string, args ...string) string {
	t.Helper()
	out, err := runSops(t, dir, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestSopsReadsWhatWeWrote has the real sops decrypt, change and rotate a file
// of ours, and reads the result.
func TestSopsReadsWhatWeWrote(t *testing.T) {
	if sops(t) == "" {
		return
	}
	dir, keys := t.TempDir(), testKeys(t)
	write(t, dir, "age.key", string(read(t, "testdata/age.key")))
	wrote := map[string]string{
		"TOKEN": "s3cret: with # and \"quotes\"", "KEY": "-----BEGIN\nmany\n lines\n", "NUMBER": "0042", "YES": "true", "SPACE": "  x  ", "UMLAUT": "žluťoučký 🐴"}
	file := set(t, File, nil, Rule{Recipients: keys.Recipients()}, keys, wrote)
	write(t, dir, File, string(file))

	var got map[string]string
	if err := json.Unmarshal([]byte(mustSops(t, dir, "decrypt", "--output-type", "json", File)), &got); err != nil || !maps.Equal(got, wrote) {
		t.Errorf("sops reads %q, want %q: %v", got, wrote, err)
	}

	mustSops(t, dir, "set", File, `["ADDED"]`, `"by sops"`)
	mustSops(t, dir, "set", File, `["TOKEN"]`, `"changed"`)
	values := open(t, read(t, filepath.Join(dir, File)), keys)
	if values["ADDED"] != "by sops" || values["TOKEN"] != "changed" || values["NUMBER"] != "0042" || len(values) != 7 {
		t.Errorf("after sops set: %v", values)
	}

	mustSops(t, dir, "rotate", "-i", File)
	if after := open(t, read(t, filepath.Join(dir, File)), keys); len(after) != 7 || after["ADDED"] != "by sops" {
		t.Errorf("after sops rotate: %v", after)
	}
}

// TestFileIsAsSopsWrites changes nothing in a file that sops reads and writes
// again, beyond what every change changes: the layout is the same.
func TestFileIsAsSopsWrites(t *testing.T) {
	if sops(t) == "" {
		return
	}
	dir, keys := t.TempDir(), testKeys(t)
	write(t, dir, "age.key", string(read(t, "testdata/age.key")))
	for _, old := range [][]byte{nil, read(t, "testdata/golden/nested.yaml"), read(t, "testdata/golden/recipients2.yaml")} {
		sameLayout(t, dir, set(t, File, old, Rule{Recipients: keys.Recipients()}, keys, map[string]string{"ADDED": "one", "LATER": "two"}))
	}
}

func sameLayout(t *testing.T, dir string, ours []byte) {
	t.Helper()
	write(t, dir, File, string(ours))
	mustSops(t, dir, "set", File, `["LATER"]`, `"three"`)
	theirs := strings.Split(string(read(t, filepath.Join(dir, File))), "\n")
	for i, line := range strings.Split(string(ours), "\n") {
		key, _, _ := strings.Cut(strings.TrimSpace(line), ":")
		if i >= len(theirs) || line != theirs[i] && key != "LATER" && key != "mac" && key != "lastmodified" && key != "version" {
			t.Fatalf("line %d: sops writes\n%s\nwhere we wrote\n%s", i+1, theirs[min(i, len(theirs)-1)], line)
		}
	}
}

// TestSopsReadsWhatWeRotated has sops decrypt golden files whose data key we
// exchanged, comments and all: it says what it said before.
func TestSopsReadsWhatWeRotated(t *testing.T) {
	if sops(t) == "" {
		return
	}
	dir := t.TempDir()
	write(t, dir, "age.key", string(read(t, "testdata/age.key")))
	for _, name := range []string{"types", "nested", "comments", "regexmac"} { // each a process twice
		old := read(t, "testdata/golden/"+name+".yaml")
		files, err := Rekey(treeOf(map[string]string{File: string(old)}), ".", testKeys(t), Admission{Rotate: true}, noon())
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, "old.yaml", string(old))
		write(t, dir, "new.yaml", string(files[File]))
		if want, got := mustSops(t, dir, "decrypt", "old.yaml"), mustSops(t, dir, "decrypt", "new.yaml"); got != want {
			t.Errorf("%s: sops reads\n%s\nwant\n%s", name, got, want)
		}
	}
}

// TestSopsUsesOurConfig has sops follow the .sops.yaml that we make.
func TestSopsUsesOurConfig(t *testing.T) {
	if sops(t) == "" {
		return
	}
	dir, keys := t.TempDir(), testKeys(t)
	write(t, dir, "age.key", string(read(t, "testdata/age.key")))
	files, err := Change(treeOf(nil), ".", keys, pointers(map[string]string{"TOKEN": "hush-hush"}), noon())
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, File, string(files[File]))
	write(t, dir, ConfigFile, strings.Replace(string(files[ConfigFile]), ourRecipient, ourRecipient+","+theirRecipient, 1))
	mustSops(t, dir, "updatekeys", "-y", File)
	after := read(t, filepath.Join(dir, File))
	if open(t, after, keysOf(t, "testdata/other.key"))["TOKEN"] != "hush-hush" {
		t.Error("sops updatekeys did not add the recipient")
	}
	write(t, dir, File, "TOKEN: made-by-sops\n")
	mustSops(t, dir, "encrypt", "-i", File)
	if open(t, read(t, filepath.Join(dir, File)), keys)["TOKEN"] != "made-by-sops" {
		t.Error("sops encrypt did not follow our .sops.yaml")
	}
}

// TestSopsRefusesWhatWeRefuse holds that both find the same changes.
func TestSopsRefusesWhatWeRefuse(t *testing.T) {
	if sops(t) == "" {
		return
	}
	dir, good := t.TempDir(), string(sample(t))
	write(t, dir, "age.key", string(read(t, "testdata/age.key")))
	for name, file := range map[string]string{
		"removed": strings.Replace(good, lineOf(good, "BETA: ")+"\n", "", 1),
		"flipped": strings.Replace(good, lineOf(good, "BETA: "), flip(lineOf(good, "BETA: "), "data:"), 1),
		"renamed": strings.Replace(good, "BETA: ", "ZETA: ", 1),
		"added":   "MORE_unencrypted: x\n" + good,
	} {
		write(t, dir, File, file)
		if _, err := runSops(t, dir, "decrypt", File); err == nil {
			t.Errorf("%s: sops takes it", name)
		}
		if _, err := Open(File, []byte(file), testKeys(t)); err == nil {
			t.Errorf("%s: we take it", name)
		}
	}
}
