package desired

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
)

// readConnectors reads the files of connectors, and the directories of programs.
func (l *loader) readConnectors() error {
	found, odd, err := connectorFiles(l.fsys, l.dir)
	if err != nil {
		return err
	}
	l.problems = append(l.problems, odd...)
	if len(found) > maxConnectors {
		l.problems = append(l.problems, Problem{File: path.Join(l.dir, connectorsDir), Text: fmt.Sprintf("holds more than %d connectors", maxConnectors),
			Hint: "make several instances of it"})
		return nil
	}
	l.programs = map[string]FileTree{}
	for _, name := range found {
		file := path.Join(l.dir, name)
		data, err := readBounded(l.fsys, file)
		if err != nil {
			return err
		}
		c := parseConnector(file, data)
		l.connectors = append(l.connectors, c)
		if c.dir == "" {
			continue
		}
		tree, odd, err := programTree(l.fsys, c.dir)
		if err != nil {
			return err
		}
		if odd != nil {
			c.problems.add(*odd)
			continue
		}
		l.programs[c.name] = tree
		c.checkProgram(tree)
	}
	l.checkConnectorNames()
	return nil
}

// checkConnectorNames looks at the names, which are those of schemas in the
// catalog: it does not tell them by case.
func (l *loader) checkConnectorNames() {
	first, rule := map[string]*connectorDocument{}, syntaxes["table"]
	rule.what = "a connector's name"
	for _, c := range l.connectors {
		file := path.Join(path.Dir(c.file), c.name+".yaml")
		if c.dir != "" {
			file = c.dir
		}
		if text := rule.text(c.name); text != "" {
			c.problems.add(Problem{File: file, Text: text, Hint: rule.advice(c.name)})
			continue
		}
		key := strings.ToLower(c.name)
		if other, twice := first[key]; twice {
			c.problems.add(Problem{File: c.file, Text: fmt.Sprintf("the name %s is used by %s already", c.name, other.file),
				Hint: "give one of them another name; upper and lower case are the same"})
			continue
		}
		first[key] = c
	}
}

// checkProgram looks for what a directory has to hold.
func (c *connectorDocument) checkProgram(tree FileTree) {
	if c.has("requirements") && !c.bad("requirements") && !tree.has(path.Clean(c.Requirements)) {
		c.add("requirements", fmt.Sprintf("there is no file %q", clip(c.Requirements)), "the path is relative to this directory")
	}
	if len(c.Run) > 0 || c.bad("run") {
		return
	}
	extractors := slices.DeleteFunc(slices.Clone(tree.Entries), func(e FileEntry) bool {
		return e.Path != "extractor" && (!strings.HasPrefix(e.Path, "extractor.") || strings.Contains(e.Path, "/"))
	})
	switch {
	case len(extractors) > 1:
		c.add("", fmt.Sprintf("there are %s and %s", extractors[0].Path, extractors[1].Path), "say which one: run: [python3, "+extractors[0].Path+"]")
	case len(extractors) == 0:
		c.add("", "there is no extractor.* in the directory", "add extractor.py, or say what is run: run: [python3, main.py]")
	}
}

// has says whether the tree has a file.
func (t FileTree) has(name string) bool {
	return slices.ContainsFunc(t.Entries, func(e FileEntry) bool { return e.Path == name })
}

// connectorRoots reads the certificates that connectors trust, by name.
func (l *loader) connectorRoots() (map[string]string, error) {
	roots := map[string]string{}
	for _, c := range l.connectors {
		if c.Postgres == nil {
			continue
		}
		ca, err := l.roots(&c.document, "postgres.ca", c.Postgres.CA)
		if err != nil {
			return nil, err
		}
		roots[c.name] = ca
	}
	return roots, nil
}

// withPrograms adds the directories of programs to the files of the project.
func (l *loader) withPrograms(files map[string]FileTree) map[string]FileTree {
	if len(l.programs) == 0 {
		return files
	}
	all := map[string]FileTree{}
	maps.Copy(all, files)
	for _, tree := range l.programs {
		all[tree.Hash()] = tree
	}
	return all
}

// connectorSpecs are the specifications of the connectors.
func (l *loader) connectorSpecs(p Project, roots map[string]string) map[string]ConnectorSpec {
	if len(l.connectors) == 0 {
		return nil
	}
	specs := map[string]ConnectorSpec{}
	for _, c := range l.connectors {
		s := c.spec()
		if s.Postgres != nil {
			s.Postgres.CA = roots[c.name]
		}
		if tree, ok := l.programs[c.name]; ok && s.Program != nil {
			c.directory(s.Program, tree)
		}
		s.Identity = s.identity()
		f := l.filler(&c.document, p.HostEnv)
		f.connector(&s)
		l.noteHostSecretsIn(&c.document, "", f.wanted)
		specs[c.name] = s
	}
	return specs
}

