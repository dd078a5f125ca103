//go:build cgo

package duck

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

const remoteHint = "the operator of the host allows extensions, names of variables and hosts of attached databases, under connectors.remote of agent.yaml (docs/configuration.md); a connector may use those alone"

// checkRemote says what is wrong with a database that an extract wants attached.
// Every part of it is somebody else's text.
func checkRemote(r connectors.Remote, policy wire.RemotePolicy) *fault {
	bad := func(found string) *fault { return wrong(badRemote, "", found, remoteHint).of(short(r.Alias)) }
	switch {
	case !connectors.ValidName(r.Alias) || slices.Contains([]string{"main", "temp", "system", "memory", "fairlead", "pg_catalog", "information_schema"}, fold(r.Alias)):
		return bad(fmt.Sprintf("alias %q is no name, or one that is taken", short(r.Alias)))
	case !connectors.ValidName(r.Extension) || !slices.Contains(policy.Extensions, r.Extension):
		return bad(fmt.Sprintf("extension %q is not allowed; allowed are: %s", short(r.Extension), listed(policy.Extensions)))
	case r.TokenEnv != "" && (!connectors.ValidEnv(r.TokenEnv) || !slices.Contains(policy.Tokens, r.TokenEnv)):
		return bad(fmt.Sprintf("variable %q is not allowed; allowed are: %s", short(r.TokenEnv), listed(policy.Tokens)))
	}
	hosts, err := hostsOf(r.Extension, r.URL)
	if err != nil {
		return bad("url: " + err.Error())
	}
	for _, h := range hosts {
		if !allowedHost(policy.Hosts, h) {
			return bad(fmt.Sprintf("host %s is not allowed; allowed are: %s", short(h), listed(policy.Hosts)))
		}
	}
	return nil
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

const maxURL = 2048

// hostsOf are the HOST:PORT that an attached database is reached at. What
// could lead elsewhere, or tell a secret, is refused.
func hostsOf(extension, address string) ([]string, error) {
	if address == "" || len(address) > maxURL || strings.ContainsFunc(address, func(c rune) bool { return c < ' ' || c == 0x7f || strings.ContainsRune(`'"\;`, c) }) {
		return nil, fmt.Errorf("it is empty, or longer than %d bytes, or has a quote, a backslash, a semicolon or a control character", maxURL)
	}
	if strings.Contains(address, "://") {
		return urlHosts(extension, address)
	}
	return settingHosts(extension, address)
}

// harmless are the parameters that neither lead elsewhere nor hold a secret.
func harmless(name string) bool {
	return slices.Contains([]string{"dbname", "database", "db", "user", "sslmode", "ssl_mode", "connect_timeout", "application_name", "project", "billing_project", "dataset"}, name)
}

func urlHosts(extension, address string) ([]string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("it cannot be read") // what url.Parse says would quote it
	}
	if _, secret := u.User.Password(); secret {
		return nil, fmt.Errorf("it holds a password: name a variable in token_env instead")
	}
	if !slices.Contains([]string{"https", "http", "postgres", "postgresql", "mysql"}, u.Scheme) {
		return nil, fmt.Errorf("scheme %s is none of https, http, postgres and mysql", short(u.Scheme))
	}
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil || u.Fragment != "" {
		return nil, fmt.Errorf("its parameters cannot be read")
	}
	for name := range values {
		if !harmless(name) {
			return nil, fmt.Errorf("parameter %s is not allowed", short(name))
		}
	}
	host, err := hostPort(u.Hostname(), u.Port(), extension, u.Scheme)
	return []string{host}, err
}

// settingHosts reads the form host=… dbname=… of libpq and its like. BigQuery
// has no host of its own.
func settingHosts(extension, address string) ([]string, error) {
	settings := map[string]string{}
	for _, field := range strings.Fields(address) {
		name, value, ok := strings.Cut(field, "=")
		if _, twice := settings[name]; !ok || twice || value == "" {
			return nil, fmt.Errorf("%s is no NAME=VALUE, or is there twice", short(name))
		}
		if name != "host" && name != "port" && !harmless(name) {
			return nil, fmt.Errorf("parameter %s is not allowed", short(name))
		}
		settings[name] = value
	}
	if extension == "bigquery" && settings["host"] == "" && settings["project"] != "" {
		return []string{"bigquery.googleapis.com:443"}, nil
	}
	if settings["host"] == "" {
		return nil, fmt.Errorf("it names no host")
	}
	host, err := hostPort(settings["host"], settings["port"], extension, "")
	return []string{host}, err
}

var (
	hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)
	portName = regexp.MustCompile(`^[0-9]{1,5}$`)
)

func hostPort(host, port, extension, scheme string) (string, error) {
	if !hostName.MatchString(host) && net.ParseIP(host) == nil {
		return "", fmt.Errorf("it names no host, or several")
	}
	if port == "" {
		port = "443"
		switch {
		case scheme == "http":
			port = "80"
		case extension == "postgres" || extension == "postgres_scanner" || strings.HasPrefix(scheme, "postgres"):
			port = "5432"
		case extension == "mysql" || extension == "mysql_scanner" || scheme == "mysql":
			port = "3306"
		}
	}
	if !portName.MatchString(port) {
		return "", fmt.Errorf("port %s is no number", short(port))
	}
	return net.JoinHostPort(strings.ToLower(host), port), nil
}

// allowedHost reports whether a HOST:PORT is in a list of HOST, HOST:PORT and
// *.DOMAIN; a host without a port stands for every port of it.
func allowedHost(allowed []string, address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	for _, a := range allowed {
		a = strings.ToLower(a)
		domain, wild := strings.CutPrefix(a, "*.")
		switch {
		case wild && strings.HasSuffix(host, "."+domain) && domain != "":
			return true
		case a == host || a == address:
			return true
		}
	}
	return false
}
