package dbfile

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"
)

// asDamaged makes the test binary damage databases and open them, since what it
// tests for is that the process lives.
const asDamaged = "FAIRLEAD_TEST_DAMAGE_IN"

func TestMain(m *testing.M) {
	dir := os.Getenv(asDamaged)
	if dir == "" {
		os.Exit(m.Run())
	}
	if os.Args[1] == asCopier {
		copyForEver(dir)
	}
	first, err1 := strconv.ParseUint(os.Args[1], 10, 64)
	count, err2 := strconv.ParseUint(os.Args[2], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	for seed := first; seed < first+count; seed++ {
		if problem := damageOnce(filepath.Join(dir, strconv.FormatUint(seed, 10)), seed); problem != "" {
			fmt.Printf("seed %d: %s\n", seed, problem)
			os.Exit(1)
		}
		fmt.Println(seed)
	}
	os.Exit(0)
}

type failed string

// damageOnce makes a database, damages it, opens it as the daemon does, and looks
// at what is left. It returns what is wrong with that.
func damageOnce(dir string, seed uint64) (problem string) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case failed:
			problem = string(p)
		default:
			panic(p)
		}
	}()
	f := fail(func(format string, args ...any) { panic(failed(fmt.Sprintf(format, args...))) })
	f.on(os.MkdirAll(dir, 0o700))
	defer os.RemoveAll(dir)
	withCopy := seed%3 != 0
	o := made(f, dir, seed, withCopy)
	before, copied := scanned(f, o.Path), content{}
	if withCopy {
		copied = scanned(f, copyNames(o.Copies)[0])
	}
	what := spoil(f, o.Path, rand.New(rand.NewPCG(seed, 2)))
	untouched := scanned(f, o.Path) // what a tolerant look finds
	db, report := mustOpen(f, o)
	for range 2 { // which writes both meta pages anew: one of them may be damaged at any time
		f.on(db.Update(func(*bolt.Tx) error { return nil }))
	}
	after, err := readAll(db)
	f.on(err)
	compare(f, what, report, before, copied, untouched, after)
	fillDatabase(f, db, rand.New(rand.NewPCG(seed, 3)), 3) // it takes writes
	_, err = readAll(db)
	f.on(err)
	f.on(db.Close())
	again, second := mustOpen(f, o)
	f.on(again.Close())
	if second != nil {
		f("%s: damaged a second time: %s, after %s", what, second, report)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, unfinished+"*")); len(left) > 0 {
		f("%v is left over", left)
	}
	return ""
}

// compare looks at what a damaged file became.
func compare(f fail, what string, report *Report, before, copied, untouched, after content) {
	if report == nil && !maps.Equal(before, after) {
		lostTransaction := func() bool { // a damaged meta page leads to the transaction before
			return maps.Equal(untouched, after)
		}
		if !lostTransaction() {
			f("%s: nothing is told, and %d values became %d", what, len(before), len(after))
		}
	}
	for key, value := range untouched {
		if after[key] != value {
			f("%s: %q could be read, and is gone or another: %s", what, key, report)
		}
	}
	for key, value := range after {
		if before[key] == value || copied[key] == value || untouched[key] == value {
			continue
		}
		f("%s: %q has a value that it never had: %q", what, key, value)
	}
	if report != nil && report.Harmless() {
		for key := range untouched {
			if _, there := after[key]; !there {
				f("%s: %q is missing, and nothing is told", what, key)
			}
		}
	}
}

// TestDamagedFilesAreOpened: whatever happened to a file, opening it, reading it
// and writing to it kills no process, what can be read stays, and nothing comes
// up that was never written.
func TestDamagedFilesAreOpened(t *testing.T) {
	t.Parallel()
	const runs = 4
	for part := range runs {
		t.Run(strconv.Itoa(part), func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], strconv.Itoa(1000*part), "25")
			cmd.Env = append(os.Environ(), asDamaged+"="+t.TempDir())
			out, err := cmd.CombinedOutput()
			if err != nil {
				lines := strings.Split(strings.TrimSpace(string(out)), "\n")
				t.Fatalf("%v:\n%s", err, strings.Join(lines[max(0, len(lines)-40):], "\n"))
			}
		})
	}
}

// TestSoundFilesAreLeftAlone: a file that bbolt wrote is as it should be.
func TestSoundFilesAreLeftAlone(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		f, r := fatal(t), rand.New(rand.NewPCG(seed, 4))
		o := options(t.TempDir())
		for range 3 {
			db, err := bolt.Open(o.Path, 0o600, &bolt.Options{NoFreelistSync: seed%5 == 0, NoSync: true})
			f.on(err)
			fillDatabase(f, db, r, 1+r.IntN(30))
			want, err := readAll(db)
			f.on(errors.Join(err, db.Close()))
			found, err := examine(o.Path, judge)
			f.on(err)
			if len(found.places) > 0 {
				t.Fatalf("seed %d: %+v", seed, found.places)
			}
			if got := scanned(f, o.Path); !maps.Equal(got, want) {
				t.Fatalf("seed %d: a scan finds %d values, bbolt %d", seed, len(got), len(want))
			}
		}
	}
}

// TestWhatIsReadIsByThePage: a page that is lost takes only what is on it along.
func TestWhatIsReadIsByThePage(t *testing.T) {
	t.Parallel()
	f := fatal(t)
	o := made(f, t.TempDir(), 7, false)
	file, size, err := openFile(o.Path)
	f.on(err)
	pages, err := openPager(file, size)
	f.on(err)
	var leaves []uint64
	on := map[uint64]int{}
	for id := uint64(2); id < pages.pages; id++ {
		if p, err := pages.read(id); err == nil && p.flags == leafPage && p.span == 1 {
			list, whole := p.elements()
			if buckets := slices.ContainsFunc(list, func(e element) bool { return e.bucket }); whole && !buckets && p.count > 0 {
				leaves, on[id] = append(leaves, id), p.count
			}
		}
	}
	f.on(file.Close())
	before, intact := scanned(f, o.Path), false
	original, err := os.ReadFile(o.Path)
	f.on(err)
	for _, id := range leaves {
		spoilt := slices.Clone(original)
		clear(spoilt[id*4096 : (id+1)*4096])
		f.on(os.WriteFile(o.Path, spoilt, 0o600))
		after := scanned(f, o.Path)
		lost := len(before) - len(after)
		if lost != 0 && lost != on[id] { // 0: the page is free
			t.Errorf("page %d has %d values, and %d are lost with it", id, on[id], lost)
		}
		intact = intact || lost > 0
	}
	if !intact {
		t.Error("no page that was lost made a difference")
	}
}
