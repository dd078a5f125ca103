package certs

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/desired"
)

var today = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return today.Add(-d) }

// good is a real certificate in the middle of its life.
func good() leaf {
	return leaf{fingerprint: "sha256:good", real: true, covers: true, notBefore: ago(30 * day), notAfter: today.Add(60 * day), renewAt: today.Add(30 * day)}
}

// settled is a certificate of which nothing is due.
func settled() view {
	return view{
		now: today, hash: "h", spec: desired.CertificateSpec{Domains: []string{"a"}, Fullchain: "https://pki/chain", Fallback: fallbackSelfSigned},
		live: good(), real: true, memo: memo{Spec: "h", Took: "sha256:good", Asked: ago(time.Hour)},
		request: "h", restored: ago(time.Second),
	}
}

func TestDecide(t *testing.T) {
	standIn := leaf{fingerprint: "sha256:own", covers: true, notBefore: ago(day), notAfter: today.Add(29 * day), renewAt: today.Add(19 * day)}
	failing := func(next time.Duration) *trouble {
		return &trouble{Count: 6, At: ago(time.Minute), Next: today.Add(next), Error: "x"}
	}
	for what, tc := range map[string]struct {
		change func(*view)
		want   []step // but for delivery, which is always done where something is live
	}{
		"nothing":                      {func(*view) {}, nil},
		"the disk was not looked at":   {func(v *view) { v.restored = time.Time{} }, []step{stepRestore}},
		"the disk, a minute ago":       {func(v *view) { v.restored = ago(time.Minute) }, []step{stepRestore}},
		"the disk, in time to come":    {func(v *view) { v.restored = today.Add(time.Hour) }, []step{stepRestore}},
		"another spec":                 {func(v *view) { v.hash = "i"; v.memo.adopt("i") }, []step{stepRequest, stepAsk}},
		"a day is over":                {func(v *view) { v.memo.Asked = ago(25 * time.Hour) }, []step{stepAsk}},
		"asked in time to come":        {func(v *view) { v.memo.Asked = today.Add(48 * time.Hour) }, []step{stepAsk}},
		"asked by a person":            {func(v *view) { v.force = true }, []step{stepAsk}},
		"due, and asked an hour ago":   {func(v *view) { v.live.renewAt = ago(day) }, []step{stepAsk}},
		"due, and asked half ago":      {func(v *view) { v.live.renewAt, v.memo.Asked = ago(day), ago(30*time.Minute) }, nil},
		"its last day":                 {func(v *view) { v.live.notAfter, v.memo.Asked = today.Add(day), ago(16*time.Minute) }, []step{stepAsk}},
		"over":                         {func(v *view) { v.live.notAfter, v.memo.Asked = ago(day), ago(16*time.Minute) }, []step{stepAsk}},
		"a domain more":                {func(v *view) { v.live.covers = false }, []step{stepAsk}},
		"failing":                      {func(v *view) { v.memo.Trouble, v.memo.Asked = failing(time.Hour), ago(30*day) }, nil},
		"failing no more":              {func(v *view) { v.memo.Trouble = failing(-time.Second) }, []step{stepAsk}},
		"told to wait until 2040":      {func(v *view) { v.memo.Trouble = failing(14 * 365 * day); v.memo.Trouble.Said = true }, []step{stepAsk}},
		"hopeless":                     {func(v *view) { v.memo.Trouble = &trouble{Final: true, Next: ago(day)} }, nil},
		"hopeless, asked by a person":  {func(v *view) { v.memo.Trouble = &trouble{Final: true}; v.force = true }, []step{stepAsk}},
		"refused a minute ago":         {func(v *view) { v.memo.Refusal, v.memo.Refused, v.memo.Asked = &refusal{}, 1, ago(time.Minute) }, []step{stepAsk}},
		"refused many times":           {func(v *view) { v.memo.Refusal, v.memo.Refused, v.memo.Asked = &refusal{}, 9, ago(time.Hour) }, nil},
		"refused, and new roots":       {func(v *view) { v.memo.Refusal, v.memo.Refused, v.recheck = &refusal{}, 9, true }, []step{stepAsk}},
		"failing, and new roots":       {func(v *view) { v.memo.Refusal, v.memo.Trouble, v.recheck = &refusal{}, failing(time.Hour), true }, nil},
		"what was taken is lost":       {func(v *view) { v.live.fingerprint = "sha256:older" }, []step{stepAsk}},
		"somebody went back":           {func(v *view) { v.live.fingerprint, v.memo.Held = "sha256:older", []string{"sha256:good"} }, nil},
		"a file":                       {func(v *view) { v.spec.Fullchain, v.memo.Asked = "file:///chain", ago(time.Second) }, []step{stepAsk}},
		"a file that fails":            {func(v *view) { v.spec.Fullchain, v.memo.Trouble = "file:///chain", failing(time.Hour) }, []step{stepAsk}},
		"staged":                       {func(v *view) { v.staged, v.memo.Staged = today.Add(time.Hour), today.Add(time.Hour) }, nil},
		"staged, and time":             {func(v *view) { v.staged, v.memo.Staged = today, today }, []step{stepPromote}},
		"staged by an earlier process": {func(v *view) { v.memo.Staged = today.Add(time.Hour) }, []step{stepAsk}},
		"staged, and the clock doubted": {func(v *view) {
			v.staged, v.memo.Staged, v.doubt = today, today, true
		}, nil},
		"nothing yet": {func(v *view) { v.live, v.real, v.memo = leaf{}, false, memo{Spec: "h"} }, []step{stepStandIn, stepAsk}},
		"nothing yet, the key elsewhere": {func(v *view) {
			v.live, v.real, v.memo, v.spec.Privkey = leaf{}, false, memo{Spec: "h"}, "sm://key"
		}, []step{stepAsk, stepStandIn}},
		"nothing yet, no fallback": {func(v *view) {
			v.live, v.real, v.memo, v.spec.Fallback = leaf{}, false, memo{Spec: "h"}, ""
		}, []step{stepAsk}},
		"nothing yet, the clock doubted": {func(v *view) {
			v.live, v.real, v.memo, v.doubt = leaf{}, false, memo{Spec: "h"}, true
		}, []step{stepAsk}},
		"a stand-in, and no answer": {func(v *view) {
			v.live, v.real, v.memo = standIn, false, memo{Spec: "h", Asked: ago(10 * time.Minute), Trouble: &trouble{Absent: true}}
		}, nil},
		"a stand-in, and time to look": {func(v *view) {
			v.live, v.real, v.memo = standIn, false, memo{Spec: "h", Asked: ago(16 * time.Minute), Trouble: &trouble{Absent: true}}
		}, []step{stepAsk}},
		"a stand-in that is due": {func(v *view) {
			v.live, v.real, v.memo.Took = standIn, false, ""
			v.live.renewAt, v.memo.Asked = ago(time.Hour), ago(time.Second)
		}, []step{stepStandIn}},
		"a stand-in from time to come": {func(v *view) {
			v.live, v.real, v.memo.Took = standIn, false, ""
			v.live.notBefore, v.memo.Asked = today.Add(day), ago(time.Second)
		}, []step{stepStandIn}},
		"the real one is lost, and its source down": {func(v *view) {
			v.live, v.memo.Trouble = leaf{}, failing(time.Hour)
		}, nil},
		"self-signed for good, where a real one is": {func(v *view) {
			v.spec.Fullchain = ""
			v.live.notAfter = ago(day)
		}, nil},
		"by ACME":              {func(v *view) { v.spec.ACME = &desired.ACMESpec{} }, []step{stepOrder}},
		"by ACME, and ordered": {func(v *view) { v.spec.ACME, v.ordered = &desired.ACMESpec{}, true }, nil},
	} {
		v := settled()
		tc.change(&v)
		got := decide(v)
		if !v.live.none() {
			tc.want = append(slices.Clone(tc.want), stepDeliver)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", what, got, tc.want)
		}
	}
}

