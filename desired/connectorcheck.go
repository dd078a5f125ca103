package desired

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// connectorDirFile is the file of a connector that is a directory.
const connectorDirFile = "connector.yaml"

// Bounds of what connectors say; a table costs a file and a view each.
const (
	maxConnectors = 500
	maxTables     = 2000
	maxArguments  = 256
)

var connectorPlaces = pat(`^(files\.(headers\.|s3\.(endpoint|accessKey|secretKey)$|gs\.(endpoint|key)$)|keboola\.(url|token)$` +
	`|bigquery\.(key|endpoint)$|jira\.(url|email|token|pat|webhookSecret)$|postgres\.url$|env\.)`)

// connectorDocument is the file of a connector that was read.
type connectorDocument struct {
	Connector
	document
	name string
	dir  string // of the program's files in the tree; empty: the file stands alone
}

// ParseConnector reads the file of a connector strictly: everything wrong with
// it by itself is returned at once as Problems, where file is the name that they
// carry. A file called connector.yaml is that of a directory with a program.
func ParseConnector(file string, data []byte) (Connector, error) {
	c := parseConnector(file, data)
	return c.Connector, c.problems.Err()
}

func parseConnector(file string, data []byte) *connectorDocument {
	c := &connectorDocument{name: strings.TrimSuffix(path.Base(file), ".yaml")}
	if path.Base(file) == connectorDirFile {
		c.dir = path.Dir(file)
		c.name = path.Base(c.dir)
	}
	kind := fileKind{least: "one of files, keboola, bigquery, jira, postgres or image", places: connectorPlaces, whole: true}
	if c.dir != "" {
		kind.least = "" // the program is what counts
	}
	c.document = readDocument(kind, file, data, &c.Connector)
	if !c.blank() {
		c.check()
	}
	return c
}

// tableRules are the keys that mean something of the tables of one kind of
// source, besides name, description and owner.
type tableRules struct {
	keys       []string
	strategies []string
	modes      []QueryMode
	options    []string // that there are; none: the source knows
}

// rules are those of a kind as ConnectorSpec.Kind has it.
func (c *connectorDocument) rules(kind string) tableRules {
	const full, incremental, partitioned = "full", "incremental", "partitioned"
	switch kind {
	case "files":
		return tableRules{keys: []string{"paths", "format", "types", "options", "primaryKey", "strategy", "schedule"},
			strategies: []string{full, incremental, partitioned}, options: []string{"delimiter", "quote", "header", "names", "skip", "null", "encoding",
				"decimal", "thousands", "dateFormat", "timestampFormat", "badRows", "allowEmpty", "strict"}}
	case "keboola":
		return tableRules{keys: []string{"id", "strategy", "primaryKey", "columns", "where", "schedule"}, strategies: []string{full, incremental}}
	case "bigquery":
		return tableRules{keys: []string{"id", "strategy", "primaryKey", "columns", "where", "query", "queryMode", "options", "schedule"},
			strategies: []string{full, incremental, partitioned}, modes: []QueryMode{QueryLocal, QueryRemote, QueryMaterialized},
			options: []string{"cursor", "overlap"}}
	case "jira":
		return tableRules{keys: []string{"id", "strategy", "columns", "where", "schedule"}, strategies: []string{full, incremental, partitioned}}
	case "postgres":
		return tableRules{keys: []string{"id", "strategy", "primaryKey", "columns", "where", "query", "queryMode", "options", "schedule"},
			strategies: []string{full, incremental, partitioned}, modes: []QueryMode{QueryLocal, QueryRemote, QueryMaterialized},
			options: []string{"cursor", "overlap", "partition", "unit"}}
	}
	return tableRules{keys: []string{"primaryKey", "types"}}
}

