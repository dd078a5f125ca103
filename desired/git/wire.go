package git

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"
)

const (
	uploadPack  = transport.UploadPackServiceName
	receivePack = transport.ReceivePackServiceName

	maxRefsBytes = 64 << 20 // an advertisement; some 800,000 refs
	maxPackBytes = 2 << 30
)

// wire opens sessions with one server. go-git's own transports are not used:
// ssh has neither context nor deadline there, http follows redirects, and both
// are set up in package variables. Its protocol encoding is.
type wire interface {
	open(w *watch, service string) (session, error)
	close()
}

// session is one exchange: the server has listed its refs and waits for one request.
type session interface {
	refs() *packp.AdvRefs
	exchange(w *watch, request *bytes.Buffer) (io.ReadCloser, error)
	close()
}

// readRefs decodes an advertisement.
func readRefs(r io.Reader, service string) (*packp.AdvRefs, error) {
	ar := packp.NewAdvRefs()
	err := ar.Decode(io.LimitReader(r, maxRefsBytes))
	if errors.Is(err, packp.ErrEmptyAdvRefs) || err == nil && ar.IsEmpty() {
		if service == receivePack {
			return ar, nil
		}
		return nil, errEmptyRemote()
	}
	if err != nil {
		return nil, fmt.Errorf("list refs: %w", protocolError(err))
	}
	// Deltas against objects that are not in the pack are not asked for: each
	// pack is complete in itself and can be checked before it is let in.
	ar.Capabilities.Delete(capability.ThinPack)
	return ar, nil
}

// protocolError shortens what the decoder says of text it did not expect, which
// may be a whole page of HTML.
func protocolError(err error) error {
	text := lastLines([]byte(err.Error()))
	if _, said, ok := strings.Cut(text, "ERR "); ok {
		return errors.New("the server says: " + strings.Trim(said, `"`))
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, packp.ErrEmptyInput) {
		return fmt.Errorf("the answer ended early: %w", io.ErrUnexpectedEOF)
	}
	return errors.New("not what a git server answers: " + text)
}

// fetchRequest asks for wants at the given depth (0: all history).
func fetchRequest(ar *packp.AdvRefs, wants, haves, shallows []plumbing.Hash, depth int) *packp.UploadPackRequest {
	req := packp.NewUploadPackRequestFromCapabilities(ar.Capabilities)
	req.Wants, req.Haves, req.Shallows = wants, haves, shallows
	if ar.Capabilities.Supports(capability.NoProgress) {
		_ = req.Capabilities.Set(capability.NoProgress) // fails only on a wrong number of arguments
	}
	if depth > 0 {
		req.Depth = packp.DepthCommits(depth)
	}
	if depth > 0 || len(shallows) > 0 {
		_ = req.Capabilities.Set(capability.Shallow)
	}
	dropMultiACK(req, haves)
	return req
}

// dropMultiACK leaves out what go-git cannot decode in a negotiation. Without
// haves there is none, and Azure DevOps refuses clients without multi_ack.
func dropMultiACK(req *packp.UploadPackRequest, haves []plumbing.Hash) {
	if len(haves) > 0 {
		req.Capabilities.Delete(capability.MultiACK)
		req.Capabilities.Delete(capability.MultiACKDetailed)
	}
}

// fetchPack sends a request and gives the shallow boundary and the pack.
func fetchPack(w *watch, s session, req *packp.UploadPackRequest) ([]plumbing.Hash, io.ReadCloser, error) {
	var buf bytes.Buffer
	if err := req.UploadRequest.Encode(&buf); err != nil {
		return nil, nil, fmt.Errorf("encode request: %w", err)
	}
	if err := req.UploadHaves.Encode(&buf, false); err != nil {
		return nil, nil, fmt.Errorf("encode request: %w", err)
	}
	if err := pktline.NewEncoder(&buf).EncodeString("done\n"); err != nil {
		return nil, nil, fmt.Errorf("encode request: %w", err)
	}
	body, err := s.exchange(w, &buf)
	if err != nil {
		return nil, nil, err
	}
	resp := packp.NewUploadPackResponse(req)
	if err := resp.Decode(body); err != nil {
		body.Close()
		return nil, nil, fmt.Errorf("read pack: %w", protocolError(err))
	}
	return resp.Shallows, packReader{demux(req.Capabilities, resp), body}, nil
}

