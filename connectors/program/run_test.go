package program_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/program"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// tell is a program that says what it sees.
const tell = `
import json, os, socket
out = os.environ["FAIRLEAD_OUT"]
def tried(path):
    try:
        open(path, "w").write("x")
        return "written"
    except OSError as e:
        return type(e).__name__
json.dump({
    "env": sorted(os.environ), "token": os.environ.get("TOKEN"), "cwd": os.getcwd(), "uid": os.getuid(),
    "interfaces": sorted(i[1] for i in socket.if_nameindex()),
    "root": tried("/x"), "program": tried("x"), "tmp": tried(os.path.join(os.environ["HOME"], "x")),
    "state": json.load(open(os.environ["FAIRLEAD_STATE"])), "writeState": tried(os.environ["FAIRLEAD_STATE"]),
    "caps": [l.split()[1] for l in open("/proc/self/status") if l.startswith("CapEff")][0],
    "nnp": [l.split()[1] for l in open("/proc/self/status") if l.startswith("NoNewPrivs")][0],
}, open(out + "/facts.ndjson", "w"))
print("told")
`

func TestAContainerHasNothingButWhatWasDeclared(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.file("extractor.py", tell)
	p := tierA
	p.Env = map[string]string{"TOKEN": "tok-en", "FAIRLEAD_OUT": "/elsewhere"}
	res := r.good(p, func(run *connectors.Run) { run.Job.Tables = []connectors.TableSpec{{Name: "facts"}} })
	f := r.facts(res, "facts.ndjson")
	want := map[string]string{
		"env":   "[FAIRLEAD_OUT FAIRLEAD_SOURCE FAIRLEAD_STATE FAIRLEAD_TABLES HOME HOSTNAME LC_CTYPE PATH PYTHONDONTWRITEBYTECODE PYTHONUNBUFFERED TOKEN]",
		"token": "tok-en", "cwd": "/connector", "uid": "65534", "interfaces": "[lo]",
		"root": "OSError", "program": "OSError", "tmp": "written", "state": "map[]", "writeState": "OSError",
		"caps": "0000000000000000", "nnp": "1",
	}
	for k, w := range want {
		if got := fmt.Sprint(f[k]); got != w {
			t.Errorf("%s: %s, want %s", k, got, w)
		}
	}
	if got := fmt.Sprintf("%+v", res.Tables); !strings.Contains(got, "Table:facts Outcome:ok") || len(res.Tables) != 1 {
		t.Errorf("tables: %s", got)
	}
	if res.log.String() != "told\n" {
		t.Errorf("output: %q", res.log)
	}
	p.Network = true
	if f := r.facts(r.good(p), "facts.ndjson"); fmt.Sprint(f["interfaces"]) != "[eth0 lo]" {
		t.Errorf("with the network: interfaces %v", f["interfaces"])
	}
}

