package git

import (
	"bytes"
	"io"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
)

// canned is a session whose server says b.
type canned []byte

func (c canned) refs() *packp.AdvRefs { return packp.NewAdvRefs() }
func (c canned) close()               {}

func (c canned) exchange(w *watch, _ *bytes.Buffer) (io.ReadCloser, error) {
	return io.NopCloser(w.reader(bytes.NewReader(c))), nil
}
