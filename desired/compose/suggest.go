package compose

import (
	"slices"
	"strings"

	"github.com/fairlead/fairlead/desired"
)

// didYouMean is a hint for a word that is not one of the allowed ones.
func didYouMean(word string, allowed []string) string {
	near, far := "", 2+len(word)/4
	for _, a := range slices.Sorted(slices.Values(allowed)) {
		if d := desired.Distance(strings.ToLower(word), strings.ToLower(a)); d < far {
			near, far = a, d
		}
	}
	if near == "" {
		return ""
	}
	return "did you mean " + near + "?"
}
