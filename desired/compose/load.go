package compose

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
	"go.yaml.in/yaml/v3"

	"github.com/fairlead/fairlead/desired"
)

// Load reads the compose files of an instance. It is a desired.ComposeLoader:
// what is wrong with the files is returned as desired.Problems.
func Load(in desired.ComposeInput) (project desired.Project, err error) {
	l := newLoader(in)
	defer l.stage.close()
	defer func() {
		if r := recover(); r != nil { // compose-go panics on some malformed input
			project, err = desired.Project{}, desired.Problems{{
				File: l.main(), Text: fmt.Sprintf("the compose files cannot be read: %s", l.stage.scrub(fmt.Sprint(r))),
				Hint: "please report this: the parser gave up without saying where",
			}}
			if len(l.problems) > 0 {
				err = l.redacted(l.problems).Err()
			}
		}
	}()
	return l.load()
}

// loader is the state of one load.
type loader struct {
	in    desired.ComposeInput
	tree  tree
	stage *stage
	vars  *variables
	env   environment
	// hostEnv is what the .env file says when it is the host's own.
	hostEnv environment

	mainFiles []string
	mains     []*source
	sources   []*source
	byKey     map[string]*source
	including map[string]bool
	needStage bool
	late      map[*yaml.Node]string // scalars to be filled with a place of the stage
	staged    map[string][]byte     // env files by place
	byValue   map[string][]scalarAt

	places   map[string]at // of list entries, by path joined with NUL
	removed  [][]string    // what was taken out to look further
	model    *types.Project
	out      desired.Project
	problems desired.Problems
	notes    desired.Problems
	secret   map[string]bool
	envWrong bool // an env file has mistakes: compose-go would warn of them again
	mended   int  // problems that were taken out, so that they hide no others
	fatal    error
}

func newLoader(in desired.ComposeInput) *loader {
	if in.Dir == "" {
		in.Dir = "."
	}
	in.Dir = path.Clean(in.Dir)
	return &loader{
		in: in, tree: tree{repo: in.Tree, dir: in.Dir, local: in.Local},
		stage: newStage(), vars: newVariables(),
		byKey: map[string]*source{}, including: map[string]bool{}, late: map[*yaml.Node]string{},
		staged: map[string][]byte{}, places: map[string]at{}, secret: map[string]bool{},
	}
}

func (l *loader) load() (desired.Project, error) {
	l.env = l.projectEnv()
	before := len(l.problems)
	if !l.in.NoFiles {
		l.readMain()
	}
	blocked := len(l.problems)-before > l.mended || l.envWrong && l.needStage
	if l.fatal == nil && !blocked && !l.in.NoFiles { // else the model would lack what could not be read
		l.interpret()
	}
	if l.fatal != nil {
		return desired.Project{}, fmt.Errorf("load compose files: %s", l.stage.scrub(l.fatal.Error()))
	}
	if len(l.problems) > 0 {
		return desired.Project{}, l.redacted(l.problems).Err()
	}
	l.notes.Sort()
	for _, n := range l.redacted(l.notes) {
		l.out.Notes = append(l.out.Notes, n.String())
	}
	l.out.HostEnv = l.hostEnv
	l.out.Sensitive = slices.Sorted(maps.Keys(l.secret))
	return l.out, nil
}