// Whatever is the case: no stand-in where a real one was, none and nothing staged
// while the clock is doubted, each step once, and the source asked again at some
// time unless that is hopeless.
func TestDecideKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		v := drawView(r)
		steps := decide(v)
		sorted := slices.Sorted(slices.Values(steps))
		if len(slices.Compact(sorted)) != len(steps) {
			r.Fatalf("a step twice: %v", steps)
		}
		has := func(s step) bool { return slices.Contains(steps, s) }
		switch {
		case has(stepStandIn) && (v.real || v.doubt):
			r.Fatalf("a stand-in: %+v", v)
		case has(stepPromote) && (v.doubt || v.staged.IsZero() || v.now.Before(v.staged)):
			r.Fatalf("publishes what is not valid: %+v", v)
		case has(stepDeliver) != !v.live.none():
			r.Fatalf("delivers %v", steps)
		case !slices.Equal(steps, decide(v)):
			r.Fatal("decides otherwise the second time")
		}
		if m := modeOf(v.spec); m != byRequest && m != byURL {
			return
		}
		at, ever := v.askAt()
		if !ever && (v.memo.Trouble == nil || !v.memo.Trouble.Final) {
			r.Fatalf("never asks again: %+v", v)
		}
		if ever && at.Sub(v.now) > longestWait+max(askEvery, v.spec.Every) {
			r.Fatalf("asks at %s: %+v", at, v)
		}
	})
}

