package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/mail"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// Patch gives as a mail for `git am` the commit that Commit would make, and makes
// none: for a remote that may not be pushed to. Nil says that nothing would
// change. Errors as of Commit, but ErrPushDisabled.
func (r *Repo) Patch(ctx context.Context, req CommitRequest) ([]byte, error) {
	e, err := req.edit()
	if err != nil {
		return nil, err
	}
	return r.patch(ctx, e)
}

// PatchRestore is to Restore what Patch is to Commit.
func (r *Repo) PatchRestore(ctx context.Context, req RestoreRequest) ([]byte, error) {
	e, err := req.edit()
	if err != nil {
		return nil, err
	}
	return r.patch(ctx, e)
}

func (r *Repo) patch(ctx context.Context, e edit) ([]byte, error) {
	if err := r.begin(ctx, &e); err != nil {
		return nil, err
	}
	defer r.release()
	e.sign = nil // whoever applies it signs it
	d, err := r.drafted(ctx, &e)
	if err != nil || d.commit == d.tip.commit {
		return nil, err
	}
	return d.mail(e.author, e.message)
}

// drafted plans an edit on what the branch is now.
func (r *Repo) drafted(ctx context.Context, e *edit) (*draft, error) {
	if r.to.scheme != schemeLocal {
		return r.draftRemote(ctx, e)
	}
	g, err := findGitDir(r.to.path)
	if err != nil {
		return nil, err
	}
	return r.draftLocal(g, e)
}

// mail writes a draft as git format-patch does.
func (d *draft) mail(by Author, message string) ([]byte, error) {
	var b bytes.Buffer
	subject, body, _ := strings.Cut(strings.TrimSpace(message), "\n")
	from := mail.Address{Name: clean(by.Name), Address: clean(by.Email)}
	// git takes the fixed date for the sign of a patch.
	fmt.Fprintf(&b, "From %s Mon Sep 17 00:00:00 2001\nFrom: %s\nDate: %s\n", d.commit, from.String(), time.Now().Format(time.RFC1123Z))
	fmt.Fprintf(&b, "Subject: [PATCH] %s\nMIME-Version: 1.0\nContent-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: 8bit\n\n",
		mime.QEncoding.Encode("utf-8", strings.ToValidUTF8(clean(subject), "?")))
	if body = strings.TrimSpace(body); body != "" {
		b.WriteString(plainBody(body) + "\n")
	}
	b.WriteString("---\n\n")
	for _, name := range slices.Sorted(maps.Keys(d.changes)) {
		if err := d.diff(&b, name); err != nil {
			return nil, err
		}
	}
	fmt.Fprintf(&b, "base-commit: %s\n-- \nfairlead\n\n", d.tip.commit)
	return b.Bytes(), nil
}

// plainBody moves in the lines that git am would take for something else: the
// end of the message, the begin of a diff or of another mail (git-mailinfo).
func plainBody(text string) string {
	lines := strings.Split(strings.ToValidUTF8(strings.ReplaceAll(text, "\r", ""), "?"), "\n")
	for i, line := range lines {
		for _, mark := range []string{"---", "diff -", "Index: ", "From ", ">From ", "-- "} {
			if strings.HasPrefix(line, mark) {
				lines[i] = " " + line
			}
		}
	}
	return strings.Join(lines, "\n")
}

// side is a file before or after.
type side struct {
	change
	content []byte
}

func (s side) there() bool { return !s.removes() }

// side reads one. A submodule is the line that git shows of it.
func (d *draft) side(c change) (side, error) {
	s := side{change: c}
	switch {
	case c.removes():
		return s, nil
	case c.mode == filemode.Submodule:
		s.content = fmt.Appendf(nil, "Subproject commit %s\n", c.hash)
		return s, nil
	}
	var err error
	s.content, err = d.view().read(plumbing.BlobObject, c.hash)
	return s, err
}

func (d *draft) diff(b *bytes.Buffer, name string) error {
	tip, err := d.st.commit(d.tip.commit)
	if err != nil {
		return err
	}
	was, there, err := entryAt(d.st, tip.TreeHash, name)
	if err != nil {
		return err
	}
	old := change{}
	if there && was.Mode != filemode.Dir { // of a directory each file is a change of its own
		old = change{was.Mode, was.Hash}
	}
	before, err := d.side(old)
	if err != nil {
		return err
	}
	after, err := d.side(d.changes[name])
	if err != nil {
		return err
	}
	if before.there() && after.there() && kindOf(before.mode) != kindOf(after.mode) {
		return errors.Join(writeDiff(b, name, before, side{}), writeDiff(b, name, side{}, after))
	}
	return writeDiff(b, name, before, after)
}

// kindOf tells files from links and submodules, which git does not make of one
// another.
func kindOf(m filemode.FileMode) filemode.FileMode { return m &^ 0o777 }

func writeDiff(b *bytes.Buffer, name string, before, after side) error {
	from, to := quoted(path.Join("a", name)), quoted(path.Join("b", name))
	fmt.Fprintf(b, "diff --git %s %s\n", from, to)
	same := before.mode == after.mode
	switch {
	case !before.there():
		from = "/dev/null"
		fmt.Fprintf(b, "new file mode %06o\n", uint32(after.mode))
	case !after.there():
		to = "/dev/null"
		fmt.Fprintf(b, "deleted file mode %06o\n", uint32(before.mode))
	case !same:
		fmt.Fprintf(b, "old mode %06o\nnew mode %06o\n", uint32(before.mode), uint32(after.mode))
	}
	if before.hash == after.hash {
		return nil
	}
	fmt.Fprintf(b, "index %s..%s", before.hash, after.hash)
	if same {
		fmt.Fprintf(b, " %06o", uint32(after.mode))
	}
	b.WriteByte('\n')
	if isBinary(before.content) || isBinary(after.content) {
		return writeBinary(b, before.content, after.content)
	}
	if len(before.content)+len(after.content) > 0 {
		fmt.Fprintf(b, "--- %s\n+++ %s\n", tabbed(from), tabbed(to))
		writeHunks(b, string(before.content), string(after.content))
	}
	return nil
}

// tabbed ends a name with a space in it, as git does: else what follows would be
// taken for a time.
func tabbed(name string) string {
	if strings.Contains(name, " ") && !strings.HasPrefix(name, `"`) {
		return name + "\t"
	}
	return name
}

// quoted writes a path as git does where it is not plain.
func quoted(name string) string {
	var b strings.Builder
	for i := range len(name) {
		switch c := name[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(&b, "\\%03o", c)
		default:
			b.WriteByte(c)
		}
	}
	if b.String() == name {
		return name
	}
	return `"` + b.String() + `"`
}
