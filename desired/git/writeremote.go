package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/fairlead/fairlead/desired"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/storage/memory"
)

// writeRemote pushes a commit. When the branch moves meanwhile it is planned
// once more on the new tip.
func (r *Repo) writeRemote(ctx context.Context, e edit) (desired.Revision, error) {
	var last *draft
	for range 2 {
		d, err := r.draftRemote(ctx, &e)
		if err != nil {
			return desired.Revision{}, err
		}
		if d.commit == d.tip.commit {
			return r.knownRevision(), nil
		}
		last = d
		err = r.push(ctx, d)
		if err == nil {
			return r.knownRevision(), nil
		}
		if !errors.Is(err, errMoved) {
			return desired.Revision{}, err
		}
	}
	return desired.Revision{}, &ConflictError{Base: last.tip.commit.String(), Tip: "a newer commit, again and again"}
}

// draftRemote plans an edit on what a remote has now.
func (r *Repo) draftRemote(ctx context.Context, e *edit) (*draft, error) {
	if err := r.syncHere(ctx); err != nil {
		return nil, err
	}
	if e.old != "" {
		_, at, err := r.resolveAny(ctx, e.old)
		if err == nil {
			err = e.findOld(r.mirror.st, at.commit)
		}
		if err != nil {
			return nil, fmt.Errorf("restore: %w", err)
		}
	}
	return e.draft(r.mirror.st, r.mirror.at)
}

func (r *Repo) knownRevision() desired.Revision {
	s, _ := r.known()
	return s.Revision
}

func (r *Repo) push(ctx context.Context, d *draft) error {
	pack, err := d.pack()
	if err != nil {
		return err
	}
	w := newWatch(ctx, r.opt.Timeout, r.opt.Idle)
	defer w.stop()
	s, err := r.connect(w, receivePack)
	if err != nil {
		return w.explain(err)
	}
	defer s.close()
	if err := pushPack(w, s, d.tip.name, d.tip.commit, d.commit, pack); err != nil {
		return w.explain(err)
	}
	if err := r.keepPushed(d, pack); err != nil {
		// It is in the remote; the mirror gets it with the next fetch.
		r.mirror.st.damaged.Store(true)
		return fmt.Errorf("commit %s was pushed, but the mirror did not take it: %w", d.commit, err)
	}
	return nil
}

// keepPushed adds what was pushed to the mirror.
func (r *Repo) keepPushed(d *draft, pack []byte) error {
	m := r.mirror
	dir, err := os.MkdirTemp(m.dir, "incoming-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := savePack(bytes.NewReader(pack), dir); err != nil {
		return err
	}
	if err := movePacks(dir, m.packDir()); err != nil {
		return err
	}
	m.st.refresh()
	at := target{name: d.tip.name, commit: d.commit}
	if err := m.setRef(m.dir, at); err != nil {
		return err
	}
	m.at = at
	m.print = m.fingerprint()
	return r.adopt(m.st, at, dirtiness{})
}

// pack encodes the new objects.
func (d *draft) pack() ([]byte, error) {
	s := memory.NewStorage()
	hashes := make([]plumbing.Hash, 0, len(d.objs))
	for _, o := range d.objs {
		if _, err := s.SetEncodedObject(o); err != nil {
			return nil, fmt.Errorf("encode pack: %w", err)
		}
		hashes = append(hashes, o.Hash())
	}
	var buf bytes.Buffer
	if _, err := packfile.NewEncoder(&buf, s, false).Encode(hashes, 0); err != nil {
		return nil, fmt.Errorf("encode pack: %w", err)
	}
	return buf.Bytes(), nil
}