func drawView(r *rapid.T) view {
	v := settled()
	when := rapid.Custom(func(r *rapid.T) time.Time {
		return today.Add(time.Duration(rapid.Int64Range(-int64(400*day), int64(400*day)).Draw(r, "when")))
	})
	flag := func(name string) bool { return rapid.Bool().Draw(r, name) }
	v.now, v.doubt, v.force, v.recheck = when.Draw(r, "now"), flag("doubt"), flag("force"), flag("recheck")
	v.spec.Every = time.Duration(rapid.Int64Range(0, int64(48*time.Hour)).Draw(r, "every"))
	if flag("self-signed") {
		v.spec.Fullchain = ""
	}
	if flag("key by URL") {
		v.spec.Privkey = "sm://key"
	}
	if v.real = flag("real"); flag("nothing live") {
		v.live = leaf{}
	} else {
		v.live = leaf{fingerprint: "sha256:x", real: v.real, covers: flag("covers"), notBefore: when.Draw(r, "from"), notAfter: when.Draw(r, "until"), renewAt: when.Draw(r, "due")}
	}
	v.memo.Asked = when.Draw(r, "asked")
	if flag("trouble") {
		v.memo.Trouble = &trouble{Count: rapid.IntRange(0, 20).Draw(r, "count"), At: when.Draw(r, "at"), Next: when.Draw(r, "next"), Said: flag("said"), Final: flag("final"), Absent: flag("absent")}
	}
	if flag("refused") {
		v.memo.Refusal = &refusal{}
	}
	if flag("staged") {
		v.staged = when.Draw(r, "staged")
		v.memo.Staged = v.staged
	}
	return v
}

func TestMoments(t *testing.T) {
	for _, tc := range []struct {
		life time.Duration
		want []time.Duration // left
	}{
		{398 * day, []time.Duration{21 * day, 7 * day, 3 * day, day, 0}},
		{90 * day, []time.Duration{21 * day, 7 * day, 3 * day, day, 0}},
		{45 * day, []time.Duration{270 * time.Hour, 7 * day, 108 * time.Hour, 3 * day, day, 0}},
		{6 * day, []time.Duration{36 * time.Hour, day, 864 * time.Minute, 0}},
		{time.Minute, []time.Duration{15 * time.Second, 6 * time.Second, 0}},
	} {
		ends := today.Add(tc.life)
		due := today.Add(tc.life / 3 * 2)
		if tc.life < 10*day {
			due = today.Add(tc.life / 2)
		}
		var got []time.Duration
		for _, at := range moments(today, ends, due) {
			got = append(got, ends.Sub(at))
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("of %s: %v, want %v", tc.life, got, tc.want)
		}
	}
	all := moments(today, today.Add(90*day), today.Add(60*day))
	if got := passed(all, today.Add(85*day)); !got.Equal(today.Add(83 * day)) {
		t.Errorf("the last moment was %s", got)
	}
	if !passed(all, today).IsZero() {
		t.Error("a moment has passed at the beginning")
	}
}

func TestAdopt(t *testing.T) {
	m := memo{Spec: "a", Chain: "1", Took: "t", Real: true, Held: []string{"h"}, Trouble: &trouble{Said: true}, Refusal: &refusal{}, Quarantined: []string{"q"},
		Reported: map[string]string{kindFetch: "x", kindServed: "y"}}
	same := m
	if same.adopt("a"); same.Refusal == nil {
		t.Error("the same spec made it forget")
	}
	m.adopt("b")
	if m.Refusal != nil || m.Chain != "" || len(m.Quarantined) > 0 || !m.Real || m.Took != "t" || len(m.Held) != 1 || m.Trouble == nil {
		t.Errorf("%+v", m)
	}
	m.Trouble = &trouble{Count: 3}
	if m.adopt("c"); m.Trouble != nil {
		t.Error("failures outlive the spec that they may come of")
	}
	for i := range 100 {
		m.quarantine(string(rune('a' + i)))
	}
	if len(m.Quarantined) != mostQuarantined || m.quarantine(string(rune('a'+99))) {
		t.Errorf("%d are quarantined", len(m.Quarantined))
	}
}

func TestSourcesShowNothingSecret(t *testing.T) {
	for ref, want := range map[string]string{
		"https://u:hush@x/y?token=hush": "https://…", "https://x/y?token=hush": "https://x/y", "sm://acme-prod/data-chain": "sm://acme-prod/data-chain",
	} {
		if got := sourceOf(desired.CertificateSpec{Fullchain: ref}); got != want {
			t.Errorf("%s shows as %s, want %s", ref, got, want)
		}
	}
}
