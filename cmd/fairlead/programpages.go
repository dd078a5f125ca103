package main

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A mapping is a part of this process's memory, as proc(5) tells of smaps.
type mapping struct {
	start, end uintptr
	ofFile     bool // nothing but what a file says, which this process cannot write
}

// mappings are what a resting process can do without.
type mappings []mapping

// programPages are those of the program's own file and its libraries. Starting
// touches most of them, resting few. Only what was never written is among them:
// the loader's relocations stand in mappings of files too.
func programPages() (mappings, error) {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return nil, fmt.Errorf("find pages of the program: %w", err)
	}
	defer f.Close()
	all := readMappings(bufio.NewScanner(f))
	return slices.DeleteFunc(all, func(m mapping) bool { return !m.ofFile }), nil
}

// giveBack has the kernel take them out of this process. They come back from
// the page cache as they are used.
func (p mappings) giveBack() error {
	for _, m := range p {
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
