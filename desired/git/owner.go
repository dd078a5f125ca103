package git

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// owner is who a repository belongs to. The daemon often runs as root: what it
// writes into somebody's repository has to stay theirs, or their next git
// command fails for want of permission.
type owner struct {
	uid, gid int
	change   bool
}

func ownerOf(g gitDir) owner {
	info, err := os.Stat(g.common)
	if err != nil || os.Geteuid() != 0 {
		return owner{}
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 {
		return owner{}
	}
	return owner{uid: int(st.Uid), gid: int(st.Gid), change: true}
}

// take gives paths to the owner. It serves the owner's comfort: a path that
// cannot be given away is let be.
func (o owner) take(paths ...string) {
	if !o.change {
		return
	}
	for _, p := range paths {
		_ = os.Lchown(p, o.uid, o.gid)
	}
}

// takeAbove gives away a path and the directories above it, up to root.
func (o owner) takeAbove(root, path string) {
	if !o.change {
		return
	}
	for p := path; p != root && len(p) > len(root); p = filepath.Dir(p) {
		if info, err := os.Lstat(p); err != nil || info.Mode()&fs.ModeSymlink != 0 && p != path {
			return
		}
		o.take(p)
	}
}
