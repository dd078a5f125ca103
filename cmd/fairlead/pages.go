package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A mapping is a part of this process's memory, as proc(5) tells of smaps.
type mapping struct {
	start, end uintptr
	ofFile     bool // nothing but what a file says, which this process cannot write
}

// givePagesBack has the kernel take the pages of the program's own file out of
// this process. Starting touches most of them, resting few, and those come back
// from the page cache as they are used. Only what was never written is given:
// the loader's relocations stand in mappings of the file too.
func givePagesBack() error {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return fmt.Errorf("give pages back: %w", err)
	}
	defer f.Close()
	for _, m := range readMappings(bufio.NewScanner(f)) {
		if !m.ofFile {
			continue
		}
		// by address: this memory is none that Go knows of
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, m.start, m.end-m.start, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("give pages back: %w", errno)
		}
	}
	return nil
}

func readMappings(lines *bufio.Scanner) (out []mapping) {
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) >= 5 && strings.Contains(words[0], "-") {
			out = append(out, readMapping(words))
			continue
		}
		// Anonymous pages are those that were written after they were read.
		if len(words) >= 2 && words[0] == "Anonymous:" && words[1] != "0" && len(out) > 0 {
			out[len(out)-1].ofFile = false
		}
	}
	return out
}

// readMapping reads "00400000-01c3f000 r-xp 00000000 08:01 1234 /usr/bin/x".
func readMapping(words []string) mapping {
	from, to, _ := strings.Cut(words[0], "-")
	start, err1 := strconv.ParseUint(from, 16, 64)
	end, err2 := strconv.ParseUint(to, 16, 64)
	return mapping{
		start: uintptr(start), end: uintptr(end),
		ofFile: err1 == nil && err2 == nil && end > start && len(words[1]) == 4 && words[1][0] == 'r' && words[1][1] == '-' && words[1][3] == 'p' &&
			words[4] != "0" && len(words) >= 6 && strings.HasPrefix(words[5], "/"),
	}
}
