package git

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
)

const (
	headsPrefix = "refs/heads/"
	tagsPrefix  = "refs/tags/"
	// minHashDigits is the shortest commit that is taken for one.
	minHashDigits = 7
)

// target is what a ref resolves to. A name is a full ref; it is empty when a
// commit is followed by its hash.
type target struct {
	name   string
	commit plumbing.Hash
	tag    plumbing.Hash // the annotated tag between the two, when a server has one
}

func (t target) same(o target) bool { return t.name == o.name && t.commit == o.commit }

// wanted is what a server is asked for: it gives what a ref points at, not what
// that points at in turn.
func (t target) wanted() plumbing.Hash {
	if t.tag.IsZero() {
		return t.commit
	}
	return t.tag
}

func (t target) branch() bool { return strings.HasPrefix(t.name, headsPrefix) }

// refTable is what a repository advertises.
type refTable struct {
	head   string // the branch that HEAD points to, when known
	headAt plumbing.Hash
	refs   map[string]plumbing.Hash
	peeled map[string]plumbing.Hash // annotated tags
}

func advertised(ar *packp.AdvRefs) refTable {
	t := refTable{refs: ar.References, peeled: ar.Peeled}
	if ar.Head != nil {
		t.headAt = *ar.Head
	}
	for _, sym := range ar.Capabilities.Get(capability.SymRef) {
		if from, to, ok := strings.Cut(sym, ":"); ok && from == "HEAD" {
			t.head = to
		}
	}
	if t.head == "" && !t.headAt.IsZero() {
		t.head = guessHead(t)
	}
	return t
}

// guessHead serves servers that do not say what HEAD points to.
func guessHead(t refTable) string {
	for _, name := range []string{headsPrefix + "main", headsPrefix + "master"} {
		if t.refs[name] == t.headAt {
			return name
		}
	}
	return ""
}

// pick resolves ref: branch before tag before commit. A commit that no ref
// points at is returned with ok false: it must be looked for.
func (t refTable) pick(ref string) (found target, ok bool, err error) {
	if ref == "" || ref == "HEAD" {
		return t.pickHead()
	}
	if err := checkRef(ref); err != nil {
		return target{}, false, err
	}
	for _, name := range refCandidates(ref) {
		if h, has := t.refs[name]; has {
			if p, has := t.peeled[name]; has {
				return target{name: name, commit: p, tag: h}, true, nil
			}
			return target{name: name, commit: h}, true, nil
		}
	}
	if !isHashPrefix(ref) {
		return target{}, false, &RefError{Ref: ref, Near: t.near(ref)}
	}
	return t.pickCommit(ref)
}

func (t refTable) pickHead() (target, bool, error) {
	if h, has := t.refs[t.head]; has {
		return target{name: t.head, commit: h}, true, nil
	}
	if !t.headAt.IsZero() {
		return target{commit: t.headAt}, true, nil
	}
	if len(t.refs) == 0 {
		return target{}, false, errEmptyRemote()
	}
	return target{}, false, fmt.Errorf("find the default branch: %w; name one with ref",
		&RefError{Ref: strings.TrimPrefix(t.head, headsPrefix), Near: t.near("")})
}

func (t refTable) pickCommit(prefix string) (target, bool, error) {
	var found, tag plumbing.Hash
	for _, table := range []map[string]plumbing.Hash{t.refs, t.peeled} {
		for name, h := range table {
			if _, annotated := t.peeled[name]; annotated && t.peeled[name] != h {
				continue
			}
			if strings.HasPrefix(h.String(), prefix) {
				if !found.IsZero() && found != h {
					return target{}, false, fmt.Errorf("find commit %s: it is the beginning of several; write more digits", prefix)
				}
				found = h
				tag = plumbing.ZeroHash
				if _, annotated := t.peeled[name]; annotated {
					tag = t.refs[name]
				}
			}
		}
	}
	if found.IsZero() && len(prefix) == 40 {
		return target{commit: plumbing.NewHash(prefix)}, false, nil
	}
	return target{commit: found, tag: tag}, !found.IsZero(), nil
}

func refCandidates(ref string) []string {
	if strings.HasPrefix(ref, "refs/") {
		return []string{ref}
	}
	return []string{headsPrefix + ref, tagsPrefix + ref, "refs/remotes/" + ref}
}

func errEmptyRemote() error {
	return fmt.Errorf("read repository: %w; commit something and push it", ErrEmpty)
}

// isHashPrefix tells whether s may be a commit in short.
func isHashPrefix(s string) bool {
	if len(s) < minHashDigits || len(s) > 40 {
		return false
	}
	return strings.Trim(s, "0123456789abcdef") == ""
}

// checkRef refuses what git would refuse as a name (git-check-ref-format(1)),
// so that a name is never more than a name on its way to a server or a file.
func checkRef(ref string) error {
	bad := ref == "@" || strings.HasPrefix(ref, "-") || strings.HasPrefix(ref, "/") || strings.HasSuffix(ref, "/") ||
		strings.HasSuffix(ref, ".") || strings.Contains(ref, "..") || strings.Contains(ref, "//") ||
		strings.Contains(ref, "@{") || strings.ContainsAny(ref, " ~^:?*[\\\x7f") || len(ref) > 255
	for _, part := range strings.Split(ref, "/") {
		bad = bad || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock")
	}
	for _, c := range ref {
		bad = bad || c < ' '
	}
	if bad {
		return fmt.Errorf("check ref %q: not a valid name of a branch, tag or commit", ref)
	}
	return nil
}

// near lists up to five names that ref was probably meant to be; without a
// likely one, some that exist.
func (t refTable) near(ref string) []string {
	type candidate struct {
		name string
		far  int
	}
	var likely []candidate
	var branches []string
	for full := range t.refs {
		name, isBranch := strings.CutPrefix(full, headsPrefix)
		if !isBranch {
			var isTag bool
			if name, isTag = strings.CutPrefix(full, tagsPrefix); !isTag {
				continue
			}
		} else {
			branches = append(branches, name)
		}
		if d := distance(strings.ToLower(ref), strings.ToLower(name)); d <= 1+len(ref)/4 || ref != "" && strings.Contains(name, ref) {
			likely = append(likely, candidate{name, d})
		}
	}
	if len(likely) == 0 {
		slices.Sort(branches)
		return branches[:min(len(branches), 5)]
	}
	slices.SortFunc(likely, func(a, b candidate) int {
		if a.far != b.far {
			return a.far - b.far
		}
		return strings.Compare(a.name, b.name)
	})
	var names []string
	for _, c := range likely[:min(len(likely), 5)] {
		names = append(names, c.name)
	}
	return slices.Compact(names)
}

// distance is Levenshtein's, for names up to 64 bytes; longer ones are far.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
