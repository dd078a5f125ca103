//go:build cgo

package duck

import (
	"context"
	"fmt"
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

// attachRemotes attaches what can be. A table names its database by the alias
// alone: one that stands for two databases would show the rows of the other, so
// neither is attached.
func (w *worker) attachRemotes(ctx context.Context, ready *wire.Ready) {
	first := map[string]connectors.Remote{}
	for _, r := range w.setup.Remotes {
		if other, taken := first[r.Alias]; taken && other != r {
			ready.Remotes[r.Alias] = fmt.Sprintf("attach remote %s: the alias stands for two databases; give one of them another", r.Alias)
		}
		first[r.Alias] = r
	}
	for alias, r := range first {
		if ready.Remotes[alias] == "" {
			if err := w.attachRemote(ctx, r); err != nil {
				ready.Remotes[alias] = w.withoutPaths(err.Error())
			}
		}
		w.remotes[alias] = ready.Remotes[alias]
	}
}

// attachRemote attaches a database of somebody else's, read-only.
func (w *worker) attachRemote(ctx context.Context, r connectors.Remote) error {
	if bad := checkRemote(r, w.setup.Policy); bad != nil {
		return fmt.Errorf("attach remote %s: %w", r.Alias, bad)
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
