package docker

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"golang.org/x/sys/unix"
)

// TestMain makes the test program a process that holds a lock when it is asked
// to be one: a POSIX lock is not seen by the process that holds it.
func TestMain(m *testing.M) {
	if file := os.Getenv("FLDT_HOLD"); file != "" {
		hold(file, os.Getenv("FLDT_KIND"))
		return
	}
	os.Exit(m.Run())
}

func hold(file, kind string) {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		panic(err)
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	switch kind {
	case "posix-read":
		lock.Type = unix.F_RDLCK
		err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &lock)
	case "posix":
		lock.Start, lock.Len = 100, 1 // a part of the file is enough
		err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &lock)
	case "ofd":
		err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock)
	case "flock":
		err = unix.Flock(int(f.Fd()), unix.LOCK_SH)
	}
	if err != nil {
		panic(err)
	}
	os.Stdout.WriteString("held\n")
	io.Copy(io.Discard, os.Stdin)
}

// holding starts a process that holds the file until stop is called.
func holding(t *testing.T, file, kind string) (pid int, stop func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FLDT_HOLD="+file, "FLDT_KIND="+kind)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return cmd.Process.Pid, func() {
		in.Close()
		cmd.Wait()
	}
}

func TestEveryKindOfLockIsSeen(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "system.duckdb")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := lockFile{name: "/data/system.duckdb", dir: dir, rel: "system.duckdb"}
	for _, kind := range []string{"posix", "posix-read", "ofd", "flock"} {
		pid, stop := holding(t, file, kind)
		got, err := l.holder()
		if err != nil || got == "" {
			t.Errorf("%s: holder %q, %v", kind, got, err)
		}
		// The kernel names no process for a lock of an open file description.
		if kind != "ofd" && !strings.HasPrefix(got, "process "+strconv.Itoa(pid)+" (") {
			t.Errorf("%s: holder %q, want process %d", kind, got, pid)
		}
		if again, err := l.holder(); err != nil || again != got {
			t.Errorf("%s: asked again: %q, %v", kind, again, err)
		}
		stop()
		if got, err := l.holder(); got != "" || err != nil {
			t.Errorf("%s: after its end: %q, %v", kind, got, err)
		}
	}
	// Looking leaves no lock behind.
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		t.Errorf("the file is locked: %v", err)
	}
}

// The application writes the directory: what it puts there must not lead the
// daemon elsewhere, nor make it wait or open a device.
func TestLockFilesThatAreNoFiles(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	secret := filepath.Join(outside, "secret")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(secret, nil, 0o600))
	must(os.Mkdir(filepath.Join(dir, "sub"), 0o700))
	must(os.WriteFile(filepath.Join(dir, "sub", "real"), nil, 0o600))
	must(os.Symlink("sub/real", filepath.Join(dir, "inside")))
	must(os.Symlink(secret, filepath.Join(dir, "absolute")))
	must(os.Symlink("../"+filepath.Base(outside)+"/secret", filepath.Join(dir, "relative")))
	must(os.Symlink(outside, filepath.Join(dir, "up")))
	must(os.Symlink("loop", filepath.Join(dir, "loop")))
	must(unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	for rel, want := range map[string]string{
		"absent": "", "sub/absent": "", "inside": "", "sub/real": "",
		"absolute": "outside its mount", "relative": "outside its mount", "up/secret": "escapes",
		"loop": "symbolic links", "fifo": "not a plain file", "sub": "not a plain file",
	} {
		holder, err := lockFile{dir: dir, rel: rel}.holder()
		if holder != "" || (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v, want %q", rel, holder, err, want)
		}
	}
	_, stop := holding(t, filepath.Join(dir, "sub", "real"), "flock")
	defer stop()
	if holder, err := (lockFile{dir: dir, rel: "inside"}).holder(); holder == "" || err != nil {
		t.Errorf("through a link inside: %q, %v", holder, err)
	}
	if _, err := (lockFile{dir: filepath.Join(dir, "gone"), rel: "x"}).holder(); err == nil {
		t.Error("a mount that is not here counts as free")
	}
}

