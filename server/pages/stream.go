package pages

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
)

// The bounds of streams.
const (
	maxStreams      = 200 // in all
	maxOfOne        = 12  // of one session
	streamHeartbeat = 15 * time.Second
	streamLife      = 10 * time.Minute // then the browser comes again, and is asked who it is
	streamPatience  = 10 * time.Second // for one write
)

// streams counts those that are open.
type streams struct {
	mu  sync.Mutex
	all int
	of  map[string]int
}

// enter returns a function that ends the stream, or nil when there are enough.
func (s *streams) enter(who string) func() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[string]int{}
	}
	if s.all >= maxStreams || s.of[who] >= maxOfOne {
		return nil
	}
	s.all++
	s.of[who]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.all--
		if s.of[who]--; s.of[who] == 0 {
			delete(s.of, who)
		}
	}
}

// stream sends server-sent events
// (https://html.spec.whatwg.org/multipage/server-sent-events.html).
type stream struct {
	mu       sync.Mutex
	w        http.ResponseWriter
	rc       *http.ResponseController
	patience time.Duration // with a reader that does not read
}

// event sends one. An error says that the reader is gone, or too slow.
func (s *stream) event(name, data string) error { return s.send("", name, data) }

// numbered sends one that a browser comes back to after a broken connection: it
// says the number in Last-Event-ID then.
func (s *stream) numbered(number int64, name, data string) error {
	return s.send("id: "+strconv.FormatInt(number, 10)+"\n", name, data)
}

func (s *stream) send(id, name, data string) error {
	var b strings.Builder
	b.WriteString(id + "event: " + name + "\n")
	for line := range strings.Lines(data) {
		b.WriteString("data: " + strings.TrimRight(line, "\r\n") + "\n")
	}
	if data == "" {
		b.WriteString("data:\n")
	}
	return s.write(b.String() + "\n")
}

func (s *stream) write(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.rc.SetWriteDeadline(time.Now().Add(s.patience)); err != nil {
		return err
	}
	if _, err := s.w.Write([]byte(text)); err != nil {
		return err
	}
	return s.rc.Flush()
}

// follow serves a stream to somebody who may see the pages, until the reader
// goes, is nobody any more, or the run ends.
func (s *Site) follow(w http.ResponseWriter, r *http.Request, need auth.Role, run func(context.Context, *stream) error) {
	server.NoteStream(r.Context(), r.Pattern)
	protect(w.Header())
	caller, known := auth.From(r.Context())
	switch {
	case !known:
		http.Error(w, "nobody is signed in", http.StatusUnauthorized)
		return
	case !caller.Role.Allows(need):
		http.Error(w, "this needs the role "+string(need), http.StatusForbidden)
		return
	}
	leave := s.open.enter(caller.ID + " " + caller.Session)
	if leave == nil {
		w.Header().Set("Retry-After", "30")
		http.Error(w, "too many streams are open: close some tabs", http.StatusTooManyRequests)
		return
	}
	defer leave()
	ctx, cancel := context.WithTimeout(r.Context(), streamLife)
	defer cancel()
	stopped := context.AfterFunc(s.hub.life, cancel)
	defer stopped()
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("X-Accel-Buffering", "no") // nginx holds events back otherwise
	out := &stream{w: w, rc: http.NewResponseController(w), patience: streamPatience}
	if out.write("retry: 3000\n\n") != nil {
		return
	}
	var beats sync.WaitGroup
	beats.Go(func() { s.beat(ctx, cancel, out, caller) })
	_ = run(ctx, out) // the reader cannot be told of an error of its own connection
	cancel()
	beats.Wait()
}

// beat shows that the stream is alive, and ends it when the reader is gone or
// nobody any more.
func (s *Site) beat(ctx context.Context, cancel func(), out *stream, caller auth.Caller) {
	ticker := time.NewTicker(s.heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if (s.opt.Valid != nil && !s.opt.Valid(ctx, caller)) || out.event("beat", "") != nil {
			cancel()
			return
		}
	}
}

// live tells the version of a topic whenever it changes.
func (s *Site) live(w http.ResponseWriter, r *http.Request) {
	topic := r.URL.Query().Get("topic")
	s.follow(w, r, auth.RoleViewer, func(ctx context.Context, out *stream) error {
		woken, stop := s.hub.listen()
		defer stop()
		said := ""
		for {
			if now := s.hub.now()[topic]; now != said {
				said = now
				if err := out.event("version", now); err != nil {
					return err
				}
			}
			select {
			case <-ctx.Done():
				return nil
			case <-woken:
			}
		}
	})
}
