package desired

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/textproto"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
)

// connectorName is the grammar of names in the extract contract (SPEC). It is
// connectors.ValidName, which this package may not import: a test of
// cmd/fairlead holds the two against each other.
const connectorName = `^[a-zA-Z_][a-zA-Z0-9_]{0,63}$`

var connectorNameRegexp = pat(connectorName)

// reservedNames are those of schemas and databases that the catalog has itself.
// DuckDB does not tell names by case.
func reservedNames() []string {
	return []string{"fairlead", "main", "temp", "system", "information_schema", "pg_catalog", "_meta", "_remote_attach"}
}

func checkCatalogName(s string) error {
	if slices.Contains(reservedNames(), strings.ToLower(s)) {
		return errors.New("the catalog has one of this name itself")
	}
	return nil
}

// connectorSyntaxes are those of the files of connectors.
func connectorSyntaxes() map[string]syntax {
	const size = "with a unit: 512MiB, 2GB"
	return map[string]syntax{
		"prose":    {what: "text without control characters", pattern: pat(`^[^\x00-\x08\x0b-\x1f\x7f]+$`), example: "Orders of the shop", check: checkProse},
		"schedule": {what: "a schedule", pattern: pat(schedulePattern), example: "daily 07:00,13:00", hint: "one of " + scheduleForms, check: checkSchedule},
		"timezone": {what: "a time zone", pattern: pat(`^[A-Za-z][A-Za-z0-9_+/-]{0,63}$`), example: "Europe/Prague", check: checkTimezone},
		"runLimit": {what: "a limit", min: int64(time.Second), max: int64(7 * 24 * time.Hour), example: "1h"},
		"keep":     {what: "a count", min: 1, max: 100, example: "3"},
		"image":    {what: "an image", pattern: refRegexp, example: "ghcr.io/acme/sap-extractor:1.4", hint: "REPOSITORY:TAG or REPOSITORY@DIGEST"},
		"argument": {quiet: true, what: "an argument", check: checkNoNUL, example: "python3", hint: "for example run: [python3, main.py]"},
		"memory":   {what: "a size", min: 16 << 20, max: 1 << 42, example: "512MiB", hint: size},
		"disk":     {what: "a size", min: 1 << 20, max: 1 << 46, example: "10GiB", hint: size},
		"billed":   {what: "a size", min: 10 << 20, max: 1 << 50, example: "100GiB", hint: size},
		"cpus":     {what: "a number of CPUs", min: 1, max: 512_00, example: "0.5"}, // in hundredths
		"user": {what: "a user", pattern: pat(`^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,31}(:[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,31})?$`), example: "1000:1000",
			hint: "USER, or USER:GROUP"},
		"table": {what: "a table's name", pattern: connectorNameRegexp, example: "orders", check: checkCatalogName,
			hint: "a letter or _, then up to 63 letters, digits and _; not " + strings.Join(reservedNames(), ", ")},
		"tableID":   {what: "a table of the service", pattern: pat(`^[^\x00-\x1f\x7f]{1,1000}$`), example: "in.c-shop.orders"},
		"strategy":  {what: "a strategy", words: []string{"full", "incremental", "partitioned"}},
		"column":    {what: "a column's name", pattern: pat(`^[^\x00-\x1f\x7f]{1,255}$`), example: "id"},
		"query":     {what: "a text", pattern: pat(`^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$`), example: "status = 'paid'", check: checkQuery},
		"queryMode": {what: "a query mode", words: []string{string(QueryLocal), string(QueryRemote), string(QueryMaterialized)}},
		"dataPath": {quiet: true, what: "a path or URL of files", pattern: pat(`^[^/]`), example: "orders/*.csv", check: checkDataPath,
			hint: "orders/*.csv under dir, or https://HOST/PATH, s3://BUCKET/KEY, gs://BUCKET/OBJECT"},
		"format":   {what: "a format", words: []string{"csv", "tsv", "parquet", "json", "ndjson"}},
		"duckType": {what: "a type of DuckDB", pattern: pat(`^[A-Za-z][A-Za-z0-9_]*( [A-Za-z]+)*(\([0-9]{1,2}(, ?[0-9]{1,2})?\))?(\[\])*$`), example: "DECIMAL(12,2)"},
		"hostHeader": {what: "a header's name", pattern: pat(`^([A-Za-z0-9.:-]{1,255}/)?[A-Za-z0-9!#$%&'*+.^_|~-]{1,64}$`), example: "Authorization", check: checkHostHeader,
			hint: "Authorization, or data.acme.com/Authorization"},
		"option": {what: "an option", pattern: pat(`^[a-z][a-zA-Z_]{0,31}$`), example: "delimiter"},
		"serviceURL": {quiet: true, secret: true, what: "an http or https URL", pattern: pat(`^https?://`), example: "https://connection.keboola.com", check: checkServiceURL,
			hint: "https://HOST, and http://HOST only on this host"},
		"region":      {what: "a region", pattern: pat(`^[a-z0-9][a-z0-9-]{0,62}$`), example: "eu-central-1"},
		"location":    {what: "a location", pattern: pat(`^[A-Za-z][A-Za-z0-9-]{0,62}$`), example: "europe-west3"},
		"project":     {what: "a project", pattern: refProject, example: "acme-data"},
		"token":       {quiet: true, secret: true, what: "a token", pattern: pat(`^[\x21-\x7e]+$`), example: "${secret:TOKEN}", hint: "one word without spaces; write ${secret:NAME}"},
		"accountKey":  {quiet: true, secret: true, what: "the JSON key of a service account", example: "${secret:GOOGLE_KEY}", hint: "write ${secret:NAME}", check: checkAccountKey},
		"postgresURL": {quiet: true, secret: true, what: "the URL of a PostgreSQL database", pattern: pat(`^postgres(ql)?://`), example: "postgres://reader:${secret:PG_PASSWORD}@db.acme.com:5432/shop", check: checkPostgresURL, hint: postgresHint},
		"login":       {secret: true, what: "an e-mail address", pattern: pat(`^[^@\s]+@[^@\s]+$`), example: "reader@acme.com"},
		"tokenEnv":    {what: "the name of a variable", pattern: pat(`^[A-Z][A-Z0-9_]{0,63}$`), example: "SHOP_PASSWORD"},
	}
}