// redacted takes out of messages what must not be shown: compose-go quotes the
// values that it does not like (law 12).
func (l *loader) redacted(ps desired.Problems) desired.Problems {
	secrets := slices.SortedFunc(maps.Keys(l.secret), func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	for i := range ps {
		for _, s := range secrets {
			ps[i].Text = strings.ReplaceAll(ps[i].Text, s, "(sensitive)")
			ps[i].Hint = strings.ReplaceAll(ps[i].Hint, s, "(sensitive)")
		}
	}
	return ps
}

// interpret turns the files into the project.
func (l *loader) interpret() {
	l.model = l.parseModel()
	l.reportVariables()
	if l.model == nil || l.fatal != nil {
		return
	}
	l.walkModel()
	l.mapModel()
	l.check()
}

// The names that docker compose looks for, in its order.
var (
	defaultFiles     = []string{"compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"}
	defaultOverrides = []string{"compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"}
)

// readMain reads the instance's own files.
func (l *loader) readMain() {
	files := l.in.Files
	if len(files) == 0 {
		files = l.fromEnv()
	}
	if len(files) == 0 {
		files = l.find1st(defaultFiles)
		if len(files) == 0 {
			l.add(desired.Problem{
				File: path.Join(l.in.Dir, defaultFiles[0]), Text: "the instance has no compose file",
				Hint: "add " + defaultFiles[0] + ", or name the files under compose.files in instance.yaml",
			})
			return
		}
		files = append(files, l.find1st(defaultOverrides)...)
	}
	for _, f := range files {
		name, ok := joinInside(l.in.Dir, f)
		if !ok {
			l.add(desired.Problem{File: path.Join(l.in.Dir, "instance.yaml"), Field: "compose.files", Text: f + " is outside of the repository"})
			continue
		}
		l.mainFiles = append(l.mainFiles, name)
		l.including[name] = true
	}
	for _, name := range l.mainFiles {
		if s := l.readSource(name, readMode{base: l.in.Dir, env: l.env}, at{file: name}); s != nil {
			l.mains = append(l.mains, s)
		}
	}
}

// fromEnv honours COMPOSE_FILE of the .env file, as docker compose does.
func (l *loader) fromEnv() []string {
	list := l.env["COMPOSE_FILE"]
	if list == "" {
		return nil
	}
	sep := l.env["COMPOSE_PATH_SEPARATOR"]
	if sep == "" {
		sep = ":"
	}
	l.note(at{file: path.Join(l.in.Dir, ".env"), field: "COMPOSE_FILE"}, "the compose files are "+list)
	return strings.Split(list, sep)
}

// profiles are those of the instance, or else COMPOSE_PROFILES of the .env file.
func (l *loader) profiles() []string {
	if len(l.in.Profiles) > 0 || l.env["COMPOSE_PROFILES"] == "" {
		return l.in.Profiles
	}
	var active []string
	for p := range strings.SplitSeq(l.env["COMPOSE_PROFILES"], ",") {
		active = append(active, strings.TrimSpace(p))
	}
	l.note(at{file: path.Join(l.in.Dir, ".env"), field: "COMPOSE_PROFILES"}, "the active profiles are "+strings.Join(active, ", "))
	return active
}

// find1st gives the first of the names that exists.
func (l *loader) find1st(names []string) []string {
	var found []string
	for _, n := range names {
		name := path.Join(l.in.Dir, n)
		switch _, err := l.tree.resolve(name); {
		case err == nil:
			found = append(found, n)
		case !isMissing(err):
			l.problem(at{file: name}, "", err)
		}
	}
	if len(found) > 1 {
		l.note(at{file: path.Join(l.in.Dir, found[1])}, "the file is not read: "+found[0]+" comes first")
	}
	return found[:min(1, len(found))]
}

// reportVariables turns what interpolation missed into problems. What stands
// in a service that no profile starts is only noted: it has no effect.
func (l *loader) reportVariables() {
	for _, w := range l.vars.wanted {
		places := l.scalars(w.template)
		idle := len(places) > 0 && !slices.ContainsFunc(places, l.bears)
		if len(places) == 0 {
			places = []scalarAt{{source: &source{path: l.main()}}}
		}
		for _, place := range places {
			p := l.describe(w, place)
			if idle {
				l.note(at{p.File, p.Line, p.Field}, p.Text+"; nothing that is started uses it")
			} else {
				l.add(p)
			}
		}
	}
	for _, tpl := range l.vars.sealed {
		l.reportSealed(tpl)
	}
	for _, tpl := range l.vars.home {
		for _, place := range l.scalars(tpl) {
			if isPathField(place.path) {
				l.add(desired.Problem{
					File: place.source.path, Line: place.line, Field: field(place.path),
					Text: "~ is the home directory of whoever runs the command: here that is nobody", Hint: "write the absolute path",
				})
			}
		}
	}
}

// reportSealed refuses secrets where they would be shown: labels, names,
// images and paths are seen by whoever may look at the engine's lists, and by
// people in plans.
func (l *loader) reportSealed(template string) {
	for _, place := range l.scalars(template) {
		if l.bears(place) && !takesSecret(place.path) {
			l.add(desired.Problem{File: place.source.path, Line: place.line, Field: field(place.path), Text: "a secret reference is not filled in here",
				Hint: "it may stand in environment: of a service and in content: of configs"})
		}
	}
}

func takesSecret(p []string) bool {
	return len(p) > 3 && p[0] == "services" && p[2] == "environment" || len(p) == 3 && p[0] == "configs" && p[2] == "content"
}

func (l *loader) describe(w wanted, place scalarAt) desired.Problem {
	p := desired.Problem{File: place.source.path, Line: place.line, Field: field(place.path)}
	env := path.Join(l.in.Dir, ".env")
	secret, sealed := strings.CutPrefix(w.name, secretPrefix)
	switch {
	case sealed:
		p.Text = "this host has no value for the secret " + secret
		p.Hint = fmt.Sprintf("fairlead secret set %[1]s %[2]s; or write %[2]s=VALUE into instances/%[1]s/local/.env of the host's data directory", l.in.Name, secret)
	case w.name == "":
		p.Text, p.Hint = "the ${…} is not written correctly", "write $$ for a dollar sign that is meant as one"
	case w.required:
		p.Text = fmt.Sprintf("the variable %s is required", w.name)
		if w.reason != "" {
			p.Text += ": " + w.reason
		}
		p.Hint = fmt.Sprintf("add %s=… to %s, or set it under compose.env in instance.yaml", w.name, env)
	default:
		p.Text = fmt.Sprintf("the variable %s is not defined", w.name)
		p.Hint = fmt.Sprintf("add %s=… to %s, set it under compose.env in instance.yaml, or give a default: ${%s:-…}", w.name, env, w.name)
	}
	return p
}

// bears tells whether a place has an effect on what runs.
func (l *loader) bears(place scalarAt) bool {
	if len(place.path) < 2 || place.path[0] != "services" {
		return true
	}
	name := place.path[1]
	if place.source.template || l.model == nil {
		return l.extended(place.source, name)
	}
	_, on := l.model.Services[name]
	return on || l.extended(place.source, name)
}

// extended tells whether some active service is built on a service of a file.
func (l *loader) extended(s *source, name string) bool {
	if l.model == nil && !s.template {
		return true
	}
	for _, other := range l.sources {
		for _, e := range other.extends {
			same := e.file == s.path || e.file == "" && other == s
			if !same || e.ref != name || e.service == name && other == s {
				continue
			}
			if l.model == nil || other.template {
				return true
			}
			if _, on := l.model.Services[e.service]; on {
				return true
			}
		}
	}
	return false
}

func isPathField(p []string) bool {
	if len(p) < 3 || p[0] == "services" && len(p) < 4 {
		return false
	}
	switch {
	case p[0] == "services":
		return p[2] == "volumes" && (len(p) == 4 || p[4] == "source") || p[2] == "env_file" || p[2] == "label_file"
	default:
		return (p[0] == "configs" || p[0] == "secrets") && p[2] == "file"
	}
}