// check looks at what the keys say together.
func (c *connectorDocument) check() {
	sources := c.sources()
	kind := "program"
	if len(sources) > 0 {
		kind = sources[0]
	}
	switch {
	case c.dir != "" && len(sources) > 0:
		c.add(sources[0], "is built in, and stands in a directory with a program", "move the file to connectors/"+c.name+".yaml")
	case c.dir == "" && len(sources) == 0 && c.Image == "" && !c.bad("image"):
		c.add("", "names no source", "add one of files, keboola, bigquery, jira, postgres or image; a program is a directory with "+connectorDirFile)
	}
	for _, other := range sources[min(1, len(sources)):] {
		c.add(other, "is a second source beside "+sources[0], "make it a connector of its own")
	}
	c.checkProgramKeys(sources)
	for _, key := range []string{"timezone", "catchUp"} {
		if c.has(key) && !c.scheduled() {
			c.add(key, "has no effect without a schedule", "add schedule: daily 07:00, or remove it")
		}
	}
	for _, field := range sortedKeys(c.secrets) {
		if !connectorPlaces.MatchString(field) {
			c.problems.add(Problem{File: c.file, Line: c.secrets[field], Field: field, Text: "a secret reference is not filled in here",
				Hint: "it may stand in url, token, pat, key, accessKey, secretKey, endpoint, email, webhookSecret, headers and env"})
		}
	}
	c.checkJira()
	c.checkS3()
	c.checkTables(kind)
}

// scheduled says whether anything has a schedule.
func (c *connectorDocument) scheduled() bool {
	return c.has("schedule") || slices.ContainsFunc(c.Tables, func(t Table) bool { return t.Schedule != "" })
}

// sources are the keys of built-in sources that are there, in order.
func (c *connectorDocument) sources() (out []string) {
	for _, key := range []string{"files", "keboola", "bigquery", "jira", "postgres"} {
		if c.has(key) {
			out = append(out, key)
		}
	}
	return out
}

// checkProgramKeys refuses what only a program has, or only a directory.
func (c *connectorDocument) checkProgramKeys(sources []string) {
	for _, key := range []string{"image", "run", "requirements", "host", "env", "network", "memory", "cpus", "disk", "user"} {
		switch {
		case !c.has(key):
		case len(sources) > 0 && c.dir == "":
			c.add(key, "has no effect on "+sources[0]+", which is built in", "remove it, or make the program a connector of its own")
		case c.dir == "" && (key == "requirements" || key == "host"):
			c.add(key, "is of a directory with a program", "put the program into connectors/"+c.name+"/, with this file as "+connectorDirFile)
		case c.Host && (key == "image" || key == "network" || key == "user"):
			c.add(key, "stands beside host: true", "a process of the host has no image, and the host's network and user; remove one of the two")
		}
	}
	if len(c.Run) > maxArguments {
		c.add("run", fmt.Sprintf("has more than %d arguments", maxArguments), "put them into a file")
	}
}

func (c *connectorDocument) checkJira() {
	j := c.Jira
	if j == nil || c.bad("jira") {
		return
	}
	cloud, own := j.Email != "" && j.Token != "", j.PAT != ""
	switch {
	case own && (j.Email != "" || j.Token != ""):
		c.add("jira.pat", "stands beside email or token", "Cloud has email and token, Data Center has pat")
	case !own && !cloud:
		c.add("jira", "has no credentials", "add email and token (Cloud), or pat (Data Center)")
	}
}

func (c *connectorDocument) checkS3() {
	if c.Files == nil || c.Files.S3 == nil || c.bad("files.s3") {
		return
	}
	if s := c.Files.S3; (s.AccessKey == "") != (s.SecretKey == "") {
		c.add("files.s3", "has one half of an access key", "accessKey and secretKey belong together")
	}
}

