package git

import "bytes"

// IsLFSPointer tells whether b is the pointer that Git LFS leaves in place of a
// file (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md). The file
// itself is not in the repository, so that nothing can be deployed from it.
func IsLFSPointer(b []byte) bool {
	const maxPointer = 1024
	return len(b) < maxPointer &&
		(bytes.HasPrefix(b, []byte("version https://git-lfs.github.com/spec/v")) ||
			bytes.HasPrefix(b, []byte("version https://hawser.github.com/spec/v"))) &&
		bytes.Contains(b, []byte("\noid sha256:"))
}
