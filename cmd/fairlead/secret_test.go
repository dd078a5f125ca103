package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired/git"
	"github.com/fairlead/fairlead/desired/secrets"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

// say runs the program with something on its standard input.
func (w *world) say(code int, in string, args ...string) result {
	w.t.Helper()
	cmd := w.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), &out, &errs
	_ = cmd.Run()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != code {
		w.t.Fatalf("fairlead %s ended with %v, want %d\n%s%s", strings.Join(args, " "), cmd.ProcessState, code, out.String(), errs.String())
	}
	return result{out.String(), errs.String(), code}
}

const secretCompose = "services:\n  web:\n    image: example.com/app:1\n    environment: {GREETING: \"hi ${secret:GREETING}\", DSN: \"${DSN}\"}\n"

const secretInstance = acmeInstance + "compose: {env: {DSN: \"postgres://u:${secret:PASSWORD}@db/x\"}}\n"

// TestSecretsOfTheDaemon goes the whole way: a revision that lacks values, the
// commits that bring them, what they do, and that nobody is ever shown one.
func TestSecretsOfTheDaemon(t *testing.T) {
	w := newWorld(t)
	w.begin(map[string]string{"instances/acme/instance.yaml": secretInstance, "instances/acme/compose.yaml": secretCompose})
	d := w.start()
	w.until("refused", func(s reconciler.Status) bool {
		return strings.Contains(w.run("status").stdout, "no value for the secret")
	})
	if r := w.must(6, "apply", "acme"); !strings.Contains(r.stderr+r.stdout, "fairlead secret set acme GREETING") {
		t.Errorf("nobody is told what to do: %s%s", r.stdout, r.stderr)
	}
	all := w.say(0, "hush-hush-1\n", "secret", "set", "acme", "GREETING").stdout
	all += w.say(0, "pass\"word-1", "secret", "set", "acme", "PASSWORD").stdout
	w.until("applied", func(s reconciler.Status) bool { return s.Phase == reconciler.PhaseIdle && s.Generation > 0 })
	all += w.must(0, "secret", "list", "acme").stdout
	if got := w.must(0, "secret", "list", "acme").stdout; got != "GREETING\nPASSWORD\n" {
		t.Errorf("list: %s", got)
	}
	before := w.status().Generation
	all += w.say(0, "hush-hush-2", "secret", "set", "acme", "GREETING").stdout
	w.until("applied again", func(s reconciler.Status) bool { return s.Phase == reconciler.PhaseIdle && s.Generation > before })
	for _, args := range [][]string{{"history", "acme"}, {"history", "acme", "-o", "json"}, {"why", "web"}, {"status", "acme", "-o", "json"}, {"plan", "acme"}, {"events", "acme"}, {"secret", "list", "acme", "-o", "json"}, {"secret", "recipients", "acme"}} {
		all += w.run(args...).stdout
	}
	if !strings.Contains(all, "(sensitive)") {
		t.Error("nothing says that a secret changed")
	}
	if got := w.must(0, "secret", "get", "./acme/instances/acme", "GREETING", "--show").stdout; got != "hush-hush-2" {
		t.Errorf("get --show: %q", got)
	}
	w.refuseSecrets()
	if got := w.must(0, "secret", "rekey", "acme").stdout; got != "nothing to do: it is so already\n" {
		t.Errorf("rekey without a reason: %s", got)
	}
	if r := w.must(1, "secret", "remove", "acme", "NONE"); !strings.Contains(r.stderr, "there are: GREETING, PASSWORD") {
		t.Errorf("remove: %s", r.stderr)
	}
	if code := d.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("the daemon ended with %d", code)
	}
	all += d.log.String()
	for _, value := range []string{"hush-hush", "pass\"word-1", "pass\\\"word-1"} {
		if strings.Contains(all, value) {
			t.Errorf("%q is shown:\n%s", value, all)
		}
		for name, data := range w.everything() {
			if bytes.Contains(data, []byte(value)) {
				t.Errorf("%q stands in the clear in %s", value, name)
			}
		}
	}
}

