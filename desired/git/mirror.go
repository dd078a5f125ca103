package git

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

const (
	// markerFile tells a mirror, which may be thrown away, from anything else.
	markerFile = "fairlead-mirror"
	// maxPacks is when a mirror is cloned anew instead of fetched into. Each
	// fetch adds a pack, and go-git cannot repack.
	maxPacks = 50
)

// mirror is a bare, shallow repository with the one ref that is followed. It
// is a cache: whatever is wrong with it, it is cloned anew.
type mirror struct {
	dir    string
	config string // the content of its config file, which says what it mirrors
	st     *store // nil until there is a good mirror
	at     target
	print  string // of the files when they were last known to be good
}

func newMirror(dir, url, ref string) *mirror {
	return &mirror{dir: dir, config: mirrorConfig(url, ref)}
}

func mirrorConfig(url, ref string) string {
	return "[core]\n\trepositoryformatversion = 0\n\tbare = true\n" +
		"[remote \"origin\"]\n\turl = " + strconv.Quote(url) + "\n\tfetch = +refs/heads/*:refs/heads/*\n" +
		"[fairlead]\n\tref = " + strconv.Quote(ref) + "\n"
}

var errNoMirror = errors.New("there is no mirror yet")

// load reads and verifies what is on disk: errNoMirror when that is nothing.
func (m *mirror) load(current func() *store, kick chan struct{}) error {
	m.st = nil
	if _, err := os.Lstat(m.dir); errors.Is(err, os.ErrNotExist) {
		// A crash between the two renames of replace leaves only the old one.
		if os.Rename(m.dir+".old", m.dir) != nil {
			return errNoMirror
		}
	}
	if err := checkOurs(m.dir); err != nil {
		return err
	}
	config, err := readBounded(filepath.Join(m.dir, "config"), 1<<16)
	if err != nil {
		return fmt.Errorf("read mirror: %w", err)
	}
	if string(config) != m.config {
		return errors.New("read mirror: it is of another repository or ref")
	}
	at, err := m.readHead()
	if err != nil {
		return fmt.Errorf("read mirror: %w", err)
	}
	if err := m.verifyPacks(); err != nil {
		return fmt.Errorf("read mirror: %w", err)
	}
	st := newStore(osfsAt(m.dir), current, kick)
	if err := st.check(at.commit); err != nil {
		return fmt.Errorf("read mirror: %w", err)
	}
	m.st, m.at, m.print = st, at, m.fingerprint()
	return nil
}

// checkOurs refuses a directory that holds something else.
func checkOurs(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read mirror: %w", err)
	}
	if len(list) == 0 {
		return errNoMirror
	}
	if _, err := os.Lstat(filepath.Join(dir, markerFile)); err != nil {
		return fmt.Errorf("%w: %s holds something that is not a mirror; move it away, or name another data directory", errForeign, dir)
	}
	return nil
}

var errForeign = errors.New("keep mirror")

func (m *mirror) readHead() (target, error) {
	b, err := readBounded(filepath.Join(m.dir, "HEAD"), 1<<10)
	if err != nil {
		return target{}, err
	}
	line := strings.TrimSuffix(string(b), "\n")
	name, symbolic := strings.CutPrefix(line, "ref: ")
	if !symbolic {
		h, err := parseHash(line)
		return target{name: m.tagName(), commit: h}, err
	}
	if err := checkRef(name); err != nil || !strings.HasPrefix(name, headsPrefix) {
		return target{}, errors.New("its HEAD is damaged")
	}
	if b, err = readBounded(filepath.Join(m.dir, filepath.FromSlash(name)), 1<<10); err != nil {
		return target{}, err
	}
	h, err := parseHash(strings.TrimSuffix(string(b), "\n"))
	return target{name: name, commit: h}, err
}

// tagName recovers the name of a followed tag.
func (m *mirror) tagName() string {
	b, err := readBounded(filepath.Join(m.dir, "FOLLOWED"), 1<<10)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(string(b), "\n")
}

func parseHash(s string) (plumbing.Hash, error) {
	if len(s) != 40 || !isHashPrefix(s) {
		return plumbing.ZeroHash, errors.New("a ref is damaged")
	}
	return plumbing.NewHash(s), nil
}

