//go:build cgo

package duck

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

const (
	remoteLimit = 15 * time.Second // to reach a remote database
	attachLimit = 30 * time.Second // to make a view, which asks a remote database too
)

// remoteAlias is the name of a remote database in the engine, which no source
// can have.
func remoteAlias(alias string) string { return "remote." + alias }

// attachRemote attaches a database of somebody else's, read-only.
func (w *worker) attachRemote(ctx context.Context, r connectors.Remote) error {
	if _, taken := w.remotes[r.Alias]; taken {
		return fmt.Errorf("attach remote %s: the alias is used twice", r.Alias)
	}
	if err := allowedRemote(r, w.setup.Policy); err != nil {
		return fmt.Errorf("attach remote %s: %w", r.Alias, err)
	}
	token := w.setup.Tokens[r.TokenEnv]
	if r.TokenEnv != "" && token == "" {
		return fmt.Errorf("attach remote %s: the variable %s has no value", r.Alias, r.TokenEnv)
	}
	statements, err := remoteStatements(r, token)
	if err != nil {
		return fmt.Errorf("attach remote %s: %w", r.Alias, err)
	}
	ctx, cancel := context.WithTimeout(ctx, remoteLimit)
	defer cancel()
	if err := w.engine.exec(ctx, "LOAD "+quoteName(r.Extension)); err != nil {
		return fmt.Errorf("attach remote %s: the extension %s is not in the directory of extensions, or not for this DuckDB: %s",
			r.Alias, r.Extension, firstPart(err.Error()))
	}
	if err := w.engine.exec(ctx, statements...); err != nil {
		return fmt.Errorf("attach remote %s: %s", r.Alias, firstPart(err.Error()))
	}
	return nil
}

// remoteStatements are those that attach, as each extension documents it. A
// secret is in the engine's memory only.
func remoteStatements(r connectors.Remote, token string) ([]string, error) {
	name := quoteName(remoteAlias(r.Alias))
	secret := func(field string) string {
		return fmt.Sprintf("CREATE SECRET %s (TYPE %s, %s %s)", name, r.Extension, field, quoteText(token))
	}
	attach := fmt.Sprintf("ATTACH %s AS %s (TYPE %s, READ_ONLY", quoteText(r.URL), name, r.Extension)
	switch r.Extension {
	case "postgres", "mysql":
		if token == "" {
			return []string{attach + ")"}, nil
		}
		return []string{secret("PASSWORD"), attach + ", SECRET " + name + ")"}, nil
	case "bigquery":
		field := "ACCESS_TOKEN"
		if strings.HasPrefix(strings.TrimSpace(token), "{") {
			field = "SERVICE_ACCOUNT_JSON"
		}
		if token == "" {
			return []string{attach + ")"}, nil
		}
		project := strings.TrimPrefix(strings.Fields(r.URL + " ")[0], "project=")
		return []string{fmt.Sprintf("CREATE SECRET %s (TYPE bigquery, SCOPE %s, %s %s)", name, quoteText("bq://"+project), field, quoteText(token)),
			attach + ")"}, nil
	case "keboola":
		return []string{attach + ", TOKEN " + quoteText(token) + ")"}, nil
	}
	return nil, fmt.Errorf("how the extension %s attaches is not known here: bigquery, keboola, mysql and postgres are", r.Extension)
}

// allowedRemote holds a remote against the lists of what may be attached: an
// extract names it, and nobody trusts that.
func allowedRemote(r connectors.Remote, p wire.RemotePolicy) error {
	if !slices.Contains(p.Extensions, r.Extension) {
		return fmt.Errorf("the extension %s is not allowed on this host", r.Extension)
	}
	if r.TokenEnv != "" && !slices.Contains(p.Tokens, r.TokenEnv) {
		return fmt.Errorf("the variable %s is not allowed on this host", r.TokenEnv)
	}
	hosts, err := remoteHosts(r)
	if err != nil {
		return err
	}
	for _, host := range hosts {
		if !slices.ContainsFunc(p.Hosts, func(allowed string) bool { return matchesHost(allowed, host) }) {
			return fmt.Errorf("the host %s is not allowed on this host", host)
		}
	}
	return nil
}

// remoteHosts are the hosts, with their ports where they have one, that a URL or
// a connection string names. BigQuery's is always the same.
func remoteHosts(r connectors.Remote) ([]string, error) {
	if r.Extension == "bigquery" {
		return []string{"bigquery.googleapis.com"}, nil
	}
	if strings.Contains(r.URL, "://") {
		u, err := url.Parse(r.URL)
		if err != nil || u.Hostname() == "" || len(u.Query()["host"])+len(u.Query()["hostaddr"]) > 0 || strings.Contains(u.Host, ",") {
			return nil, errors.New("its URL must name one host")
		}
		return []string{u.Host}, nil
	}
	host, port := "", ""
	for _, field := range strings.Fields(r.URL) {
		key, value, _ := strings.Cut(field, "=")
		switch value = strings.Trim(value, "'"); strings.ToLower(key) {
		case "host":
			host = value
		case "port":
			port = value
		case "hostaddr", "service", "servicefile", "passfile", "unix_socket", "socket":
			return nil, fmt.Errorf("its connection string may not have %s", key)
		}
	}
	if host == "" || strings.ContainsAny(host, ",/@") {
		return nil, errors.New("its connection string must name one host")
	}
	if port != "" {
		host = net.JoinHostPort(host, port)
	}
	return []string{host}, nil
}

// matchesHost compares a host with one of a list: HOST, HOST:PORT or *.DOMAIN.
func matchesHost(allowed, host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	allowed, name = strings.ToLower(allowed), strings.ToLower(name)
	if domain, ok := strings.CutPrefix(allowed, "*."); ok {
		return strings.HasSuffix(name, "."+domain)
	}
	return allowed == name || allowed == strings.ToLower(host)
}