func TestAProcessHasNothingButWhatWasDeclared(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.file("extractor.py", tell)
	p := tierAHost
	p.Env = map[string]string{"TOKEN": "tok-en"}
	f := r.facts(r.good(p), "facts.ndjson")
	want := map[string]string{
		"env":   "[FAIRLEAD_OUT FAIRLEAD_RUN FAIRLEAD_SOURCE FAIRLEAD_STATE HOME LC_CTYPE PATH PWD PYTHONDONTWRITEBYTECODE PYTHONUNBUFFERED TMPDIR TOKEN]",
		"token": "tok-en", "cwd": r.dir, "tmp": "written", "state": "map[]",
	}
	for k, w := range want {
		if got := fmt.Sprint(f[k]); got != w {
			t.Errorf("%s: %s, want %s", k, got, w)
		}
	}
	left, err := filepath.Glob(filepath.Join(r.owner, "instances", r.instance, "cache", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestAHostThatDidNotOptInRunsNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.file("extractor.sh", `touch "$FAIRLEAD_OUT/orders.csv"`)
	r.runner = program.New(program.Options{Owner: r.owner, Instances: filepath.Join(r.owner, "instances")})
	res := r.bad(tierAHost, "hostProcesses: true", "agent.yaml")
	if !reconciler.IsTerminal(res.err) {
		t.Error("it is tried again")
	}
	r.bad(tierA, "no container engine")
	if names, _ := os.ReadDir(res.out); len(names) > 0 {
		t.Error("it ran")
	}
}

func TestTheStateGoesRound(t *testing.T) {
	t.Parallel()
	ways(t, func(t *testing.T, p desired.ProgramSource) {
		r := newRig(t)
		r.file("extractor.py", `
import json, os
out = os.environ["FAIRLEAD_OUT"]
n = json.load(open(os.environ["FAIRLEAD_STATE"])).get("n", 0)
open(out + "/orders.csv", "w").write("n\n%d\n" % n)
if n < 2:
    json.dump({"n": n + 1}, open(out + "/_state.json", "w"))
`)
		var state []byte
		for i, want := range []string{`{"n": 1}`, `{"n": 2}`, `{"n": 2}`} {
			res := r.good(p, func(run *connectors.Run) { run.Job.State = state })
			if got := string(res.State); got != want {
				t.Fatalf("run %d left %s, want %s", i, got, want)
			}
			if got := r.read(res, "orders.csv"); got != fmt.Sprintf("n\n%d\n", i) {
				t.Fatalf("run %d saw %q", i, got)
			}
			state = res.State
			if _, err := os.Stat(filepath.Join(res.out, "_state.json")); err == nil {
				t.Error("the state is among the tables")
			}
		}
	})
}

func TestAStateThatIsNone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for script, words := range map[string]string{
		`echo no json >"$FAIRLEAD_OUT/_state.json"`:                  "not JSON",
		`head -c 1100000 /dev/zero >"$FAIRLEAD_OUT/_state.json"`:     "larger than 1 MiB",
		`mkdir "$FAIRLEAD_OUT/_state.json"`:                          "not an ordinary file",
		`true`:                                                       "left no table",
		`touch "$FAIRLEAD_OUT/_meta.json" "$FAIRLEAD_OUT/notes.txt"`: "left no table",
		`exit 3`:               "exit code 3",
		`exec no-such-command`: "exit code 127",
		`kill -9 $$`:           "killed from outside",
	} {
		r.file("extractor.sh", script)
		r.bad(tierAHost, words)
	}
}

func TestWhatIsWholeIsKept(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.file("extractor.sh", `cd "$FAIRLEAD_OUT"; echo id >orders.csv; echo id >items.csv; mkdir parts; echo id >parts/1.csv
echo '{"complete": ["orders"]}' >_meta.json; echo '{"n": 9}' >_state.json; exit 7`)
	run, _ := r.job(tierAHost)
	run.Job.State = []byte(`{"n": 1}`)
	report, err := r.runner.Run(t.Context(), run)
	if err == nil || !strings.Contains(err.Error(), "exit code 7") {
		t.Fatal(err)
	}
	got := map[string]connectors.Outcome{}
	for _, table := range report.Tables {
		got[table.Table] = table.Outcome
	}
	if len(got) != 3 || got["orders"] != connectors.OK || got["items"] != connectors.Failed || got["parts"] != connectors.Failed {
		t.Errorf("tables: %v", got)
	}
	if string(report.State) != `{"n": 1}` {
		t.Errorf("state: %s", report.State)
	}
	if names := listed(t, run.Job.Dir); !slices.Equal(names, []string{"_meta.json", "orders.csv"}) {
		t.Errorf("left: %v", names)
	}
}

// A program that is stopped at its time limit keeps what it called whole until
// then; of one that somebody cancelled nothing is kept.
func TestWhatIsWholeIsKeptWhenTheTimeIsOver(t *testing.T) {
	t.Parallel()
	ways(t, func(t *testing.T, p desired.ProgramSource) {
		r := newRig(t)
		r.file("extractor.sh", `cd "$FAIRLEAD_OUT"; echo id >orders.csv; echo id >items.csv; echo '{"complete": ["orders"]}' >_meta.json
echo ready; while :; do sleep 1; done`)
		for cause, want := range map[error]map[string]connectors.Outcome{
			fmt.Errorf("its time was over: %w", context.DeadlineExceeded): {"orders": connectors.OK, "items": connectors.Failed},
			context.Canceled: {},
		} {
			run, l := r.job(p)
			l.await, l.said = "ready\n", make(chan struct{})
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() { <-l.said; cancel(cause) }()
			report, err := r.runner.Run(ctx, run)
			if err == nil || !strings.Contains(err.Error(), "the program was stopped") {
				t.Fatalf("%v: %v\n%s", cause, err, l)
			}
			got := map[string]connectors.Outcome{}
			for _, table := range report.Tables {
				got[table.Table] = table.Outcome
			}
			if !maps.Equal(got, want) {
				t.Errorf("%v: tables: %v, want %v", cause, got, want)
			}
		}
	})
}

func listed(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	ways(t, func(t *testing.T, p desired.ProgramSource) {
		r := newRig(t)
		r.file("extractor.py", "x = bytearray(400 << 20)\nprint('had it all')\n")
		p.Memory = 64 << 20
		words := []string{"out of memory", "64 MiB", "raise memory"}
		if p.Host {
			words = []string{"exit code 1"} // MemoryError
		}
		if res := r.bad(p, words...); strings.Contains(res.log.String(), "had it all") {
			t.Error("it had more")
		}
	})
}

func TestTimeIsBounded(t *testing.T) {
	t.Parallel()
	ways(t, func(t *testing.T, p desired.ProgramSource) {
		r := newRig(t)
		// A child that left the session and the group, and holds the output open.
		r.file("extractor.py", `
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.pause()
    os._exit(0)
print("ready")
signal.pause()
`)
		run, l := r.job(p)
		l.await, l.said = "ready\n", make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-l.said; cancel() }()
		_, err := r.runner.Run(ctx, run)
		if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "the program was stopped") {
			t.Fatalf("%v\n%s", err, l)
		}
		if left := r.containers(); len(left) > 0 {
			t.Errorf("containers are left: %v", left)
		}
		if left := marked(t, r.owner); len(left) > 0 {
			t.Errorf("processes are left: %v", left)
		}
	})
}

