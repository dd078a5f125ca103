package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fairlead/fairlead/desired"
)

// person is somebody with a key who commits by git.
type person struct {
	w         *world
	key, line string
}

func (w *world) person(name string) person {
	w.t.Helper()
	p := person{w: w, key: filepath.Join(w.dir, name)}
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", p.key).CombinedOutput(); err != nil {
		w.t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	public, err := os.ReadFile(p.key + ".pub")
	if err != nil {
		w.t.Fatal(err)
	}
	p.line = name + "@acme.com namespaces=\"git\" " + strings.TrimSpace(string(public)) + "\n"
	return p
}

// push commits everything: signed with the person's key, or not.
func (p person) push(sign bool, files map[string]string) string {
	p.w.t.Helper()
	for name, content := range files {
		p.w.write(filepath.Join("acme", name), content)
	}
	how := "--no-gpg-sign"
	if sign {
		how = "-S"
	}
	p.git("add", "-A")
	p.git("-c", "gpg.format=ssh", "-c", "user.signingkey="+p.key, "commit", "-q", "--allow-empty", how, "-m", "By "+filepath.Base(p.key))
	return p.git("rev-parse", "HEAD")
}

func (p person) git(args ...string) string {
	p.w.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", p.w.repo, "-c", "user.name=" + filepath.Base(p.key), "-c", "user.email=x@acme.com"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.w.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

const asksForSignatures = acmeInstance + "policy: {requireSignedCommits: true, allowedSigners: allowed_signers}\n"

// stands waits until a commit is the one that was looked at, and says what came
// of it.
func (a *apiCaller) stands(commit, applied, phase string) map[string]any {
	a.w.t.Helper()
	return a.until("/api/instances/acme", func(s map[string]any) bool {
		of := func(key string) any { m, _ := s[key].(map[string]any); return m["commit"] }
		return of("attempted") == commit && of("applied") == applied && s["phase"] == phase
	})
}

// TestSignedCommits is the life of an instance that asks for signatures: what a
// thief may push and what a daemon makes of it, over a restart, and how those
// who may sign change, and the daemon becomes one of them.
func TestSignedCommits(t *testing.T) {
	w := newWorld(t)
	jan, eva := w.person("jan"), w.person("eva")
	w.begin(acme("1"))
	d := w.start()
	api := w.api()
	first := jan.git("rev-parse", "HEAD")
	api.stands(first, first, "Idle")

	refused := eva.push(false, map[string]string{"instance.yaml": asksForSignatures, "allowed_signers": jan.line})
	api.stands(refused, first, "Refused") // the first to ask is signed itself
	good := jan.push(true, map[string]string{"compose.yaml": acmeCompose("2", "hello")})
	api.stands(good, good, "Idle")
	jan.git("-c", "gpg.ssh.allowedSignersFile="+filepath.Join(w.repo, "allowed_signers"), "verify-commit", "HEAD")

	refused = eva.push(false, map[string]string{"compose.yaml": acmeCompose("3", "evil")})
	s := api.stands(refused, good, "Refused")
	if all := fmt.Sprint(s["(all)"]); !strings.Contains(all, `"reason":"NotVouchedFor"`) || !strings.Contains(all, "it has no signature") || !strings.Contains(all, "git commit --amend -S") {
		t.Errorf("status: %s", all)
	}
	refused = eva.push(true, map[string]string{"allowed_signers": jan.line + eva.line})
	api.stands(refused, good, "Refused") // nobody adds himself
	refused = eva.push(true, map[string]string{"instance.yaml": acmeInstance})
	api.stands(refused, good, "Refused") // nor takes the policy away
	if r := w.must(1, "plan"); !strings.Contains(r.stderr, "instance.yaml: policy.requireSignedCommits: nobody vouches for commit "+refused[:8]) {
		t.Errorf("plan: %s", r.stderr)
	}
	const file, connector = "/api/instances/acme/connectors/shop/file", "files: {}\ntables: [{name: a, paths: ['https://data.acme.com/a.csv']}]\n"
	body := func() string { b, _ := json.Marshal(map[string]string{"yaml": connector}); return string(b) }()
	if e := api.call(409, "PUT", file, body); !strings.Contains(fmt.Sprint(e["detail"]), "nobody vouches for commit "+refused[:8]) {
		t.Errorf("a commit of the daemon would vouch for the thief's: %v", e)
	}

	d.signal(syscall.SIGKILL)
	w.start()
	api.stands(refused, good, "Refused")

	jan.git("checkout", "-q", good, "--", ".")
	good = jan.push(true, nil)
	api.stands(good, good, "Idle")
	e := api.call(409, "PUT", file, body)
	line, err := os.ReadFile(filepath.Join(w.data, "state", "commit.pub"))
	if err != nil || !strings.Contains(fmt.Sprint(e["hint"]), strings.TrimSpace(string(line))) {
		t.Errorf("%v, %v", err, e)
	}
	good = jan.push(true, map[string]string{"allowed_signers": jan.line + string(line)})
	api.stands(good, good, "Idle")
	made := fmt.Sprint(api.call(200, "PUT", file, body)["commit"])
	api.stands(made, made, "Idle")
	jan.git("-c", "gpg.ssh.allowedSignersFile="+filepath.Join(w.repo, "allowed_signers"), "verify-commit", made)
	if r := w.must(0, "status", "acme"); !strings.Contains(r.stdout, "(signed by fairlead@") {
		t.Errorf("status: %s", r.stdout)
	}
}

// TestPolicyOfTheHost is what a repository cannot loosen.
func TestPolicyOfTheHost(t *testing.T) {
	w := newWorld(t)
	jan := w.person("jan")
	w.begin(acme("1"))
	w.write("agent.yaml", "policy:\n  images: [example.com/*]\n  privileged: false\n  hostMounts: []\n  requireSignedCommits: true\n  allowedSigners: "+w.write("signers", jan.line)+"\n")
	if r := w.must(6, "apply", "-q"); !strings.Contains(r.stdout+r.stderr, "nobody vouches for commit") {
		t.Errorf("apply: %s%s", r.stdout, r.stderr)
	}
	jan.push(true, nil)
	w.must(0, "apply", "-q")
	jan.push(true, map[string]string{"instance.yaml": acmeInstance + "policy: {images: ['**.com/**', 'evil.com/**'], privileged: true}\n",
		"compose.yaml": "services:\n  web:\n    image: evil.com/app\n    cap_add: [ALL]\n    volumes:\n      - /etc:/e\n"})
	r := w.run("plan")
	if r.code != 1 || !strings.Contains(r.stderr, "** stands for anything below, at the end only") {
		t.Errorf("plan: %s", r.stderr)
	}
	jan.push(true, map[string]string{"instance.yaml": acmeInstance + "policy: {images: ['evil.com/**'], privileged: true}\n"})
	r = w.must(1, "plan")
	for _, want := range []string{"compose.yaml:3: services.web.image: the image evil.com/app: the policy of this host does not permit it (permitted are example.com/*)",
		"compose.yaml:4: services.web.cap_add[0]: the capability ALL: the policy of this host", "compose.yaml:6: services.web.volumes[0]: a mount of /etc: the policy of this host"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("plan: %s\nwithout %s", r.stderr, want)
		}
	}
	w.env = append(w.env, "FAIRLEAD_POLICY_HOST_MOUNTS=/etc,/data", "FAIRLEAD_POLICY_IMAGES=evil.com/**", "FAIRLEAD_POLICY_PRIVILEGED=true")
	w.must(0, "plan")
}

