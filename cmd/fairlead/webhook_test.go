package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// TestJiraWebhook: what Jira signed is taken, what anybody else sends is not, and
// nobody is told which connectors there are. What it leads to is the business of
// connectors.Manager.
func TestJiraWebhook(t *testing.T) {
	jira := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, `{"errorMessages":["no such user"]}`, http.StatusUnauthorized)
	}))
	defer jira.Close()
	w := newWorld(t)
	w.env = append(w.env, "FAIRLEAD_FETCH_ALLOWED_HOSTS="+strings.TrimPrefix(jira.URL, "http://"))
	w.begin(map[string]string{"instance.yaml": acmeInstance + "allowEmpty: true\n", "compose.yaml": "services: {}\n",
		"connectors/issues.yaml": "jira: {url: \"" + jira.URL + "\", pat: \"${secret:JIRA_PAT}\", webhookSecret: \"${secret:JIRA_HOOK}\"}\nretries: 0\ntables:\n  - {name: issues, id: issues}\n"})
	w.write("data/instances/acme/local/.env", "JIRA_PAT=a-token\nJIRA_HOOK=the-secret\n")
	w.start()
	w.attachment("issues", func(a reconciler.AttachmentStatus) bool { return a.Phase == reconciler.AttachmentFailed && !a.Running })

	body := `{"webhookEvent":"jira:issue_updated","issue":{"id":"1","key":"ACME-1"}}`
	client := &http.Client{Timeout: limit, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(w.data, "fairlead.sock"))
	}}}
	post := func(path, signature string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://fairlead/api/instances/acme/connectors/"+path+"/webhook", bytes.NewBufferString(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Hub-Signature", signature)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	sign := func(secret string) string {
		h := hmac.New(sha256.New, []byte(secret))
		h.Write([]byte(body))
		return "sha256=" + hex.EncodeToString(h.Sum(nil))
	}
	for _, c := range []struct {
		path, signature string
		code            int
	}{{"issues", "", 401}, {"issues", sign("another"), 401}, {"nobody", sign("the-secret"), 401}, {"issues", sign("the-secret"), 200}} {
		if code := post(c.path, c.signature); code != c.code {
			t.Errorf("%s with %.20q: %d, want %d", c.path, c.signature, code, c.code)
		}
	}
}

// TestTokensOfAttachedDatabases: each connector's own password is under its own
// name, and two that share a name with different values give nobody either.
func TestTokensOfAttachedDatabases(t *testing.T) {
	database := func(env, password string) desired.ConnectorSpec {
		return desired.ConnectorSpec{Postgres: &desired.PostgresSource{URL: "postgres://reader:" + password + "@db.acme.com/shop", TokenEnv: env}}
	}
	values := &tokens{want: map[string]map[string]desired.ConnectorSpec{}}
	values.set("acme", map[string]desired.ConnectorSpec{"a": database("PG_A", "one"), "b": database("PG_B", "t%40wo"), "c": database("PG_SAME", "three"),
		"d": database("PG_SAME", "four"), "e": {Program: &desired.ProgramSource{Env: map[string]string{"TOKEN": "five"}}}})
	for name, want := range map[string]string{"PG_A": "one", "PG_B": "t@wo", "PG_SAME": "", "TOKEN": "five", "NOTHING": ""} {
		if got, found := values.find("acme", name); got != want || found != (want != "") {
			t.Errorf("%s: %q %v, want %q", name, got, found, want)
		}
	}
	if _, found := values.find("other", "PG_A"); found {
		t.Error("another instance gets it")
	}
}
