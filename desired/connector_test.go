package desired

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"pgregory.net/rapid"
)

// What is said about each broken file, all at once.
func TestConnectorProblems(t *testing.T) {
	files, err := filepath.Glob("testdata/connectors/*.yaml")
	if err != nil || len(files) < 9 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = ParseConnector("connectors/"+filepath.Base(file), data)
		var problems Problems
		if !errors.As(err, &problems) {
			t.Errorf("%s: %v", file, err)
			continue
		}
		for _, p := range problems {
			if strings.ContainsAny(p.String(), "\n") || p.Line < 1 {
				t.Errorf("%s: %+v", file, p)
			}
		}
		golden(t, strings.TrimSuffix(file, ".yaml")+".golden", err.Error()+"\n")
	}
}

const hostSecrets = "TOKEN=hush-hush\nPASSWORD=p@ss/w:rd\nURL=postgres://u:s3cret%40x@db/shop\nEMPTY=\n" +
	`KEY={"client_email":"a@b","private_key":"hidden-key"}` + "\n"

// loadConnectors loads an instance with files below connectors/.
func loadConnectors(files map[string]string) (Spec, error) {
	all := map[string]string{"i/instance.yaml": "apiVersion: fairlead/v1\nname: acme\n", "i/compose.yaml": twoServices, "i/connectors/ca.pem": onePEM}
	for name, content := range files {
		all["i/connectors/"+name] = content
	}
	return Load(Input{Tree: tree(all), Dir: "i", Local: tree(map[string]string{".env": hostSecrets}), Compose: composeForTest})
}

func loadConnector(t testing.TB, text string) ConnectorSpec {
	t.Helper()
	s, err := loadConnectors(map[string]string{"a.yaml": text})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s.Connectors["a"]
}

const (
	oneTable  = "\ntables: [{name: t, id: x}]"
	ofKeboola = "keboola: {url: 'https://a', token: '${secret:TOKEN}'}"
	ofFiles   = "files: {dir: /srv}"
	ofImage   = "image: a/b:1"
)

