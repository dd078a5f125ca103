package analytics

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/connectors"
)

func openTestStore(t testing.TB, dir string) *store {
	t.Helper()
	s, err := openStore(dir, "shop", nil)
	must(t, err)
	return s
}

// put publishes a generation of one table with this text, as make does.
func put(t testing.TB, s *store, text string) *generation {
	t.Helper()
	g, err := tryPut(s, map[string]string{"orders": text})
	must(t, err)
	return g
}

func tryPut(s *store, tables map[string]string, only ...string) (*generation, error) {
	dir, err := os.MkdirTemp("", "run-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	for name, text := range tables {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	unlock, err := s.lock(context.Background())
	if err != nil {
		return nil, err
	}
	defer unlock()
	a := New(Options{build: plainBuild})
	g, _, err := a.make(context.Background(), s, connectors.Publication{Source: "shop", Dir: dir, Only: only, Identity: "i"})
	if err != nil {
		return nil, err
	}
	if err := s.setCurrent(g.number); err != nil {
		return nil, err
	}
	return g, s.prune(2, func(int) bool { return false })
}

func text(t testing.TB, g *generation) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(g.dir, "data/orders.parquet"))
	must(t, err)
	return string(data)
}

func TestStoreKeepsGenerations(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	s := openTestStore(t, dir)
	for n := 1; n <= 4; n++ {
		if g := put(t, s, fmt.Sprint("v", n)); g.number != n || text(t, g) != fmt.Sprint("v", n) {
			t.Fatalf("generation %d with %s", g.number, text(t, g))
		}
	}
	s = openTestStore(t, dir)
	list := s.list()
	if len(list) != 2 || list[0].Number != 4 || !list[0].Current || list[1].Number != 3 {
		t.Fatalf("there are %+v", list)
	}
	if target, err := os.Readlink(filepath.Join(dir, "current")); err != nil || target != "4" {
		t.Fatalf("current leads to %q, %v", target, err)
	}
	unlock, err := s.lock(t.Context())
	must(t, err)
	must(t, s.purge())
	unlock()
	if s = openTestStore(t, dir); len(s.list()) != 0 {
		t.Fatalf("after the purge there are %+v", s.list())
	}
	if g := put(t, s, "again"); g.number != 5 {
		t.Fatalf("number %d was given again", g.number)
	}
}

// What is linked from the generation before keeps its hash without being read.
func TestStoreLinksWhatStays(t *testing.T) {
	s := openTestStore(t, filepath.Join(t.TempDir(), "shop"))
	first, err := tryPut(s, map[string]string{"orders": "o", "people": "p"})
	must(t, err)
	second, err := tryPut(s, map[string]string{"orders": "o2"}, "orders")
	must(t, err)
	if len(second.manifest.Tables) != 2 || !reflect.DeepEqual(first.manifest.Tables[1].Files, second.manifest.Tables[1].Files) {
		t.Fatalf("tables %+v", second.manifest.Tables)
	}
	must(t, second.verify(true))
}

func TestStoreRefusesASecondWriter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	s := openTestStore(t, dir)
	put(t, s, "v1")
	unlock, err := s.lock(t.Context())
	must(t, err)
	defer unlock()
	staged, err := s.stage(7)
	must(t, err)
	other := openTestStore(t, dir) // a second daemon: what is being written stays
	if _, err := os.Stat(staged); err != nil {
		t.Errorf("the second one swept what the first writes: %v", err)
	}
	if _, err := other.lock(t.Context()); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("the second writer got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := s.lock(ctx); err != context.DeadlineExceeded {
		t.Errorf("a second writer in the process got %v", err)
	}
}

// A child that is being started has what its parent had open until it execs.
func TestALockThatAForkedChildHasIsGivenBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	s := openTestStore(t, dir)
	unlock, err := s.lock(t.Context())
	must(t, err)
	open, err := filepath.Glob("/proc/self/fd/*")
	must(t, err)
	at := slices.IndexFunc(open, func(file string) bool {
		target, _ := os.Readlink(file)
		return target == filepath.Join(dir, lockFile)
	})
	if at < 0 {
		t.Fatalf("the lock is not open: %v", open)
	}
	fd, err := strconv.Atoi(filepath.Base(open[at]))
	must(t, err)
	twin, err := syscall.Dup(fd)
	must(t, err)
	defer syscall.Close(twin)
	unlock()
	again, err := s.lock(t.Context())
	must(t, err)
	again()
}

func TestDamageIsFound(t *testing.T) {
	file := func(g *generation) string { return filepath.Join(g.dir, "data/orders.parquet") }
	write := func(data string) func(testing.TB, *generation) {
		return func(t testing.TB, g *generation) { must(t, os.WriteFile(file(g), []byte(data), 0o600)) }
	}
	for name, test := range map[string]struct {
		do   func(testing.TB, *generation)
		want string // empty: good
	}{
		"nothing": {func(testing.TB, *generation) {}, ""},
		"touched": {func(t testing.TB, g *generation) { must(t, os.Chtimes(file(g), time.Now(), time.Now().Add(time.Hour))) }, ""},
		"edited": {func(t testing.TB, g *generation) {
			write("w1")(t, g)
			must(t, os.Chtimes(file(g), time.Now(), time.Now().Add(time.Hour)))
		}, "content was changed"},
		"truncated": {write(""), "has 0 bytes and had 2"},
		"longer":    {write("v1 and more"), "bytes and had 2"},
		"missing":   {func(t testing.TB, g *generation) { must(t, os.Remove(file(g))) }, "missing"},
		"directory": {func(t testing.TB, g *generation) { must(t, os.RemoveAll(g.dir)) }, "directory is missing"},
		"link": {func(t testing.TB, g *generation) {
			must(t, os.Rename(file(g), file(g)+"x"))
			must(t, os.Symlink("orders.parquetx", file(g)))
		}, "not a regular file"},
		"fifo": {func(t testing.TB, g *generation) {
			must(t, os.Remove(file(g)))
			must(t, syscall.Mkfifo(file(g), 0o600))
		}, "not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			g := put(t, openTestStore(t, filepath.Join(t.TempDir(), "shop")), "v1")
			test.do(t, g)
			err := g.verify(false)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Fatalf("found %v, want %q", err, test.want)
			}
		})
	}
}