// refuseSecrets sends what is no secret to the API, whose answers repeat none of
// it.
func (w *world) refuseSecrets() {
	w.t.Helper()
	client := &http.Client{Timeout: limit, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(w.data, "fairlead.sock"))
	}}}
	defer client.CloseIdleConnections()
	for body, name := range map[string]string{
		`{"value": 4711471147}`:                                    "TOKEN",
		`{"value": ["4711471147"]}`:                                "TOKEN",
		`{"value": "4711471147", "more": "4711471147"}`:            "TOKEN",
		`{"value": "4711471147`:                                    "TOKEN",
		`{"value": "4711471147\u0000"}`:                            "TOKEN",
		`{"value": ""}`:                                            "TOKEN",
		`{"value": "4711471147 "}`:                                 "to-ken",
		`{"value": "` + strings.Repeat("4711471147", 7000) + `"}`:  "TOKEN",
		`{"value": "` + strings.Repeat("4711471147", 70000) + `"}`: "TOKEN",
	} {
		req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPut, "http://fairlead/api/instances/acme/secrets/"+name, strings.NewReader(body))
		if err != nil {
			w.t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			w.t.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode < 400 || resp.StatusCode > 499 || bytes.Contains(answer, []byte("47114711")) {
			w.t.Errorf("%.40s: %d %.200s, %v", body, resp.StatusCode, answer, err)
		}
	}
}

