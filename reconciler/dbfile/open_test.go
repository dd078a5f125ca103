package dbfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

func mode(t *testing.T, name string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

// TestLostFileComesFromTheCopy: a file that is gone, empty or noise is taken from
// the copy, but for what must not be.
func TestLostFileComesFromTheCopy(t *testing.T) {
	t.Parallel()
	for what, lose := range map[string]func(name string) error{
		"gone":  os.Remove,
		"empty": func(name string) error { return os.Truncate(name, 0) },
		"noise": func(name string) error { return os.WriteFile(name, []byte(strings.Repeat("noise", 9000)), 0o600) },
		"short": func(name string) error { return os.Truncate(name, 5000) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := fatal(t)
			o := made(f, t.TempDir(), 3, true)
			want := scanned(f, copyNames(o.Copies)[0])
			maps.DeleteFunc(want, func(key, _ string) bool { return strings.Contains(key, "room-0") })
			f.on(lose(o.Path))
			db, report := mustOpen(f, o)
			got, err := readAll(db)
			f.on(errors.Join(err, db.Close()))
			if !maps.Equal(got, want) || report == nil || report.Harmless() || !report.Touches("people", "users") || report.Copy.IsZero() {
				t.Errorf("%d values became %d; %v", len(want), len(got), report)
			}
			if kept := report.Kept; what != "gone" && (!exists(kept) || mode(t, kept) != 0o600) {
				t.Errorf("the damaged file is not at %q", kept)
			}
			list := Reports(o.Damaged)
			if len(list) != 1 || !list[0].Stands() || list[0].String() != report.String() {
				t.Errorf("the reports are %v", list)
			}
			f.on(os.RemoveAll(o.Damaged))
			if list[0].Stands() {
				t.Error("the report stands after it was taken away")
			}
		})
	}
}

// TestRemovedStaysRemoved: a copy brings back only what was lost, not what was
// removed since it was made.
func TestRemovedStaysRemoved(t *testing.T) {
	t.Parallel()
	f, o := fatal(t), options(t.TempDir())
	db, _ := mustOpen(f, o)
	users, tokens := []string{"people", "users"}, []string{"people", "tokens"}
	f.on(db.Update(func(tx *bolt.Tx) error {
		for i := range 200 { // which takes several pages
			err := errors.Join(putIn(tx, users, fmt.Appendf(nil, "user-%03d", i), 100), putIn(tx, tokens, fmt.Appendf(nil, "token-%03d", i), 100))
			if err != nil {
				return err
			}
		}
		return nil
	}))
	f.on(NewKeeper(db, o.Copies, judge).Save())
	f.on(db.Update(func(tx *bolt.Tx) error {
		for i := range 100 {
			if err := tx.Bucket([]byte("people")).Bucket([]byte("tokens")).Delete(fmt.Appendf(nil, "token-%03d", i)); err != nil {
				return err
			}
		}
		return nil
	}))
	f.on(db.Close())
	spoilValue(f, o.Path, []byte("user-150|"))
	db, report := mustOpen(f, o)
	got, err := readAll(db)
	f.on(errors.Join(err, db.Close()))
	revoked, there := 0, 0
	for key := range got {
		switch {
		case strings.Contains(key, "token-0"):
			revoked++
		case strings.Contains(key, "user-"):
			there++
		}
	}
	if revoked > 0 || there != 200 {
		t.Errorf("%d revoked tokens are back, %d of 200 users are there: %s", revoked, there, report)
	}
}

// spoilValue damages the only value in which a text is, in hexadecimal.
func spoilValue(f fail, name string, text []byte) {
	b, err := os.ReadFile(name)
	f.on(err)
	needle := fmt.Sprintf("|%x|", strings.TrimSuffix(string(text), "|"))
	n := strings.Count(string(b), needle)
	if n == 0 {
		f("%q is nowhere", needle)
	}
	f.on(os.WriteFile(name, []byte(strings.ReplaceAll(string(b), needle, strings.ToUpper(needle[:1])+"#"+needle[2:])), 0o600))
}

