package examples_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/compose"
)

const connectorSecrets = `SHOP_TOKEN=shop-token
AWS_KEY_ID=AKIA0
AWS_SECRET=aws-secret
GOOGLE_KEY='{"client_email": "a@b", "private_key": "google-key"}'
KEBOOLA_STORAGE_TOKEN=keboola-token
JIRA_TOKEN=jira-token
JIRA_WEBHOOK=jira-webhook
ERP_PASSWORD=erp-p@ss
SAP_PASSWORD=sap-password
WEATHER_KEY=weather-key
`

// A connector of every kind is read with the real loader, and the secrets of
// the host's own .env are in it.
func TestConnectors(t *testing.T) {
	local := fstest.MapFS{".env": &fstest.MapFile{Data: []byte(connectorSecrets)}}
	s, err := desired.Load(desired.Input{Tree: os.DirFS("."), Dir: "connectors", Local: local, Compose: compose.Load})
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]string{}
	for name, c := range s.Connectors {
		kinds[c.Kind()] = name
		if c.Schedule == nil || c.Schedule.Next(time.Now(), name).IsZero() {
			t.Errorf("%s has no schedule", name)
		}
	}
	for _, kind := range []string{"files", "keboola", "bigquery", "jira", "postgres", "container", "program"} {
		if kinds[kind] == "" {
			t.Errorf("there is no example of %s: %v", kind, kinds)
		}
	}
	c := s.Connectors
	got := []string{c["keboola"].Keboola.Token, c["erp"].Postgres.URL, c["sap"].Program.Env["SAP_PASSWORD"], c["support"].Jira.WebhookSecret, c["shop"].Files.Headers["Authorization"]}
	want := []string{"keboola-token", "postgres://reader:erp-p%40ss@erp.acme.com:5432/erp", "sap-password", "jira-webhook", "Bearer shop-token"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	program := s.Files[c["weather"].Program.Files]
	if len(program.Entries) != 2 || program.Entries[0].Path != "extractor.py" || c["weather"].Tier() != "a" {
		t.Errorf("the program is %+v", program.Entries)
	}
	for _, line := range strings.Split(strings.TrimSpace(connectorSecrets), "\n") {
		_, value, _ := strings.Cut(line, "=")
		if value = strings.Trim(value, "'"); !slices.Contains(s.Sensitive, value) {
			t.Errorf("%s may be shown", value)
		}
	}
}
