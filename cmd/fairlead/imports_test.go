package main

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/fairlead/fairlead/"

// listed is what go list tells of a package.
type listed struct {
	ImportPath string
	Doc        string
	Imports    []string
	Deps       []string
	GoFiles    []string
}

func listPackages(t *testing.T) map[string]listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Doc,Imports,Deps,GoFiles", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	all, dec := map[string]listed{}, json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimPrefix(p.ImportPath, module)] = p
	}
}

// within reports whether a path is one of the roots or below it.
func within(path string, roots ...string) bool {
	return slices.ContainsFunc(roots, func(r string) bool { return path == r || strings.HasPrefix(path, r+"/") })
}

// others are the imports that are neither of the standard library nor our own.
func others(paths []string) (out []string) {
	for _, p := range paths {
		first, _, _ := strings.Cut(p, "/")
		if strings.Contains(first, ".") && !strings.HasPrefix(p, module) {
			out = append(out, p)
		}
	}
	return out
}

func own(paths []string) (out []string) {
	for _, p := range paths {
		if rest, ours := strings.CutPrefix(p, module); ours {
			out = append(out, rest)
		}
	}
	return out
}

// TestRoomsImportInward holds the rooms apart: who may import which of our own
// packages, and which libraries directly.
func TestRoomsImportInward(t *testing.T) {
	all := listPackages(t)
	const driverContract = "reconciler/docker/swap" // pure steps that the driver in memory shares
	rooms := map[string]struct{ own, libraries []string }{
		"desired":               {nil, []string{"go.yaml.in/yaml", "github.com/invopop/jsonschema"}},
		"desired/secrets":       {[]string{"desired"}, []string{"filippo.io/age", "go.yaml.in/yaml"}},
		"desired/compose":       {[]string{"desired"}, []string{"github.com/compose-spec/compose-go", "go.yaml.in/yaml", "github.com/docker/go-units", "github.com/docker/go-connections"}},
		"desired/edit":          {nil, []string{"go.yaml.in/yaml"}},
		"desired/git":           {[]string{"desired"}, []string{"github.com/go-git", "github.com/fsnotify/fsnotify", "golang.org/x", "github.com/sirupsen/logrus"}},
		"reconciler":            {[]string{"desired"}, []string{"github.com/sirupsen/logrus", "go.etcd.io/bbolt", "golang.org/x/sync"}},
		"reconciler/dbfile":     {nil, []string{"go.etcd.io/bbolt"}},
		"reconciler/drivertest": {[]string{"desired", "reconciler", driverContract, "examples/ports"}, nil},
		"reconciler/docker": {[]string{"desired", "reconciler", driverContract}, []string{"github.com/docker", "github.com/containerd/errdefs",
			"github.com/sirupsen/logrus", "github.com/opencontainers", "github.com/moby", "golang.org/x/sync", "golang.org/x/sys",
			"github.com/google/go-containerregistry/pkg/authn", "github.com/google/go-containerregistry/pkg/name"}}, // credentials of registries
		driverContract:      {[]string{"desired", "reconciler"}, nil},
		"reconciler/verify": {[]string{"desired", "reconciler"}, nil},
		"release":           {nil, nil},
		"certs": {[]string{"desired", "reconciler", "certs/acme", "certs/acme/dns01", "certs/deliver", "certs/pair", "certs/source", "certs/store"},
			[]string{"github.com/prometheus/client_golang/prometheus", "github.com/sirupsen/logrus"}},
		"certs/deliver": {[]string{"desired", "reconciler", "certs/pair", "certs/store"}, nil},
		"certs/pair":    {nil, []string{"software.sslmate.com/src/go-pkcs12"}},
		"certs/store":   {[]string{"certs/pair"}, nil},
		"certs/source":  {[]string{"reconciler", "certs/cloud", "desired/secrets"}, []string{"github.com/sirupsen/logrus"}}, // the classes of errors
		"certs/acme": {nil, []string{"github.com/caddyserver/certmagic", "github.com/mholt/acmez", "github.com/libdns/libdns", "github.com/miekg/dns",
			"github.com/sirupsen/logrus", "golang.org/x/sys"}},
		"certs/cloud":      {nil, nil}, // what the clients of clouds have in common
		"certs/acme/dns01": {[]string{"certs/cloud"}, []string{"github.com/libdns/libdns", "github.com/miekg/dns"}},
		"reconciler/registry": {[]string{"desired", "reconciler", "release"}, []string{"github.com/google/go-containerregistry",
			"github.com/sirupsen/logrus", "golang.org/x/time"}},
		"server":               {[]string{"desired", "desired/edit", "desired/secrets", "reconciler", "connectors", "server/auth", "server/hooks"}, []string{"golang.org/x/sync", "golang.org/x/sys", "github.com/prometheus/client_golang", "github.com/danielgtaylor/huma", "github.com/sirupsen/logrus"}},
		"server/hooks":         {nil, nil},
		"server/hostile":       {nil, []string{"github.com/getkin/kin-openapi"}}, // for tests
		"server/auth":          {nil, []string{"go.etcd.io/bbolt", "github.com/golang-jwt/jwt", "golang.org/x/crypto", "golang.org/x/text"}},
		"server/auth/authtest": {[]string{"server/auth"}, []string{"go.etcd.io/bbolt"}},
		"server/pages":         {[]string{"desired", "reconciler", "connectors", "server", "server/auth"}, []string{"github.com/sirupsen/logrus"}},
		"server/notify":        {[]string{"desired", "reconciler"}, []string{"github.com/nicholas-fedor/shoutrrr", "github.com/sirupsen/logrus"}},
		"server/notify/forge":  {nil, []string{"github.com/sirupsen/logrus"}},
		"server/front": {[]string{"desired", "reconciler"}, []string{"github.com/prometheus/client_golang/prometheus", "github.com/sirupsen/logrus",
			"golang.org/x/sync"}},
		"connectors":                        {[]string{"desired", "reconciler"}, []string{"github.com/sirupsen/logrus"}},
		"connectors/analytics":              {[]string{"desired", "connectors", "connectors/analytics/wire"}, []string{"github.com/sirupsen/logrus", "golang.org/x/sys"}},
		"connectors/analytics/wire":         {[]string{"connectors"}, nil},
		"connectors/analytics/duck":         {[]string{"desired", "connectors", "connectors/analytics/wire"}, []string{"github.com/duckdb/duckdb-go", "github.com/duckdb/duckdb-go-bindings", "github.com/apache/arrow-go", "golang.org/x/sys"}},
		"connectors/internal/rest":          {nil, nil},                                                               // what the clients of services have in common
		"connectors/internal/google":        {[]string{"certs/cloud", "connectors", "connectors/internal/rest"}, nil}, // tokens of service accounts
		"connectors/internal/rest/resttest": {[]string{"connectors/internal/rest"}, nil},
		"connectors/files":                  {[]string{"certs/cloud", "connectors", "connectors/internal/google", "connectors/internal/rest", "desired"}, []string{"github.com/sirupsen/logrus", "golang.org/x/text"}},
		"connectors/keboola":                {[]string{"connectors", "connectors/internal/rest"}, []string{"github.com/sirupsen/logrus"}},
		"connectors/postgres":               {[]string{"desired", "connectors", "connectors/internal/rest"}, []string{"github.com/jackc/pgx/v5/pgconn", "github.com/sirupsen/logrus"}},
		"connectors/program":                {[]string{"desired", "reconciler", "connectors"}, []string{"github.com/sirupsen/logrus", "golang.org/x/sys"}},
		"connectors/starter":                {[]string{"connectors"}, nil},
		"connectors/bigquery":               {[]string{"desired", "connectors", "connectors/internal/rest", "connectors/internal/google"}, []string{"github.com/sirupsen/logrus", "golang.org/x/sync"}},
		"connectors/jira":                   {[]string{"connectors", "connectors/internal/rest"}, []string{"github.com/sirupsen/logrus"}},
	}
	for name, rule := range rooms {
		p, there := all[name]
		if !there {
			t.Errorf("there is no package %s: mend this table", name)
		}
		for _, dep := range own(p.Imports) {
			if !slices.Contains(rule.own, dep) {
				t.Errorf("%s imports %s", name, dep)
			}
		}
		for _, dep := range others(p.Imports) {
			if !within(dep, rule.libraries...) {
				t.Errorf("%s imports %s", name, dep)
			}
		}
	}
	for name := range all {
		if _, ruled := rooms[name]; !ruled && name != "cmd/fairlead" && !within(name, "examples", "scripts") && name+"/" != module {
			t.Errorf("package %s is in no room: add it to this table", name)
		}
	}
}