// spec is what the file says, with defaults and without secrets.
func (c *connectorDocument) spec() ConnectorSpec {
	s := ConnectorSpec{Description: c.Description, Owner: c.Owner, CatchUp: c.CatchUp == nil || *c.CatchUp,
		Timeout: orDefault(c.Timeout, DefaultRunTimeout), Retries: DefaultRunRetries, Keep: cmp.Or(c.Keep, DefaultKeep),
		Schedule: c.schedule(c.Schedule)}
	if c.Retries != nil {
		s.Retries = *c.Retries
	}
	switch {
	case c.Files != nil:
		s.Files = filesSource(*c.Files)
	case c.Keboola != nil:
		s.Keboola = &KeboolaSource{URL: c.Keboola.URL, Token: c.Keboola.Token}
	case c.BigQuery != nil:
		b := c.BigQuery
		s.BigQuery = &BigQuerySource{Project: b.Project, Location: b.Location, Key: b.Key, Endpoint: b.Endpoint, MaxBytesBilled: bytesOr(b.MaxBytesBilled, 0)}
	case c.Jira != nil:
		j := c.Jira
		s.Jira = &JiraSource{URL: j.URL, Email: j.Email, Token: j.Token, PAT: j.PAT, JQL: j.JQL, WebhookSecret: j.WebhookSecret}
	case c.Postgres != nil:
		s.Postgres = &PostgresSource{URL: c.Postgres.URL, TokenEnv: cmp.Or(c.Postgres.TokenEnv, strings.ToUpper("PG_" + strings.Trim(c.name, "_"))[:min(64, len("PG_"+strings.Trim(c.name, "_")))])}
	default:
		s.Program = &ProgramSource{Image: c.Image, Host: c.Host, Run: c.Run, Requirements: c.Requirements, Env: c.Env, Network: c.Network,
			Memory: bytesOr(c.Memory, DefaultMemory), CPUs: c.CPUs, Disk: bytesOr(c.Disk, DefaultDisk), User: c.User}
	}
	for _, t := range c.Tables {
		s.Tables = append(s.Tables, c.table(t, s.Program != nil))
	}
	return s
}

// directory adds what the directory of a program says.
func (c *connectorDocument) directory(p *ProgramSource, tree FileTree) {
	p.Files = tree.Hash()
	if p.Requirements == "" && tree.has("requirements.txt") {
		p.Requirements = "requirements.txt"
	}
}

func (c *connectorDocument) table(t Table, program bool) ConnectorTable {
	out := ConnectorTable{Name: t.Name, ID: t.ID, Strategy: t.Strategy, PrimaryKey: t.PrimaryKey, Columns: t.Columns, Where: t.Where, Query: t.Query,
		QueryMode: QueryMode(t.QueryMode), Schedule: c.schedule(t.Schedule), Description: t.Description, Owner: t.Owner,
		Paths: t.Paths, Format: t.Format, Types: t.Types, Options: t.Options}
	if program {
		return out
	}
	out.QueryMode = cmp.Or(out.QueryMode, QueryLocal)
	if out.ID == "" && out.Query == "" && len(out.Paths) == 0 {
		out.ID = t.Name
	}
	if out.QueryMode != QueryRemote {
		out.Strategy = cmp.Or(out.Strategy, "full")
	}
	return out
}

// schedule is nil of what is not there, or is wrong and was reported.
func (c *connectorDocument) schedule(text string) *Schedule {
	s, err := ParseSchedule(text, c.Timezone)
	if text == "" || err != nil {
		return nil
	}
	return &s
}

func bytesOr(s *Size, otherwise int64) int64 {
	if s == nil {
		return otherwise
	}
	return int64(*s)
}

func filesSource(f FilesConnector) *FilesSource {
	s := &FilesSource{Dir: f.Dir, Headers: f.Headers}
	if f.S3 != nil {
		s.S3 = &S3Access{Endpoint: f.S3.Endpoint, Region: f.S3.Region, AccessKey: f.S3.AccessKey, SecretKey: f.S3.SecretKey}
	}
	if f.GS != nil {
		s.GS = &GSAccess{Endpoint: f.GS.Endpoint, Key: f.GS.Key}
	}
	return s
}

