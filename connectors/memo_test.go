package connectors

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// FuzzNotes reads what nobody wrote: it is refused, or comes out as it went in
// and can be gone on from.
func FuzzNotes(f *testing.F) {
	good := memo{Version: noteVersion, Salt: []byte("salt"), Ever: true, Good: "v1", State: json.RawMessage(`{"version":1,"tables":{}}`), StateOf: "v1", Base: 3,
		Lanes: map[string]lane{"": {Schedule: "every 1h", Done: time.Unix(1, 0).UTC(), Owed: true, Wait: waitPause, Fails: 2, Pause: time.Minute}},
		Bad:   map[string]trouble{"orders": {Failed, "x", "y"}}, Told: []string{"a"},
		Records: []Record{{ID: 1, Source: "shop", Outcome: OK}, {ID: 4, Source: "shop", Tables: []TableResult{{Table: "orders"}}}}}
	data, err := good.write()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(data), "", "{}", "null", "[", `{"version":2}`, `{"version":1,"records":[{"id":2},{"id":2}]}`, `{"version":1,"lanes":{"../x":{}}}`, `{"version":1,"lanes":{"":{"pause":-1}}}`, `{"version":1,"last":-3}`, `{"version":1,"sources":{"../x":true,"shop":false}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := readMemo(data)
		if m.Lanes == nil || m.Bad == nil {
			t.Fatal("there are maps missing")
		}
		if err != nil && (!errors.Is(err, errNote) || len(m.Records) > 0) {
			t.Fatalf("refused as %v, with %d records", err, len(m.Records))
		}
		again, err := m.write()
		if err != nil {
			t.Fatal(err)
		}
		back, err := readMemo(again)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if len(again) < maxNote/2 && len(back.Records) != len(m.Records) {
			t.Fatalf("%d records of %d", len(back.Records), len(m.Records))
		}
		r, err := readRegister(data)
		if err != nil && (len(r.Sources) > 0 || r.Last != 0) {
			t.Fatal("refused, and believed")
		}
		for name := range r.Sources {
			if !ValidName(name) {
				t.Fatalf("source %q", name)
			}
		}
		now := time.Unix(1e9, 0)
		tt := newTimes(nil, "")
		for _, l := range m.Lanes {
			l.adopt(tt, now).turn(tt, now, true, false)
		}
	})
}

// The oldest runs go first, by number and by size.
func TestNotesAreBounded(t *testing.T) {
	m := memo{}.ready()
	for i := range 3 * mostRecords {
		m.put(Record{ID: int64(i + 1), Error: strings.Repeat("x", 100)})
	}
	if len(m.Records) != mostRecords || m.Records[mostRecords-1].ID != 3*mostRecords {
		t.Fatalf("%d records to %d", len(m.Records), m.Records[len(m.Records)-1].ID)
	}
	m.put(Record{ID: 3 * mostRecords, Outcome: OK})
	if last, any := m.lastEnded(); !any || last.ID != 3*mostRecords || len(m.Records) != mostRecords {
		t.Errorf("last %+v", last)
	}
	for i := range m.Records {
		m.Records[i].Error = strings.Repeat("y", 50<<10)
	}
	data, err := m.write()
	if err != nil || len(data) > maxNote {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	back, err := readMemo(data)
	if n := len(back.Records); err != nil || n < 20 || back.Records[n-1].ID != 3*mostRecords {
		t.Errorf("%d records, %v", n, err)
	}
	if len(m.Records) != mostRecords {
		t.Error("what is in memory was cut short")
	}
}

// Pauses grow, to an hour, and a quarter of each is chance.
func TestPauses(t *testing.T) {
	for fails := 1; fails < 100; fails++ {
		full := min(firstPause<<min(fails-1, 20), mostPause)
		if most, least := pause(fails, 0), pause(fails, 0.999999); most != full || least >= most || least < full*3/4 {
			t.Errorf("after %d failures %s to %s", fails, least, most)
		}
	}
}

// States by table are joined by table; others are left whole.
func TestMergeState(t *testing.T) {
	refused := map[string]bool{"b": true}
	for _, c := range []struct {
		had, now string
		refused  map[string]bool
		only     []string
		want     string // empty: they cannot be joined
	}{
		{`{"version":1,"tables":{"a":1,"b":1}}`, `{"version":1,"tables":{"a":2,"b":2}}`, refused, nil, `{"version":1,"tables":{"a":2,"b":1}}`},
		{``, `{"version":1,"tables":{"a":2,"b":2}}`, refused, nil, `{"version":1,"tables":{"a":2}}`},
		{`{"version":1,"tables":{"a":1,"c":1}}`, `{"version":1,"tables":{"a":2}}`, nil, []string{"a"}, `{"version":1,"tables":{"a":2,"c":1}}`},
		{`{"version":1,"tables":{"a":1,"c":1}}`, `{"version":1,"tables":{"a":2}}`, nil, nil, `{"version":1,"tables":{"a":2}}`},
		{`{"cursor":1}`, `{"version":1,"tables":{"a":2}}`, refused, nil, ``},
		{`{"version":1,"tables":{"a":1}}`, `{"cursor":2}`, refused, nil, ``},
		{`{"version":1,"tables":{"a":1}}`, `{"version":1,"tables":{"a":2},"cursor":2}`, refused, nil, ``},
		{``, `[]`, refused, nil, ``},
	} {
		got, ok := mergeState(json.RawMessage(c.had), json.RawMessage(c.now), c.refused, c.only)
		if ok != (c.want != "") || ok && string(got) != c.want {
			t.Errorf("%s and %s: %s, %v", c.had, c.now, got, ok)
		}
	}
}

// The worse outcome counts, and nothing that was said is lost.
func TestOverlay(t *testing.T) {
	got := overlay(
		[]TableResult{{Table: "a", Outcome: OK, Warnings: []string{"one"}}, {Table: "b", Outcome: Failed, Error: "no"}, {Table: "c", Outcome: Partial}},
		[]TableResult{{Table: "b", Outcome: OK, Rows: 3}, {Table: "a", Outcome: Failed, Error: "bad", Warnings: []string{"two"}}, {Table: "d", Outcome: OK}})
	want := []TableResult{{Table: "a", Outcome: Failed, Error: "bad", Warnings: []string{"two", "one"}}, {Table: "b", Outcome: Failed, Error: "no", Rows: 3}, {Table: "c", Outcome: Partial}, {Table: "d", Outcome: OK}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

// A cause is the same when only its numbers differ.
func TestCauses(t *testing.T) {
	a := causeOf(Failed, "request 7f3a21 failed after 12.5s: 503")
	if a != causeOf(Failed, "request 99bc04 failed after 3.1s: 502") || a == causeOf(Failed, "no such host") || a == causeOf(Partial, "request 7f3a21 failed after 12.5s: 503") {
		t.Error("causes are not told apart by what counts")
	}
}

// However the schedule, the failures and the clock are: what is owed has a turn,
// unless it waits for somebody, and no turn is beyond the next time of the
// schedule but where the source said so.
func TestTurns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SampledFrom([]string{"", "every 15m", "daily 07:00", "cron 0 5 * * 1"}).Draw(t, "schedule")
		tt := newTimes(nil, "x")
		if text != "" {
			tt.schedule = scheduleOf(text)
		}
		at := func(name string) time.Time {
			return time.Unix(rapid.Int64Range(1e9, 1e9+1e6).Draw(t, name), 0).UTC()
		}
		now := at("now")
		l := lane{Schedule: tt.text(), Done: at("done"), Failed: at("failed"), Owed: rapid.Bool().Draw(t, "owed"),
			Wait: rapid.SampledFrom([]wait{waitNone, waitPause, waitTold, waitSchedule}).Draw(t, "wait"), Pause: time.Duration(rapid.Int64Range(0, int64(mostWait)).Draw(t, "pause"))}
		l = l.adopt(tt, now)
		changed, fresh := rapid.Bool().Draw(t, "changed"), rapid.Bool().Draw(t, "fresh")
		got, any := l.turn(tt, now, changed, fresh)
		owed := changed || l.Owed || text != "" && !l.due(tt).After(now)
		switch limit := tt.next(now); {
		case owed && fresh && (!any || got.at.After(now)):
			t.Fatalf("what was not tried yet waits: %+v %v", got, any)
		case !any && text != "":
			t.Fatal("a schedule has no turn")
		case !any && owed && l.Wait != waitSchedule:
			t.Fatal("what is owed has no turn")
		case any && text != "" && l.Wait != waitTold && got.at.After(tt.next(now.Add(slack))):
			t.Fatalf("%s is after %s", got.at, limit)
		case any && l.Wait == waitTold && owed && !fresh && got.at.After(now.Add(mostWait+slack)):
			t.Fatalf("%s is too late", got.at)
		}
		if b := l.begin(got); !b.Owed || got.renew && b.Fails > 0 {
			t.Fatalf("begun %+v", b)
		}
		if w := l.well(now); w.Owed || w.Wait != waitNone || w.Done.Before(now) {
			t.Fatalf("ended %+v", w)
		}
	})
}