// TestValidateHoldsToThePolicy says so before there is a commit.
func TestValidateHoldsToThePolicy(t *testing.T) {
	w := newWorld(t)
	w.write("x/instance.yaml", acmeInstance+"policy: {images: ['ghcr.io/acme/*'], privileged: false, requireSignedCommits: true, allowedSigners: signers}\n")
	w.write("x/signers", "# of the team\njan@acme.com ssh-ed25519 AAAA\n")
	w.write("x/compose.yaml", acmeCompose("1", "hello")+"    volumes: ['/var/lib/fairlead/state:/x']\n")
	r := w.must(1, "validate", filepath.Join(w.dir, "x"))
	for _, want := range []string{"compose.yaml:3: services.web.image: the image example.com/app: the policy in ", "compose.yaml:5: services.web.volumes[0]: a mount of /var/lib/fairlead/state gives away /var/lib/fairlead",
		"signers:2: its key cannot be read", "3 problems"} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("got %s\nwithout %s", r.stdout, want)
		}
	}
}

func TestPolicySettings(t *testing.T) {
	for agent, good := range map[string]bool{
		"policy: {images: []}\n":                  true,
		"policy: {images: [none]}\n":              true,
		"policy: {hostMounts: [/data, /srv/x]}\n": true,
		"policy: {privileged: false}\n":           true,
		"policy: {images: ['*']}\n":               false,
		"policy: {images: [none, a]}\n":           true, // an image may be called so
		"policy: {hostMounts: [data]}\n":          false,
		"policy: {hostMounts: [/data/../x]}\n":    false,
		"policy: {privileged: no thanks}\n":       false,
		"policy: {requireSignedCommits: true}\n":  false,
		"policy: {allowedSigners: /etc/x}\n":      false,
		"policy: {allow: x}\n":                    false,
		"paths: []\n":                             false,
	} {
		if _, err := settingsOf(t, agent, nil); (err == nil) != good {
			t.Errorf("%q: %v", agent, err)
		}
	}
	s, err := settingsOf(t, "policy: {images: []}\ndata: /srv/f\ndockerHost: unix:///x/d.sock\n", nil)
	if b := s.bounds(); err != nil || len(b) != 1 || b[0].Images == nil || len(b[0].Images) > 0 || b[0].HostMounts != nil || fmt.Sprint(b[0].Private, b[0].Shared) != "[/srv/f /x/d.sock] [/srv/f/certs]" {
		t.Errorf("%+v, %v", b, err)
	}
	if s, err := settingsOf(t, "", nil); err != nil || s.bounds() != nil {
		t.Errorf("%v, %v", s.bounds(), err)
	}
}

// TestRealPath follows links as far as there is something, and refuses to guess.
func TestRealPath(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"etc": "/etc", "gone": "/nonexistent/x", "in": dir} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{dir: dir, dir + "/new/er": dir + "/new/er", dir + "/etc": "/etc", dir + "/etc/fairlead-none/x": "/etc/fairlead-none/x", dir + "/in/in/y": dir + "/y"} {
		if got, err := realPath(name); err != nil || got != want {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	for _, name := range []string{dir + "/gone", dir + "/gone/x"} {
		if got, err := realPath(name); err == nil {
			t.Errorf("%s: %s", name, got)
		}
	}
	b := desired.Bounds{HostMounts: []string{dir}}
	if b.HostPath(dir+"/etc/passwd", realPath) == nil || b.HostPath(dir+"/gone", realPath) == nil || b.HostPath(dir+"/in/new", realPath) != nil {
		t.Error("a link leads out of what is permitted")
	}
}
