package main

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/fairlead/fairlead/server/hostile"
)

// besieged is a whole daemon: a repository, a keyring, connectors of files and
// of Jira, a certificate of an authority in memory, and people.
type besieged struct {
	*corporation
	url  string
	vars map[string]string // what was answered, for what is asked next
}

const hookSecret = "it-is-a-secret-to-everybody"

func newBesieged(t *testing.T) *besieged {
	t.Helper()
	c := newCorporation(t)
	dir := filepath.Join(c.dir, "exports")
	c.write("exports/orders.csv", "id,total\n1,10.50\n2,20\n")
	c.write("agent.yaml", string(mustRead(t, filepath.Join(c.dir, "agent.yaml")))+"connectors: {dirs: ["+dir+"]}\nnotify: {urls: [generic+"+c.URL+"/notices]}\n")
	files := c.instance("certificates:\n  data:\n    domains: [" + certHost + "]\n    fullchain: " + c.URL + "/chain.pem\n    csr: {key: p256}\n    fallback: self-signed\n")
	at := map[string]string{"instances/sales/instance.yaml": "apiVersion: fairlead/v1\nname: sales\nallowEmpty: true\nrelease: {image: example.com/app, channel: stable}\n",
		"instances/sales/compose.yaml": "services: {}\n"}
	for name, text := range files {
		at["instances/acme/"+name] = text
	}
	c.begin(at)
	c.start("--listen", "127.0.0.1:0")
	waitFor(t, "the API is open", func() bool { return c.server().Open })
	b := &besieged{corporation: c, url: "http://" + c.server().Address, vars: map[string]string{"dir": dir, "chain": c.URL + "/chain.pem", "url": c.URL}}
	b.vars["hook"] = strings.TrimSpace(string(mustRead(t, filepath.Join(c.data, "state", "hook.secret"))))
	return b
}

