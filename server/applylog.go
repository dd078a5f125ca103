package server

import (
	"sync"
	"time"

	"github.com/fairlead/fairlead/reconciler"
)

// ApplyLine is a line of the log of what is done for an instance, with its number
// there. Numbers ascend, also over restarts of the daemon.
type ApplyLine struct {
	Seq int64 `json:"seq"`
	reconciler.Line
}

// LineMissed is the kind of a line that stands for some that are not kept any
// more.
const LineMissed reconciler.LineKind = "missed"

// The bounds of what is kept.
const (
	maxApplyLines = 500       // of an instance
	maxApplyBytes = 128 << 10 // of their texts
	maxApplyText  = 2 << 10   // of one
	maxApplyLogs  = 200       // instances; those that were quiet longest go first
	applyBatch    = 100       // lines that are taken out at once
)

// applyLogs keep the newest lines of each instance, in memory. Who reads takes
// them out at their own speed; who writes waits for nobody.
type applyLogs struct {
	mu sync.Mutex
	of map[string]*applyLog
}

// applyLog are the lines of one instance. Nothing is done for readers while there
// are none: only who waits for a line makes the channel.
type applyLog struct {
	lines   []ApplyLine // oldest first, without a gap in the numbers
	bytes   int
	last    int64 // number of the newest line that there was
	touched time.Time
	changed chan struct{} // closed by the next line; nil: nobody waits
}

func newApplyLogs() *applyLogs { return &applyLogs{of: map[string]*applyLog{}} }

func (l *applyLogs) add(instance string, line reconciler.Line) {
	line.Text = clip(line.Text, maxApplyText)
	l.mu.Lock()
	defer l.mu.Unlock()
	log := l.logLocked(instance)
	log.last++
	log.lines, log.bytes = append(log.lines, ApplyLine{log.last, line}), log.bytes+len(line.Text)
	for len(log.lines) > maxApplyLines || log.bytes > maxApplyBytes {
		log.bytes -= len(log.lines[0].Text)
		log.lines = log.lines[1:] // the next append that grows leaves the rest behind
	}
	log.wakeLocked()
}

// logLocked is the log of an instance, which is made for the first who asks. Its
// numbers begin with the time, so that they are greater than those of an earlier
// life of the daemon.
func (l *applyLogs) logLocked(instance string) *applyLog {
	log := l.of[instance]
	if log == nil {
		l.makeRoomLocked()
		log = &applyLog{last: time.Now().UnixMicro()}
		l.of[instance] = log
	}
	log.touched = time.Now()
	return log
}

func (l *applyLogs) makeRoomLocked() {
	if len(l.of) < maxApplyLogs {
		return
	}
	quiet := ""
	for name, log := range l.of {
		if quiet == "" || log.touched.Before(l.of[quiet].touched) {
			quiet = name
		}
	}
	l.of[quiet].wakeLocked()
	delete(l.of, quiet)
}

func (g *applyLog) wakeLocked() {
	if g.changed != nil {
		close(g.changed)
		g.changed = nil
	}
}

// since returns the oldest lines after a number, or what is closed when there is
// one. Where lines are missing that came after it, the first says so.
func (l *applyLogs) since(instance string, after int64) ([]ApplyLine, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	log := l.logLocked(instance)
	first := log.last - int64(len(log.lines)) + 1
	var out []ApplyLine
	if after > 0 && (after < first-1 || after > log.last) {
		out = append(out, missed(first-1))
		after = first - 1
	}
	from := min(max(after-first+1, 0), int64(len(log.lines)))
	out = append(out, log.lines[from:min(from+applyBatch, int64(len(log.lines)))]...)
	if len(out) > 0 {
		return out, nil
	}
	if log.changed == nil {
		log.changed = make(chan struct{})
	}
	return nil, log.changed
}

func missed(seq int64) ApplyLine {
	return ApplyLine{seq, reconciler.Line{At: time.Now().UTC(), Kind: LineMissed,
		Text: "lines before this one are not kept any more: there were too many, or the daemon was started anew"}}
}