const postgresHint = "postgres://USER:${secret:NAME}@HOST:5432/DATABASE; in a password @ is written %40 and / %2F"

// maxProse is more than fits the place where it is shown.
const maxProse = 2000

func checkProse(s string) error {
	if len(s) > maxProse {
		return fmt.Errorf("it is longer than %d bytes", maxProse)
	}
	return nil
}

func checkSchedule(s string) error {
	_, err := ParseSchedule(s, "")
	return err
}

func checkTimezone(s string) error {
	if _, err := zoneNamed(s); err != nil {
		return errors.New("there is none of this name")
	}
	return nil
}

func checkHostHeader(s string) error {
	_, name, both := strings.Cut(s, "/")
	if !both {
		name = s
	}
	switch textproto.CanonicalMIMEHeaderKey(name) {
	case "Host", "Range", "If-Range", "If-Match":
		return errors.New("it is what asks for a file")
	}
	return checkHeader(name)
}

// maxQuery bounds a query; the longest that people write are of some pages.
const maxQuery = 64 << 10

func checkQuery(s string) error {
	if len(s) > maxQuery {
		return fmt.Errorf("it is longer than %d KiB", maxQuery>>10)
	}
	return nil
}

// checkDataPath refuses what leads out of the directory, and what different
// clients read differently.
func checkDataPath(s string) error {
	scheme, rest, remote := strings.Cut(s, "://")
	switch {
	case len(s) > maxRef:
		return fmt.Errorf("it is longer than %d characters", maxRef)
	case strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\\' }):
		return errors.New("it has a backslash or a control character")
	case remote && strings.Contains(rest, "#"):
		return errors.New("it has a fragment")
	case scheme == "https":
		return checkFileURL(s)
	case remote && scheme != "s3" && scheme != "gs":
		return errors.New("its scheme is not known")
	case slices.Contains(strings.Split(rest, "/"), ".."), !remote && (path.Clean(s) != s || s == ".." || strings.HasPrefix(s, "../")):
		return errors.New("it has a part . or .., or an empty one")
	}
	return nil
}

func checkFileURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "":
		return errors.New("it does not parse")
	case u.User != nil:
		return errors.New("it holds a user or password; send them with headers")
	case strings.Contains(u.Path, "*"):
		return errors.New("no list can be asked for by https, so there is no star")
	}
	return nil
}

// checkServiceURL lets http through to this host only: what is sent is secret.
func checkServiceURL(s string) error {
	u, err := url.Parse(s)
	if err != nil {
		return errors.New("it does not parse")
	}
	host := u.Hostname()
	switch {
	case u.User != nil:
		return errors.New("it holds a user or password")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(s, "#"):
		return errors.New("it has a query or a fragment")
	case host == "":
		return errors.New("nothing follows the scheme")
	case u.Scheme == "http" && host != "localhost" && host != "127.0.0.1" && host != "::1":
		return errors.New("it sends secrets in the clear")
	}
	return nil
}

func checkAccountKey(s string) error {
	var account struct {
		Email string `json:"client_email"`
		Key   string `json:"private_key"`
	}
	if json.Unmarshal([]byte(s), &account) != nil || account.Key == "" || account.Email == "" {
		return errors.New("it has no private_key and client_email")
	}
	return nil
}

// checkPostgresURL repeats nothing of it. What each part means is for the source
// to say.
func checkPostgresURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return errors.New("it does not parse")
	case u.User.Username() == "":
		return errors.New("it has no user")
	case u.Host == "" && u.Query().Get("host") == "":
		return errors.New("it has no host")
	case strings.Trim(u.Path, "/") == "":
		return errors.New("it has no database")
	case u.Fragment != "":
		return errors.New("it has a fragment: write # as %23")
	case strings.ContainsAny(u.Hostname(), ", "):
		return errors.New("it has several hosts")
	}
	return checkPostgresQuery(u)
}

// checkPostgresQuery knows the keys that connectors/postgres has, which is the
// authority on them and may not be imported here.
func checkPostgresQuery(u *url.URL) error {
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return errors.New("what follows ? does not parse")
	}
	for key, v := range values {
		switch {
		case key != "sslmode" && key != "host":
			return errors.New("after ? only sslmode and host are known")
		case len(v) > 1:
			return errors.New("it has " + key + " twice")
		case key == "host" && (u.Hostname() != "" || !path.IsAbs(v[0])):
			return errors.New("host after ? is the directory of a socket, and stands alone")
		case key == "sslmode" && !slices.Contains([]string{"disable", "require", "verify-ca", "verify-full"}, v[0]):
			return errors.New("sslmode is disable, require, verify-ca or verify-full; others go on in the clear when somebody between wants it")
		}
	}
	return nil
}