// marked are the processes of this host that carry an owner's mark.
func marked(t *testing.T, owner string) (pids []string) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if env, err := os.ReadFile(name); err == nil && strings.Contains(string(env), "FAIRLEAD_RUN="+owner) {
			pids = append(pids, filepath.Base(filepath.Dir(name)))
		}
	}
	return pids
}

func TestDiskIsBounded(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"one file":   `head -c 20000000 /dev/zero >"$FAIRLEAD_OUT/orders.csv" && sleep 600`,
		"many files": `i=0; while [ $i -lt 20 ]; do head -c 1000000 /dev/zero >"$FAIRLEAD_OUT/f$i.csv"; i=$((i+1)); done; sleep 600`,
		"at the end": `i=0; while [ $i -lt 20 ]; do head -c 1000000 /dev/zero >"$FAIRLEAD_OUT/f$i.csv"; i=$((i+1)); done`,
		"deep":       `d="$FAIRLEAD_OUT"; i=0; while [ $i -lt 50 ]; do d="$d/d"; i=$((i+1)); done; mkdir -p "$d"; sleep 600`,
		"entries":    `cd "$FAIRLEAD_OUT"; seq -f %.0f.csv 1 30000 | xargs touch; sleep 600`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ways(t, func(t *testing.T, p desired.ProgramSource) {
				r := newRig(t)
				r.file("extractor.sh", script)
				p.Disk = 8 << 20
				words := map[string]string{"deep": "too deep", "entries": "more than 20000 files", "one file": ""}
				want, special := words[name]
				if !special {
					want = "more than 8 MiB"
				}
				r.bad(p, want)
			})
		})
	}
}

func TestOnlyOrdinaryFilesAreLeft(t *testing.T) {
	t.Parallel()
	ways(t, func(t *testing.T, p desired.ProgramSource) {
		r := newRig(t)
		r.file("extractor.py", `
import os, socket
os.chdir(os.environ["FAIRLEAD_OUT"])
open("good.csv", "w").write("id\n1\n")
os.symlink("/etc/shadow", "link.csv")
os.symlink("/etc", "linked")
os.mkfifo("pipe.csv")
open("one.csv", "w").write("id\n")
os.link("one.csv", "two.csv")
s = socket.socket(socket.AF_UNIX); s.bind("sock.csv")
os.mkdir("parts"); open("parts/1.csv", "w").write("id\n"); os.symlink("/etc/passwd", "parts/2.csv")
os.symlink("/etc/shadow", "_meta.json")
`)
		res := r.bad(p, "7 of its tables were refused", "ordinary files")
		got := map[string]connectors.Outcome{}
		for _, table := range res.Tables {
			got[table.Table] = table.Outcome
		}
		want := map[string]connectors.Outcome{"good": "ok", "link": "failed", "linked": "failed", "pipe": "failed", "one": "failed",
			"two": "failed", "sock": "failed", "parts": "failed"}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("tables: %v", got)
		}
		if res.Outcome() != connectors.Partial {
			t.Errorf("outcome: %s", res.Outcome())
		}
		if names := listed(t, res.out); !slices.Equal(names, []string{"good.csv", "parts"}) {
			t.Errorf("left: %v", names)
		}
		if names := listed(t, filepath.Join(res.out, "parts")); !slices.Equal(names, []string{"1.csv"}) {
			t.Errorf("left in parts: %v", names)
		}
		if !strings.Contains(res.log.String(), `"link.csv" is a symbolic link and was removed`) {
			t.Errorf("nothing was said: %s", res.log)
		}
	})
}