type packReader struct {
	io.Reader
	io.Closer
}

func demux(caps *capability.List, r io.Reader) io.Reader {
	switch {
	case caps.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, r)
	case caps.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, r)
	}
	return r
}

// pushPack moves one branch from old to new, if it is still at old. The server
// compares: a branch that moved is refused with errMoved.
func pushPack(w *watch, s session, name string, old, to plumbing.Hash, pack []byte) error {
	ar := s.refs()
	if ar.References[name] != old {
		return errMoved
	}
	req := packp.NewReferenceUpdateRequestFromCapabilities(ar.Capabilities)
	req.Commands = []*packp.Command{{Name: plumbing.ReferenceName(name), Old: old, New: to}}
	var buf bytes.Buffer
	if err := req.Encode(&buf); err != nil {
		return fmt.Errorf("encode push: %w", err)
	}
	buf.Write(pack)
	body, err := s.exchange(w, &buf)
	if err != nil {
		return err
	}
	defer body.Close()
	if !req.Capabilities.Supports(capability.ReportStatus) {
		_, err := io.Copy(io.Discard, io.LimitReader(body, maxRefsBytes))
		return err
	}
	return readReport(body, name)
}

var errMoved = errors.New("the branch moved")

func readReport(body io.Reader, name string) error {
	report := packp.NewReportStatus()
	if err := report.Decode(bufio.NewReader(io.LimitReader(body, 1<<20))); err != nil {
		return fmt.Errorf("read answer to push: %w", protocolError(err))
	}
	if report.UnpackStatus != "ok" {
		return fmt.Errorf("push: the server could not unpack it: %s", lastLines([]byte(report.UnpackStatus)))
	}
	for _, st := range report.CommandStatuses {
		if st.ReferenceName.String() != name || st.Status == "ok" {
			continue
		}
		if movedStatus(st.Status) {
			return errMoved
		}
		return fmt.Errorf("push: the server refused to move %s: %s", strings.TrimPrefix(name, headsPrefix), lastLines([]byte(st.Status)))
	}
	return nil
}

// movedStatus recognises git's refusals of a branch that is not at the old
// commit (receive-pack: "failed to update ref", and lock races).
func movedStatus(status string) bool {
	for _, s := range []string{"fetch first", "non-fast-forward", "failed to update ref", "failed to lock", "reference already exists"} {
		if strings.Contains(status, s) {
			return true
		}
	}
	return false
}

// watch bounds an exchange: it ends the context when nothing was read for idle.
type watch struct {
	ctx   context.Context
	stop  func()
	timer *time.Timer
	idle  time.Duration
}

func newWatch(ctx context.Context, total, idle time.Duration) *watch {
	ctx, stopTotal := context.WithTimeoutCause(ctx, total,
		fmt.Errorf("%w: it took longer than %s", ErrStalled, total))
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{ctx: ctx, idle: idle}
	w.timer = time.AfterFunc(idle, func() {
		cancel(fmt.Errorf("%w: it sent nothing for %s", ErrStalled, idle))
	})
	w.stop = func() {
		w.timer.Stop()
		cancel(context.Canceled)
		stopTotal()
	}
	return w
}

// reader notes each read as a sign of life.
func (w *watch) reader(r io.Reader) io.Reader { return &watchedReader{w, r} }

type watchedReader struct {
	w *watch
	r io.Reader
}

func (r *watchedReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if n > 0 && r.w.ctx.Err() == nil {
		r.w.timer.Reset(r.w.idle)
	}
	return n, err
}

// explain replaces the error of a cancelled exchange by why it was cancelled.
func (w *watch) explain(err error) error {
	if err == nil || w.ctx.Err() == nil {
		return err
	}
	return context.Cause(w.ctx)
}
