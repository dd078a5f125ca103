package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// settingsOf reads settings from the three sources.
func settingsOf(t *testing.T, agent string, env map[string]string, args ...string) (settings, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "agent.yaml")
	if err := os.WriteFile(file, []byte(agent), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &cli{getenv: func(name string) string {
		if name == "FAIRLEAD_CONFIG" {
			return file
		}
		return env[name]
	}}
	if err := c.root().ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return c.settings()
}

func TestStrongerSourceWins(t *testing.T) {
	const agent = "repo: /from/file\nref: file\npaths: [file/*]\npoll: 10s\ndata: /data/file\nlogFormat: json\nauth: {tokenFile: /file/token}\n"
	env := map[string]string{"FAIRLEAD_REPO": "/from/env", "FAIRLEAD_REF": "env", "FAIRLEAD_PATH": "env/a,env/b", "FAIRLEAD_POLL": "20s"}
	tests := []struct {
		name  string
		agent string
		env   map[string]string
		args  []string
		want  func(s settings) bool
	}{
		{"defaults", "", nil, nil, func(s settings) bool {
			return s.Repo == "/var/lib/fairlead/repo" && s.Data == "/var/lib/fairlead" && s.Poll == time.Minute &&
				s.DockerHost == "unix:///var/run/docker.sock" && s.LogFormat == "text" && !s.Push && s.ownRepo() && !s.repoGiven
		}},
		{"file", agent, nil, nil, func(s settings) bool {
			return s.Repo == "/from/file" && s.Ref == "file" && slices.Equal(s.Paths, []string{"file/*"}) && s.Poll == 10*time.Second &&
				s.Data == "/data/file" && s.LogFormat == "json" && s.Auth.TokenFile == "/file/token" && !s.repoGiven
		}},
		{"variables over file", agent, env, nil, func(s settings) bool {
			return s.Repo == "/from/env" && s.Ref == "env" && slices.Equal(s.Paths, []string{"env/a", "env/b"}) && s.Poll == 20*time.Second &&
				s.Data == "/data/file" && s.repoGiven
		}},
		{"flags over both", agent, env, []string{"--repo", "/from/flag", "--ref=flag", "--path", "a", "--path", "b,c", "--poll", "30s", "--push"}, func(s settings) bool {
			return s.Repo == "/from/flag" && s.Ref == "flag" && slices.Equal(s.Paths, []string{"a", "b,c"}) && s.Poll == 30*time.Second && s.Push
		}},
		{"last flag counts", "", nil, []string{"--ref", "one", "--ref", "two"}, func(s settings) bool { return s.Ref == "two" }},
		{"push can be taken back", "push: true\n", nil, []string{"--push=false"}, func(s settings) bool { return !s.Push }},
		{"data moves the repository", "", nil, []string{"--data", "/srv/x"}, func(s settings) bool { return s.Repo == "/srv/x/repo" }},
		{"ports of the front", "", nil, nil, func(s settings) bool { return s.Front == frontSettings{HTTP: ":80", HTTPS: ":443"} }},
		{"front and registries", "front: {http: off, https: \"127.0.0.1:0\", accessLog: 100}\nregistry: {caFile: /ca.pem, insecure: [\"r:5000\"], mirrors: [\"docker.io=https://m/x\", \"docker.io=https://n\"]}\n",
			map[string]string{"FAIRLEAD_FRONT_HTTPS": "[::1]:8443"}, []string{"--registry-insecure", "a:1", "--registry-insecure", "b:2"}, func(s settings) bool {
				return s.Front == frontSettings{HTTP: "off", HTTPS: "[::1]:8443", AccessLog: 100} && s.Registry.CAFile == "/ca.pem" &&
					slices.Equal(s.Registry.Insecure, []string{"a:1", "b:2"}) && slices.Equal(s.Registry.Mirrors["docker.io"], []string{"https://m/x", "https://n"})
			}},
		{"ssh is no path", "", nil, []string{"--repo", "git@host:fleet.git"}, func(s settings) bool { return s.Repo == "git@host:fleet.git" && !s.local() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := settingsOf(t, tt.agent, tt.env, tt.args...)
			if err != nil || !tt.want(s) {
				t.Errorf("got %+v, %v", s, err)
			}
		})
	}
}

func TestRelativeRepositoryBecomesAbsolute(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	s, err := settingsOf(t, "", nil, "--repo", ".")
	if err != nil || s.Repo != here || !s.local() {
		t.Errorf("got %q, %v", s.Repo, err)
	}
}