func (c *connectorDocument) checkTables(kind string) {
	if kind != "program" && !c.has("tables") {
		c.add("", "names no tables", "add tables: [{name: NAME, …}]; fairlead connector discover lists what there is")
	}
	if len(c.Tables) > maxTables {
		c.add("tables", fmt.Sprintf("has more than %d entries", maxTables), "make several connectors of it")
		return
	}
	rules, first := c.rules(kind), map[string]int{}
	for i, t := range c.Tables {
		at := fmt.Sprintf("tables[%d]", i)
		key := strings.ToLower(t.Name) // as the catalog tells names
		if j, twice := first[key]; twice && key != "" {
			c.add(at+".name", fmt.Sprintf("%q stands twice", clip(t.Name)), fmt.Sprintf("it is tables[%d] already; upper and lower case are the same", j))
		}
		first[key] = i
		c.unique(at+".primaryKey", t.PrimaryKey)
		c.unique(at+".columns", t.Columns)
		c.unique(at+".paths", t.Paths)
		c.checkTableKeys(at, kind, t, rules)
		if !c.bad(at) {
			c.checkTable(at, kind, t)
		}
	}
}

// checkTableKeys refuses what has no effect on the tables of a kind.
func (c *connectorDocument) checkTableKeys(at, kind string, t Table, rules tableRules) {
	for _, key := range []string{"id", "strategy", "primaryKey", "columns", "where", "query", "queryMode", "schedule", "paths", "format", "types", "options"} {
		if c.has(at+"."+key) && !slices.Contains(rules.keys, key) {
			c.add(at+"."+key, "has no effect on a table of "+ofKind(kind), "there are name, description, owner, "+strings.Join(rules.keys, ", "))
		}
	}
	if t.Strategy != "" && rules.strategies != nil && !slices.Contains(rules.strategies, t.Strategy) && !c.bad(at+".strategy") {
		c.add(at+".strategy", fmt.Sprintf("%s has no strategy %s", kind, t.Strategy), "allowed: "+strings.Join(rules.strategies, ", "))
	}
	for _, key := range sortedKeys(t.Options) {
		if in := join(at+".options", key); rules.options != nil && !slices.Contains(rules.options, key) && !c.bad(in) {
			c.add(in, "unknown option", didYouMean(key, rules.options))
		}
	}
}

func ofKind(kind string) string {
	if kind == "program" {
		return "a program"
	}
	return kind
}

// checkTable looks at what the keys of a table say together.
func (c *connectorDocument) checkTable(at, kind string, t Table) {
	switch mode := QueryMode(t.QueryMode); {
	case mode == QueryMaterialized && t.Query == "":
		c.add(at+".queryMode", "is materialized, and there is no query", "add query: SELECT …")
	case mode != QueryMaterialized && t.Query != "":
		c.add(at+".query", "has no effect without queryMode: materialized", "add it, or remove the query")
	case mode == QueryMaterialized && t.ID != "":
		c.add(at+".id", "stands beside query", "the query says what is read; remove one of the two")
	case mode == QueryRemote:
		for _, key := range []string{"strategy", "columns", "where", "schedule", "options", "primaryKey"} {
			if c.has(at + "." + key) {
				c.add(at+"."+key, "has no effect on a remote table", "nothing of it is copied; write it into the queries, or use queryMode: local")
			}
		}
	}
	switch kind {
	case "files":
		c.checkFiles(at, t)
	case "keboola":
		if t.ID == "" {
			c.add(at, "has no id", "add id: the table in Storage, such as in.c-shop.orders")
		}
		if t.Strategy == "incremental" && t.Where != "" {
			c.add(at+".where", "stands beside strategy: incremental", "a row that no longer fits would stay for ever: use full, or leave where out")
		}
	case "jira":
		c.checkJiraTable(at, t)
	case "postgres":
		c.checkPostgresTable(at, t)
	case "bigquery":
		c.checkBigQueryTable(at, t)
	}
}

