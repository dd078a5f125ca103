package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/reconciler"
)

// Whoever comes again with the number of the last line that they had gets each
// line once and in order, or is told where some are missing.
func TestLinesComeOnceAndInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		logs, had, said := newApplyLogs(), int64(0), 0
		for range rapid.IntRange(1, 12).Draw(t, "rounds") {
			for range rapid.SampledFrom([]int{0, 1, 7, maxApplyLines, maxApplyLines + 40}).Draw(t, "lines") {
				said++
				logs.add("acme", reconciler.Line{Text: fmt.Sprint(said)})
			}
			for range rapid.IntRange(0, 9).Draw(t, "reads") {
				lines, _ := logs.since("acme", had)
				for _, l := range lines {
					if l.Kind != LineMissed && had != 0 && l.Seq != had+1 {
						t.Fatalf("after %d comes %d", had, l.Seq)
					}
					if had != 0 && l.Seq <= had {
						t.Fatalf("%d comes after %d", l.Seq, had)
					}
					had = l.Seq
				}
			}
		}
		last := ""
		for lines, _ := logs.since("acme", had); lines != nil; lines, _ = logs.since("acme", had) {
			had, last = lines[len(lines)-1].Seq, lines[len(lines)-1].Text
		}
		if last != "" && last != fmt.Sprint(said) {
			t.Fatalf("the last line is %q of %d", last, said)
		}
	})
}

func TestWhatIsKeptOfLinesIsBounded(t *testing.T) {
	t.Parallel()
	logs := newApplyLogs()
	for i := range 2 * maxApplyLogs {
		for range 3 {
			logs.add(fmt.Sprintf("i%03d", i), reconciler.Line{Text: strings.Repeat("ü", maxApplyText)})
		}
	}
	for range maxApplyLines {
		logs.add("long", reconciler.Line{Text: strings.Repeat("ü", maxApplyText)})
	}
	long := logs.of["long"]
	if len(logs.of) > maxApplyLogs || long.bytes > maxApplyBytes || len(long.lines) < maxApplyBytes/maxApplyText-2 {
		t.Errorf("%d logs, %d bytes in %d lines", len(logs.of), long.bytes, len(long.lines))
	}
	if text := long.lines[0].Text; len(text) > maxApplyText+len("…") || strings.ContainsRune(text, '\ufffd') {
		t.Errorf("a text of %d bytes", len(text))
	}
}

// Lines of an earlier life of the daemon, or of a log that went, are not taken
// for those that there are.
func TestNumbersOfAnEarlierLife(t *testing.T) {
	t.Parallel()
	before := newApplyLogs()
	before.add("acme", reconciler.Line{Text: "old"})
	old, _ := before.since("acme", 0)
	synctest.Test(t, func(t *testing.T) { // whose clock is behind: so is that of a host without a battery
		logs := newApplyLogs()
		logs.add("acme", reconciler.Line{Text: "new"})
		for _, after := range []int64{old[0].Seq, 1} {
			got, _ := logs.since("acme", after)
			if len(got) != 2 || got[0].Kind != LineMissed || got[1].Text != "new" || got[0].Seq != got[1].Seq-1 {
				t.Errorf("after %d: %+v", after, got)
			}
		}
	})
}

// A reader that stands still holds nobody up, and hears later what it missed.
func TestASlowReaderDelaysNobody(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	tell := h.config.Progress.Lines("acme")
	began, goOn, done := make(chan struct{}), make(chan struct{}), make(chan string, 1)
	ctx, cancel := context.WithCancel(t.Context())
	var kinds []string
	go func() {
		held := false
		err := h.api.ApplyLog(ctx, "acme", 0, true, func(l ApplyLine) error {
			if l.Text == "hold" && !held {
				held = true
				close(began)
				<-goOn
			}
			kinds = append(kinds, string(l.Kind))
			if l.Text == "the end" {
				cancel()
			}
			return nil
		})
		done <- fmt.Sprint(err, " ", strings.Contains(strings.Join(kinds, " "), string(LineMissed)))
	}()
	tell(reconciler.Line{Text: "hold"})
	<-began
	for range 3 * maxApplyLines {
		tell(reconciler.Line{Text: "more"})
	}
	tell(reconciler.Line{Text: "the end"})
	close(goOn)
	select {
	case got := <-done:
		if got != "<nil> true" {
			t.Error(got)
		}
	case <-time.After(limit):
		t.Fatal("the end did not come")
	}
}

