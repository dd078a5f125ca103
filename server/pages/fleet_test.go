package pages

import (
	"testing"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/drivertest"
	"github.com/fairlead/fairlead/server"
)

// always is a window that is shut whenever the tests run: one minute of the day
// that is half a day away.
func shutWindow() string {
	at := time.Now().UTC().Add(12 * time.Hour)
	if at.Hour() == 23 {
		at = at.Add(-2 * time.Hour)
	}
	return at.Format("15:00") + "-" + at.Add(time.Hour).Format("15:00") + " UTC"
}

// fleet brings instances into every state that a page shows.
func (h *house) fleet() {
	h.t.Helper()
	h.commit(map[string]*wish{
		"acme":      {Tag: "2026.11.1", Services: []string{"caddy", "worker"}},
		"globex":    {Tag: "stable", Channel: "stable", Window: shutWindow(), Services: []string{"postgres"}},
		"hooli":     {Tag: "2026.11.2"},
		"initech":   {Tag: "2026.11.1", Services: []string{"redis"}},
		"northwind": {Tag: "2026.11.1"},
		"umbrella":  {Tag: "2026.11.3"},
	}, "Bring six customers under one roof", "Ada Lovelace")
	h.settle("acme", "globex", "hooli", "initech", "northwind", "umbrella")
	h.engine.Push(appImage+"stable", drivertest.Healthy()) // a newer release waits for the window
	h.commit(map[string]*wish{
		"acme":      {Tag: "2026.11.2", Services: []string{"caddy", "worker"}},
		"northwind": {Tag: "2026.11.2"},
		"initech":   {Tag: "sick", Services: []string{"redis"}},
		"umbrella":  {Tag: "2026.11.3", Broken: `"80:" is not a port`},
	}, "Upgrade to 2026.11.2, with the new export", "Grace Hopper")
	h.settle("acme", "globex", "initech", "northwind", "umbrella")
	if _, err := h.api.Rollback(h.t.Context(), "northwind", server.RollbackRequest{By: "Linus"}); err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.api.Suspend(h.t.Context(), "hooli", server.SuspendRequest{Reason: "stocktaking until the morning", By: "Katherine Johnson", Until: time.Now().Add(9 * time.Hour)}); err != nil {
		h.t.Fatal(err)
	}
	h.commit(map[string]*wish{"acme": {Tag: "2026.11.3", Services: []string{"caddy", "worker"}}}, "Take 2026.11.3: exports no longer time out", "Ada Lovelace")
	h.settle("acme", "northwind")
	h.furnish()
}

// furnish gives instances certificates and connectors.
func (h *house) furnish() {
	now := time.Now()
	day := 24 * time.Hour
	live := reconciler.CertificateStatus{Name: "data", Domains: []string{"data.acme.com", "api.acme.com"}, Phase: reconciler.CertificateLive, Reason: "Live", Since: now.Add(-30 * day),
		Source: "https://pki.acme.com/data/fullchain.pem", Issuer: "Acme Issuing CA 3", Serial: "4f:1c:99:02:7a", Leaf: "8b1f22c7a90e44d2", SPKI: "c0ffee5a11ad", Generation: 4, Kept: []int{2, 3},
		NotBefore: now.Add(-30 * day), NotAfter: now.Add(60 * day), Published: now.Add(-30 * day), RenewAt: now.Add(30 * day), NextTry: now.Add(5 * time.Hour), LastAsked: now.Add(-3 * time.Hour),
		CSR: "/var/lib/fairlead/certs/acme/data/cert.csr", Targets: []reconciler.CertificateTarget{{Name: "front", OK: true, At: now.Add(-time.Minute)}, {Name: "caddy SIGUSR1", OK: true, At: now.Add(-2 * day)}}}
	ending := live
	ending.Name, ending.Domains, ending.Phase, ending.NotBefore, ending.NotAfter = "legacy", []string{"old.acme.com"}, reconciler.CertificateDegraded, now.Add(-360*day), now.Add(5*day)
	ending.Message, ending.Hint = "the newest candidate was refused: it does not fit the key", "ask the authority to sign the request anew"
	ending.Refused = []reconciler.CertificateProblem{{Code: "KeyMismatch", Found: "public key c0ffee", Expected: "public key beef", Hint: "send cert.csr again"}}
	feed := reconciler.AttachmentStatus{Name: "keboola", Kind: "keboola", Phase: reconciler.AttachmentLive, Since: now.Add(-2 * day), Generation: 214, Published: now.Add(-11 * time.Minute),
		Tables: []string{"orders", "customers", "invoices", "products"}, Rows: 4_812_933, LastRun: now.Add(-12 * time.Minute), LastGood: now.Add(-12 * time.Minute), NextRun: now.Add(3 * time.Minute), Schedule: "every 15m"}
	sick := reconciler.AttachmentStatus{Name: "jira", Kind: "jira", Phase: reconciler.AttachmentDegraded, Reason: "RunFailed", Message: "the service answered 401 to the token", Hint: "set JIRA_TOKEN anew",
		Since: now.Add(-2 * time.Hour), Generation: 31, Published: now.Add(-26 * time.Hour), Tables: []string{"issues"}, Rows: 18_204, NextRun: now.Add(20 * time.Minute), Schedule: "every 1h"}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.certs["acme"] = []reconciler.CertificateStatus{live}
	h.certs["globex"] = []reconciler.CertificateStatus{ending}
	h.feeds["acme"] = []reconciler.AttachmentStatus{feed}
	h.feeds["globex"] = []reconciler.AttachmentStatus{sick}
	h.dirty = []string{"instances/acme/compose.yaml", "instances/hooli/instance.yaml"}
	h.lines = []string{
		"2026-11-23T07:41:12Z INFO  starting, version 2026.11.3",
		"\x1b[32m2026-11-23T07:41:13Z INFO\x1b[0m  migrations: nothing to do",
		"2026-11-23T07:41:13Z INFO  listening on :8000",
		"2026-11-23T07:52:40Z WARN  slow query (1.8 s): SELECT * FROM orders",
	}
}

// Hosts are reached where the front listens, which need not be 443.
func TestHostLinks(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{":443": "https://a.example/", "127.0.0.1:8443": "https://a.example:8443/", "[::1]:8443": "https://a.example:8443/", "off": "https://a.example/"} {
		got := hostLinks([]string{"a.example"}, []server.Listener{{Name: "http", Address: ":80", Open: true}, {Name: "https", Address: address, Open: true}})
		if len(got) != 1 || got[0] != (hostLink{"a.example", want}) {
			t.Errorf("the front at %s: %v, want %s", address, got, want)
		}
	}
}
