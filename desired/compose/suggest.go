package compose

import (
	"slices"
	"strings"
)

// didYouMean is a hint for a word that is not one of the allowed ones.
func didYouMean(word string, allowed []string) string {
	near, far := "", 2+len(word)/4
	for _, a := range slices.Sorted(slices.Values(allowed)) {
		if d := distance(strings.ToLower(word), strings.ToLower(a)); d < far {
			near, far = a, d
		}
	}
	if near == "" {
		return ""
	}
	return "did you mean " + near + "?"
}

// distance is the number of single-character edits, a swap of neighbours
// counting as one (optimal string alignment).
func distance(a, b string) int {
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	var before []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(row[j]+cost, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