// TestAnotherKeyIsNoDamage: where no sealed value can be opened the key is
// another one, and they are left as they are.
func TestAnotherKeyIsNoDamage(t *testing.T) {
	t.Parallel()
	f := fatal(t)
	o := made(f, t.TempDir(), 5, true)
	want := scanned(f, o.Path)
	o.Judge = func(path []string, key, value []byte) Verdict {
		if v := judge(path, key, value); v != Opened {
			return v
		}
		return Unsealed
	}
	db, report := mustOpen(f, o)
	f.on(db.Close())
	if report != nil {
		t.Errorf("another key is damage: %s", report)
	}
	// Nor are they dropped when something else is damaged.
	b, err := os.ReadFile(o.Path)
	f.on(err)
	binary.NativeEndian.PutUint64(b[4096+headerSize+48:], 0)
	binary.NativeEndian.PutUint64(b[headerSize+48:], 0)
	f.on(os.WriteFile(o.Path, b, 0o600)) // no meta page is left
	db, report = mustOpen(f, o)
	got, err := readAll(db)
	f.on(errors.Join(err, db.Close()))
	sealed := 0
	for key := range want {
		if strings.HasPrefix(key, "sealed") && got[key] != "" {
			sealed++
		}
	}
	if report == nil || sealed == 0 {
		t.Errorf("%d sealed values are left: %v", sealed, report)
	}
}

// TestNewerFormatIsLeftAlone: a file of a later bbolt is not a damaged one.
func TestNewerFormatIsLeftAlone(t *testing.T) {
	t.Parallel()
	f := fatal(t)
	o := made(f, t.TempDir(), 5, true)
	b, err := os.ReadFile(o.Path)
	f.on(err)
	for _, at := range []int{0, os.Getpagesize()} {
		binary.NativeEndian.PutUint32(b[at+headerSize+4:], formatVersion+1)
	}
	f.on(os.WriteFile(o.Path, b, 0o600))
	if _, _, err := Open(o); !errors.Is(err, ErrNewer) {
		t.Errorf("got %v", err)
	}
	after, err := os.ReadFile(o.Path)
	if err != nil || string(after) != string(b) || exists(o.Damaged) {
		t.Errorf("it was touched: %v", err)
	}
}

// TestDamagedFilesAreBounded: the newest are kept, and a start that was cut off
// in between keeps none twice.
func TestDamagedFilesAreBounded(t *testing.T) {
	t.Parallel()
	f := fatal(t)
	o := made(f, t.TempDir(), 9, true)
	at := time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)
	for i := range 6 {
		o.Now = func() time.Time { return at.Add(time.Duration(i/2) * time.Hour * 24) } // two in the same second
		f.on(os.WriteFile(o.Path, fmt.Appendf(nil, "noise %d", i), 0o600))
		if i == 3 { // by a start that was cut off before it put the new file in place
			_, err := o.setAside(o.Now())
			f.on(err)
		}
		db, _ := mustOpen(f, o)
		f.on(db.Close())
	}
	kept := o.kept()
	var texts []string
	for _, name := range kept {
		b, err := os.ReadFile(name)
		f.on(err)
		texts = append(texts, string(b))
	}
	if fmt.Sprint(texts) != "[noise 3 noise 4 noise 5]" || len(Reports(o.Damaged)) != 3 {
		t.Errorf("kept are %v in %v, %d reports", texts, kept, len(Reports(o.Damaged)))
	}
}

// TestReadersSeeDamage: who only reads is told, and changes nothing.
func TestReadersSeeDamage(t *testing.T) {
	t.Parallel()
	f := fatal(t)
	o := made(f, t.TempDir(), 4, true)
	db, err := OpenToRead(o)
	f.on(err)
	other, err := OpenToRead(o) // beside another reader
	f.on(err)
	f.on(errors.Join(db.Close(), other.Close()))
	f.on(os.WriteFile(o.Path, []byte(strings.Repeat("noise", 9000)), 0o600))
	_, err = OpenToRead(o)
	var damaged *DamagedError
	if !errors.As(err, &damaged) || exists(o.Damaged) {
		t.Errorf("got %v", err)
	}
}