// everything is each file below the world's directory, and each file of each
// commit.
func (w *world) everything() map[string][]byte {
	w.t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(w.dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		all[name], err = os.ReadFile(name)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	r := git.Open(git.Options{Repo: w.repo})
	defer r.Close()
	if err := r.Sync(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	ref := "HEAD"
	for range 10 {
		at, err := r.At(w.t.Context(), ref)
		if err != nil {
			break
		}
		err = fs.WalkDir(at.Tree, ".", func(name string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			all[ref+":"+name], err = fs.ReadFile(at.Tree, name)
			return err
		})
		if err != nil {
			w.t.Fatal(err)
		}
		all[ref+" message"] = []byte(at.Subject + at.Author)
		ref += "^"
	}
	return all
}

// TestSecretsThatCannotBeOpened keeps what runs: the file was changed by
// somebody without the key, and then the key is another one.
func TestSecretsThatCannotBeOpened(t *testing.T) {
	w := newWorld(t)
	w.begin(map[string]string{"instances/acme/instance.yaml": acmeInstance, "instances/acme/compose.yaml": strings.Replace(secretCompose, ", DSN: \"${DSN}\"", "", 1)})
	w.start()
	w.say(0, "hush-hush-1", "secret", "set", "acme", "GREETING")
	w.until("applied", func(s reconciler.Status) bool { return s.Phase == reconciler.PhaseIdle && s.Generation > 0 })
	generation := w.status().Generation

	name := filepath.Join(w.repo, "instances/acme/secrets.enc.yaml")
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	w.commit("Tamper", map[string]string{"instances/acme/secrets.enc.yaml": strings.Replace(string(good), "GREETING:", "GREETINGS:", 1)})
	said := func(what string) func(reconciler.Status) bool {
		return func(s reconciler.Status) bool {
			r := w.run("status", "acme")
			return strings.Contains(r.stdout+r.stderr, what) && s.Generation == generation
		}
	}
	w.until("told of the change", said("does not decrypt"))
	w.commit("Mend", map[string]string{"instances/acme/secrets.enc.yaml": string(good)})
	w.until("well again", func(s reconciler.Status) bool { return s.Sync == reconciler.Synced && s.Generation == generation })

	key := filepath.Join(w.data, "state", "age.key")
	ours, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := secrets.NewKey(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	replace := func(text []byte) {
		if err := writeFile(key, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	replace(other)
	w.run("apply", "acme")
	w.until("told of the key", said("is encrypted for"))
	replace(ours)
	w.run("apply", "acme")
	w.until("well again", func(s reconciler.Status) bool { return s.Sync == reconciler.Synced && s.Generation == generation })
}

// TestSecretsOfADirectory works on files, without a daemon.
func TestSecretsOfADirectory(t *testing.T) {
	w := newWorld(t)
	w.write("fleet/.git/HEAD", "")
	w.write("fleet/instances/acme/instance.yaml", acmeInstance)
	w.write("fleet/instances/acme/compose.yaml", strings.Replace(secretCompose, ", DSN: \"${DSN}\"", "", 1))
	key := filepath.Join(w.dir, "me.key")
	const dir = "fleet/instances/acme"
	if r := w.say(1, "x", "secret", "set", dir, "GREETING"); !strings.Contains(r.stderr, "there is no key here, and no .sops.yaml") {
		t.Errorf("without a key: %s", r.stderr)
	}
	public := strings.TrimSpace(w.must(0, "secret", "key", "--new", key).stdout)
	if r := w.must(1, "secret", "key", "--new", key); !strings.Contains(r.stderr, "it is there already") {
		t.Errorf("a key is overwritten: %s", r.stderr)
	}
	if r := w.must(0, "validate", dir); !strings.Contains(r.stdout, "each host needs values for GREETING") {
		t.Errorf("validate: %s", r.stdout)
	}
	w.env = append(w.env, "FAIRLEAD_AGE_KEY_FILE="+key)
	r := w.say(0, "hush-hush\n", "secret", "set", dir, "GREETING")
	if want := "GREETING is set\nwritten, to be committed: fleet/instances/acme/secrets.enc.yaml, fleet/instances/acme/.sops.yaml\n"; r.stdout != want {
		t.Errorf("set: %s", r.stdout)
	}
	if r := w.must(0, "validate", dir); strings.Contains(r.stdout, "needs values") {
		t.Errorf("validate: %s", r.stdout)
	}
	w.write("key.json", "{\n  \"a\": 1\n}\n")
	w.must(0, "secret", "set", dir, "FILE", "--from-file", "key.json")
	if got := w.must(0, "secret", "get", dir, "FILE", "--show").stdout; got != "{\n  \"a\": 1\n}\n" {
		t.Errorf("a file: %q", got)
	}
	var list server.SecretList
	if err := json.Unmarshal([]byte(w.must(0, "secret", "list", dir, "-o", "json").stdout), &list); err != nil || !slices.Equal(list.Names, []string{"FILE", "GREETING"}) ||
		!slices.Equal(list.Recipients, []string{public}) || !list.Readable {
		t.Errorf("list: %+v, %v", list, err)
	}
	_, other, err := secrets.NewKey(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w.must(0, "secret", "recipients", dir, "--add", other.Recipients()[0])
	if got := w.must(0, "secret", "recipients", dir).stdout; got != public+" (this host)\n"+other.Recipients()[0]+"\n" {
		t.Errorf("recipients: %s", got)
	}
	w.must(0, "secret", "recipients", dir, "--remove", other.Recipients()[0])
	if got := w.must(0, "secret", "recipients", dir).stdout; got != public+" (this host)\n" {
		t.Errorf("recipients: %s", got)
	}
	if got := w.must(0, "secret", "rekey", dir).stdout; got != "nothing to do: it is so already\n" {
		t.Errorf("rekey without a reason: %s", got)
	}
	if got := w.must(0, "secret", "rekey", dir, "--rotate").stdout; !strings.HasPrefix(got, "the secrets are encrypted anew\nwritten, ") {
		t.Errorf("rekey --rotate: %s", got)
	}
	w.must(0, "secret", "remove", dir, "FILE")
	if got := w.must(0, "secret", "get", dir, "GREETING").stdout; got != "GREETING is set; --show shows it\n" {
		t.Errorf("get: %s", got)
	}
	for want, args := range map[string][]string{
		`has no secret "FILE"`:                   {"secret", "get", dir, "FILE"},
		"the daemon shows no values":             {"secret", "get", "acme", "GREETING", "--show"},
		"is not the directory of an instance":    {"secret", "list", "./fleet"},
		`"greeting" is not the name of a secret`: {"secret", "set", dir, "greeting"},
		"it is empty":                            {"secret", "set", dir, "EMPTY"},
		"is not an age recipient":                {"secret", "recipients", dir, "--add", "me"},
		"nobody could read the secrets any more": {"secret", "recipients", dir, "--remove", public},
		"accepts 2 arg(s), received 3":           {"secret", "set", dir, "NAME", "value-on-the-command-line"},
	} {
		if r := w.must(1, args...); !strings.Contains(r.stderr, want) || strings.Contains(r.stderr, "value-on") {
			t.Errorf("%v: %s", args, r.stderr)
		}
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	if r := w.must(1, "secret", "get", dir, "GREETING", "--show"); !strings.Contains(r.stderr, "is open to everybody") {
		t.Errorf("a key that all can read: %s", r.stderr)
	}
}

// TestHostKey is made once, for its owner only, and stays.
func TestHostKey(t *testing.T) {
	w := newWorld(t)
	if r := w.must(1, "secret", "key"); !strings.Contains(r.stderr, "there is no key yet") {
		t.Errorf("before the first start: %s", r.stderr)
	}
	w.begin(map[string]string{"instance.yaml": acmeInstance, "compose.yaml": acmeCompose("1", "hi")})
	w.must(0, "run", "--once")
	first := w.must(0, "secret", "key").stdout
	info, err := os.Stat(filepath.Join(w.data, "state", "age.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	w.must(0, "run", "--once")
	if again := w.must(0, "secret", "key").stdout; again != first || !strings.HasPrefix(first, "age1") {
		t.Errorf("%s is now %s", first, again)
	}
	w.env = append(w.env, "SOPS_AGE_KEY_FILE=/nonexistent", "SOPS_AGE_KEY=AGE-SECRET-KEY-1", "FAIRLEAD_AGE_KEY_FILE="+filepath.Join(w.dir, "none"))
	if r := w.must(1, "secret", "key"); !strings.Contains(r.stderr, "read age key") {
		t.Errorf("a key file that is named and not there: %s", r.stderr)
	}
}