// setRef writes the ref, then HEAD, and notes the files as good.
func (m *mirror) setRef(dir string, at target) error {
	followed := filepath.Join(dir, "FOLLOWED")
	if !at.branch() {
		if err := writeFile(followed, []byte(at.name+"\n"), 0o644); err != nil {
			return err
		}
		return writeFile(filepath.Join(dir, "HEAD"), []byte(at.commit.String()+"\n"), 0o644)
	}
	file := filepath.Join(dir, filepath.FromSlash(at.name))
	if m.at.name != at.name {
		// A branch a makes a directory for a/b impossible, and the other way round.
		if err := os.RemoveAll(filepath.Join(dir, "refs", "heads")); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	if err := writeFile(file, []byte(at.commit.String()+"\n"), 0o644); err != nil {
		return err
	}
	if dir == m.dir && m.at.name == at.name {
		return nil // HEAD says so already
	}
	return writeFile(filepath.Join(dir, "HEAD"), []byte("ref: "+at.name+"\n"), 0o644)
}

func (m *mirror) packDir() string { return filepath.Join(m.dir, "objects", "pack") }

// verifyPacks compares each pack and each index with the checksum at its end.
func (m *mirror) verifyPacks() error {
	for _, pattern := range []string{"*.pack", "*.idx"} {
		files, err := filepath.Glob(filepath.Join(m.packDir(), pattern))
		if err != nil {
			return err
		}
		for _, file := range files {
			if err := verifyFile(file); err != nil {
				return fmt.Errorf("%s: %w", filepath.Base(file), err)
			}
		}
	}
	return nil
}

// good tells, without reading packs, whether the mirror is as it was left.
func (m *mirror) good() bool {
	return m.st != nil && !m.st.damaged.Load() && m.print != "" && m.print == m.fingerprint()
}

// fingerprint is of everything that another hand might have touched.
func (m *mirror) fingerprint() string {
	var b strings.Builder
	for _, name := range []string{"HEAD", "config", "shallow"} {
		content, _ := os.ReadFile(filepath.Join(m.dir, name))
		fmt.Fprintf(&b, "%s=%s\n", name, content)
	}
	if m.at.branch() {
		content, _ := os.ReadFile(filepath.Join(m.dir, filepath.FromSlash(m.at.name)))
		fmt.Fprintf(&b, "%s\n", content)
	}
	list, _ := os.ReadDir(m.packDir())
	for _, e := range list {
		if info, err := e.Info(); err == nil {
			fmt.Fprintf(&b, "%s %d %d\n", e.Name(), info.Size(), info.ModTime().UnixNano())
		}
	}
	return b.String()
}

func (m *mirror) packs() int {
	packs, _ := filepath.Glob(filepath.Join(m.packDir(), "*.pack"))
	return len(packs)
}

// shallows lists the commits whose parents are not here.
func (m *mirror) shallows() []plumbing.Hash {
	b, _ := readBounded(filepath.Join(m.dir, "shallow"), 1<<20)
	var list []plumbing.Hash
	for line := range strings.Lines(string(b)) {
		if h, err := parseHash(strings.TrimSpace(line)); err == nil {
			list = append(list, h)
		}
	}
	return list
}

func writeShallows(dir string, list []plumbing.Hash) error {
	if len(list) == 0 {
		return nil
	}
	lines := make([]string, 0, len(list))
	for _, h := range list {
		lines = append(lines, h.String())
	}
	slices.Sort(lines)
	return writeFile(filepath.Join(dir, "shallow"), []byte(strings.Join(slices.Compact(lines), "\n")+"\n"), 0o644)
}

// prepare makes an empty bare repository in a temporary directory beside the mirror.
func (m *mirror) prepare() (string, error) {
	parent, base := filepath.Split(m.dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", fmt.Errorf("make mirror: %w", err)
	}
	left, _ := filepath.Glob(filepath.Join(parent, base+".clone-*"))
	for _, d := range left { // of a process that was killed
		_ = os.RemoveAll(d)
	}
	dir, err := os.MkdirTemp(parent, base+".clone-")
	if err != nil {
		return "", fmt.Errorf("make mirror: %w", err)
	}
	for _, d := range []string{"objects/pack", "objects/info", "refs/heads", "refs/tags"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return dir, fmt.Errorf("make mirror: %w", err)
		}
	}
	for name, content := range map[string]string{
		"config": m.config, "HEAD": "ref: refs/heads/main\n",
		markerFile: "A mirror that fairlead keeps by itself. Do not edit; it may be deleted at any time.\n",
	} {
		if err := writeFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return dir, fmt.Errorf("make mirror: %w", err)
		}
	}
	return dir, nil
}

// replace puts a finished clone in the mirror's place. The one before is kept
// until the next replace, so that its snapshots stay readable.
func (m *mirror) replace(clone string, at target, current func() *store, kick chan struct{}) error {
	old := m.dir + ".old"
	if _, err := os.Lstat(m.dir); err == nil {
		if err := checkOurs(old); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, errNoMirror) {
			return err
		}
		if err := os.RemoveAll(old); err != nil {
			return fmt.Errorf("replace mirror: %w", err)
		}
		if err := os.Rename(m.dir, old); err != nil {
			return fmt.Errorf("replace mirror: %w", err)
		}
		if m.st != nil {
			m.st.move(osfsAt(old))
		}
	}
	if err := os.Rename(clone, m.dir); err != nil {
		return fmt.Errorf("replace mirror: %w", err)
	}
	if err := syncDir(filepath.Dir(m.dir)); err != nil {
		return fmt.Errorf("replace mirror: %w", err)
	}
	m.st, m.at = newStore(osfsAt(m.dir), current, kick), at
	m.print = m.fingerprint()
	return nil
}