func mustRead(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// visit is one call of the tour: it is asked until it is answered so.
type visit struct {
	id, target, body string
	want             int
	as               string // a variable with a token; empty: the administrator's; none: nobody
	keep             string // NAME=FIELD of the answer
}

// tour is a call of every operation that goes well, or to the answer that says
// best that the operation was reached. What comes first is there for the rest.
func tour() []visit {
	const shop = "/api/instances/acme/connectors/shop"
	return []visit{
		{"bootstrap", "/auth/bootstrap", `{"email":"ada@example.com","name":"Ada","password":"plum-lantern-orbit"}`, 200, "none", "admin=access_token"},
		{"signIn", "/auth/token", `{"email":"ada@example.com","password":"plum-lantern-orbit"}`, 200, "none", "other=access_token"},
		{id: "getMe", target: "/api/me", want: 200},
		{id: "listSessions", target: "/api/sessions", want: 200},
		{id: "signOut", target: "/auth/logout", want: 200, as: "other"},
		{"createUser", "/api/users", `{"email":"grace@example.com","role":"analyst","password":"quiet-harbour-velvet"}`, 201, "", "grace=id"},
		{id: "listUsers", target: "/api/users", want: 200},
		{id: "getUser", target: "/api/users/{grace}", want: 200},
		{"changeUser", "/api/users/{grace}", `{"role":"viewer"}`, 200, "", ""},
		{"signIn", "/auth/token", `{"email":"grace@example.com","password":"quiet-harbour-velvet"}`, 200, "none", "viewer=access_token"},
		{"changePassword", "/api/me/password", `{"current_password":"quiet-harbour-velvet","new_password":"other-harbour-velvet"}`, 200, "viewer", ""},
		{id: "listUserSessions", target: "/api/users/{grace}/sessions", want: 200},
		{id: "listUserTokens", target: "/api/users/{grace}/tokens", want: 200},
		{"createToken", "/api/tokens", `{"name":"ci","expires_in_days":30}`, 201, "", "token=id"},
		{id: "listTokens", target: "/api/tokens", want: 200},
		{id: "deleteToken", target: "/api/tokens/{token}", want: 200},
		{"createTokenAuth", "/auth/tokens", `{"name":"cd","expires_in_days":30}`, 201, "", "token=id"},
		{id: "listTokensAuth", target: "/auth/tokens", want: 200},
		{id: "deleteTokenAuth", target: "/auth/tokens/{token}", want: 200},
		{id: "endSessions", target: "/api/sessions", want: 200},
		{id: "getSetupCode", target: "/api/setup-code", want: 403},
		{id: "listAudit", target: "/api/audit?limit=3", want: 200},
		{id: "exportAudit", target: "/api/audit/export", want: 200},

		{id: "alive", target: "/healthz", want: 200, as: "none"},
		{id: "ready", target: "/readyz", want: 200, as: "none"},
		{id: "getHealth", target: "/api/health", want: 200, as: "none"},
		{id: "getHealthDetails", target: "/api/health/detailed", want: 200},
		{id: "getVersion", target: "/api/version", want: 200},
		{id: "getSource", target: "/api/source", want: 200},
		{id: "syncSource", target: "/api/source/sync", want: 200},
		{id: "getMetrics", target: "/metrics", want: 200},
		{id: "getOpenAPI", target: "/api/openapi.json", want: 200, as: "none"},
		{id: "getOpenAPIAsYAML", target: "/api/openapi.yaml", want: 200, as: "none"},
		{id: "listNotices", target: "/api/notices", want: 200},
		{"testNotices", "/api/notices/test", `{}`, 200, "", ""},

		{"createInstance", "/api/instances", `{"name":"third"}`, 201, "", "commit=commit"},
		{id: "listInstances", target: "/api/instances", want: 200},
		{id: "getInstance", target: "/api/instances/third", want: 200},
		{"reconcile", "/api/instances/acme/reconcile", `{"wait":true}`, 200, "", ""},
		{id: "planInstance", target: "/api/instances/acme/plan", want: 200},
		{id: "listApplies", target: "/api/instances/acme/history", want: 200},
		{id: "listGenerations", target: "/api/instances/acme/generations", want: 200},
		{id: "watchEvents", target: "/api/events?limit=5", want: 200},
		{id: "watchInstance", target: "/api/instances/acme/events", want: 200},
		{id: "watchApply", target: "/api/instances/acme/live", want: 200},
		{id: "readLogs", target: "/api/instances/acme/logs?service=web", want: 200},
		{id: "explain", target: "/api/instances/acme/why?name=web", want: 200},
		{"suspend", "/api/instances/acme/suspend", `{"reason":"stocktaking"}`, 200, "", ""},
		{id: "resume", target: "/api/instances/acme/resume", want: 200},
		{"changeRelease", "/api/instances/sales/release", `{"version":"2026.11.1"}`, 200, "", "second=commit"},
		{"revertInstance", "/api/instances/sales/revert", `{"commit":"{commit}"}`, 200, "", ""},

		{"setSecret", "/api/instances/acme/secrets/JIRA_HOOK", `{"value":"` + hookSecret + `"}`, 200, "", ""},
		{"setSecret", "/api/instances/acme/secrets/SPARE", `{"value":"spare-key"}`, 200, "", ""},
		{id: "listSecrets", target: "/api/instances/acme/secrets", want: 200},
		{"admitSecrets", "/api/instances/acme/secrets/recipients", `{}`, 200, "", ""},
		{id: "removeSecret", target: "/api/instances/acme/secrets/SPARE", want: 200},

		{"configure", "/api/admin/configure", `{"instance":"acme","connector":{"name":"shop","files":{"dir":"{dir}"},"schedule":"every 1h"}}`, 200, "", ""},
		{"registerTable", "/api/admin/register-table", `{"instance":"acme","source":"shop","name":"items","paths":["orders.csv"]}`, 201, "", ""},
		{id: "listRegistry", target: "/api/admin/registry?instance=acme", want: 200},
		{"updateTable", "/api/admin/registry/shop.items?instance=acme", `{"description":"what is in them"}`, 200, "", ""},
		{id: "discoverSourceTables", target: "/api/admin/discover-tables?instance=acme&source=shop", want: 200},
		{"discoverAndRegister", "/api/admin/discover-and-register?instance=acme&source=shop", `{}`, 200, "", ""},
		{id: "getConnectorFile", target: shop + "/file", want: 200},
		{"putConnectorFile", "/api/instances/acme/connectors/tickets/file", `{"yaml":"jira: {url: \"{url}\", pat: \"${secret:JIRA_HOOK}\", webhookSecret: \"${secret:JIRA_HOOK}\"}\ntables: []\n"}`, 200, "", ""},
		{"putConnectorFile", "/api/instances/acme/connectors/spare/file", `{"yaml":"files: {dir: \"{dir}\"}\ntables: [{name: a, paths: [orders.csv]}]\n"}`, 200, "", ""},
		{"triggerSync", "/api/sync/trigger?instance=acme&source=shop", `["shop.items"]`, 200, "", "job=job_id"},
		{id: "getJob", target: "/api/jobs/{job}?wait=30", want: 200},
		{id: "listJobs", target: "/api/jobs", want: 200},
		{id: "cancelJob", target: "/api/jobs/{job}/cancel", want: 409},
		{id: "syncStatus", target: "/api/sync/status", want: 200, as: "none"},
		{id: "syncRuns", target: "/api/sync/runs?instance=acme", want: 200},
		{id: "listConnectors", target: "/api/instances/acme/connectors", want: 200},
		{id: "getConnector", target: shop, want: 200},
		{id: "runConnector", target: shop + "/run", want: 200},
		{id: "listRuns", target: shop + "/runs", want: 200},
		{id: "readRunLog", target: shop + "/log", want: 200},
		{id: "discoverTables", target: shop + "/tables", want: 200},
		{id: "listDataGenerations", target: shop + "/generations", want: 200},
		{id: "rollBackData", target: shop + "/rollback", want: 200},
		{id: "cancelConnector", target: shop + "/cancel", want: 409},
		{"hearConnector", "/api/instances/acme/connectors/tickets/webhook", `{"webhookEvent":"jira:issue_updated","issue":{"id":"1","key":"SHOP-1"}}`, 200, "none", ""},
		{id: "deleteConnectorFile", target: "/api/instances/acme/connectors/spare/file", want: 200},
		{id: "purgeConnector", target: "/api/instances/acme/connectors/spare/purge", want: 200},
		{"registerTable", "/api/admin/register-table", `{"instance":"acme","source":"shop","name":"extra","paths":["orders.csv"]}`, 201, "", ""},
		{id: "unregisterTable", target: "/api/admin/registry/shop.extra?instance=acme", want: 204},

		{"queryInstance", "/api/instances/acme/query", `{"sql":"SELECT count(*) FROM shop.items"}`, 200, "", ""},
		{"query", "/api/query?instance=acme", `{"sql":"SELECT count(*) FROM shop.items"}`, 200, "", ""},
		{id: "getCatalog", target: "/api/instances/acme/catalog", want: 200},
		{id: "listTables", target: "/api/catalog/tables?instance=acme", want: 200},
		{id: "profileColumn", target: "/api/instances/acme/profile?table=shop.items&column=total", want: 200},
		{id: "profileTable", target: "/api/catalog/profile/shop.items?instance=acme", want: 200},
		{id: "syncManifest", target: "/api/sync/manifest?instance=acme", want: 200},

		{id: "listCertificates", target: "/api/instances/acme/certificates", want: 200},
		{id: "getCertificate", target: "/api/instances/acme/certificates/data", want: 200},
		{id: "getCertificateRequest", target: "/api/instances/acme/certificates/data/request", want: 200},
		{"renewCertificate", "/api/instances/acme/certificates/data/renew", `{"force":true}`, 200, "", ""},
		{"rollBackCertificate", "/api/instances/acme/certificates/data/rollback", `{}`, 422, "", ""},
		{"testCertificate", "/api/instances/acme/certificate-test", `{"url":"{chain}"}`, 200, "", ""},

		{"hookGit", "/hooks/git/generic", `{"ref":"main"}`, 202, "hook", ""},
		{"hookRegistry", "/hooks/registry", `{"image":"example.com/app:stable"}`, 202, "hook", ""},

		{id: "endUserSessions", target: "/api/users/{grace}/sessions", want: 200},
		{id: "endSession", target: "/api/sessions/gone", want: 404},
		{"rollBack", "/api/instances/acme/rollback", `{"generation":99}`, 404, "", ""},
		{id: "deleteUser", target: "/api/users/{grace}", want: 200},
	}
}

// fill puts what was answered into a text.
func (b *besieged) fill(text string) string {
	for name, value := range b.vars {
		text = strings.ReplaceAll(text, "{"+name+"}", value)
	}
	return text
}

func (b *besieged) send(req *http.Request) hostile.Answer {
	b.t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		if !strings.Contains(err.Error(), "invalid") { // the client refuses to send it
			b.t.Errorf("%s %.200s: %v", req.Method, req.URL, err)
		}
		return hostile.Answer{}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		b.t.Errorf("%s %.200s: %v", req.Method, req.URL, err)
	}
	return hostile.Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}
}

