package files

import (
	"errors"
	"path"
	"strings"
)

const meta = `*?[\`

func isGlob(pattern string) bool { return strings.ContainsAny(pattern, meta) }

// checkGlob refuses what never matches anything, and what would take long.
func checkGlob(pattern string) error {
	if !isGlob(pattern) {
		return nil
	}
	if strings.Count(pattern, "*") > 32 {
		return errors.New("the glob has more than 32 stars")
	}
	for part := range strings.SplitSeq(pattern, "/") {
		if part == "**" {
			continue
		}
		if strings.Contains(part, "**") {
			return errors.New("** has to be a whole part of the path, as in data/**/*.csv")
		}
		if _, err := path.Match(part, ""); err != nil {
			return errors.New("the glob has a [ that is not closed, or a \\ at its end")
		}
	}
	return nil
}

// prefix is what every name that matches begins with.
func prefix(pattern string) string {
	if i := strings.IndexAny(pattern, meta); i >= 0 {
		return pattern[:i]
	}
	return pattern
}

// match reports whether a name is one of a glob: * and ? stand for all but /, **
// for any number of directories, none too. What begins with a dot has to be named
// so, as in a shell. It takes time by the product of both lengths at most.
func match(pattern, name string) bool {
	parts, names := strings.Split(pattern, "/"), strings.Split(name, "/")
	// fits[j] says that the parts so far fit the first j names.
	fits := make([]bool, len(names)+1)
	fits[0] = true
	for _, part := range parts {
		next := make([]bool, len(names)+1)
		if part == "**" {
			next[0] = fits[0]
			for j, n := range names {
				// a file is never among the directories that ** stands for
				next[j+1] = fits[j+1] || next[j] && !hidden(n)
			}
		} else {
			for j, n := range names {
				next[j+1] = fits[j] && matchPart(part, n)
			}
		}
		fits = next
	}
	return fits[len(names)]
}

func matchPart(part, name string) bool {
	if hidden(name) && !strings.HasPrefix(part, ".") {
		return false
	}
	ok, err := path.Match(part, name)
	return ok && err == nil
}

func hidden(name string) bool { return strings.HasPrefix(name, ".") }