// A program that talks more than a log holds is not held up by it, and its last
// words are not lost.
func TestAFloodOfOutput(t *testing.T) {
	t.Parallel()
	ways(t, func(t *testing.T, p desired.ProgramSource) {
		r := newRig(t)
		r.file("extractor.py", `
import os, sys
line = "x" * 999 + "\n"
for _ in range(60):
    sys.stdout.write(line * 1000)
open(os.environ["FAIRLEAD_OUT"] + "/orders.csv", "w").write("id\n")
print("last words")
`)
		if res := r.good(p); !strings.HasSuffix(res.log.String(), "last words\n") {
			t.Errorf("%d bytes came", len(res.log.String()))
		}
	})
}

// TestDaemon is the daemon that TestWhatADeadDaemonLeftIsSwept kills. It does
// nothing by itself.
func TestDaemon(t *testing.T) {
	instance := os.Getenv("FAIRLEAD_TEST_INSTANCE")
	if instance == "" {
		return
	}
	owner := os.Getenv("FAIRLEAD_TEST_OWNER")
	p := tierA
	p.Host = os.Getenv("FAIRLEAD_TEST_HOST") != ""
	r := &rig{TB: t, runner: newRunner(t, owner), owner: owner, instance: instance, dir: filepath.Join(owner, "program")}
	run, _ := r.job(p)
	run.Output = os.Stdout
	_, err := r.runner.Run(t.Context(), run)
	t.Fatalf("it was not killed: %v", err)
}

func TestWhatADeadDaemonLeftIsSwept(t *testing.T) {
	t.Parallel()
	ways(t, func(t *testing.T, p desired.ProgramSource) {
		r := newRig(t)
		r.file("extractor.py", "import signal\nprint('ready')\nsignal.pause()\n")
		cmd := exec.Command(os.Args[0], "-test.run=^TestDaemon$", "-test.v")
		cmd.Env = append(os.Environ(), "FAIRLEAD_TEST_INSTANCE="+r.instance, "FAIRLEAD_TEST_OWNER="+r.owner)
		if p.Host {
			cmd.Env = append(cmd.Env, "FAIRLEAD_TEST_HOST=1")
		}
		l := &log{await: "ready\n", said: make(chan struct{})}
		cmd.Stdout, cmd.Stderr = l, l
		cmd.WaitDelay = time.Second
		r.check(cmd.Start())
		select {
		case <-l.said:
		case <-time.After(2 * time.Minute):
			t.Errorf("the program did not start: %s", l)
		}
		r.check(cmd.Process.Kill())
		_ = cmd.Wait() // it was killed
		if there := len(r.containers())+len(marked(t, r.owner)) > 0; !there {
			t.Fatalf("the daemon left nothing: the test tests nothing\n%s", l)
		}
		r.check(r.runner.Sweep(t.Context(), "another"))
		if there := len(r.containers())+len(marked(t, r.owner)) > 0; !there {
			t.Fatal("another instance's sweep took it")
		}
		r.check(r.runner.Sweep(t.Context(), r.instance))
		if left := r.containers(); len(left) > 0 {
			t.Errorf("containers are left: %v", left)
		}
		if left := marked(t, r.owner); len(left) > 0 {
			t.Errorf("processes are left: %v", left)
		}
		if left, _ := filepath.Glob(filepath.Join(r.owner, "instances", r.instance, "cache", "*")); len(left) > 0 {
			t.Errorf("files are left: %v", left)
		}
	})
}