// TestReadersWaitForAWriter: a file that is being written is not looked at.
func TestReadersWaitForAWriter(t *testing.T) {
	t.Parallel()
	f := fatal(t)
	o := made(f, t.TempDir(), 4, false)
	db, _ := mustOpen(f, o)
	o.Timeout = 10 * time.Millisecond
	if _, err := OpenToRead(o); !errors.Is(err, syscall.EWOULDBLOCK) {
		t.Errorf("got %v", err)
	}
	f.on(db.Close())
	db, err := OpenToRead(o)
	f.on(err)
	f.on(db.Close())
}

// TestCopyFindsDamage: a copy of a damaged file does not take the place of a good
// one, and says so.
func TestCopyFindsDamage(t *testing.T) {
	t.Parallel()
	f := fatal(t)
	o := made(f, t.TempDir(), 6, true)
	db, _ := mustOpen(f, o)
	keeper := NewKeeper(db, o.Copies, judge)
	f.on(keeper.Save())
	f.on(keeper.Save()) // nothing was written: no third one
	good, err := os.ReadFile(copyNames(o.Copies)[0])
	f.on(err)
	if names := o.copies(); len(names) != 2 || mode(t, names[0]) != 0o600 || mode(t, o.Copies) != 0o700 {
		t.Errorf("the copies are %v", names)
	}
	f.on(db.Update(func(tx *bolt.Tx) error { return putIn(tx, []string{"people", "users"}, []byte("last"), 3) }))
	spoilValue(f, o.Path, []byte("last|"))
	var damaged *DamagedError
	if err := keeper.Save(); !errors.As(err, &damaged) || keeper.Err() == nil {
		t.Errorf("got %v", err)
	}
	after, err := os.ReadFile(copyNames(o.Copies)[0])
	if err != nil || string(after) != string(good) {
		t.Errorf("the good copy is another one: %v", err)
	}
	f.on(db.Close())
}

// asCopier makes the test binary write and copy until it is killed.
const asCopier = "copy until killed"

func copyForEver(dir string) {
	f := fail(func(format string, args ...any) { panic(fmt.Sprintf(format, args...)) })
	db, _ := mustOpen(f, options(dir))
	keeper, r := NewKeeper(db, options(dir).Copies, judge), rand.New(rand.NewPCG(1, 2))
	for {
		fillDatabase(f, db, r, 1)
		f.on(keeper.Save())
		fmt.Println("copied")
	}
}

// TestKillInTheMiddleOfACopy: whenever the process is killed, the database and
// the newest copy are whole, and nothing is left over.
func TestKillInTheMiddleOfACopy(t *testing.T) {
	t.Parallel()
	f, dir := fatal(t), t.TempDir()
	o := made(f, dir, 8, true)
	for round := range 6 {
		cmd := exec.Command(os.Args[0], asCopier)
		cmd.Env = append(os.Environ(), asDamaged+"="+dir)
		out, err := cmd.StdoutPipe()
		f.on(errors.Join(err, cmd.Start()))
		line := make([]byte, 7)
		_, err = out.Read(line)
		f.on(err)
		wait := time.NewTimer(time.Duration(round*round) * 3 * time.Millisecond)
		<-wait.C
		f.on(cmd.Process.Kill())
		_ = cmd.Wait()
		for _, name := range append(o.copies(), o.Path) {
			if found, err := examine(name, judge); err != nil || len(found.places) > 0 {
				t.Fatalf("round %d: %s: %+v, %v", round, name, found.places, err)
			}
		}
		if len(o.copies()) == 0 {
			t.Fatalf("round %d: there is no copy", round)
		}
		db, report := mustOpen(f, o)
		f.on(db.Close())
		if left, _ := filepath.Glob(filepath.Join(o.Copies, unfinished+"*")); report != nil || len(left) > 0 {
			t.Fatalf("round %d: %v, left over %v", round, report, left)
		}
	}
}
