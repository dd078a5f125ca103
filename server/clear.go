package server

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/edit"
)

// keboolaSecret is the secret of a Keboola's token, as everybody calls it.
const keboolaSecret = "KEBOOLA_STORAGE_TOKEN"

// secretFields are the fields of a connector that are secret, and what the
// secret is called behind the connector's name.
func secretFields() map[string]string {
	return map[string]string{"keboola.token": "TOKEN", "bigquery.key": "KEY", "jira.token": "TOKEN", "jira.pat": "PAT", "jira.webhookSecret": "WEBHOOK_SECRET",
		"files.s3.secretKey": "SECRET_KEY", "files.gs.key": "KEY", "postgres.url": "PASSWORD"}
}

// secretWord is a part of a name by which people call what is secret.
var secretWord = regexp.MustCompile(`(?i)(token|key|secret|passw|auth|cookie|credential)`)

// sealed puts a reference in the place of every secret that stands in the clear,
// and gives its value a name: nothing secret comes into a file.
func sealed(name string, fields edit.Map, values map[string]string) (edit.Map, map[string]string, error) {
	s := sealer{prefix: secretName(name), values: map[string]string{}}
	maps.Copy(s.values, values)
	out := s.fields("", fields)
	for secret, value := range s.values {
		if value == "" {
			return nil, nil, &Error{Status: http.StatusUnprocessableEntity, Detail: "the secret " + secret + " is empty", Hint: "give it a value, or leave it out where it is known already"}
		}
	}
	return out.(edit.Map), s.values, nil
}

type sealer struct {
	prefix string
	values map[string]string
}

func (s *sealer) fields(at string, v any) any {
	m, is := v.(edit.Map)
	if !is {
		return v
	}
	out := slices.Clone(m)
	for i, p := range out {
		field := strings.TrimPrefix(at+"."+p.Key, ".")
		if text, is := p.Value.(string); is {
			out[i].Value = s.text(field, p.Key, text)
		} else if field != "tables" {
			out[i].Value = s.fields(field, p.Value)
		}
	}
	return out
}

// text is the value of a field as a file may have it.
func (s *sealer) text(field, key, text string) string {
	known, secret := secretFields()[field]
	if !secret && (strings.HasPrefix(field, "env.") || strings.HasPrefix(field, "files.headers.")) && secretWord.MatchString(key) {
		known, secret = secretName(key), true
	}
	switch {
	case !secret || text == "" || strings.Contains(text, "${secret:"):
		return text
	case field == "postgres.url":
		return s.database(text, known)
	}
	return s.keep(s.named(field, known), text)
}

// named is the name of the secret of a field.
func (s *sealer) named(field, known string) string {
	if field == "keboola.token" && s.prefix == "KEBOOLA" {
		return keboolaSecret
	}
	return (s.prefix + "_" + known)[:min(64, len(s.prefix)+1+len(known))]
}

// database takes the password out of an URL. Of one that does not parse all is
// taken for secret.
func (s *sealer) database(text, known string) string {
	u, err := url.Parse(text)
	name := s.named("postgres.url", known)
	if err != nil {
		return s.keep(s.named("postgres.url", "URL"), text)
	}
	password, there := u.User.Password()
	if !there || password == "" {
		return text
	}
	scheme, rest, _ := strings.Cut(text, "://")
	login, host, _ := strings.Cut(rest, "@")
	if i := strings.LastIndex(rest[:len(rest)-len(pathOf(rest))], "@"); i >= 0 {
		login, host = rest[:i], rest[i+1:]
	}
	user, _, _ := strings.Cut(login, ":")
	return scheme + "://" + user + ":" + s.keep(name, password) + "@" + host
}

// pathOf is what follows the host of an URL without its scheme.
func pathOf(rest string) string {
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		return rest[i:]
	}
	return ""
}

func (s *sealer) keep(name, value string) string {
	s.values[name] = value
	return fmt.Sprintf("${secret:%s}", name)
}

var notInName = regexp.MustCompile(`[^A-Z0-9]+`)

// secretName makes the name of a secret of another name.
func secretName(s string) string {
	name := strings.Trim(notInName.ReplaceAllString(strings.ToUpper(s), "_"), "_")
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		name = "S" + name
	}
	return name[:min(len(name), 40)]
}

// clearError says what to do about what inTheClear found.
func clearError(instance, file, field string) error {
	return &Error{Status: http.StatusUnprocessableEntity, Detail: file + ": " + field + " stands in the clear, where everybody who reads the repository sees it",
		Hint: "write ${secret:NAME}, and give NAME a value: fairlead secret set " + instance + " NAME"}
}

// inTheClear names a secret field of a file whose value stands there as it is;
// empty: there is none. What the file says wrongly is not this one's to tell.
func inTheClear(file string, text []byte) string {
	c, _ := desired.ParseConnector(file, text)
	fields := map[string]string{}
	if k := c.Keboola; k != nil {
		fields["keboola.token"] = k.Token
	}
	if b := c.BigQuery; b != nil {
		fields["bigquery.key"] = b.Key
	}
	if j := c.Jira; j != nil {
		fields["jira.token"], fields["jira.pat"], fields["jira.webhookSecret"] = j.Token, j.PAT, j.WebhookSecret
	}
	if f := c.Files; f != nil {
		filesSecrets(fields, f)
	}
	if p := c.Postgres; p != nil {
		fields["postgres.url"] = clearPassword(p.URL)
	}
	named(fields, "env.", c.Env)
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		if value := fields[field]; value != "" && !strings.Contains(value, "${") {
			return field
		}
	}
	return ""
}

func filesSecrets(fields map[string]string, f *desired.FilesConnector) {
	if f.S3 != nil {
		fields["files.s3.secretKey"] = f.S3.SecretKey
	}
	if f.GS != nil {
		fields["files.gs.key"] = f.GS.Key
	}
	named(fields, "files.headers.", f.Headers)
}

// named adds the values that are called what secrets are called.
func named(fields map[string]string, at string, values map[string]string) {
	for key, value := range values {
		if secretWord.MatchString(key[strings.LastIndex(key, "/")+1:]) { // behind a host
			fields[at+key] = value
		}
	}
}

var reference = regexp.MustCompile(`\$\{[^}]*\}`)

// clearPassword is what stands in an URL for a password beside references, which
// may be in any part of it.
func clearPassword(text string) string {
	u, err := url.Parse(reference.ReplaceAllString(text, ""))
	if err != nil {
		return ""
	}
	password, _ := u.User.Password()
	return password
}
