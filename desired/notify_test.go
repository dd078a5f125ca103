package desired

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func loadNotify(t *testing.T, instance string, local map[string]string) (Spec, error) {
	t.Helper()
	in := Input{Tree: tree(map[string]string{"i/instance.yaml": "apiVersion: fairlead/v1\nname: a\n" + instance, "i/compose.yaml": "services: {}"}), Dir: "i",
		Compose: func(in ComposeInput) (Project, error) {
			return Project{HostEnv: map[string]string{"TOKEN": "xoxb:1-2-abcdefghijkl", "URL": "slack://hook:xoxb-1-2-3@webhook", "SIGN": "0123456789abcdef0123", "SHORT": "abc", "BAD": "a b"},
				Services: map[string]Service{"app": {Name: "app", Image: "app:1", Replicas: 1}}}, nil
		}}
	if local != nil {
		in.Local = tree(local)
	}
	return Load(in)
}

func TestNotifyIsReadInBothForms(t *testing.T) {
	s, err := loadNotify(t, `notify:
  - "slack://hook:${secret:TOKEN}@webhook"
  - "${secret:URL}"
  - {url: "generic+https://hooks.acme.com/x", secret: "${secret:SIGN}", on: [failed, recovered], remind: 4h, name: deploys, template: "{{.Title}}"}
  - {url: "generic+https://hooks.acme.com/y", remind: 0s}
`, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Notify) != 4 {
		t.Fatalf("got %+v", s.Notify)
	}
	first, third := s.Notify[0], s.Notify[2]
	if first.URL != "slack://hook:xoxb:1-2-abcdefghijkl@webhook" || first.Remind != DefaultRemind || s.Notify[1].URL != "slack://hook:xoxb-1-2-3@webhook" {
		t.Errorf("got %+v", s.Notify)
	}
	if third.Secret != "0123456789abcdef0123" || third.Remind != 4*time.Hour || len(third.On) != 2 || third.Name != "deploys" || s.Notify[3].Remind != 0 {
		t.Errorf("got %+v", s.Notify[2:])
	}
	hidden := strings.Join(s.Sensitive, "\n")
	for _, secret := range []string{"xoxb:1-2-abcdefghijkl", "0123456789abcdef0123"} {
		if !strings.Contains(hidden, secret) {
			t.Errorf("%s is not kept from being shown", secret)
		}
	}
	without := s
	without.Notify = nil
	if s.Hash() != without.Hash() {
		t.Error("channels bear on what runs")
	}
}

func TestNotifyRefuses(t *testing.T) {
	const hook = "generic+https://hooks.acme.com/x"
	for what, tt := range map[string]struct{ yaml, want string }{
		"a token in git":       {"[slack://hook:xoxb-1@webhook]", "notify[0]: a token or password stands here in the clear"},
		"a token in a query":   {"['" + hook + "?access_token=1']", "notify[0]: a token or password"},
		"a path that is one":   {"['generic+https://hooks.slack.com/services/T/B/x']", "notify[0]: a token or password"},
		"a mail password":      {"['smtp://u:p@mail.acme.com:587/?from=a@b&to=c@d']", "notify[0]: a token or password"},
		"in the long form":     {"[{url: 'discord://t@1'}]", "notify[0].url: a token or password"},
		"an absent secret":     {"['slack://hook:${secret:NONE}@webhook']", "notify[0]: this host has no value for the secret NONE"},
		"a value that breaks":  {"['slack://hook:${secret:BAD}@webhook']", "notify[0]: is not a notice URL"},
		"a short secret":       {"[{url: '" + hook + "', secret: '${secret:SHORT}'}]", "notify[0].secret: is not a secret of 16"},
		"a secret for a chat":  {"[{url: 'ntfy://ntfy.sh/x', secret: '${secret:SIGN}'}]", "notify[0].secret: is for webhooks only"},
		"an unknown kind":      {"[{url: '" + hook + "', on: [failure]}]", `notify[0].on[0]: "failure" is not a kind of notice`},
		"a hasty reminder":     {"[{url: '" + hook + "', remind: 10s}]", "notify[0].remind: is less than 5m"},
		"the same twice":       {"['" + hook + "', {url: '" + hook + "'}]", "notify[1]: the same URL stands twice"},
		"another protocol":     {"['generic+ftp://x/y']", "notify[0]: is not a notice URL"},
		"an unknown key":       {"[{url: '" + hook + "', header: a}]", "notify[0].header: unknown key"},
		"a number":             {"[1]", "notify[0]: is a number, not text"},
		"no URL":               {"[{on: [failed]}]", "notify[0].url: is required"},
		"a template's field":   {"[{url: '" + hook + "', template: '{{.Secret}}'}]", "notify[0].template: is not a template of a notice"},
		"a secret in its text": {"[{url: '" + hook + "', template: '${secret:SIGN}'}]", "a secret reference is not filled in here"},
	} {
		_, err := loadNotify(t, "notify: "+tt.yaml+"\n", nil)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v\nwant %s", what, err, tt.want)
		}
		if err != nil && (strings.Contains(err.Error(), "xoxb") || strings.Contains(err.Error(), "hooks.slack.com/services")) {
			t.Errorf("%s: the message shows the token: %v", what, err)
		}
	}
}

