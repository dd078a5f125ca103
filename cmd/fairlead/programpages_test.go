package main

import (
	"bufio"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
)

// fileKiB is how much of files' content this process has in memory.
func fileKiB(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "RssFile:")
	if !found {
		t.Fatal("no RssFile in status")
	}
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// touch reads all that a program consists of, which brings it into memory.
func touch(t *testing.T, program mappings) {
	t.Helper()
	memory, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	for _, m := range program {
		if _, err := io.Copy(io.Discard, io.NewSectionReader(memory, int64(m.start), int64(m.end-m.start))); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPagesAreGivenBack(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := programPages()
	if err != nil {
		t.Fatal(err)
	}
	touch(t, program)
	before := fileKiB(t)
	if err := program.giveBack(); err != nil {
		t.Fatal(err)
	}
	if after := fileKiB(t); after > before/2 {
		t.Errorf("%d KiB of files before, %d after", before, after)
	}
	// what was given back is there again when it is used
	if text, err := os.ReadFile(self); err != nil || len(text) == 0 {
		t.Errorf("read %s: %d bytes, %v", self, len(text), err)
	}
}

func TestOnlyUnwrittenFilePagesAreGivenBack(t *testing.T) {
	const head = "00400000-00500000 "
	for _, c := range []struct {
		text string
		want bool
	}{
		{head + "r-xp 00000000 08:01 77 /usr/bin/fairlead\nAnonymous: 0 kB\n", true},
		{head + "r--p 00001000 08:01 77 /usr/bin/with space\nRss: 8 kB\nAnonymous:             0 kB\n", true},
		{head + "r--p 00001000 08:01 77 /usr/lib/relocated.so\nAnonymous:             12 kB\n", false},
		{head + "rw-p 00001000 08:01 77 /usr/bin/fairlead\nAnonymous: 0 kB\n", false},
		{head + "r--s 00001000 08:01 77 /var/lib/fairlead/state/fairlead.db\nAnonymous: 0 kB\n", false},
		{head + "r-xp 00000000 00:00 0 [vdso]\nAnonymous: 0 kB\n", false},
		{head + "r--p 00000000 00:00 0\nAnonymous: 0 kB\n", false},
		{"00500000-00400000 r-xp 00000000 08:01 77 /usr/bin/fairlead\n", false},
		{"x-y r-xp 00000000 08:01 77 /usr/bin/fairlead\n", false},
	} {
		got := readMappings(bufio.NewScanner(strings.NewReader(c.text)))
		if len(got) != 1 || got[0].ofFile != c.want {
			t.Errorf("%q: %+v, want %v", c.text, got, c.want)
		}
	}
}
