package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/internal/rest"
)

const (
	stall      = 2 * time.Minute // without a byte, a connection is taken for dead
	maxResumes = 100             // of one file
)

// stream reads an object as a whole, over connections that break.
type stream struct {
	ctx     context.Context
	from    store
	o       *object
	at      int64
	body    io.ReadCloser
	timer   *time.Timer
	resumes int
	ended   bool        // all of it came
	count   func(n int) // told of bytes that came; may be nil
}

func openStream(ctx context.Context, from store, o *object, count func(int)) (*stream, error) {
	body, err := from.open(ctx, o, 0)
	if err != nil {
		return nil, settled(err)
	}
	s := &stream{ctx: ctx, from: from, o: o, count: count}
	s.use(body)
	return s, nil
}

// use closes a body that gives nothing for too long, which ends its reading with
// an error.
func (s *stream) use(body io.ReadCloser) {
	s.body = body
	s.timer = time.AfterFunc(stall, func() { _ = body.Close() })
}

func (s *stream) Read(p []byte) (int, error) {
	for {
		n, err := s.body.Read(p)
		s.at += int64(n)
		if n > 0 {
			s.timer.Reset(stall)
			if s.count != nil {
				s.count(n)
			}
			return n, s.beyond()
		}
		if err == nil {
			continue
		}
		if errors.Is(err, io.EOF) && (s.o.size < 0 || s.at == s.o.size) {
			s.ended = true
			return 0, io.EOF
		}
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w after %d of %d bytes", io.ErrUnexpectedEOF, s.at, s.o.size)
		}
		if err := s.again(err); err != nil {
			return 0, err
		}
	}
}

func (s *stream) beyond() error {
	if s.o.size >= 0 && s.at > s.o.size {
		return errChanged
	}
	return nil
}

// again goes on where a connection broke. Without a tag that names the content
// exactly the file has to be read from its start.
func (s *stream) again(broke error) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	if !s.o.exact || errors.Is(broke, errChanged) || s.resumes >= maxResumes {
		return fmt.Errorf("read: %w", broke)
	}
	s.resumes++
	s.timer.Stop()
	_ = s.body.Close() // it is broken
	if err := rest.Sleep(s.ctx, time.Second); err != nil {
		return err
	}
	body, err := s.from.open(s.ctx, s.o, s.at)
	if err != nil {
		s.body, s.timer = io.NopCloser(eof{}), time.NewTimer(stall)
		return settled(fmt.Errorf("read on after %d bytes: %w", s.at, err))
	}
	s.use(body)
	return nil
}

func (s *stream) Close() error {
	s.timer.Stop()
	return s.body.Close()
}

// settled marks that asking was repeated as often as makes sense. A file that
// changed is read anew.
func settled(err error) error {
	if errors.Is(err, errChanged) {
		return err
	}
	return rest.Permanent(err)
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// wrong is a fault of the data: another try does not mend it.
func wrong(hint, format string, args ...any) error {
	return rest.Permanent(connectors.WithHint(fmt.Errorf(format, args...), hint))
}