// TestLibrariesHaveOneImporter keeps each large library behind one package, and
// out of everything that the core is made of.
func TestLibrariesHaveOneImporter(t *testing.T) {
	all := listPackages(t)
	only := map[string]string{
		"github.com/compose-spec/compose-go": "desired/compose",
		"github.com/go-git/go-git":           "desired/git",
		"github.com/fsnotify/fsnotify":       "desired/git",
		"github.com/docker/docker":           "reconciler/docker",
		"github.com/spf13/cobra":             "cmd/fairlead",
		// the driver shares with it only the names of images and the logins
		"github.com/google/go-containerregistry/pkg/v1": "reconciler/registry",
		"golang.org/x/time":                             "reconciler/registry",
		"software.sslmate.com/src/go-pkcs12":            "certs/pair",
		"filippo.io/age":                                "desired/secrets",
		"github.com/jackc/pgx":                          "connectors/postgres",
		"github.com/duckdb":                             "connectors/analytics/duck",
		"github.com/apache/arrow-go":                    "connectors/analytics/duck",
		"github.com/caddyserver/certmagic":              "certs/acme",
		"github.com/mholt/acmez":                        "certs/acme",
		"github.com/nicholas-fedor/shoutrrr":            "server/notify",
		"github.com/golang-jwt/jwt":                     "server/auth",
		"github.com/danielgtaylor/huma":                 "server",
	}
	for library, importer := range only {
		found := false
		for name, p := range all {
			imports := slices.ContainsFunc(p.Imports, func(i string) bool { return within(i, library) })
			if found = found || (imports && name == importer); imports && name != importer && !within(name, "examples") && name+"/" != module {
				t.Errorf("%s imports %s, which is for %s only", name, library, importer)
			}
		}
		if !found {
			t.Errorf("%s does not import %s: mend this table", importer, library)
		}
	}
	theirs := map[string][]string{"server": {"github.com/golang-jwt/jwt", "github.com/danielgtaylor/huma"}}
	for _, core := range []string{"desired", "reconciler", "server"} {
		for _, dep := range all[core].Deps {
			for library := range only {
				if within(dep, library) && !slices.Contains(theirs[core], library) {
					t.Errorf("%s depends on %s", core, dep)
				}
			}
		}
	}
	for _, dep := range all["cmd/fairlead"].Deps {
		if within(dep, "github.com/chromedp", "github.com/getkin", "pgregory.net/rapid", "go.uber.org/goleak") {
			t.Errorf("the binary links %s, which is for tests", dep)
		}
	}
}

func TestNothingImportsTheCommand(t *testing.T) {
	for name, p := range listPackages(t) {
		if slices.Contains(p.Imports, module+"cmd/fairlead") {
			t.Errorf("%s imports cmd/fairlead", name)
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for name, p := range listPackages(t) {
		if len(p.GoFiles) > 0 && len(p.Doc) < 40 && path.Clean(p.ImportPath)+"/" != module {
			t.Errorf("%s has no doc comment that says what lives there", name)
		}
	}
}