// A pull has a line at its beginning, at its end, and ever fewer between.
func TestPullsAreToldNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := NewProgress()
		pull := p.For("acme")
		const total = 600 << 20
		for n := int64(0); n < total; n += 100 << 10 { // ten minutes
			pull("app:2", n, total)
			time.Sleep(100 * time.Millisecond)
		}
		pull("app:2", total, total)
		pull("app:2", total, total)
		lines, _ := p.logs.since("acme", 0)
		if n := len(lines); n < 15 || n > 30 || lines[0].Text != "fetch it: 0 KiB of 600 MiB (0%)" || lines[n-1].Text != "fetched, 600 MiB" {
			t.Errorf("%d lines: %+v", len(lines), lines)
		}
		pull("app:2", 5, 0)
		if again, _ := p.logs.since("acme", lines[len(lines)-1].Seq); len(again) != 1 {
			t.Errorf("of a second pull: %+v", again)
		}
	})
}

func TestTheLogOfAnApplyOverTheAPI(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	status, _, body := h.raw(http.MethodGet, "/api/instances/acme/live", "")
	var lines []ApplyLine
	if err := json.Unmarshal([]byte(body), &lines); err != nil || status != http.StatusOK || len(lines) < 5 {
		t.Fatalf("%d %v %s", status, err, body)
	}
	last := lines[len(lines)-1]
	if lines[0].Kind != reconciler.LineBegin || last.Outcome != reconciler.Applied {
		t.Errorf("from %+v to %+v", lines[0], last)
	}
	if _, _, body = h.raw(http.MethodGet, fmt.Sprintf("/api/instances/acme/live?after=%d", last.Seq), ""); strings.TrimSpace(body) != "[]" {
		t.Errorf("after the last comes %s", body)
	}
	if status, _, body = h.raw(http.MethodGet, "/api/instances/nobody/live", ""); status != http.StatusNotFound {
		t.Errorf("%d %s", status, body)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var got []string
	err := follow(ctx, h.client, http.MethodGet, fmt.Sprintf("/api/instances/acme/live?follow=true&after=%d", lines[len(lines)-3].Seq), nil, func(l ApplyLine) error {
		if got = append(got, l.Text); len(got) == 2 {
			h.config.Progress.Lines("acme")(reconciler.Line{Text: "one more"})
		}
		if l.Text == "one more" {
			cancel()
		}
		return nil
	})
	if err != nil || len(got) != 3 || got[1] != last.Text {
		t.Errorf("%v %q", err, got)
	}
}

// BenchmarkALine is what an apply pays for a line, with nobody who looks and with
// ten dashboards.
func BenchmarkALine(b *testing.B) {
	for _, readers := range []int{0, 10} {
		b.Run(fmt.Sprintf("readers=%d", readers), func(b *testing.B) {
			p := NewProgress()
			api := &API{cfg: Config{Progress: p}}
			for range readers {
				go func() {
					for after := int64(0); b.Context().Err() == nil; {
						lines, more := api.cfg.Progress.logs.since("acme", after)
						if more != nil {
							select {
							case <-more:
							case <-b.Context().Done():
							}
							continue
						}
						after = lines[len(lines)-1].Seq
					}
				}()
			}
			tell := p.Lines("acme")
			for b.Loop() {
				tell(reconciler.Line{Kind: reconciler.LineAction, Object: "acme-app-1", Text: "replace container: changed: image"})
			}
		})
	}
}
