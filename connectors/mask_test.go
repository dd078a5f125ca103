package connectors

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/desired"
	"pgregory.net/rapid"
)

func scheduleOf(text string) *desired.Schedule { return &desired.Schedule{Text: text} }

// However a text comes in pieces, no secret comes through, and nothing else is
// lost.
func TestMaskedStream(t *testing.T) {
	secret := rapid.StringOfN(rapid.SampledFrom([]rune("abc")), 4, 8, -1)
	rapid.Check(t, func(t *rapid.T) {
		m := &mask{}
		values := rapid.SliceOfN(secret, 0, 3).Draw(t, "secrets")
		env := map[string]string{}
		for i, v := range values {
			env[fmt.Sprint(i)] = v
		}
		m = newMask(desired.ConnectorSpec{Program: &desired.ProgramSource{Env: env}})
		var whole, out bytes.Buffer
		w := m.writer(&out)
		for _, piece := range rapid.SliceOf(rapid.OneOf(rapid.StringOfN(rapid.SampledFrom([]rune("abcd")), 0, 9, -1), secret)).Draw(t, "pieces") {
			whole.WriteString(piece)
			if n, err := w.Write([]byte(piece)); n != len(piece) || err != nil {
				t.Fatal(n, err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if want := string(m.hide(whole.Bytes())); out.String() != want {
			t.Fatalf("%q in pieces is %q, as a whole %q", whole.String(), out.String(), want)
		}
		for _, v := range values {
			if strings.Contains(strings.ReplaceAll(out.String(), hidden, "|"), v) {
				t.Fatalf("%q is in %q", v, out.String())
			}
		}
	})
}

// What counts as secret, in the forms that it turns up in.
func TestWhatIsSecret(t *testing.T) {
	key := `{"type":"service_account","private_key":"-----BEGIN-----\nMIIEvQIBADANBg\n-----END-----\n","client_email":"a@b"}`
	m := newMask(desired.ConnectorSpec{
		Files:    &desired.FilesSource{Headers: map[string]string{"Authorization": "Bearer tok-1234"}, S3: &desired.S3Access{SecretKey: "s3/key+1"}, GS: &desired.GSAccess{Key: key}},
		Keboola:  &desired.KeboolaSource{Token: "keb-token"},
		BigQuery: &desired.BigQuerySource{Key: key},
		Jira:     &desired.JiraSource{Token: "jira-token", PAT: "jira-pat", WebhookSecret: "hook-secret"},
		Postgres: &desired.PostgresSource{URL: "postgres://u:pa%24word@db/x"},
		Program:  &desired.ProgramSource{Env: map[string]string{"A": "env-value", "B": "1"}},
	})
	for _, text := range []string{"tok-1234", "s3/key+1", "s3%2Fkey%2B1", "MIIEvQIBADANBg", key, "keb-token", "a2ViLXRva2Vu", "jira-token", "jira-pat", "hook-secret",
		"postgres://u:pa%24word@db/x", "pa$word", "env-value"} {
		if got := string(m.hide([]byte("<" + text + ">"))); strings.Contains(got, text) || !strings.Contains(got, hidden) {
			t.Errorf("%s comes through as %s", text, got)
		}
	}
	if got := m.text("1 row \x1b[31m\xff\n" + strings.Repeat("é", maxText)); !strings.HasPrefix(got, "1 row  [31m?\n") || len(got) > maxText+10 {
		t.Errorf("text %q", got[:40])
	}
}

// A log has its beginning and its end, and says how much is missing; while it is
// written it can be read.
func TestLogIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "fairlead-test-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, "log")
		l, err := newRunLog(path, &mask{})
		if err != nil {
			t.Fatal(err)
		}
		var all bytes.Buffer
		for i, n := range rapid.SliceOfN(rapid.IntRange(0, 600<<10), 1, 6).Draw(t, "sizes") {
			piece := bytes.Repeat([]byte{byte('a' + i)}, n)
			all.Write(piece)
			if _, err := l.Write(piece); err != nil {
				t.Fatal(err)
			}
		}
		head, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		live := append(head, l.soFar()...)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, live) {
			t.Fatalf("%d bytes at last, %d before: %v", len(got), len(live), err)
		}
		want := all.Bytes()
		if lost := len(want) - logHead - logTail; lost > 0 {
			said := fmt.Sprintf("\n… %d bytes are left out …\n", lost)
			want = bytes.Join([][]byte{want[:logHead], []byte(said), want[len(want)-logTail:]}, nil)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, not %d", len(got), len(want))
		}
		if _, err := l.Write([]byte("x")); err == nil {
			t.Fatal("a log that has ended takes more")
		}
	})
}