func TestConnectorDefaults(t *testing.T) {
	got := loadConnector(t, ofKeboola+oneTable)
	want := ConnectorSpec{CatchUp: true, Timeout: time.Hour, Retries: 3, Keep: 3, Identity: got.Identity,
		Keboola: &KeboolaSource{URL: "https://a", Token: "hush-hush"},
		Tables:  []ConnectorTable{{Name: "t", ID: "x", Strategy: "full", QueryMode: QueryLocal}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got.Kind() != "keboola" || got.Tier() != "c" || len(got.Identity) != 32 {
		t.Errorf("kind %s, tier %s, identity %q", got.Kind(), got.Tier(), got.Identity)
	}
	program := loadConnector(t, ofImage)
	if p := program.Program; program.Kind() != "container" || program.Tier() != "b" || p.Memory != 512<<20 || p.Disk != 10<<30 || p.Image != "a/b:1" {
		t.Errorf("got %+v", program.Program)
	}
}

// usedByConnectors are the keys, with two ways to write each that lead to
// different specs.
var usedByConnectors = map[string][2]string{
	"description":             {ofImage, ofImage + "\ndescription: a"},
	"owner":                   {ofImage, ofImage + "\nowner: a"},
	"schedule":                {ofImage, ofImage + "\nschedule: every 1h"},
	"timezone":                {ofImage + "\nschedule: every 1h", ofImage + "\nschedule: every 1h\ntimezone: Asia/Tokyo"},
	"catchUp":                 {ofImage + "\nschedule: every 1h", ofImage + "\nschedule: every 1h\ncatchUp: false"},
	"timeout":                 {ofImage, ofImage + "\ntimeout: 2h"},
	"retries":                 {ofImage, ofImage + "\nretries: 0"},
	"keep":                    {ofImage, ofImage + "\nkeep: 1"},
	"tables":                  {ofImage, ofImage + "\ntables: [{name: a}]"},
	"tables.name":             {ofImage + "\ntables: [{name: a}]", ofImage + "\ntables: [{name: b}]"},
	"tables.id":               {ofKeboola + oneTable, ofKeboola + "\ntables: [{name: t, id: y}]"},
	"tables.strategy":         {ofKeboola + oneTable, ofKeboola + "\ntables: [{name: t, id: x, strategy: incremental}]"},
	"tables.primaryKey":       {ofKeboola + oneTable, ofKeboola + "\ntables: [{name: t, id: x, primaryKey: [a]}]"},
	"tables.columns":          {ofKeboola + oneTable, ofKeboola + "\ntables: [{name: t, id: x, columns: [a]}]"},
	"tables.where":            {ofKeboola + oneTable, ofKeboola + "\ntables: [{name: t, id: x, where: a}]"},
	"tables.query":            {byQuery("SELECT 1"), byQuery("SELECT 2")},
	"tables.queryMode":        {"bigquery: {project: acme-data}" + oneTable, "bigquery: {project: acme-data}\ntables: [{name: t, id: x, queryMode: remote}]"},
	"tables.schedule":         {ofKeboola + oneTable, ofKeboola + "\ntables: [{name: t, id: x, schedule: every 1h}]"},
	"tables.description":      {ofKeboola + oneTable, ofKeboola + "\ntables: [{name: t, id: x, description: a}]"},
	"tables.owner":            {ofKeboola + oneTable, ofKeboola + "\ntables: [{name: t, id: x, owner: a}]"},
	"tables.paths":            {byFiles("paths: [a]"), byFiles("paths: [b]")},
	"tables.format":           {byFiles("paths: [a]"), byFiles("paths: [a], format: csv")},
	"tables.types":            {byFiles("paths: [a]"), byFiles("paths: [a], types: {a: BIGINT}")},
	"tables.options":          {byFiles("paths: [a]"), byFiles("paths: [a], options: {header: false}")},
	"files":                   {byFiles("paths: [a]"), ofImage},
	"files.dir":               {byFiles("paths: [a]"), "files: {dir: /other}\ntables: [{name: t, paths: [a]}]"},
	"files.headers":           {byFiles("paths: [a]"), "files: {dir: /srv, headers: {A: b}}\ntables: [{name: t, paths: [a]}]"},
	"files.s3":                {byFiles("paths: [a]"), byS3("")},
	"files.s3.endpoint":       {byS3(""), byS3("endpoint: 'https://a'")},
	"files.s3.region":         {byS3("region: b"), byS3("region: a")},
	"files.s3.accessKey":      {byS3("accessKey: b, secretKey: '${secret:TOKEN}'"), byS3("accessKey: a, secretKey: '${secret:TOKEN}'")},
	"files.s3.secretKey":      {byS3("accessKey: a, secretKey: '${secret:PASSWORD}'"), byS3("accessKey: a, secretKey: '${secret:TOKEN}'")},
	"files.gs":                {byFiles("paths: [a]"), "files: {dir: /srv, gs: {}}\ntables: [{name: t, paths: [a]}]"},
	"files.gs.endpoint":       {"files: {dir: /srv, gs: {}}\ntables: [{name: t, paths: [a]}]", "files: {dir: /srv, gs: {endpoint: 'https://a'}}\ntables: [{name: t, paths: [a]}]"},
	"files.gs.key":            {"files: {dir: /srv, gs: {}}\ntables: [{name: t, paths: [a]}]", "files: {dir: /srv, gs: {key: '${secret:KEY}'}}\ntables: [{name: t, paths: [a]}]"},
	"keboola":                 {ofImage, ofKeboola + oneTable},
	"keboola.url":             {ofKeboola + oneTable, "keboola: {url: 'https://b', token: '${secret:TOKEN}'}" + oneTable},
	"keboola.token":           {ofKeboola + oneTable, "keboola: {url: 'https://a', token: '${secret:PASSWORD}'}" + oneTable},
	"bigquery":                {ofImage, byBigQuery("")},
	"bigquery.project":        {byBigQuery(""), "bigquery: {project: other}" + oneTable},
	"bigquery.location":       {byBigQuery(""), byBigQuery("location: EU")},
	"bigquery.key":            {byBigQuery(""), byBigQuery("key: '${secret:KEY}'")},
	"bigquery.endpoint":       {byBigQuery(""), byBigQuery("endpoint: 'https://a'")},
	"bigquery.maxBytesBilled": {byBigQuery(""), byBigQuery("maxBytesBilled: 1GiB")},
	"jira":                    {ofImage, byJira("")},
	"jira.url":                {byJira(""), "jira: {url: 'https://b', pat: '${secret:TOKEN}'}\ntables: [{name: issues}]"},
	"jira.email":              {byCloud("a@b"), byCloud("c@d")},
	"jira.token":              {byCloud("a@b"), byJira("")},
	"jira.pat":                {byJira(""), "jira: {url: 'https://a', pat: '${secret:PASSWORD}'}\ntables: [{name: issues}]"},
	"jira.jql":                {byJira(""), byJira("jql: a = b")},
	"jira.webhookSecret":      {byJira(""), byJira("webhookSecret: '${secret:TOKEN}'")},
	"postgres":                {ofImage, byPostgres("")},
	"postgres.url":            {byPostgres(""), "postgres: {url: 'postgres://u@other/d'}" + oneTable},
	"postgres.ca":             {byPostgres(""), byPostgres("ca: ca.pem")},
	"postgres.tokenEnv":       {byPostgres(""), byPostgres("tokenEnv: A")},
	"image":                   {ofImage, "image: a/b:2"},
	"run":                     {ofImage, ofImage + "\nrun: [a]"},
	"env":                     {ofImage, ofImage + "\nenv: {A: b}"},
	"network":                 {ofImage, ofImage + "\nnetwork: true"},
	"memory":                  {ofImage, ofImage + "\nmemory: 1GiB"},
	"cpus":                    {ofImage, ofImage + "\ncpus: 0.5"},
	"disk":                    {ofImage, ofImage + "\ndisk: 1GiB"},
	"user":                    {ofImage, ofImage + "\nuser: nobody"},
	"requirements":            {}, // below: they are of a directory
	"host":                    {},
}

func byQuery(query string) string {
	return "bigquery: {project: acme-data}\ntables: [{name: t, queryMode: materialized, query: '" + query + "'}]"
}

func byFiles(more string) string { return ofFiles + "\ntables: [{name: t, " + more + "}]" }

func byS3(more string) string {
	return "files: {dir: /srv, s3: {" + more + "}}\ntables: [{name: t, paths: [a]}]"
}

func byBigQuery(more string) string { return "bigquery: {project: acme-data, " + more + "}" + oneTable }

func byJira(more string) string {
	return "jira: {url: 'https://a', pat: '${secret:TOKEN}', " + more + "}\ntables: [{name: issues}]"
}

func byCloud(email string) string {
	return "jira: {url: 'https://a', token: '${secret:TOKEN}', email: " + email + "}\ntables: [{name: issues}]"
}

func byPostgres(more string) string {
	return "postgres: {url: 'postgres://u@db/d', " + more + "}" + oneTable
}

func TestEveryConnectorKeyIsUsed(t *testing.T) {
	eachField(reflect.TypeFor[Connector](), "", func(key string, _ reflect.StructField) {
		if _, ok := usedByConnectors[key]; !ok {
			t.Errorf("%s is not used", key)
		}
	})
	for key, ways := range usedByConnectors {
		if ways[0] == "" {
			continue
		}
		a, b := loadConnector(t, ways[0]), loadConnector(t, ways[1])
		if reflect.DeepEqual(a, b) {
			t.Errorf("%s: %q and %q lead to the same spec", key, ways[0], ways[1])
		}
	}
}

// A change that does not bear on the data makes none anew, and any other does.
func TestConnectorIdentity(t *testing.T) {
	same := []string{"description", "owner", "schedule", "timezone", "catchUp", "timeout", "retries", "keep", "tables.schedule", "tables.description", "tables.owner",
		"memory", "cpus", "disk", "bigquery.maxBytesBilled"}
	for key, ways := range usedByConnectors {
		if ways[0] == "" {
			continue
		}
		a, b := loadConnector(t, ways[0]), loadConnector(t, ways[1])
		if (a.Identity == b.Identity) != slices.Contains(same, key) {
			t.Errorf("%s: identities %s and %s", key, a.Identity, b.Identity)
		}
	}
	a := loadConnector(t, ofKeboola+"\ntables: [{name: a, id: x}, {name: b, id: y, strategy: full}]")
	if b := loadConnector(t, ofKeboola+"\ntables: [{name: b, id: y}, {name: a, id: x}]"); b.Identity == a.Identity {
		return
	}
	t.Error("the order of tables, or a default that is written, makes another identity")
}

// Values come from the host's own .env, are never shown in any of their forms,
// and are not part of the identity.
func TestConnectorSecrets(t *testing.T) {
	s, err := loadConnectors(map[string]string{
		"files.yaml":     "files: {headers: {Authorization: 'Bearer ${secret:TOKEN}'}, s3: {accessKey: a, secretKey: '${secret:TOKEN}'}, gs: {key: '${secret:KEY}'}}\ntables: [{name: t, paths: ['https://a/b']}]",
		"part.yaml":      "postgres: {url: 'postgres://u:${secret:PASSWORD}@db/d'}" + oneTable,
		"whole.yaml":     "postgres: {url: '${secret:URL}'}" + oneTable,
		"clear.yaml":     "postgres: {url: 'postgres://u:in-the-clear@db/d'}" + oneTable,
		"a/extractor.py": "", "a/connector.yaml": "env: {A: 'x${secret:PASSWORD}y', B: plain}",
	})
	if err != nil {
		t.Fatal(err)
	}
	f := s.Connectors["files"].Files
	got := []string{f.Headers["Authorization"], f.S3.SecretKey, s.Connectors["part"].Postgres.URL, s.Connectors["whole"].Postgres.URL, s.Connectors["a"].Program.Env["A"]}
	want := []string{"Bearer hush-hush", "hush-hush", "postgres://u:p%40ss%2Fw%3Ard@db/d", "postgres://u:s3cret%40x@db/shop", "xp@ss/w:rdy"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, value := range []string{"hush-hush", "p@ss/w:rd", "p%40ss%2Fw%3Ard", "s3cret@x", "s3cret%40x", "postgres://u:s3cret%40x@db/shop", "in-the-clear"} {
		if !slices.Contains(s.Sensitive, value) {
			t.Errorf("%s may be shown: %q", value, s.Sensitive)
		}
	}
	if notes := strings.Join(s.Notes, "\n"); strings.Count(notes, "in the clear") != 1 || !strings.Contains(notes, "i/connectors/clear.yaml:1: postgres.url: a password stands here in the clear") {
		t.Errorf("notes: %s", notes)
	}
	for name, text := range map[string]string{
		"missing":     "keboola: {url: 'https://a', token: '${secret:OTHER}'}" + oneTable,
		"empty":       "keboola: {url: 'https://a', token: '${secret:EMPTY}'}" + oneTable,
		"not a token": "keboola: {url: 'https://a', token: 'a ${secret:TOKEN}'}" + oneTable,
		"not a URL":   "keboola: {url: '${secret:TOKEN}', token: '${secret:TOKEN}'}" + oneTable,
		"a key":       "bigquery: {project: acme-data, key: '${secret:TOKEN}'}" + oneTable,
		"a clear key": `bigquery: {project: acme-data, key: '{"client_email": "a", "private_key": "-----BEGIN PRIVATE KEY-----"}'}` + oneTable,
	} {
		_, err := loadConnectors(map[string]string{"a.yaml": text})
		if err == nil || !strings.HasPrefix(err.Error(), "i/connectors/a.yaml:1: ") || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An instance without containers has the host's secrets too; a load for no host
// leaves references as they are, and says what each host needs.
func TestConnectorsAlone(t *testing.T) {
	in := Input{Tree: tree(map[string]string{"instance.yaml": "apiVersion: fairlead/v1\nname: acme\nallowEmpty: true\n", "connectors/a.yaml": ofKeboola + oneTable}),
		Dir: ".", Local: tree(map[string]string{".env": hostSecrets}), Compose: composeForTest}
	s, err := Load(in)
	if err != nil || s.Connectors["a"].Keboola.Token != "hush-hush" {
		t.Errorf("%+v, %v", s.Connectors, err)
	}
	in.AnyHost, in.Local = true, nil
	any, err := Load(in)
	if err != nil || any.Connectors["a"].Keboola.Token != "${secret:TOKEN}" || any.Connectors["a"].Identity != s.Connectors["a"].Identity {
		t.Errorf("%+v, %v", any.Connectors, err)
	}
	if len(any.Notes) != 1 || !strings.Contains(any.Notes[0], "each host needs values for TOKEN") {
		t.Errorf("notes: %q", any.Notes)
	}
	if a, b := s.Hash(), any.Hash(); a == b {
		t.Error("connectors are not part of the hash")
	}
}

func TestConnectorNames(t *testing.T) {
	const program = "connector.yaml"
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"a dash":        {map[string]string{"a-b.yaml": ofImage}, `i/connectors/a-b.yaml: "a-b" is not a connector's name`},
		"reserved":      {map[string]string{"Temp.yaml": ofImage}, "the catalog has one of this name itself"},
		"reserved dir":  {map[string]string{"main/" + program: "", "main/extractor.sh": ""}, "i/connectors/main: "},
		"by case":       {map[string]string{"Shop.yaml": ofImage, "shop.yaml": ofImage}, "i/connectors/shop.yaml: the name shop is used by i/connectors/Shop.yaml already"},
		"both forms":    {map[string]string{"shop.yaml": ofImage, "shop/" + program: "", "shop/extractor.py": ""}, "is used by i/connectors/shop/connector.yaml already"},
		"misnamed":      {map[string]string{"shop.yml": ofImage}, "i/connectors/shop.yml: is not read (rename it to shop.yaml)"},
		"misnamed dir":  {map[string]string{"shop/connector.yml": ""}, "i/connectors/shop/connector.yml: is not read (rename it to connector.yaml)"},
		"built in dir":  {map[string]string{"shop/" + program: ofKeboola + oneTable, "shop/extractor.py": ""}, "keboola: is built in, and stands in a directory"},
		"no program":    {map[string]string{"shop/" + program: "", "shop/main.py": ""}, "there is no extractor.* in the directory"},
		"two programs":  {map[string]string{"shop/" + program: "", "shop/extractor.py": "", "shop/extractor.sh": ""}, "there are extractor.py and extractor.sh"},
		"requirements":  {map[string]string{"shop/" + program: "requirements: r.txt", "shop/extractor.py": ""}, `requirements: there is no file "r.txt"`},
		"no CA":         {map[string]string{"a.yaml": byPostgres("ca: none.pem")}, `postgres.ca: there is no file "none.pem"`},
		"a key as CA":   {map[string]string{"a.yaml": byPostgres("ca: k.pem"), "k.pem": "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"}, "holds a private key"},
		"broken beside": {map[string]string{"a.yaml": "image: a/b:1\nimag: x", "b.yaml": ofImage}, "i/connectors/a.yaml:2: imag: unknown key (did you mean image?)"},
	} {
		if _, err := loadConnectors(c.files); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, err := loadConnectors(map[string]string{".#a.yaml": "editor", "README.md": "", "lib/helper.py": "", "b.yaml": ofImage})
	if err != nil || len(s.Connectors) != 1 {
		t.Errorf("%v, %v", s.Connectors, err)
	}
}

// The directory of a program is one of the files of the spec, without its
// connector.yaml; links stay inside.
func TestProgramDirectory(t *testing.T) {
	load := func(change func(fstest.MapFS)) (Spec, error) {
		files := fstest.MapFS{
			"instance.yaml": {Data: []byte("apiVersion: fairlead/v1\nname: acme\nallowEmpty: true\n")}, "connectors/p/connector.yaml": {Data: []byte("schedule: every 1h")},
			"connectors/p/extractor.sh": {Data: []byte("#!/bin/sh\n"), Mode: 0o755}, "connectors/p/requirements.txt": {Mode: 0o644},
			"connectors/p/lib/a.py": {Data: []byte("a"), Mode: 0o644}, "connectors/p/lib/b.py": {Data: []byte("a.py"), Mode: fs.ModeSymlink},
			"connectors/p/.git/config": {}, "connectors/p/__pycache__/a.pyc": {},
		}
		change(files)
		return Load(Input{Tree: files, Dir: ".", Compose: composeForTest})
	}
	s, err := load(func(fstest.MapFS) {})
	if err != nil {
		t.Fatal(err)
	}
	p := s.Connectors["p"]
	want := []FileEntry{{Path: "extractor.sh", Mode: 0o755, Content: []byte("#!/bin/sh\n")}, {Path: "lib/a.py", Mode: 0o644, Content: []byte("a")},
		{Path: "lib/b.py", Mode: 0o777, Link: "a.py"}, {Path: "requirements.txt", Mode: 0o644, Content: []byte{}}}
	if got := s.Files[p.Program.Files]; !reflect.DeepEqual(got.Entries, want) || got.Hash() != p.Program.Files || p.Program.Requirements != "requirements.txt" || p.Tier() != "a" {
		t.Errorf("got %+v, %+v", got, p.Program)
	}
	other, err := load(func(m fstest.MapFS) {
		m["connectors/p/connector.yaml"] = &fstest.MapFile{Data: []byte("schedule: every 2h")}
	})
	if err != nil || other.Connectors["p"].Identity != p.Identity {
		t.Errorf("another schedule is another identity: %v", err)
	}
	other, err = load(func(m fstest.MapFS) { m["connectors/p/lib/a.py"].Data = []byte("b") })
	if err != nil || other.Connectors["p"].Identity == p.Identity {
		t.Errorf("another program is the same: %v", err)
	}
	for want, change := range map[string]func(fstest.MapFS){
		"a symbolic link that leads out": func(m fstest.MapFS) {
			m["connectors/p/l"] = &fstest.MapFile{Data: []byte("../../instance.yaml"), Mode: fs.ModeSymlink}
		},
		"connectors/p/abs: is a symbolic link": func(m fstest.MapFS) {
			m["connectors/p/abs"] = &fstest.MapFile{Data: []byte("/etc/passwd"), Mode: fs.ModeSymlink}
		},
		"is a Git submodule":                func(m fstest.MapFS) { m["connectors/p/sub"] = &fstest.MapFile{Mode: fs.ModeIrregular} },
		"is neither a file nor a directory": func(m fstest.MapFS) { m["connectors/p/fifo"] = &fstest.MapFile{Mode: fs.ModeNamedPipe} },
		"is larger than 16 MiB":             func(m fstest.MapFS) { m["connectors/p/big"] = &fstest.MapFile{Data: make([]byte, maxProgramFile+1)} },
		"is nested deeper than":             func(m fstest.MapFS) { m["connectors/p/"+strings.Repeat("d/", 40)+"f"] = &fstest.MapFile{} },
		"holds more than 5000 files": func(m fstest.MapFS) {
			for i := range maxProgramFiles {
				m[fmt.Sprintf("connectors/p/many/%d", i)] = &fstest.MapFile{}
			}
		},
	} {
		if _, err := load(change); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// What the documents show of connectors is read without a problem.
func TestConnectorsInDocsAreRight(t *testing.T) {
	data, err := os.ReadFile(configurationDoc)
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n# (connectors/[a-z/.]+)[^\n]*\n(.*?)```").FindAllSubmatch(data, -1)
	for _, m := range blocks {
		if _, err := ParseConnector(string(m[1]), m[2]); err != nil {
			t.Errorf("%v", err)
		}
	}
	if len(blocks) < 2 {
		t.Errorf("found %d blocks", len(blocks))
	}
}

// The schema takes what the reader takes, and refuses what has another form.
func TestConnectorSchema(t *testing.T) {
	s := compile(t, ConnectorSchema)
	files, err := filepath.Glob("../examples/connectors/connectors/*.yaml")
	if err != nil || len(files) < 6 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range append(files, "../examples/connectors/connectors/weather/connector.yaml") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := schemaAccepts(t, s, string(data)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if _, err := ParseConnector(file, data); err != nil {
			t.Error(err)
		}
	}
	for key, ways := range usedByConnectors {
		for _, text := range ways {
			if err := schemaAccepts(t, s, text); err != nil && text != "" {
				t.Errorf("%s: %q: %v", key, text, err)
			}
		}
	}
	for _, text := range []string{"[]", "nope: 1", "schedule: 5", "schedule: hourly", "keep: 0", "memory: 512", "memory: 5 MB", "cpus: 0", "catchUp: 1", "keboola: {url: 'https://a'}",
		"keboola: {url: 'ftp://a', token: a}", "tables: [{}]", "tables: [{name: a-b}]", "tables: [{name: a, strategy: some}]", "tables: [{name: a, paths: [/etc]}]",
		"tables: [{name: a, types: {a: 'x;y'}}]", "image: 'a b'", "postgres: {url: 'mysql://a'}", "jira: {url: 'https://a', token: 'a b'}", "env: {'a b': c}"} {
		if err := schemaAccepts(t, s, text); err == nil {
			t.Errorf("the schema takes %q", text)
		}
		if _, err := ParseConnector("c.yaml", []byte(text)); err == nil {
			t.Errorf("the reader takes %q", text)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]Size{"0B": 0, "512MiB": 512 << 20, "1.5GB": 1_500_000_000, "1.5KiB": 1536, "2TiB": 2 << 40, "7kB": 7000, "0.25B": 0} {
		if got, err := ParseSize(text); got != want || err != nil {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "5", "MiB", "-1MiB", "1 MiB", "1mib", "1m", "9223372036854775807B", "999999999999TiB", "1.MiB"} {
		if got, err := ParseSize(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
	rapid.Check(t, func(r *rapid.T) {
		s := Size(rapid.Int64Range(0, 1<<59).Draw(r, "size"))
		if got, err := ParseSize(s.String()); got != s || err != nil {
			r.Fatalf("%s is read as %d, %v", s, got, err)
		}
	})
}

func FuzzParseConnector(f *testing.F) {
	for _, glob := range []string{"testdata/connectors/*.yaml", "../examples/connectors/connectors/*.yaml"} {
		files, err := filepath.Glob(glob)
		if err != nil || len(files) == 0 {
			f.Fatal(files, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data, false)
		}
	}
	f.Add([]byte("run: [python3]"), true)
	f.Fuzz(func(t *testing.T, data []byte, dir bool) {
		file := "connectors/a.yaml"
		if dir {
			file = "connectors/a/connector.yaml"
		}
		c := parseConnector(file, data)
		lines := 1 + strings.Count(string(data), "\n") + strings.Count(string(data), "\r") + strings.Count(string(data), "\u0085") +
			strings.Count(string(data), "\u2028") + strings.Count(string(data), "\u2029")
		for _, p := range c.problems {
			if len(data) <= maxBytes && (p.Line < 1 || p.Line > lines) || p.Text == "" || strings.ContainsAny(p.String(), "\n\r") {
				t.Errorf("%+v with %d lines", p, lines)
			}
		}
		if len(c.problems) > 0 {
			return
		}
		s := c.spec()
		kinds := 0
		for _, there := range []bool{s.Files != nil, s.Keboola != nil, s.BigQuery != nil, s.Jira != nil, s.Postgres != nil, s.Program != nil} {
			if there {
				kinds++
			}
		}
		if kinds != 1 || s.identity() != c.spec().identity() || s.Timeout <= 0 || s.Keep < 1 || (c.Schedule != "") != (s.Schedule != nil) {
			t.Errorf("%d kinds, %+v", kinds, s)
		}
		for _, table := range s.Tables {
			if !connectorNameRegexp.MatchString(table.Name) {
				t.Errorf("a table %q", table.Name)
			}
		}
	})
}

// TestWhatASourceWouldRefuse says of a connector before it runs what its source
// would say then, and refuses nothing else.
func TestWhatASourceWouldRefuse(t *testing.T) {
	for url, good := range map[string]bool{
		"postgres://u@db/d": true, "postgres://u@db/d?sslmode=require": true, "postgres://u@/d?host=/run/postgresql": true, "postgres://u@:5433/d?host=/run/pg&sslmode=disable": true,
		"postgres://u@db/d?sslmode=prefer": false, "postgres://u@db/d?sslmode=allow": false, "postgres://u@db/d?sslmode=": false, "postgres://u@db/d?passfile=/etc/shadow": false,
		"postgres://u@db/d?sslmode=disable&sslmode=require": false, "postgres://u@db/d?host=/run": false, "postgres://u@/d?host=db": false, "postgres://u@a,b/d": false,
	} {
		if _, err := ParseConnector("a.yaml", []byte("postgres: {url: '"+url+"'}"+oneTable)); (err == nil) != good {
			t.Errorf("%s: %v", url, err)
		}
	}
	for options, good := range map[string]bool{
		"format: json, options: {badRows: skip, strict: 'true', allowEmpty: 'true'}": true, "format: ndjson, options: {badRows: skip}": true,
		"format: parquet, options: {strict: 'true', allowEmpty: 'true'}": true, "format: csv, options: {delimiter: ';'}": true, "options: {delimiter: ';'}": true,
		"format: parquet, options: {badRows: skip}": false, "format: json, options: {delimiter: ';'}": false, "format: ndjson, options: {encoding: utf-16}": false,
	} {
		if _, err := ParseConnector("a.yaml", []byte("files: {dir: /srv}\ntables: [{name: a, paths: [a], "+options+"}]")); (err == nil) != good {
			t.Errorf("%s: %v", options, err)
		}
	}
}
