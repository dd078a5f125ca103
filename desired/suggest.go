package desired

import (
	"slices"
	"strings"
)

// didYouMean is a hint for a word that is not one of the allowed ones: the
// nearest when it looks like a slip, otherwise all of them.
func didYouMean(word string, allowed []string) string {
	if len(allowed) == 0 {
		return ""
	}
	near, far := "", max(2, 1+min(len(word), 12)/3)
	for _, a := range allowed {
		if d := Distance(strings.ToLower(word), strings.ToLower(a)); d < far {
			near, far = a, d
		}
	}
	if near != "" {
		return "did you mean " + near + "?"
	}
	return "allowed: " + strings.Join(allowed, ", ")
}

// Distance counts the insertions, deletions, substitutions and swaps of
// neighbours between two words (optimal string alignment). Long words are cut:
// no key is near them anyway.
func Distance(a, b string) int {
	x, y := []rune(a[:min(len(a), 64)]), []rune(b[:min(len(b), 64)])
	var before []int
	row := make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range x {
		next := make([]int, len(y)+1)
		next[0] = i + 1
		for j := range y {
			cost := 1
			if x[i] == y[j] {
				cost = 0
			}
			next[j+1] = min(row[j]+cost, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(y)]
}

// listed writes the names in order, for a hint.
func listed(names []string) string {
	names = slices.Clone(names)
	slices.Sort(names)
	return strings.Join(names, ", ")
}