func TestLockIsWaitedForAndNamed(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "db")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	in := container.InspectResponse{Mounts: []container.MountPoint{{Type: mount.TypeBind, Source: dir, Destination: "/data"}}}
	pid, stop := holding(t, file, "posix")
	err := awaitUnlocked(t.Context(), "web", in, []string{"/data/db"}, 100*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "process "+strconv.Itoa(pid)) || !strings.Contains(err.Error(), file) {
		t.Errorf("held: %v", err)
	}
	time.AfterFunc(100*time.Millisecond, stop)
	if err := awaitUnlocked(t.Context(), "web", in, []string{"/data/db"}, time.Minute); err != nil {
		t.Errorf("let go: %v", err)
	}
}

func TestLockPathsOnTheHost(t *testing.T) {
	in := container.InspectResponse{
		ContainerJSONBase: &container.ContainerJSONBase{HostConfig: &container.HostConfig{Mounts: []mount.Mount{
			{Target: "/sub", VolumeOptions: &mount.VolumeOptions{Subpath: "a/b"}}}}},
		Mounts: []container.MountPoint{
			{Type: mount.TypeVolume, Source: "/v/data/_data", Destination: "/data"},
			{Type: mount.TypeBind, Source: "/srv/deep", Destination: "/data/deep/"},
			{Type: mount.TypeBind, Source: "/srv/one.db", Destination: "/one.db"},
			{Type: mount.TypeTmpfs, Destination: "/data/tmp"},
			{Type: mount.TypeVolume, Source: "/v/sub/_data", Destination: "/sub"},
		},
	}
	for name, want := range map[string]string{
		"/data/x/system.duckdb": "/v/data/_data/x/system.duckdb", "/data/deep/db": "/srv/deep/db", "/data/deeper": "/v/data/_data/deeper",
		"/one.db": "/srv/one.db", "/data/tmp/db": "", "/own/db": "", "/data/../data/./db": "/v/data/_data/db", "/sub/db": "/v/sub/_data/a/b/db",
	} {
		got := ""
		for _, l := range lockFiles(in, []string{name}) {
			got = filepath.Join(l.dir, l.rel)
		}
		if got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// A daemon that cannot look at the files says so before anything is stopped.
func TestLocksOutOfReach(t *testing.T) {
	e, err := New(Options{Owner: "/x"})
	if err != nil {
		t.Fatal(err)
	}
	at := func(dir string) container.InspectResponse {
		return container.InspectResponse{Mounts: []container.MountPoint{{Type: mount.TypeBind, Source: dir, Destination: "/data"}}}
	}
	here, gone := t.TempDir(), filepath.Join(t.TempDir(), "gone")
	if err := e.reach(at(here), []string{"/data/db"}); err != nil {
		t.Errorf("within reach: %v", err)
	}
	if err := e.reach(at(gone), []string{"/data/db"}); err == nil || !strings.Contains(err.Error(), gone) || !strings.Contains(err.Error(), "mounted at the same path") {
		t.Errorf("not mounted here: %v", err)
	}
	e.opts.Host = "tcp://192.0.2.1:2376"
	if err := e.reach(at(here), []string{"/data/db"}); err == nil || !strings.Contains(err.Error(), "another machine") {
		t.Errorf("another machine: %v", err)
	}
}

func FuzzFindLock(f *testing.F) {
	f.Add("1: FLOCK  ADVISORY  WRITE 1234 08:01:131090 0 EOF\n", "08:01:131090")
	f.Add("1: -> POSIX  ADVISORY  WRITE 12 08:01:5 0 EOF\n2: OFDLCK ADVISORY READ -1 08:01:5 0 0\n", "08:01:5")
	f.Add("garbage\n:\n1: A B C D E", "E")
	f.Fuzz(func(t *testing.T, list, file string) {
		if pid := findLock(list, file); pid < 0 || pid > 0 && !strings.Contains(list, strconv.Itoa(pid)) {
			t.Errorf("process %d", pid)
		}
	})
}
