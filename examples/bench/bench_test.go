package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSeries(t *testing.T) {
	tests := []struct {
		in     series
		median float64
		text   string
	}{
		{nil, 0, "0"},
		{series{5}, 5, "5"},
		{series{9, 1, 5}, 5, "5 [1–9]"},
		{series{4, 1, 2.5, 100.6}, 3.25, "3.25 [1–101]"},
	}
	for _, tt := range tests {
		before := append(series{}, tt.in...)
		if got := tt.in.median(); got != tt.median {
			t.Errorf("median of %v is %v, want %v", before, got, tt.median)
		}
		if got := tt.in.String(); got != tt.text {
			t.Errorf("%v shows as %q, want %q", before, got, tt.text)
		}
		for i := range before {
			if tt.in[i] != before[i] {
				t.Errorf("asking changed %v to %v", before, tt.in)
			}
		}
	}
}

func TestSeriesKeepsMilliseconds(t *testing.T) {
	var s series
	s.add(1500 * time.Microsecond)
	if s.median() != 1.5 {
		t.Errorf("1500 µs is kept as %v ms", s.median())
	}
}

func TestVerdict(t *testing.T) {
	tests := []struct {
		name string
		in   figure
		want string
	}{
		{"no figure to reach", figure{ours: series{9}, theirs: series{1}}, ""},
		{"ratio reached exactly", figure{ours: series{2}, theirs: series{1}, limit: 2}, "PASS (at most 2×)"},
		{"ratio missed", figure{ours: series{116}, theirs: series{100}, limit: 1.15}, "MISS (at most 1.15×)"},
		{"reading reached", figure{ours: series{25.3}, unit: "MiB", limit: 30}, "PASS (at most 30 MiB)"},
		{"reading missed", figure{ours: series{30.1}, unit: "MiB", limit: 30}, "MISS (at most 30 MiB)"},
		{"none", figure{ours: series{0, 0}, theirs: series{7}, none: true}, "PASS (none)"},
		{"one in a round", figure{ours: series{0, 1, 0}, theirs: series{7}, none: true}, "MISS (none)"},
		{"nothing read", figure{none: true}, "MISS (none)"},
		{"least reached", figure{ours: series{9}, theirs: series{10}, limit: 0.9, least: true}, "PASS (at least 0.90×)"},
		{"least missed", figure{ours: series{8.9}, theirs: series{10}, limit: 0.9, least: true}, "MISS (at least 0.90×)"},
		{"by rounds", figure{ours: series{1, 90, 9}, theirs: series{1, 100, 10}, limit: 0.9, least: true, pairs: true}, "PASS (at least 0.90×)"},
		{"by rounds, missed", figure{ours: series{8, 100, 8}, theirs: series{10, 1, 10}, limit: 0.9, least: true, pairs: true}, "MISS (at least 0.90×)"},
	}
	for _, tt := range tests {
		if got := tt.in.verdict(); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestFiguresForProgramsAndPeople(t *testing.T) {
	var r report
	r.figure(figure{name: "a", ours: series{3, 1, 2}, against: "b", theirs: series{4}, unit: "ms", floor: true, limit: 1})
	r.figure(figure{name: "alone", ours: series{7}, unit: "MiB"})
	r.figure(figure{name: "for programs", ours: series{1}, against: "x", theirs: series{1}, untold: true})
	r.tables = append(r.tables, "a table of its own\n")
	r.note("so it was")
	name := filepath.Join(t.TempDir(), "bench.json")
	if err := r.write(name); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var got []map[string]any
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || len(got[0]) != 6 || got[0]["name"] != "a" || got[0]["ours"] != 2.0 || got[0]["against"] != "b" ||
		got[0]["theirs"] != 4.0 || got[0]["unit"] != "ms" || got[0]["ratio"] != 0.5 || got[1]["ratio"] != 0.0 {
		t.Errorf("written: %s", data)
	}
	var table bytes.Buffer
	r.print(&table)
	for _, want := range []string{"2 [1–3]", "b (floor)", "0.50×", "PASS", "so it was", "\na table of its own\n"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("%q is not in the table:\n%s", want, table.String())
		}
	}
	if strings.Contains(table.String(), "for programs") {
		t.Errorf("people see it twice:\n%s", table.String())
	}
	if left, _ := filepath.Glob(name + ".*"); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		args []string
		ok   bool
	}{
		{nil, true},
		{[]string{"-quick", "-only", "noop,idle", "-o", "x.json"}, true},
		{[]string{"-only", "noop,speed"}, false},
		{[]string{"more"}, false},
		{[]string{"-fast"}, false},
	}
	for _, tt := range tests {
		opt, err := parse(tt.args, io.Discard)
		if (err == nil) != tt.ok {
			t.Errorf("%v: %v", tt.args, err)
		}
		if tt.ok && len(tt.args) > 0 && (!opt.quick || len(opt.only) != 2 || opt.out != "x.json") {
			t.Errorf("%v is read as %+v", tt.args, opt)
		}
	}
}

func TestRepositoryIsPublishedInOneStep(t *testing.T) {
	ctx := t.Context()
	r, err := makeRepo(ctx, filepath.Join(t.TempDir(), "r"))
	if err != nil {
		t.Fatal(err)
	}
	first, err := r.commit(ctx, map[string]string{"instances/a/compose.yaml": composeFile(2, "one", "two", "7")})
	if err != nil {
		t.Fatal(err)
	}
	second, err := r.stage(ctx, map[string]string{"instances/a/compose.yaml": composeFile(2, "two", "two", "8")})
	if err != nil {
		t.Fatal(err)
	}
	if head, _ := r.git(ctx, "rev-parse", "HEAD"); head != first {
		t.Errorf("a staged commit is published already: %s", head)
	}
	if _, err := r.publish(ctx, second); err != nil {
		t.Fatal(err)
	}
	if head, _ := r.git(ctx, "rev-parse", "HEAD~0"); head != second {
		t.Errorf("HEAD is %s, want %s", head, second)
	}
	if parent, _ := r.git(ctx, "rev-parse", "HEAD~1"); parent != first {
		t.Errorf("its parent is %s, want %s", parent, first)
	}
	if dirty, err := r.git(ctx, "status", "--porcelain"); err != nil || dirty != "" {
		t.Errorf("the work tree differs: %q, %v", dirty, err)
	}
	text, err := r.git(ctx, "show", "HEAD~1:instances/a/compose.yaml")
	want := strings.TrimSpace(composeFile(2, "one", "two", "7"))
	if err != nil || text != want || strings.Count(text, "image: one") != 1 || !strings.Contains(text, `ROUND: "7"`) {
		t.Errorf("%v: %s", err, text)
	}
}

func TestProcessReadings(t *testing.T) {
	now, peak, err := memory(os.Getpid())
	if err != nil || now <= 0 || peak < now {
		t.Errorf("memory %v, most ever %v: %v", now, peak, err)
	}
	before, err := processorTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for began, after := time.Now(), before; after-before < 20*time.Millisecond; { // by its turns, of which a busy machine gives few
		if time.Since(began) > time.Minute {
			t.Fatalf("a minute of work counts as %s", after-before)
		}
		for range 100 {
			_ = composeFile(50, "a", "b", "c")
		}
		if after, err = processorTime(os.Getpid()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := processorTime(1 << 30); err == nil {
		t.Error("a process that is not there has a reading")
	}
}
