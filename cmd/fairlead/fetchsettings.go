package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sirupsen/logrus"

	certsource "github.com/fairlead/fairlead/certs/source"
)

// fetchSettings say what a reference in git may reach from this host, and who
// asks. Nothing of it is secret: secrets are named by file.
type fetchSettings struct {
	AllowedHosts  []string
	CAFile        string
	FileRoots     []string // none: the usual ones
	Proxy         string
	AgeIdentities string
	Google        certsource.Google
	Azure         certsource.Azure
	Vault         certsource.Vault
}

// options are what references of certificates are fetched by. data is the
// daemon's directory.
func (f fetchSettings) options(data string, log *logrus.Entry) certsource.Options {
	roots := f.FileRoots
	if len(roots) == 0 {
		roots = certsource.DefaultFileRoots()
	}
	return certsource.Options{AllowedHosts: f.AllowedHosts, CAFile: f.CAFile, Proxy: f.Proxy, FileRoots: roots, DataDir: data,
		AgeIdentities: f.AgeIdentities, Google: f.Google, Azure: f.Azure, Vault: f.Vault, Log: log}
}

// allowHost says whether the host of an ACME directory may be asked, on any
// port: an authority of one's own is often on another than 443. Where hosts are
// listed it has to be one of them.
func (f fetchSettings) allowHost(host string) error {
	if len(f.AllowedHosts) == 0 {
		return nil
	}
	var hosts []string
	for _, entry := range f.AllowedHosts {
		if h, _, err := net.SplitHostPort(entry); err == nil {
			entry = h
		}
		hosts = append(hosts, entry)
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return certsource.New(certsource.Options{AllowedHosts: hosts}).For(certsource.Use{}).Check("https://" + host + "/")
}

// proxy is what requests to authorities go through; nil: nothing.
func (f fetchSettings) proxy() func(*http.Request) (*url.URL, error) {
	u, err := url.Parse(f.Proxy)
	if f.Proxy == "" || err != nil {
		return nil
	}
	return http.ProxyURL(u)
}

// check looks at what the settings say together.
func (f fetchSettings) check() error {
	v := f.Vault
	login := v.TokenFile != "" || v.RoleIDFile != "" || v.SecretIDFile != ""
	switch {
	case f.Proxy != "" && len(f.AllowedHosts) == 0:
		return errors.New("fetch.proxy needs fetch.allowedHosts; behind a proxy nobody here sees which address a name stands for")
	case (v.RoleIDFile == "") != (v.SecretIDFile == ""):
		return errors.New("fetch.vault.roleIDFile and fetch.vault.secretIDFile go together; set both, or fetch.vault.tokenFile")
	case v.TokenFile != "" && v.RoleIDFile != "":
		return errors.New("fetch.vault.tokenFile stands beside an AppRole; keep one of the two")
	case v.AppRolePath != "" && v.RoleIDFile == "":
		return errors.New("fetch.vault.appRolePath needs fetch.vault.roleIDFile and fetch.vault.secretIDFile")
	case v.Address == "" && (login || v.Namespace != ""):
		return errors.New("fetch.vault needs an address; for example fetch.vault.address: https://vault.acme.com:8200")
	case v.Address != "" && !login:
		return errors.New("fetch.vault has no login; set fetch.vault.tokenFile, or roleIDFile and secretIDFile")
	}
	return nil
}

// fetchOptions are the settings of fetch.
func fetchOptions() []option {
	return []option{
		{flag: "fetch-allowed-host", env: "FAIRLEAD_FETCH_ALLOWED_HOSTS", key: "fetch.allowedHosts", kind: "HOST", list: true, help: "host that a URL in git may name: pki.acme.com, *.acme.com, HOST:PORT; may be repeated (default: any but this machine, on port 443)", set: setAllowedHosts},
		{flag: "fetch-ca-file", env: "FAIRLEAD_FETCH_CA_FILE", key: "fetch.caFile", kind: "FILE", help: "certificates of a private authority that is trusted for certificates, beside the system's", set: file(func(s *settings) *string { return &s.Fetch.CAFile })},
		{flag: "fetch-file-root", env: "FAIRLEAD_FETCH_FILE_ROOTS", key: "fetch.fileRoots", kind: "DIR", list: true, help: "directory below which file:// in git may name files; may be repeated (default: " + strings.Join(certsource.DefaultFileRoots(), ", ") + ")", set: setFileRoots},
		{flag: "fetch-proxy", env: "FAIRLEAD_FETCH_PROXY", key: "fetch.proxy", kind: "URL", help: "HTTP proxy that certificates are fetched through", set: one(setFetchProxy)},
		{flag: "fetch-age-identities", env: "FAIRLEAD_FETCH_AGE_IDENTITIES", key: "fetch.ageIdentities", kind: "FILE", help: "age identities that age:// in git is decrypted with", set: file(func(s *settings) *string { return &s.Fetch.AgeIdentities })},
		{flag: "fetch-google-credentials-file", env: "FAIRLEAD_FETCH_GOOGLE_CREDENTIALS_FILE", key: "fetch.google.credentialsFile", kind: "FILE", help: "key of the service account that sm:// and gs:// are asked by (default: that of the VM)", set: file(func(s *settings) *string { return &s.Fetch.Google.CredentialsFile })},
		{flag: "fetch-google-project", env: "FAIRLEAD_FETCH_GOOGLE_PROJECT", key: "fetch.google.project", kind: "PROJECT", help: "project of sm://NAME (default: that of the key or the VM)", set: matching(projectRegexp, "is not the ID of a project; for example acme-production", func(s *settings) *string { return &s.Fetch.Google.Project })},
		{flag: "fetch-azure-client-id", env: "FAIRLEAD_FETCH_AZURE_CLIENT_ID", key: "fetch.azure.clientID", kind: "ID", help: "client ID of the managed identity, when the VM has several", set: matching(clientRegexp, "is not a client ID; for example 00000000-0000-0000-0000-000000000000", func(s *settings) *string { return &s.Fetch.Azure.ClientID })},
		{flag: "fetch-vault-address", env: "FAIRLEAD_FETCH_VAULT_ADDRESS", key: "fetch.vault.address", kind: "URL", help: "Vault that vault:// is asked of", set: one(setVaultAddress)},
		{flag: "fetch-vault-namespace", env: "FAIRLEAD_FETCH_VAULT_NAMESPACE", key: "fetch.vault.namespace", kind: "NAME", help: "namespace of Vault Enterprise", set: matching(vaultRegexp, "is not a namespace; for example team/data", func(s *settings) *string { return &s.Fetch.Vault.Namespace })},
		{flag: "fetch-vault-token-file", env: "FAIRLEAD_FETCH_VAULT_TOKEN_FILE", key: "fetch.vault.tokenFile", kind: "FILE", help: "file with the token for Vault", set: file(func(s *settings) *string { return &s.Fetch.Vault.TokenFile })},
		{flag: "fetch-vault-role-id-file", env: "FAIRLEAD_FETCH_VAULT_ROLE_ID_FILE", key: "fetch.vault.roleIDFile", kind: "FILE", help: "file with the role ID of an AppRole of Vault", set: file(func(s *settings) *string { return &s.Fetch.Vault.RoleIDFile })},
		{flag: "fetch-vault-secret-id-file", env: "FAIRLEAD_FETCH_VAULT_SECRET_ID_FILE", key: "fetch.vault.secretIDFile", kind: "FILE", help: "file with its secret ID", set: file(func(s *settings) *string { return &s.Fetch.Vault.SecretIDFile })},
		{flag: "fetch-vault-approle-path", env: "FAIRLEAD_FETCH_VAULT_APPROLE_PATH", key: "fetch.vault.appRolePath", kind: "PATH", help: "where the method is mounted (default approle)", set: matching(vaultRegexp, "is not the path of a mount; for example approle", func(s *settings) *string { return &s.Fetch.Vault.AppRolePath })},
	}
}

var (
	fetchHostRegexp = regexp.MustCompile(`^(\*\.)?[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$`)
	projectRegexp   = regexp.MustCompile(`^([a-z0-9][a-z0-9.-]{1,60}:)?[a-z0-9][a-z0-9-]{4,62}$`)
	clientRegexp    = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	vaultRegexp     = regexp.MustCompile(`^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$`)
)

// matching reads a text of one form.
func matching(form *regexp.Regexp, problem string, field func(*settings) *string) func(*settings, []string) error {
	return one(func(s *settings, v string) error {
		if !form.MatchString(v) {
			return errors.New(problem)
		}
		*field(s) = v
		return nil
	})
}

func setAllowedHosts(s *settings, values []string) error {
	var hosts []string
	for _, v := range values {
		host, port, err := net.SplitHostPort(v)
		if err != nil {
			host, port = strings.TrimSuffix(strings.TrimPrefix(v, "["), "]"), "443"
		}
		host = strings.ToLower(host)
		_, notIP := netip.ParseAddr(host)
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || notIP != nil && !fetchHostRegexp.MatchString(host) {
			return fmt.Errorf("%q is not a host; for example pki.acme.com, *.acme.com or pki.acme.com:8443", v)
		}
		hosts = append(hosts, strings.ToLower(v))
	}
	s.Fetch.AllowedHosts = hosts
	return nil
}

func setFileRoots(s *settings, values []string) error {
	for _, v := range values {
		switch {
		case !filepath.IsAbs(v) || strings.ContainsAny(v, "\x00\n\r"):
			return fmt.Errorf("%q is not an absolute path; for example /etc/ssl", v)
		case filepath.Clean(v) != v:
			return fmt.Errorf("%q is not written plainly; write %s", v, filepath.Clean(v))
		case v == "/":
			return errors.New("is the whole host; name the directories that hold certificates")
		}
	}
	s.Fetch.FileRoots = slices.Clone(values)
	return nil
}

// setFetchProxy takes no login: it would stand in agent.yaml in the clear.
func setFetchProxy(s *settings, v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || strings.Trim(u.Path, "/") != "" ||
		u.RawQuery != "" || u.Fragment != "" {
		return errors.New("is not the URL of a proxy without a login; for example http://proxy.acme.com:3128")
	}
	s.Fetch.Proxy = v
	return nil
}

func setVaultAddress(s *settings, v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("is not scheme, host and port; for example https://vault.acme.com:8200")
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if u.Scheme != "https" && (u.Scheme != "http" || (err != nil || !ip.IsLoopback()) && u.Hostname() != "localhost") {
		return errors.New("is not an https URL; http is for this machine only, as in http://127.0.0.1:8200")
	}
	s.Fetch.Vault.Address = v
	return nil
}