func TestAgentFileProblems(t *testing.T) {
	tests := []struct{ agent, want string }{
		{"repoo: x\n", `:1: repoo: unknown key (did you mean repo?)`},
		{"whatever: x\n", `:1: whatever: unknown key (allowed: auth.knownHostsFile,`},
		{"repo: a\nrepo: b\n", `:2: repo: duplicate key (it stands on line 1 already)`},
		{"repo: 5\n", `:1: repo: is not text (put it in quotes)`},
		{"repo:\n", `:1: repo: has no value (remove the key or give it a value)`},
		{"poll: 60\n", `:1: poll: has no unit (for example 60s)`},
		{"poll: soon\n", `:1: poll: "soon" is not a duration (for example 60s)`},
		{"poll: 1ms\n", `:1: poll: is not between 1s and 24h`},
		{"paths: instances/acme\n", `:1: paths: is not a list of 1 to 100 (write [ONE, TWO])`},
		{"paths: []\n", `:1: paths: is not a list of 1 to 100 (write [ONE, TWO])`},
		{"paths: [a, 5]\n", `:1: paths[1]: is not text (put it in quotes)`},
		{"push: maybe\n", `:1: push: is not true or false`},
		{"dockerHost: nowhere\n", `:1: dockerHost: is not an engine's address (for example unix:///var/run/docker.sock)`},
		{"logFormat: xml\n", `:1: logFormat: is neither text nor json`},
		{"\nserver: {listen: \"127.0.0.1:8700\"}\n", `:2: server.listen: not supported by this version (the API is on the unix socket fairlead.sock in the data directory)`},
		{"server: {host: x}\n", `:1: server.host: not supported by this version (remove it)`},
		{"front: \":80\"\n", `:1: front: is not a map (write it as KEY: VALUE lines, indented)`},
		{"front: {http: 80}\n", `:1: front.http: is not text (put it in quotes)`},
		{"front: {http: \"80\"}\n", `:1: front.http: is not an address (for example :443, 192.0.2.1:443 or off)`},
		{"front: {https: \"example.com:443\"}\n", `:1: front.https: is not an address (for example`},
		{"front: {https: \":99999\"}\n", `:1: front.https: is not an address (a port is a number from 0 to 65535)`},
		{"front: {accessLog: often}\n", `:1: front.accessLog: is not a number`},
		{"front: {accessLog: -1}\n", `:1: front.accessLog: is not a number from 0 to 1000000`},
		{"registry: {insecure: [\"http://x\"]}\n", `:1: registry.insecure: is not a registry's host (for example registry.acme.com:5000)`},
		{"registry: {mirrors: [mirror.acme.com]}\n", `:1: registry.mirrors: is not HOST=URL (for example docker.io=https://mirror.acme.com)`},
		{"registry: {mirrors: [\"docker.io=https://user:pw@mirror.acme.com\"]}\n", `:1: registry.mirrors: is not HOST=URL`},
		{"fetch: {caFile: x}\n", `:1: fetch: not supported by this version (remove it)`},
		{"auth: token\n", `:1: auth: is not a map (write it as KEY: VALUE lines, indented)`},
		{"auth: {tokenfile: x}\n", `:1: auth.tokenfile: unknown key (did you mean auth.tokenFile?)`},
		{"- a\n", `:1: is not a map`},
		{"a: b: c\n", `is not YAML: mapping values are not allowed in this context`},
		{"repo: a\n---\nrepo: b\n", `the file holds more than one document (remove the line ---)`},
		{strings.Repeat("#", 70_000), `the file is larger than 64 KiB`},
	}
	for _, tt := range tests {
		_, err := settingsOf(t, tt.agent, nil)
		if err == nil || !strings.Contains(err.Error(), "agent.yaml") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.40q: got %v, want %s", tt.agent, err, tt.want)
		}
	}
}

func TestAgentFileReportsEverythingAtOnce(t *testing.T) {
	_, err := settingsOf(t, "poll: x\nfetch: {}\nnope: 1\n", nil)
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("got %v", err)
	}
}

func TestEmptyAgentFileSetsNothing(t *testing.T) {
	for _, agent := range []string{"", "# nothing\n", "---\n", "~\n"} {
		if _, err := settingsOf(t, agent, nil); err != nil {
			t.Errorf("%q: %v", agent, err)
		}
	}
}

func TestSpecExampleIsReadButForLaterKeys(t *testing.T) {
	const spec = `repo: https://git.acme.com/fleet.git
ref: main
paths: [instances/acme]
auth: {tokenFile: /etc/fairlead/git-token}
poll: 60s
data: /var/lib/fairlead
dockerHost: unix:///var/run/docker.sock
push: false
logFormat: text
`
	if _, err := settingsOf(t, spec, nil); err != nil {
		t.Error(err)
	}
}

func FuzzAgentFile(f *testing.F) {
	f.Add([]byte("repo: x\nauth: {tokenFile: y}\npaths: [a]\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("? [x]\n: y\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := defaultSettings()
		err := parseAgentFile("agent.yaml", data, &s)
		if err != nil && !strings.Contains(err.Error(), "agent.yaml") {
			t.Errorf("%v does not say where", err)
		}
		if err == nil && (s.Poll < time.Second || s.Data == "" || s.LogFormat == "") {
			t.Errorf("accepted %+v", s)
		}
	})
}

func TestPasswordOfTheRepositoryIsNotShown(t *testing.T) {
	for repo, want := range map[string]string{
		"https://u:secret@host/x":    "https://u@host/x",
		"https://u:a@b@host/x":       "https://u@host/x",
		"https://host/x@y:z":         "https://host/x@y:z",
		"ssh://git@host:22/fleet":    "ssh://git@host:22/fleet",
		"git@host:fleet.git":         "git@host:fleet.git",
		"/srv/repo":                  "/srv/repo",
		"https://:secret@host/x.git": "https://@host/x.git",
	} {
		if got := redactURL(repo); got != want {
			t.Errorf("%s: got %s, want %s", repo, got, want)
		}
	}
}