// checkFiles looks at where the files of a table are.
func (c *connectorDocument) checkFiles(at string, t Table) {
	if len(t.Paths) == 0 {
		c.add(at, "has no paths", "add paths: [orders/*.csv]")
	}
	for i, p := range t.Paths {
		if !strings.Contains(p, "://") && c.Files.Dir == "" && !c.bad("files") {
			c.add(fmt.Sprintf("%s.paths[%d]", at, i), "is a path of the host, and files.dir is not there", "add files: {dir: /srv/data}")
		}
	}
	if t.Strategy == "incremental" && len(t.PrimaryKey) == 0 {
		c.add(at+".strategy", "needs primaryKey, to join what changed with what is there", "name the columns that make a row the same row")
	}
	acting := map[string][]string{"json": {"badRows", "allowEmpty", "strict"}, "ndjson": {"badRows", "allowEmpty", "strict"}, "parquet": {"allowEmpty", "strict"}}[t.Format]
	for _, key := range sortedKeys(t.Options) {
		if acting != nil && !slices.Contains(acting, key) && !c.bad(join(at+".options", key)) {
			c.add(join(at+".options", key), "has no effect on "+t.Format, "on it act "+strings.Join(acting, ", "))
		}
	}
}

// checkJiraTable knows the tables that connectors/jira has, which is the
// authority on them and may not be imported here.
func (c *connectorDocument) checkJiraTable(at string, t Table) {
	id, field := t.ID, at+".id"
	if id == "" {
		id, field = t.Name, at+".name"
	}
	if all := JiraTables(); !slices.Contains(all, id) {
		hint := didYouMean(id, all)
		if t.ID == "" {
			hint = "add id: one of " + strings.Join(all, ", ")
		}
		c.add(field, fmt.Sprintf("Jira has no table %q", clip(id)), hint)
	}
	if (id == "fields" || id == "users") && t.Strategy != "" && t.Strategy != "full" {
		c.add(at+".strategy", "is not possible: the table "+id+" has no times", "use full, or remove it")
	}
}

// JiraTables are the tables that a Jira has.
func JiraTables() []string {
	return []string{"issues", "comments", "changelog", "worklogs", "links", "fields", "users"}
}

// checkBigQueryTable says what connectors/bigquery would, before it is asked.
func (c *connectorDocument) checkBigQueryTable(at string, t Table) {
	switch {
	case t.Query != "":
		for _, key := range []string{"where", "columns", "options"} {
			if c.has(at + "." + key) {
				c.add(at+"."+key, "stands beside query", "write it into the query")
			}
		}
		if t.Strategy != "" && t.Strategy != "full" {
			c.add(at+".strategy", "stands beside query", "what a query gives is taken whole; remove it")
		}
	case t.Strategy == "incremental" && t.Options["cursor"] == "":
		c.add(at+".strategy", "needs options.cursor", "name a column that only grows: options: {cursor: updated_at}")
	case t.Strategy == "partitioned" && (t.Where != "" || len(t.Options) > 0):
		c.add(at+".strategy", "takes partitions as they are, without where and options", "remove them, or use incremental")
	case t.Strategy != "incremental" && len(t.Options) > 0:
		c.add(at+".options", "has no effect with strategy full", "set strategy to incremental, or remove it")
	}
}

func (c *connectorDocument) checkPostgresTable(at string, t Table) {
	switch needs := map[string]string{"incremental": "cursor", "partitioned": "partition"}[t.Strategy]; {
	case needs != "" && t.Options[needs] == "":
		c.add(at+".strategy", "needs options."+needs, map[string]string{"cursor": "name a column that only grows: options: {cursor: updated_at}",
			"partition": "name a column with times: options: {partition: created_at, unit: month}"}[needs])
	case t.Strategy == "incremental" && t.Query != "" && len(t.PrimaryKey) == 0:
		c.add(at+".strategy", "needs primaryKey: what a query gives has none", "name the columns that make a row the same row")
	case needs == "" && len(t.Options) > 0:
		c.add(at+".options", "has no effect with strategy full", "set strategy to incremental or partitioned, or remove it")
	}
}
