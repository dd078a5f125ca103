package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

var noon = time.Date(2026, time.November, 20, 12, 0, 0, 0, time.UTC)

const (
	firstDigest  = "ghcr.io/acme/app@sha256:1111111111112222222222223333333333334444444444445555555555556666"
	secondDigest = "ghcr.io/acme/app@sha256:aaaaaaaaaaaabbbbbbbbbbbbccccccccccccddddddddddddeeeeeeeeeeeeffff"
)

// following are the statuses of instances that follow, each in its own way.
func following() []reconciler.Status {
	rev := desired.Revision{Commit: "1f2e3d4c5b6a79880123456789abcdef01234567", Subject: "Follow stable", Author: "Ada"}
	status := func(name string, phase reconciler.Phase, r reconciler.ReleaseStatus, status reconciler.ConditionStatus, reason, message string) reconciler.Status {
		return reconciler.Status{Name: name, Dir: "instances/" + name, Sync: reconciler.Synced, Health: reconciler.Healthy, Phase: phase,
			Applied: rev, Attempted: rev, AppliedAt: noon.Add(-3 * time.Hour), Generation: 12, Release: &r, Front: []string{"data." + name + ".com"},
			Conditions: []reconciler.Condition{{Type: reconciler.SourceReady, Status: "True", Reason: "Read", Message: "1f2e3d4c Follow stable", Since: noon.Add(-time.Hour)},
				{Type: reconciler.ReleaseReady, Status: status, Reason: reason, Message: message, Since: noon.Add(-time.Minute)},
				{Type: reconciler.ContainersReady, Status: "True", Reason: "Ready", Message: "1 container", Since: noon.Add(-time.Hour)}}}
	}
	stable := reconciler.ReleaseStatus{Ref: "ghcr.io/acme/app:stable", Channel: "stable", Running: firstDigest, RunningRelease: "2026.11.1",
		Newest: firstDigest, NewestRelease: "2026.11.1", NewestSeen: noon.Add(-50 * time.Hour), Asked: noon.Add(-time.Minute)}
	waits, lost, pinned := stable, stable, stable
	waits.Newest, waits.NewestRelease, waits.NewestSeen = secondDigest, "2026.11.2", noon.Add(-20*time.Minute)
	waits.Deferred = &reconciler.Deferral{Reason: reconciler.DeferredWindow, Until: noon.Add(14 * time.Hour),
		Message: "release 2026.11.2 waits for the window Mon-Fri 02:00-05:00 UTC (upgrade.window)"}
	lost.Error, lost.Since = "resolve ghcr.io/acme/app:stable: dial tcp 192.0.2.1:443: connection refused", noon.Add(-90*time.Minute)
	pinned.Ref, pinned.Channel = "ghcr.io/acme/app:stable-2026.11.1", ""
	all := []reconciler.Status{
		status("acme", reconciler.PhaseDeferred, waits, "False", "Window", waits.Deferred.Message+"; until 2026-11-21T02:00:00Z"),
		status("globex", reconciler.PhaseIdle, lost, "Unknown", "RegistryUnreachable", "since 2026-11-20T10:30:00Z; what runs stays: "+lost.Error),
		status("hooli", reconciler.PhaseIdle, pinned, "True", "Pinned", pinned.Ref),
	}
	all[0].Sync = reconciler.OutOfSync
	return all
}

func TestReleasesGolden(t *testing.T) {
	var out bytes.Buffer
	overview := server.Overview{Source: server.SourceInfo{SourceStatus: reconciler.SourceStatus{Repo: "/srv/fleet", Ref: "main", LastSuccess: noon.Add(-2 * time.Second)}},
		Front:     []server.Listener{{Name: "http", Address: ":80", Error: "listen tcp :80: bind: address already in use"}, {Name: "https", Address: "[::]:443", Open: true}},
		Instances: following()}
	fmt.Fprintln(&out, "$ fairlead status")
	printOverview(&out, false, overview, noon, 120)
	fmt.Fprintln(&out, "\non a terminal of 80 columns:")
	printOverview(&out, false, overview, noon, 80)
	fmt.Fprintln(&out, "\n$ fairlead status acme")
	detail{&out, false, noon}.print(overview.Instances[0], overview.Source)
	fmt.Fprintln(&out, "\n$ fairlead history acme")
	table(&out, historyRows(upgrades(), false, noon))
	golden(t, "releases.txt", out.String())

	for _, width := range []int{80, 100, 120} {
		out.Reset()
		printOverview(&out, false, overview, noon, width)
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > width && !strings.HasPrefix(line, "!") {
				t.Errorf("a line of %d on a terminal of %d: %s", n, width, line)
			}
		}
	}
}

func upgrades() []reconciler.Record {
	rev := desired.Revision{Commit: "1f2e3d4c5b6a79880123456789abcdef01234567", Subject: "Follow stable"}
	return []reconciler.Record{
		{Seq: 3, Kind: "deploy", Generation: 12, Revision: rev, Who: "channel stable", Release: "2026.11.1", Outcome: reconciler.Applied,
			Started: noon.Add(-3 * time.Hour), Duration: 4200 * time.Millisecond,
			Gaps: []reconciler.Gap{{Service: "app", For: 812 * time.Millisecond, Held: 143, Longest: 790 * time.Millisecond}}},
		{Seq: 2, Kind: "heal", Generation: 11, Revision: rev, Outcome: reconciler.Applied, Started: noon.Add(-5 * time.Hour), Duration: time.Second},
	}
}

func TestSwitchesAreSaid(t *testing.T) {
	tests := []struct {
		got, want string
	}{
		{reconciler.SwitchReport{Service: "app", Hosts: []string{"a.com", "b.com"}, Held: true, HoldFor: 30 * time.Second, Last: 812 * time.Millisecond}.Line(),
			"requests to a.com, b.com are held while app is replaced (at most 30s; last time 812ms)"},
		{reconciler.SwitchReport{Service: "app", Hosts: []string{"a.com"}, Held: true, HoldFor: time.Minute}.Line(),
			"requests to a.com are held while app is replaced (at most 1m0s)"},
		{reconciler.SwitchReport{Service: "web", Hosts: []string{"a.com"}}.Line(), "nobody waits while web is replaced: both run (a.com)"},
		{upgrades()[0].Gaps[0].Line(), "app: nobody to lead requests to for 812ms; 143 requests held, the longest for 790ms; none refused"},
		{reconciler.Gap{Service: "app", For: 40 * time.Second, Held: 1, Longest: 30 * time.Second, Refused: 7}.Line(),
			"app: nobody to lead requests to for 40s; 1 request held, the longest for 30s; 7 refused"},
		{called("", ""), "nothing yet"},
		{called("sha256:111111111111", firstDigest), "sha256:111111111111"},
		{releaseCell(nil), "-"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
}

func TestDeferredIsNotDone(t *testing.T) {
	waits := following()[0]
	applied := upgrades()[0]
	if got := codeOfResult(server.Result{Status: waits}, &applied); got != exitSuspended {
		t.Errorf("only a deferral: %d", got)
	}
	if got := codeOfResult(server.Result{Status: waits, Record: &applied}, &applied); got != exitDone {
		t.Errorf("a commit was applied: %d", got)
	}
	if canWait(&reconciler.Deferral{Reason: reconciler.DeferredDeprecated}) || !canWait(waits.Release.Deferred) || canWait(nil) {
		t.Error("--now is promised for what it does not take, or not for what it does")
	}
}