// sign proves a webhook of Jira, whatever is in it.
func sign(req *http.Request) {
	mac := hmac.New(sha256.New, []byte(hookSecret))
	if body, err := req.GetBody(); err == nil {
		_, _ = io.Copy(mac, body)
	}
	req.Header.Set("X-Hub-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
}

// visit makes a call of the tour until it is answered as it should be: what was
// committed a moment ago may not have been taken yet.
func (b *besieged) visit(v visit, c hostile.Call) {
	b.t.Helper()
	var a hostile.Answer
	last := ""
	defer func() {
		if b.t.Failed() {
			b.t.Logf("%s %s was answered %s", v.id, b.fill(v.target), last)
		}
	}()
	waitFor(b.t, fmt.Sprintf("%s is answered %d", v.id, v.want), func() bool {
		body := b.fill(v.body)
		req, err := http.NewRequestWithContext(b.t.Context(), c.Method, b.url+b.fill(v.target), strings.NewReader(body))
		if err != nil {
			b.t.Fatal(err)
		}
		if body != "" {
			req.Header.Set("Content-Type", "application/json")
		}
		if token := b.vars[cmp.Or(v.as, "admin")]; token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		sign(req)
		if a = b.send(req); a.Status == http.StatusInternalServerError {
			b.t.Fatalf("%s: %d %.400s", v.id, a.Status, a.Body)
		}
		last = fmt.Sprintf("%d %.400s", a.Status, a.Body)
		return a.Status == v.want
	})
	if name, field, keeps := strings.Cut(v.keep, "="); keeps {
		var m map[string]any
		_ = json.Unmarshal(a.Body, &m)
		if b.vars[name], keeps = m[field].(string); !keeps {
			b.t.Fatalf("%s answers no %s: %s", v.id, field, a.Body)
		}
	}
}

// TestHostileDaemon reaches every operation of the document on a whole daemon,
// and then asks each in ways that it does not expect.
func TestHostileDaemon(t *testing.T) {
	t.Parallel()
	b := newBesieged(t)
	waitFor(t, "the certificate has a key", func() bool { return b.run("cert", "csr", "data").code == 0 })
	b.publish(b.issue(b.request(), certHost))
	doc := b.document()
	f := hostile.New(doc, hostile.Known{}, 1)
	bodies := map[string]string{}
	reached := map[string]bool{}
	byID := map[string]hostile.Call{}
	for _, c := range f.Calls {
		byID[c.Op.OperationID] = c
	}
	for _, v := range tour() {
		c, there := byID[v.id]
		if !there {
			t.Errorf("there is no operation %s any more", v.id)
			continue
		}
		b.visit(v, c)
		bodies[v.id], reached[v.id] = b.fill(v.body), true
	}
	for id := range byID {
		if !reached[id] {
			t.Errorf("the tour does not reach %s: add a call of it", id)
		}
	}
	if t.Failed() {
		return
	}
	b.besiege(doc, bodies)
}

func (b *besieged) document() *openapi3.T {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.url+"/api/openapi.json", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(b.send(req).Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return doc
}

// besiege asks each operation a few times.
func (b *besieged) besiege(doc *openapi3.T, bodies map[string]string) {
	b.t.Helper()
	values := map[string][]string{"name": {"acme", "acme", "acme", "third"}, "connector": {"shop", "shop", "tickets"}, "certificate": {"data"}, "secret": {"JIRA_HOOK", "OTHER"},
		"table": {"shop.items"}, "instance": {"acme"}, "source": {"shop"}, "column": {"total"}, "provider": {"generic", "github"}, "job": {b.vars["job"]}}
	f := hostile.New(doc, hostile.Known{
		Tokens: []string{"", "stale", b.vars["viewer"], b.vars["admin"], b.vars["admin"], b.vars["admin"], b.vars["admin"], b.vars["admin"], b.vars["admin"], b.vars["admin"]},
		Values: func(c hostile.Call, parameter string) []string {
			switch {
			case strings.HasPrefix(c.Path, "/api/jobs/"):
				return []string{b.vars["job"]}
			case strings.HasPrefix(c.Path, "/api/admin/registry/"):
				return []string{"shop.items", "items"}
			}
			return values[parameter]
		},
		Names: []string{"1", "acme", "web"},
		Body:  func(c hostile.Call) string { return bodies[c.Op.OperationID] },
	}, 20261123)
	reached := map[string]bool{}
	for range 4 {
		for _, c := range f.Calls {
			if c.Op.OperationID == "signOut" {
				reached["signOut"] = true // by the tour; here it would end the siege
				continue
			}
			ctx, cancel := context.WithTimeout(b.t.Context(), limit)
			if req := f.Request(ctx, b.url, c); req != nil {
				sign(req) // who knows the secret may send anything
				a := b.send(req)
				for _, wrong := range hostile.Judge(req, isCall(req.URL.Path), a) {
					b.t.Error(wrong)
				}
				reached[c.Op.OperationID] = reached[c.Op.OperationID] || past(a)
			}
			cancel()
		}
	}
	for _, c := range f.Calls {
		if !reached[c.Op.OperationID] {
			b.t.Errorf("no attack on %s got past the door", c.Op.OperationID)
		}
	}
}

// isCall says that a path is one of the API, and no page.
func isCall(path string) bool {
	return slices.ContainsFunc([]string{"/api/", "/auth/", "/hooks/"}, func(root string) bool { return strings.HasPrefix(path, root) })
}

// past says that an answer is one of the operation itself.
func past(a hostile.Answer) bool {
	switch a.Status {
	case 0, http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return false
	}
	return true
}
