//go:build cgo

package duck

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fairlead/fairlead/connectors"
)

// TestCheckTellsEverything has one directory with many things wrong, and one
// table that is right.
func TestCheckTellsEverything(t *testing.T) {
	dir := put(t, t.TempDir(), map[string]string{
		"good.csv": "id\n1\n2\n", "count.csv": "id\n1\n", "key.csv": "id\n1\n", "type.ndjson": `{"id": "x"}` + "\n", "twice.csv": "a\n1\n", "twice.tsv": "a\n1\n",
		"read me.txt": "hello", "bad-name.csv": "a\n1\n", "rows.csv": "a,b\n1\n", "lost/a.csv": "a\n1\n", "lost/b/c.csv": "a\n1\n",
		"_meta.json": `{"tables": {"count": {"rows": 9}, "key": {"primary_key": ["nr"]}, "type": {"columns": {"id": "BIGINT"}}, "absent": {}}}`,
	})
	for name, put := range map[string]func(path string) error{
		"pipe.csv": func(p string) error { return syscall.Mkfifo(p, 0o644) },
		"link.csv": func(p string) error { return os.Symlink("/etc/passwd", p) },
		"endless":  func(p string) error { return os.Symlink("/dev/zero", p+".parquet") },
	} {
		if err := put(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	want := "BadName, UnknownFile, Missing absent, RowCount count, NotARegularFile endless, BadPrimaryKey key, NotARegularFile link, NotARegularFile lost, NotARegularFile pipe, BadContent rows, Duplicate twice, BadValue type.id"
	reply := checked(t, dir, 0)
	names := []string{}
	for _, m := range reply.Tables {
		names = append(names, m.Name)
	}
	if codes(reply.Problems) != want || reply.Form != "simple" || strings.Join(names, " ") != "count good" || reply.Tables[1].Rows != 2 || describedAs(reply.Tables[1].Columns) != "id BIGINT" {
		t.Errorf("%s\n%v", codes(reply.Problems), names)
	}
	for _, p := range reply.Problems {
		if p.Hint == "" || strings.Contains(p.Found, dir) {
			t.Errorf("%+v", p)
		}
	}
	m := made{}.build(t, connectors.Publication{Dir: dir})
	if codes(m.reply.Problems) != want || m.rows(t, "good") != "1\n2" || len(m.reply.Manifest.Tables) != 2 {
		t.Errorf("the build says %s", codes(m.reply.Problems))
	}
	if reply := checked(t, t.TempDir(), 0); codes(reply.Problems) != "Nothing" {
		t.Errorf("an empty directory: %+v", reply)
	}
	if reply := checked(t, filepath.Join(dir, "nothing"), 0); reply.Error == "" {
		t.Errorf("what is not there: %+v", reply)
	}
	out := t.TempDir()
	if err := os.Symlink(dir, filepath.Join(out, "out")); err != nil {
		t.Fatal(err)
	}
	if reply := checked(t, out, 0); codes(reply.Problems) != "NotARegularFile" {
		t.Errorf("out/ that leads elsewhere: %+v", reply)
	}
}