// What is the host's own may hold a token: it is not in git.
func TestNotifyOfTheHostMayHoldAToken(t *testing.T) {
	const own = "apiVersion: fairlead/v1\nname: a\nnotify: ['slack://hook:xoxb-1@webhook']\n"
	if _, err := loadNotify(t, "", map[string]string{"instance.yaml": own}); err != nil {
		t.Error(err)
	}
}

func TestNoticeTemplatesAreBounded(t *testing.T) {
	for _, bad := range []string{"", "{{", "{{.Nothing}}", "{{range 1000000000}}x{{end}}", "{{range $i := .Message}}{{end}}", `{{printf "%999999999d" 1}}`, `{{define "a"}}{{template "a"}}{{end}}{{template "a"}}`,
		`{{block "a" .}}{{end}}`, "{{call .Title}}", "{{html .Title}}", "{{js .Title}}", "{{slice .Title 1}}", "{{index .Changes 7}}", "{{range .Changes}}{{range $.Changes}}{{range $.Changes}}x{{end}}{{end}}{{end}}",
		strings.Repeat("x", maxTemplate+1), "{{.Title.Nothing}}", "{{if .Changes}}{{.Nothing}}{{end}}", "{{with 1}}{{end}}{{nothing}}", `{{if eq .Kind "x"}}{{.Nothing}}{{end}}`, `{{.Since.Year}}`, `{{$.Nothing}}`, "{{break}}"} {
		if _, err := ParseNoticeTemplate(bad); err == nil {
			t.Errorf("%.60q is taken", bad)
		}
	}
	n, err := ParseNoticeTemplate(`{{upper .Kind}} {{.Instance}}{{if .Reminder}} again{{end}}: {{firstLine .Message}}{{range .Changes}}
- {{.}}{{end}} {{date .At}}`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := n.Execute(Notice{Kind: "failed", Instance: "acme", Message: "a\nb", Changes: []string{"x", "y"}, At: time.Unix(0, 0)})
	if want := "FAILED acme: a\n- x\n- y 1970-01-01 00:00 UTC"; err != nil || got != want {
		t.Errorf("got %q, %v\nwant %q", got, err, want)
	}
	if n, err = ParseNoticeTemplate("{{range .Changes}}{{range $.Changes}}{{.}}{{end}}{{end}}"); err != nil {
		t.Fatal(err)
	}
	long := make([]string, 200)
	for i := range long {
		long[i] = strings.Repeat("ä", 500)
	}
	if got, err = n.Execute(Notice{Changes: long}); err != nil || len(got) > maxNoticeText || !strings.HasPrefix(got, "ää") {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

func FuzzNoticeTemplate(f *testing.F) {
	for _, s := range []string{"{{.Title}}", "{{range .Changes}}{{.}}{{end}}", "{{if and .Commit (not .Reminder)}}x{{else}}y{{end}}", "{{with .Link}}{{.}}{{end}}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseNoticeTemplate(s)
		if err != nil {
			return
		}
		if got, _ := n.Execute(Notice{Title: "a", Changes: []string{"b", "c"}}); len(got) > maxNoticeText {
			t.Errorf("wrote %d bytes", len(got))
		}
	})
}

func TestChannelsOfTheHostAreRead(t *testing.T) {
	t.Parallel()
	s, err := ParseChannel("ntfy://ntfy.sh/x  name=ops on=failed,recovered remind=0s deferred=4h instances=sales-*,acme")
	if err != nil || s.URL != "ntfy://ntfy.sh/x" || s.Name != "ops" || !slices.Equal(s.On, []string{"failed", "recovered"}) || s.Remind != 0 || s.Deferred != 4*time.Hour {
		t.Errorf("got %+v, %v", s, err)
	}
	for name, hears := range map[string]bool{"sales-eu": true, "acme": true, "acme-2": false, "": false} {
		if s.Hears(name) != hears {
			t.Errorf("it hears of %q: %t", name, !hears)
		}
	}
	if all, err := ParseChannel("ntfy://ntfy.sh/x"); err != nil || all.Remind != DefaultRemind || all.Deferred != DefaultDeferred || !all.Hears("") || !all.Hears("acme") {
		t.Errorf("got %+v, %v", all, err)
	}
	for text, want := range map[string]string{
		"": "is empty", "slack://hook:hunter2@webhook x": "KEY=VALUE", "slack://hook:hunter2@webhook on=": "KEY=VALUE", "slack://hook:hunter2@webhook on=fail": "no kind of notice",
		"slack://hook:hunter2@webhook remind=1s": "remind: it is 0s", "slack://hook:hunter2@webhook deferred=-1h": "deferred: ", "slack://hook:hunter2@webhook instances=[": "instances: ",
		"slack://hook:hunter2@webhook instances=a,,b": "instances: ", "slack://hook:hunter2@webhook to=x": "no such key", "hunter2 instances=a": "notice URL",
	} {
		if _, err := ParseChannel(text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