// What is set aside stays so after a restart, and goes with the next generations.
func TestSetAsideIsRemembered(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "shop")
	s := openTestStore(t, dir)
	put(t, s, "v1")
	put(t, s, "v2")
	must(t, s.setAside(2, "somebody wrote over it"))
	s = openTestStore(t, dir)
	if n, why := s.newestDamaged(); n != 2 || why != "somebody wrote over it" || s.get(2) != nil || s.good()[0].number != 1 {
		t.Fatalf("damaged %d %q, good %+v", n, why, s.good())
	}
	put(t, s, "v3")
	if left := s.list(); len(left) != 2 || left[0].Number != 3 || left[1].Number != 1 {
		t.Fatalf("left %+v", left)
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "2*")); len(names) > 0 {
		t.Fatalf("left %v", names)
	}
	must(t, os.WriteFile(filepath.Join(dir, "3/manifest.json"), []byte("{}"), 0o600))
	if s = openTestStore(t, dir); s.get(3) != nil || !strings.Contains(s.list()[0].Damaged, "version 0") {
		t.Fatalf("a generation without a manifest: %+v", s.list())
	}
}

const goodManifest = `{"version":1,"source":"shop","generation":3,"identity":"i","at":"2026-11-22T12:00:00Z","tables":[{"name":"orders",
"query_mode":"local","rows":2,"bytes":9,"columns":[{"name":"v","type":"VARCHAR"}],"extracted_at":"2026-11-22T12:00:00Z",
"files":[{"path":"data/orders/2026-01.parquet","size":9,"sha256":"` + sum0 + `"}]}],"remotes":[{"alias":"pg","extension":"postgres","url":"x","token_env":"PG"}]}`

const sum0 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestManifestsAreChecked(t *testing.T) {
	if _, err := parseManifest([]byte(goodManifest), "shop"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ old, now, want string }{
		{`"version":1`, `"version":2`, "version 2"},
		{`"source":"shop"`, `"source":"other"`, "of source"},
		{`"generation":3`, `"generation":0`, "generation 0"},
		{`"name":"orders"`, `"name":"or\"ders"`, "not valid"},
		{`"query_mode":"local"`, `"query_mode":"magic"`, "query mode"},
		{`"query_mode":"local"`, `"query_mode":"remote"`, "does not say where"},
		{`"rows":2`, `"rows":-2`, "below zero"},
		{`data/orders/2026-01.parquet`, `data/../../../etc/passwd`, "not one below data/"},
		{`data/orders/2026-01.parquet`, `/etc/passwd`, "not one below data/"},
		{`data/orders/2026-01.parquet`, `data/*.parquet`, "not one below data/"},
		{`"size":9`, `"size":-9`, "below zero"},
		{sum0, sum0[2:], "SHA-256"},
		{`"alias":"pg"`, `"alias":"p g"`, "not valid"},
		{`"token_env":"PG"`, `"token_env":"pg"`, "not valid"},
		{`{"version"`, `[{"version"`, "read manifest"},
	} {
		_, err := parseManifest([]byte(strings.Replace(goodManifest, test.old, test.now, 1)), "shop")
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.now, err)
		}
	}
}

// Whatever is in the file, nothing that is accepted leads out of its directory,
// and it is the same when it is written and read again.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(goodManifest))
	f.Add([]byte(`{"version":1,"source":"shop","generation":1,"tables":null}`))
	f.Add([]byte(strings.Replace(goodManifest, "data/orders", "data/..", 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseManifest(data, "shop")
		if err != nil {
			return
		}
		for _, table := range m.Tables {
			for _, file := range table.Files {
				if !strings.HasPrefix(filepath.Join("/g", file.Path), "/g/data/") {
					t.Fatalf("%q leads out", file.Path)
				}
			}
		}
		again, err := json.Marshal(m)
		must(t, err)
		second, err := parseManifest(again, "shop")
		if err != nil {
			t.Fatalf("it is refused when it is written again: %v", err)
		}
		if one, two := mustJSON(t, m), mustJSON(t, second); one != two {
			t.Fatalf("%s\n%s", one, two)
		}
	})
}

func mustJSON(t testing.TB, v any) string {
	data, err := json.Marshal(v)
	must(t, err)
	return string(data)
}

// storeChild publishes "next" and is killed before a step, or cannot write files
// larger than a limit: what, directory, number.
func storeChild(args []string) error {
	number, err := strconv.ParseUint(args[2], 10, 64)
	if err != nil {
		return err
	}
	n := uint64(0)
	step := func(string) {
		if n++; args[0] == "kill" && n == number {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // it arrives
		}
	}
	s, err := openStore(args[1], "shop", step)
	if err != nil {
		return err
	}
	if args[0] == "full" {
		if err := limitFiles(number); err != nil {
			return err
		}
	}
	_, err = tryPut(s, map[string]string{"orders": "next " + strings.Repeat("x", 3000)})
	return err
}
