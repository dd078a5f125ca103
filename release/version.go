// Package release knows how releases are numbered and tagged: CalVer versions,
// channels, deprecations and the tags that say them. It is pure: text in,
// values out. Asking a registry belongs to reconciler/registry.
package release

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Version is a CalVer YYYY.MM.N. N counts the releases of a month over all
// channels, from 1. The zero Version is none.
type Version struct {
	Year, Month, N int
}

// maxN keeps N far from overflow on any platform.
const maxN = 999_999_999

// Parse reads YYYY.MM.N: four digits that do not start with 0, two digits from
// 01 to 12, and a number from 1 without leading zeros.
func Parse(s string) (Version, error) {
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return Version{}, bad(s, "it has not three parts")
	}
	year, ok := number(parts[0])
	if !ok || len(parts[0]) != 4 || year < 1000 {
		return Version{}, bad(s, "the year has not four digits")
	}
	month, ok := number(parts[1])
	if !ok || len(parts[1]) != 2 || month < 1 || month > 12 {
		return Version{}, bad(s, "the month is not 01 to 12")
	}
	n, ok := number(parts[2])
	if !ok || parts[2][0] == '0' || n > maxN {
		return Version{}, bad(s, "the last part is not a number from 1 without leading zeros")
	}
	return Version{year, month, n}, nil
}

func bad(s, why string) error {
	if len(s) > 40 {
		s = s[:40] + "…"
	}
	return fmt.Errorf("parse version %q: %s; a version is YYYY.MM.N, such as 2026.04.3", s, why)
}

// number reads up to nine decimal digits; neither sign nor space.
func number(s string) (int, bool) {
	if s == "" || len(s) > 9 {
		return 0, false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

// String is YYYY.MM.N; empty for the zero Version.
func (v Version) String() string {
	if v.IsZero() {
		return ""
	}
	return fmt.Sprintf("%04d.%02d.%d", v.Year, v.Month, v.N)
}

// IsZero reports whether there is no version.
func (v Version) IsZero() bool { return v == Version{} }

// Compare orders by time of release: -1 when v is older than o, 1 when newer.
func (v Version) Compare(o Version) int {
	return cmp.Or(cmp.Compare(v.Year, o.Year), cmp.Compare(v.Month, o.Month), cmp.Compare(v.N, o.N))
}

// MarshalText writes what UnmarshalText reads.
func (v Version) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads YYYY.MM.N; nothing is the zero Version.
func (v *Version) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*v = Version{}
		return nil
	}
	got, err := Parse(string(text))
	if err == nil {
		*v = got
	}
	return err
}
