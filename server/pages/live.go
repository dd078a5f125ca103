package pages

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
)

// livePage is what goes on at an instance now: what is being done, how far the
// pulls are, and what happened since it began.
type livePage struct {
	instanceHead
	Going  bool
	Line   string
	Pulls  []pullRow
	Events []happening
	Last   *entry // the newest apply that ended
	Lines  []lineRow
	After  int64 // number of the last line
}

// lineRow is a line of the log with how it is shown.
type lineRow struct {
	server.ApplyLine
	Icon, Tone string
}

// lineRowOf gives a line a shape by its kind, and the newest result a tone.
func lineRowOf(l server.ApplyLine) lineRow {
	shapes := map[reconciler.LineKind][2]string{
		reconciler.LineGate: {"pause", "warn"}, reconciler.LineBegin: {"play", "run"}, reconciler.LinePull: {"box", ""}, reconciler.LinePlan: {"file", ""},
		reconciler.LineAction: {"next", ""}, reconciler.LineWait: {"clock", ""}, reconciler.LineCheck: {"pulse", ""}, reconciler.LineSmoke: {"prompt", ""},
		reconciler.LineSwitch: {"branch", ""}, reconciler.LineBake: {"clock", ""}, reconciler.LineOutput: {"log", "bad"}, reconciler.LineUndo: {"undo", "bad"},
		server.LineMissed: {"warn", "warn"}}
	row := lineRow{ApplyLine: l, Icon: shapes[l.Kind][0], Tone: shapes[l.Kind][1]}
	switch {
	case l.Kind == reconciler.LineResult && l.Outcome == "":
		row.Icon, row.Tone = "pause", "warn"
	case l.Kind == reconciler.LineResult:
		b := outcomeBadge(l.Outcome)
		row.Icon, row.Tone = b.Icon(), b.Tone
	case row.Icon == "":
		row.Icon = "info"
	}
	return row
}

// pullRow is how far an image is.
type pullRow struct {
	Image, Text string
	Meter       meter
}

// The events that are shown beside an apply.
const liveEvents = 40

func (s *Site) underWay(v *visit) (reply, error) {
	head, err := s.headOf(v, "live")
	if err != nil {
		return nil, err
	}
	s.hub.touch() // a browser without the stream comes back in a moment
	p := livePage{instanceHead: head, Line: reconciler.Summary(head.Pending)}
	p.Going = head.Phase == reconciler.PhaseApplying || head.Phase == reconciler.PhaseBaking || head.Phase == reconciler.PhasePending
	for _, pull := range s.hub.pullsOf(head.Name) {
		p.Pulls = append(p.Pulls, pullRowOf(pull))
	}
	records, err := s.api.History(v.Context(), head.Name, 1)
	if err != nil {
		return nil, err
	}
	if len(records) > 0 {
		p.Last = &entry{Record: records[0], Badge: outcomeBadge(records[0].Outcome)}
	}
	err = s.api.Events(v.Context(), head.Name, liveEvents, false, func(e reconciler.Event) error {
		p.Events = append(p.Events, happening{e, eventTone(e.Reason)})
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.Reverse(p.Events)
	if v.Header.Get(freshHeader) == "" { // the script has the lines already
		if err := p.readLines(v.Context(), s.api); err != nil {
			return nil, err
		}
	}
	view := head.view("live", head.Name+": live", p)
	view.Reload = 10
	if p.Going {
		view.Reload = 2
	}
	return view, nil
}

func (p *livePage) readLines(ctx context.Context, api *server.API) error {
	return api.ApplyLog(ctx, p.Name, 0, false, func(l server.ApplyLine) error {
		p.Lines, p.After = append(p.Lines, lineRowOf(l)), l.Seq
		return nil
	})
}

// followLive streams the lines of the log as they come, each with its number. A
// browser that lost the connection says which it had last.
func (s *Site) followLive(w http.ResponseWriter, r *http.Request) {
	name, after := r.PathValue("name"), lastLine(r)
	s.follow(w, r, auth.RoleViewer, func(ctx context.Context, out *stream) error {
		looks, err := s.looks()
		if err != nil {
			return err
		}
		err = s.api.ApplyLog(ctx, name, after, true, func(l server.ApplyLine) error {
			var b bytes.Buffer
			if err := looks.set.ExecuteTemplate(&b, "live-line", lineRowOf(l)); err != nil {
				return err
			}
			what := "line"
			if l.Kind == server.LineMissed {
				what = "missed"
			}
			return out.numbered(l.Seq, what, b.String())
		})
		if err != nil && ctx.Err() == nil {
			return out.event("end", "The log has ended: "+firstLine(server.AsError(err).Detail))
		}
		return nil
	})
}

// lastLine is the number of the last line that a browser had; 0: none.
func lastLine(r *http.Request) int64 {
	for _, text := range []string{r.Header.Get("Last-Event-ID"), r.URL.Query().Get("after")} {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && n > 0 {
			return n
		}
	}
	return 0
}

func pullRowOf(p server.Pull) pullRow {
	row := pullRow{Image: p.Image}
	switch {
	case p.Total <= 0:
		row.Text = bytesOf(p.Current)
		row.Meter = newMeter("run", 0, row.Text)
	default:
		share := float64(p.Current) / float64(p.Total)
		row.Text = fmt.Sprintf("%s of %s", bytesOf(p.Current), bytesOf(p.Total))
		row.Meter = newMeter("run", share, fmt.Sprintf("%.0f percent", 100*min(share, 1)))
	}
	return row
}

// Since is how long the newest apply ago ended.
func (p livePage) Since() time.Time { return p.Last.Started.Add(p.Last.Duration) }
