package main

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	certsource "github.com/fairlead/fairlead/certs/source"
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
		{"ports of the front", "", nil, nil, func(s settings) bool {
			return s.Front == frontSettings{HTTP: ":80", HTTPS: ":443", Connections: 10_000, ConnectionsPerClient: 5_000} && s.Front.perClient() == 5_000
		}},
		{"front and registries", "front: {http: off, https: \"127.0.0.1:0\", accessLog: 100, connections: 500, connectionsPerClient: 0}\nregistry: {caFile: /ca.pem, insecure: [\"r:5000\"], mirrors: [\"docker.io=https://m/x\", \"docker.io=https://n\"]}\n",
			map[string]string{"FAIRLEAD_FRONT_HTTPS": "[::1]:8443"}, []string{"--registry-insecure", "a:1", "--registry-insecure", "b:2"}, func(s settings) bool {
				return s.Front == frontSettings{HTTP: "off", HTTPS: "[::1]:8443", AccessLog: 100, Connections: 500} && s.Front.perClient() == 500 && s.Registry.CAFile == "/ca.pem" &&
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
		{"\nserver: {listen: localhost}\n", `:2: server.listen: is not an address (for example :443, 192.0.2.1:443 or off)`},
		{"server: {host: 'x:80'}\n", `:1: server.host: is not a host name (for example fairlead.acme.com, without a port)`},
		{"server: {accessLog: some}\n", `:1: server.accessLog: is neither changes nor all nor off`},
		{"server: {certificate: A}\n", `:1: server.certificate: is not a certificate's name (for example data, or acme/data where several instances have one)`},
		{"server: {trustedProxies: [proxy]}\n", `:1: server.trustedProxies: is not an address or a network (for example 192.0.2.10 or 192.0.2.0/24)`},
		{"front: \":80\"\n", `:1: front: is not a map (write it as KEY: VALUE lines, indented)`},
		{"front: {http: 80}\n", `:1: front.http: is not text (put it in quotes)`},
		{"front: {http: \"80\"}\n", `:1: front.http: is not an address (for example :443, 192.0.2.1:443 or off)`},
		{"front: {https: \"example.com:443\"}\n", `:1: front.https: is not an address (for example`},
		{"front: {https: \":99999\"}\n", `:1: front.https: is not an address (a port is a number from 0 to 65535)`},
		{"front: {accessLog: often}\n", `:1: front.accessLog: is not a number`},
		{"front: {connections: 0}\n", `:1: front.connections: is not a number from 1 to 1000000`},
		{"front: {connectionsPerClient: -1}\n", `:1: front.connectionsPerClient: is not a number from 0 to 1000000 (0 is as many as front.connections)`},
		{"front: {accessLog: -1}\n", `:1: front.accessLog: is not a number from 0 to 1000000`},
		{"registry: {insecure: [\"http://x\"]}\n", `:1: registry.insecure: is not a registry's host (for example registry.acme.com:5000)`},
		{"registry: {mirrors: [mirror.acme.com]}\n", `:1: registry.mirrors: is not HOST=URL (for example docker.io=https://mirror.acme.com)`},
		{"registry: {mirrors: [\"docker.io=https://user:pw@mirror.acme.com\"]}\n", `:1: registry.mirrors: is not HOST=URL`},
		{"fetch: {cafile: x}\n", `:1: fetch.cafile: unknown key (did you mean fetch.caFile?)`},
		{"fetch: true\n", `:1: fetch: is not a map`},
		{"fetch: {vault: x}\n", `:1: fetch.vault: is not a map`},
		{"fetch: {allowedHosts: [\"https://x\"]}\n", `:1: fetch.allowedHosts: "https://x" is not a host (for example pki.acme.com, *.acme.com or pki.acme.com:8443)`},
		{"fetch: {allowedHosts: [a, \"b:0\"]}\n", `:1: fetch.allowedHosts: "b:0" is not a host`},
		{"fetch: {allowedHosts: [\"a.*.b\"]}\n", `:1: fetch.allowedHosts: "a.*.b" is not a host`},
		{"fetch: {allowedHosts: pki.acme.com}\n", `:1: fetch.allowedHosts: is not a list of 1 to 100`},
		{"fetch: {fileRoots: [ssl]}\n", `:1: fetch.fileRoots: "ssl" is not an absolute path (for example /etc/ssl)`},
		{"fetch: {fileRoots: [/etc/../x]}\n", `:1: fetch.fileRoots: "/etc/../x" is not written plainly (write /x)`},
		{"fetch: {fileRoots: [/]}\n", `:1: fetch.fileRoots: is the whole host (name the directories that hold certificates)`},
		{"fetch: {proxy: \"http://u:hunter2@proxy:3128\"}\n", `:1: fetch.proxy: is not the URL of a proxy without a login (for example http://proxy.acme.com:3128)`},
		{"fetch: {google: {project: Acme}}\n", `:1: fetch.google.project: is not the ID of a project (for example acme-production)`},
		{"fetch: {azure: {clientID: x}}\n", `:1: fetch.azure.clientID: is not a client ID`},
		{"fetch: {vault: {address: \"http://vault.acme.com\"}}\n", `:1: fetch.vault.address: is not an https URL (http is for this machine only`},
		{"fetch: {vault: {address: \"https://vault.acme.com/v1\"}}\n", `:1: fetch.vault.address: is not scheme, host and port`},
		{"fetch: {vault: {appRolePath: a//b}}\n", `:1: fetch.vault.appRolePath: is not the path of a mount`},
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

func TestFetchSettings(t *testing.T) {
	const agent = `fetch:
  allowedHosts: [pki.acme.com, "*.Acme.net", "10.0.0.1:8443", "2001:db8::1"]
  caFile: /etc/ssl/acme-root.pem
  fileRoots: [/srv/tls]
  proxy: http://proxy.acme.com:3128
  ageIdentities: /etc/fairlead/age.key
  google: {credentialsFile: /etc/fairlead/google.json, project: acme-production}
  azure: {clientID: 01234567-89ab-cdef-0123-456789abcdef}
  vault: {address: "https://vault.acme.com:8200", namespace: team/data, roleIDFile: /r, secretIDFile: /s, appRolePath: auth/fleet}
`
	s, err := settingsOf(t, agent, map[string]string{"FAIRLEAD_FETCH_FILE_ROOTS": "/a,/b"}, "--fetch-google-project", "other-project")
	if err != nil {
		t.Fatal(err)
	}
	got := s.Fetch.options("/data", nil)
	want := certsource.Options{AllowedHosts: []string{"pki.acme.com", "*.acme.net", "10.0.0.1:8443", "2001:db8::1"}, CAFile: "/etc/ssl/acme-root.pem",
		FileRoots: []string{"/a", "/b"}, DataDir: "/data", Proxy: "http://proxy.acme.com:3128", AgeIdentities: "/etc/fairlead/age.key",
		Google: certsource.Google{CredentialsFile: "/etc/fairlead/google.json", Project: "other-project"},
		Azure:  certsource.Azure{ClientID: "01234567-89ab-cdef-0123-456789abcdef"},
		Vault:  certsource.Vault{Address: "https://vault.acme.com:8200", Namespace: "team/data", RoleIDFile: "/r", SecretIDFile: "/s", AppRolePath: "auth/fleet"}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for host, allowed := range map[string]bool{"pki.acme.com": true, "acme.com": false, "x.acme.net": true, "10.0.0.1": true, "10.0.0.2": false, "2001:db8::1": true, "2001:db8::2": false} {
		if err := s.Fetch.allowHost(host); (err == nil) != allowed {
			t.Errorf("%s: %v", host, err)
		}
	}
	if u, err := s.Fetch.proxy()(nil); err != nil || u.Host != "proxy.acme.com:3128" {
		t.Errorf("proxy %v, %v", u, err)
	}
	if s, err = settingsOf(t, "", nil); err != nil || !slices.Equal(s.Fetch.options("/data", nil).FileRoots, certsource.DefaultFileRoots()) ||
		s.Fetch.proxy() != nil || s.Fetch.allowHost("127.0.0.1") != nil {
		t.Errorf("by default %+v, %v", s.Fetch, err)
	}
}

// Each of these would only fail when the first certificate is fetched.
func TestSettingsThatDoNotGoTogether(t *testing.T) {
	for args, want := range map[string]string{
		"--server-certificate data": "server.certificate: there is no server.host that it is for",
		"--server-host x.acme.com --server-certificate data --front-https off":                         "the front takes no HTTPS",
		"--fetch-proxy http://proxy:3128":                                                              "fetch.proxy needs fetch.allowedHosts",
		"--fetch-vault-address https://vault":                                                          "fetch.vault has no login",
		"--fetch-vault-token-file /x":                                                                  "fetch.vault needs an address",
		"--fetch-vault-address https://vault --fetch-vault-role-id-file /x":                            "go together",
		"--fetch-vault-address https://vault --fetch-vault-token-file /x --fetch-vault-approle-path x": "needs fetch.vault.roleIDFile",
		"--fetch-vault-token-file /x --fetch-vault-role-id-file /x --fetch-vault-secret-id-file /x":    "stands beside an AppRole",
		"--fetch-vault-address http://vault.acme.com":                                                  "--fetch-vault-address: is not an https URL",
	} {
		if _, err := settingsOf(t, "", nil, strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", args, err)
		}
	}
}

func TestAgentFileReportsEverythingAtOnce(t *testing.T) {
	_, err := settingsOf(t, "poll: x\nserver: {host: 'x:1'}\nnope: 1\n", nil)
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
