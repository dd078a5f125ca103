package desired

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// Size is a number of bytes, written with a unit: 512MiB, 1.5GB. It is never
// negative.
type Size int64

const sizePattern = `^[0-9]{1,18}(\.[0-9]{1,9})?(B|KiB|MiB|GiB|TiB|kB|MB|GB|TB)$`

var sizeRegexp = regexp.MustCompile(sizePattern)

type unit struct {
	name  string
	bytes int64
}

func sizeUnits() []unit {
	return []unit{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
		{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1}}
}

// ParseSize reads a Size. A part of a byte is left out.
func ParseSize(s string) (Size, error) {
	if !sizeRegexp.MatchString(s) {
		return 0, fmt.Errorf("%q is not a size", clip(s))
	}
	for _, u := range sizeUnits() {
		number, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		whole, part, _ := strings.Cut(number, ".")
		n, err := strconv.ParseInt(whole, 10, 64)
		if err != nil || n > math.MaxInt64/u.bytes-1 {
			return 0, fmt.Errorf("%q is too much", clip(s))
		}
		fraction, _ := strconv.ParseFloat("0."+part+"0", 64) // digits: it parses
		return Size(n*u.bytes + int64(fraction*float64(u.bytes))), nil
	}
	return 0, fmt.Errorf("%q is not a size", clip(s))
}

// String writes the size in the largest unit that it is a whole number of.
func (s Size) String() string {
	for _, u := range sizeUnits()[:4] {
		if s > 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}
