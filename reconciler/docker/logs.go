package docker

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
	"golang.org/x/sync/errgroup"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/docker/swap"
)

const (
	lastLinesCount = 20
	lastLinesBytes = 8 << 10
	maxLogLine     = 64 << 10
)

// lastLines are the last lines of a container's log; none when they cannot be
// read, since they only explain another error.
func (e *Engine) lastLines(ctx context.Context, id string) []string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
	defer cancel()
	var buf bytes.Buffer
	if err := e.copyLog(ctx, id, false, lastLinesCount, &tail{buf: &buf, max: lastLinesBytes}); err != nil {
		return nil
	}
	lines := strings.Split(strings.TrimRight(printable(buf.String()), "\n"), "\n")
	if len(lines) == 1 && lines[0] == "" {
		return nil
	}
	if len(lines) > lastLinesCount {
		lines = lines[len(lines)-lastLinesCount:]
	}
	return lines
}

// tail keeps the last max bytes that are written to it.
type tail struct {
	buf *bytes.Buffer
	max int
}

func (t *tail) Write(p []byte) (int, error) {
	t.buf.Write(p)
	if over := t.buf.Len() - t.max; over > 0 {
		t.buf.Next(over)
	}
	return len(p), nil
}

// printable takes out what could steer a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || !unicode.IsControl(r) {
			return r
		}
		return -1
	}, strings.ToValidUTF8(s, "�"))
}

// copyLog writes a container's log, both of its streams in order of arrival.
func (e *Engine) copyLog(ctx context.Context, id string, follow bool, lines int, w io.Writer) error {
	in, err := e.api().ContainerInspect(ctx, id)
	if err != nil {
		return e.fail(err, "inspect container %s", short(id))
	}
	o := container.LogsOptions{ShowStdout: true, ShowStderr: true, Follow: follow, Tail: "all"}
	if lines >= 0 {
		o.Tail = strconv.Itoa(lines)
	}
	body, err := e.api().ContainerLogs(ctx, id, o)
	if err != nil {
		return e.fail(err, "read log of container %s", short(id))
	}
	defer body.Close()
	if in.Config != nil && in.Config.Tty {
		_, err = io.Copy(w, body) // a terminal has one stream, without frames
	} else {
		_, err = stdcopy.StdCopy(w, w, body)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return e.fail(err, "read log of container %s", short(id))
}

// absent says in its own words what reconciler.ErrUnknownObject says.
type absent string

func (a absent) Error() string { return string(a) }

func (absent) Is(target error) bool { return target == reconciler.ErrUnknownObject }

// Logs writes the logs of the containers that serve, each line with the
// container's name before it. An empty service means every one; tail is the
// number of lines to begin with, -1 for all. With follow it runs until ctx
// ends, or until no container is left to follow. The error is
// reconciler.ErrUnknownObject where there is no such container.
func (e *Engine) Logs(ctx context.Context, instance, service string, follow bool, tail int, w io.Writer) error {
	list, err := e.listInstance(ctx, instance)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(c container.Summary) bool {
		return swap.SlotOf(nameOf(c), c.Labels[labelName]) != reconciler.SlotCurrent ||
			service != "" && c.Labels[labelService] != service
	})
	if len(list) == 0 && service == "" {
		return absent(fmt.Sprintf("read logs of %s: it has no containers", instance))
	}
	if len(list) == 0 {
		return absent(fmt.Sprintf("read logs of %s: there is no container of service %q", instance, service))
	}
	slices.SortFunc(list, func(a, b container.Summary) int { return strings.Compare(nameOf(a), nameOf(b)) })
	out := &lineWriter{w: w}
	if !follow {
		for _, c := range list {
			if err := e.prefixed(ctx, c, false, tail, out); err != nil {
				return err
			}
		}
		return nil
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, c := range list {
		g.Go(func() error { return e.prefixed(gctx, c, true, tail, out) })
	}
	return g.Wait()
}

// lineWriter lets several logs share one writer without mixing lines.
type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lineWriter) line(name string, text []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := fmt.Fprintf(l.w, "%s | %s\n", name, printable(strings.TrimRight(string(text), "\r\n")))
	return err
}

func (e *Engine) prefixed(ctx context.Context, c container.Summary, follow bool, tail int, out *lineWriter) error {
	if !follow {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 2*time.Minute)
		defer cancel()
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(e.copyLog(ctx, c.ID, follow, tail, w)) }()
	defer r.Close()
	br := bufio.NewReaderSize(r, maxLogLine)
	for {
		text, err := br.ReadSlice('\n') // a line that is too long is written in pieces
		if len(text) > 0 {
			if werr := out.line(nameOf(c), text); werr != nil {
				return werr
			}
		}
		switch {
		case err == nil || err == bufio.ErrBufferFull:
		case err == io.EOF:
			return nil
		default:
			return err
		}
	}
}
