package pages

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server/auth"
)

// The roles of what is done are those of the API: only an administrator may.
func TestOnlyAdministratorsAct(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.fleet()
	before := h.status("acme")
	for _, role := range []auth.Role{auth.RoleViewer, auth.RoleAnalyst} {
		for _, path := range []string{"/", "/instances/acme", "/instances/acme/history", "/instances/acme/certificates/data", "/instances/hooli", "/instances/initech"} {
			if body := h.get(role, path).body; regexp.MustCompile(`method="post" action="/(instances|source)`).MatchString(body) || strings.Contains(body, "/rollback") {
				t.Errorf("%s shows buttons to a %s", path, role)
			}
		}
		for _, path := range []string{"/source/sync", "/instances/acme/reconcile", "/instances/acme/upgrade", "/instances/acme/suspend", "/instances/acme/resume",
			"/instances/acme/rollback", "/instances/acme/certificates/data/renew", "/instances/acme/certificates/data/rollback"} {
			a := h.post(role, path, url.Values{"generation": {"1"}, "reason": {"x"}, "how": {"hold"}})
			if a.status != http.StatusForbidden || !strings.Contains(a.body, "needs the role admin") {
				t.Errorf("%s of a %s: %d", path, role, a.status)
			}
		}
	}
	after := h.status("acme")
	if after.Suspended != nil || after.Hold != nil || after.Generation != before.Generation {
		t.Errorf("something was done: %+v", after)
	}
}

func TestOtherSitesCannotAct(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.fleet()
	for _, header := range []map[string]string{{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}} {
		if a := h.ask(auth.RoleAdmin, http.MethodPost, "/instances/acme/suspend", url.Values{"reason": {"x"}}, header); a.status != http.StatusForbidden {
			t.Errorf("%v: %d", header, a.status)
		}
	}
	if h.status("acme").Suspended != nil {
		t.Error("it was done all the same")
	}
}

func TestSuspendAndResume(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.fleet()
	for _, tt := range []struct{ reason, until, want string }{
		{" ", "", "Say why"}, {"x", "2020-01-01T00:00", "in the past"}, {"x", "tomorrow", "not a date"},
	} {
		a := h.post(auth.RoleAdmin, "/instances/acme/suspend", url.Values{"reason": {tt.reason}, "until": {tt.until}})
		if a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, tt.want) || !strings.Contains(a.body, `aria-invalid="true"`) {
			t.Errorf("%+v: %d", tt, a.status)
		}
		for _, fault := range inspect(a.body) {
			t.Errorf("%+v: %s", tt, fault)
		}
	}
	until := time.Now().UTC().Add(3 * time.Hour)
	a := h.post(auth.RoleAdmin, "/instances/acme/suspend", url.Values{"reason": {"the <b>audit</b>"}, "until": {until.Format(untilForm)}})
	if a.status != 200 || a.path != "/instances/acme" || !strings.Contains(a.body, "is suspended") || !strings.Contains(a.body, "the &lt;b&gt;audit&lt;/b&gt;") {
		t.Errorf("got %d at %s", a.status, a.path)
	}
	if s := h.status("acme").Suspended; s == nil || s.By != "Grace Hopper" || s.Until.Sub(until).Abs() > time.Minute {
		t.Errorf("got %+v", s)
	}
	if again := h.get(auth.RoleAdmin, "/instances/acme"); strings.Contains(again.body, "acme is suspended. Nothing") {
		t.Error("what came of it is said twice")
	}
	if a := h.post(auth.RoleAdmin, "/instances/acme/resume", url.Values{}); a.status != 200 || h.status("acme").Suspended != nil {
		t.Errorf("not resumed: %d", a.status)
	}
}

func TestRollBackByAClick(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.fleet()
	history := h.get(auth.RoleAdmin, "/instances/acme/history")
	if !strings.Contains(history.body, `href="/instances/acme/rollback?generation=2"`) || strings.Contains(history.body, `rollback?generation=3`) {
		t.Fatal("the history does not offer what can be rolled back to")
	}
	ask := h.get(auth.RoleAdmin, "/instances/acme/rollback?generation=2")
	for _, want := range []string{"2026.11.3", "2026.11.2", "replace", "By a commit", "Hold the generation", `value="commit" checked`} {
		if !strings.Contains(ask.body, want) {
			t.Errorf("the confirmation does not say %q", want)
		}
	}
	if strings.Contains(ask.body, "s3cr3t-value") {
		t.Error("a secret is shown")
	}
	a := h.post(auth.RoleAdmin, "/instances/acme/rollback", url.Values{"generation": {"2"}, "how": {"commit"}})
	if a.status != 200 || a.path != "/instances/acme/live" || !strings.Contains(a.body, "brings generation 2 back") {
		t.Fatalf("got %d at %s", a.status, a.path)
	}
	h.settle("acme")
	if s := h.status("acme"); s.Generation != 4 || s.Containers[0].Image != appImage+"2026.11.2" || s.Applied.Author != "Grace Hopper" {
		t.Errorf("got generation %d, %s, by %s", s.Generation, s.Containers[0].Image, s.Applied.Author)
	}
	a = h.post(auth.RoleAdmin, "/instances/acme/rollback", url.Values{"generation": {"1"}, "how": {"hold"}})
	if a.status != 200 || !strings.Contains(a.body, "Generation 1 is held") {
		t.Fatalf("got %d", a.status)
	}
	h.settle("acme")
	if s := h.status("acme"); s.Phase != reconciler.PhaseHeld || s.Containers[0].Image != appImage+"2026.11.1" {
		t.Errorf("got %s, %s", s.Phase, s.Containers[0].Image)
	}
}

func TestRollbackWithoutTheRightToPushIsAPatch(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.fleet()
	h.patch = "From 1234 Mon Sep 17 00:00:00 2001\n<script>alert(1)</script>\n"
	a := h.post(auth.RoleAdmin, "/instances/acme/rollback", url.Values{"generation": {"2"}, "how": {"commit"}})
	if a.status != 200 || !strings.Contains(a.body, "Nothing was rolled back yet") || strings.Contains(a.body, "<script>alert") {
		t.Errorf("got %d: %s", a.status, a.body)
	}
}