// identity hashes what bears on the data: neither when it is brought, nor how
// often that is tried and with what means, nor how it is described. Secrets are
// not filled in yet: another value of one is no other data.
func (s ConnectorSpec) identity() string {
	s.Description, s.Owner, s.Schedule, s.CatchUp, s.Timeout, s.Retries, s.Keep, s.Identity = "", "", nil, false, 0, 0, 0, ""
	s.Tables = slices.Clone(s.Tables)
	for i := range s.Tables {
		s.Tables[i].Description, s.Tables[i].Owner, s.Tables[i].Schedule = "", "", nil
	}
	slices.SortFunc(s.Tables, func(a, b ConnectorTable) int { return strings.Compare(a.Name, b.Name) })
	if s.Program != nil {
		p := *s.Program
		p.Memory, p.CPUs, p.Disk = 0, 0, 0
		s.Program = &p
	}
	if s.BigQuery != nil {
		b := *s.BigQuery
		b.MaxBytesBilled = 0
		s.BigQuery = &b
	}
	return hashJSON(s)
}

// connector fills in the secrets of a connector.
func (f *filler) connector(s *ConnectorSpec) {
	if x := s.Files; x != nil {
		x.Headers = maps.Clone(x.Headers)
		for _, name := range sortedKeys(x.Headers) {
			x.Headers[name] = f.header(join("files.headers", name), x.Headers[name])
		}
		if x.S3 != nil {
			x.S3.Endpoint = f.address("files.s3.endpoint", x.S3.Endpoint, "serviceURL")
			x.S3.AccessKey = f.checked("files.s3.accessKey", x.S3.AccessKey, "token")
			x.S3.SecretKey = f.secretText("files.s3.secretKey", x.S3.SecretKey, "token")
		}
		if x.GS != nil {
			x.GS.Endpoint = f.address("files.gs.endpoint", x.GS.Endpoint, "serviceURL")
			x.GS.Key = f.secretText("files.gs.key", x.GS.Key, "accountKey")
		}
	}
	if x := s.Keboola; x != nil {
		x.URL, x.Token = f.address("keboola.url", x.URL, "serviceURL"), f.secretText("keboola.token", x.Token, "token")
	}
	if x := s.BigQuery; x != nil {
		x.Endpoint, x.Key = f.address("bigquery.endpoint", x.Endpoint, "serviceURL"), f.secretText("bigquery.key", x.Key, "accountKey")
	}
	if x := s.Jira; x != nil {
		x.URL, x.Email = f.address("jira.url", x.URL, "serviceURL"), f.checked("jira.email", x.Email, "login")
		x.Token, x.PAT = f.secretText("jira.token", x.Token, "token"), f.secretText("jira.pat", x.PAT, "token")
		x.WebhookSecret = f.secretText("jira.webhookSecret", x.WebhookSecret, "token")
	}
	if x := s.Postgres; x != nil {
		x.URL = f.database("postgres.url", x.URL)
	}
	if x := s.Program; x != nil {
		x.Env = maps.Clone(x.Env)
		for _, name := range sortedKeys(x.Env) {
			x.Env[name] = f.checked(join("env", name), x.Env[name], "envValue")
		}
	}
}

// checked fills in a value that need not be secret, and looks at the result.
func (f *filler) checked(at, text, is string) string {
	value := f.raw(at, text)
	if wrong := syntaxes[is].text(value); wrong != "" && value != text && !f.in.AnyHost && !f.doc.bad(at) {
		f.doc.add(at, wrong, lookAtValue)
	}
	return value
}

func (f *filler) header(at, text string) string {
	value := f.raw(at, text)
	if text != value {
		value = strings.TrimSpace(value)
	}
	if wrong := syntaxes["headerValue"].text(value); wrong != "" && !f.doc.bad(at) {
		f.doc.add(at, wrong, "the value has a line break or a control character")
	}
	return value
}

// address fills in a URL. What is only a part of it is escaped, so that it
// stays one.
func (f *filler) address(at, text, is string) string {
	if secretWhole.MatchString(text) {
		return f.checked(at, text, is)
	}
	escaped := secretUse.ReplaceAllStringFunc(text, func(use string) string {
		value := f.raw(at, use)
		if f.in.AnyHost {
			return use
		}
		f.hide(value, escapeSecret(value))
		return escapeSecret(value)
	})
	if wrong := syntaxes[is].text(escaped); wrong != "" && escaped != text && !f.doc.bad(at) {
		f.doc.add(at, wrong, lookAtValue)
	}
	return escaped
}

// database fills in the URL of a database, whose password is a secret however
// it came there.
func (f *filler) database(at, text string) string {
	value := f.address(at, text, "postgresURL")
	u, err := url.Parse(value)
	if err != nil || f.doc.bad(at) || f.in.AnyHost && secretUse.MatchString(text) {
		return value
	}
	password, there := u.User.Password()
	if there && !secretUse.MatchString(text) && !f.own {
		f.noteIn(f.doc, at, "a password stands here in the clear", "write "+postgresHint+", and give it a value: fairlead secret set")
	}
	_, written, _ := strings.Cut(u.User.String(), ":")
	f.hide(password, written)
	return value
}
