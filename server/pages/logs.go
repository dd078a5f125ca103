package pages

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
)

// The bounds of what is shown of a log.
const (
	maxLogLines = 2000
	maxLogBytes = 1 << 20
	maxLogLine  = 4 << 10
	logTimeout  = 10 * time.Second
)

// logsPage is what the containers of an instance wrote.
type logsPage struct {
	instanceHead
	Service  string
	Services []string
	Tail     int
	Tails    []int
	Text     string
	Cut      bool
	Failed   error
	Follow   string // path of the stream that goes on from here; empty: nothing does
}

func (s *Site) logs(v *visit) (reply, error) {
	head, err := s.headOf(v, "logs")
	if err != nil {
		return nil, err
	}
	q := v.URL.Query()
	p := logsPage{instanceHead: head, Service: q.Get("service"), Services: servicesOf(head.Status), Tail: tailOf(q.Get("tail")), Tails: []int{50, 200, 1000}}
	if !slices.Contains(p.Tails, p.Tail) {
		p.Tails = append(p.Tails, p.Tail)
		slices.Sort(p.Tails)
	}
	if len(p.Services) > 0 {
		p.read(v, s.api)
		p.Follow = instancePath(head.Name) + "/logs/follow?service=" + url.QueryEscape(p.Service)
	}
	view := head.view("logs", head.Name+": logs", p)
	view.Live = ""
	return view, nil
}

// servicesOf are those that have a container.
func servicesOf(st reconciler.Status) (names []string) {
	for _, c := range st.Containers {
		if !slices.Contains(names, c.Service) {
			names = append(names, c.Service)
		}
	}
	slices.Sort(names)
	return names
}

func tailOf(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 200
	}
	return min(n, 1000)
}

func (p *logsPage) read(v *visit, api *server.API) {
	ctx, cancel := context.WithTimeout(v.Context(), logTimeout)
	defer cancel()
	var lines []string
	size := 0
	p.Failed = api.Logs(ctx, server.LogQuery{Instance: p.Name, Service: p.Service, Tail: p.Tail}, func(l server.LogLine) error {
		text := logText(l.Line)
		lines = append(lines, text)
		for size += len(text) + 1; len(lines) > maxLogLines || size > maxLogBytes; lines = lines[1:] {
			size -= len(lines[0]) + 1
			p.Cut = true
		}
		return nil
	})
	p.Text = strings.Join(lines, "\n")
}

// escapes are the sequences by which a program steers a terminal
// (ECMA-48: CSI, OSC and the other introducers).
var escapes = regexp.MustCompile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|[\\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\\\)?|[ -/]*[0-~])|\u009b[0-?]*[ -/]*[@-~]")

// logText is a line of a log as it may be shown: without what steers a terminal
// or turns text around, and no longer than anybody reads.
func logText(line string) string {
	cut := len(line) > maxLogLine
	if cut {
		line = line[:maxLogLine]
	}
	if i := strings.LastIndexByte(strings.TrimRight(line, "\r"), '\r'); i >= 0 {
		line = line[i+1:] // a progress bar draws itself over what it drew before
	}
	line = strings.ReplaceAll(clean(escapes.ReplaceAllString(strings.ToValidUTF8(line, "\uFFFD"), "")), "\n", " ")
	if cut {
		line += " …"
	}
	return line
}

// followLogs streams lines as they are written. Those that come together are
// sent together.
func (s *Site) followLogs(w http.ResponseWriter, r *http.Request) {
	name, service := r.PathValue("name"), r.URL.Query().Get("service")
	s.follow(w, r, auth.RoleViewer, func(ctx context.Context, out *stream) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		lines := make(chan string, 256)
		ended := make(chan error, 1)
		go func() {
			defer close(lines)
			ended <- s.api.Logs(ctx, server.LogQuery{Instance: name, Service: service, Follow: true}, func(l server.LogLine) error {
				select {
				case lines <- logText(l.Line):
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		}()
		for text := range batches(lines) {
			if err := out.event("line", text); err != nil {
				cancel()
				for range lines { // the engine is let go before the stream ends
				}
				return err
			}
		}
		if err := <-ended; err != nil && ctx.Err() == nil {
			return out.event("end", "The engine ended the log: "+firstLine(server.AsError(err).Detail))
		}
		if ctx.Err() == nil {
			return out.event("end", "The log has ended")
		}
		return nil
	})
}

// batches joins the lines that are there already.
func batches(lines <-chan string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for line := range lines {
			var b bytes.Buffer
			b.WriteString(line)
			for open := true; open && b.Len() < 64<<10; {
				select {
				case more, there := <-lines:
					if open = there; there {
						b.WriteString("\n" + more)
					}
				default:
					open = false
				}
			}
			if !yield(b.String()) {
				return
			}
		}
	}
}
