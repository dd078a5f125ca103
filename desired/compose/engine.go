package compose

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"

	composego "github.com/compose-spec/compose-go/v2/loader"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/fairlead/fairlead/desired"
)

// maxRounds bounds how often the files are read again with what was wrong
// taken out. compose-go tells only the first error.
const maxRounds = 25

// parseModel gives the merged model. What is wrong is reported, taken out of
// the parsed files, and the rest looked at again. It is nil when that fails.
func (l *loader) parseModel() *types.Project {
	for range maxRounds {
		project, err := l.callComposeGo()
		if l.fatal != nil {
			return nil
		}
		if err == nil {
			return project
		}
		if !l.explain(err) {
			return nil
		}
	}
	return nil
}

// callComposeGo runs compose-go over the parsed files. It reads nothing of the
// host: the files are given as bytes, or lie in the stage when it insists.
func (l *loader) callComposeGo() (*types.Project, error) {
	if l.needStage {
		if l.fatal = l.stage.open(); l.fatal != nil {
			return nil, nil
		}
	}
	for n, p := range l.late {
		n.Value = strings.ReplaceAll(l.stage.abs(p), "$", "$$")
	}
	if l.needStage {
		if l.fatal = l.fillStage(); l.fatal != nil {
			return nil, nil
		}
	}
	details := types.ConfigDetails{WorkingDir: l.stage.abs(l.in.Dir), Environment: types.Mapping(maps.Clone(l.env))}
	if l.in.Dir == "." {
		details.WorkingDir = l.stage.root()
	}
	for _, s := range l.mains {
		data, err := s.encode()
		if err != nil {
			l.fatal = err
			return nil, nil
		}
		if data == nil {
			data = []byte{}
		}
		details.ConfigFiles = append(details.ConfigFiles, types.ConfigFile{Filename: l.stage.abs(s.staged), Content: data})
	}
	return composego.LoadWithContext(context.Background(), details, func(o *composego.Options) {
		o.SetProjectName(l.in.Name, true)
		o.Profiles = l.profiles()
		o.ResolvePaths = false // relative ones stay relative to the instance
		o.SkipConsistencyCheck = true
		o.SkipResolveEnvironment = true
		o.SkipResolveLabels = true
		o.Interpolate.Substitute = l.vars.substitute
	})
}

func (l *loader) fillStage() error {
	for _, s := range l.sources {
		data, err := s.encode()
		if err != nil {
			return err
		}
		if err := l.stage.write(s.staged, data); err != nil {
			return err
		}
	}
	for place, data := range l.staged {
		if err := l.stage.write(place, data); err != nil {
			return err
		}
	}
	return nil
}

// An explanation reads one kind of compose-go's messages: the path that it
// names, what is wrong there, and a hint.
type explanation struct {
	message *regexp.Regexp // groups: path, text
	explain func(l *loader, m []string) (p []string, text, hint string)
}

var explanations = []explanation{
	{regexp.MustCompile(`(?s)^(?:validating [^:]+: )?(\S*) ?additional propert(?:y|ies) (.*) not allowed`), unknownKey},
	{regexp.MustCompile(`(?s)^(?:validating [^:]+: )?(\S+) false schema`), func(l *loader, m []string) ([]string, string, string) {
		p := l.parts(m[1])
		return p, "unknown key " + p[len(p)-1], l.suggest(p)
	}},
	{regexp.MustCompile(`(?s)^validating [^:]+: (\S+) (.+)$`), plainText},
	{regexp.MustCompile(`(?s)^error while interpolating (\S+): (?:failed to cast to expected type: )?(.+)$`), plainText},
	{regexp.MustCompile(`(?s)cannot extend service "([^"]+)" in [^:]+: (.+)$`), func(_ *loader, m []string) ([]string, string, string) {
		return []string{"services", m[1], "extends"}, "cannot extend: " + m[2], "name a service that the file has"
	}},
	{regexp.MustCompile(`(?s)^extends\.(.+)\.service is required()$`), func(_ *loader, m []string) ([]string, string, string) {
		return []string{"services", m[1], "extends"}, "service is missing", "say which service to extend"
	}},
	{regexp.MustCompile(`(?s)^service (?:volume|ports) (\S+) (is missing .+)$`), plainText},
	{regexp.MustCompile(`(?s)^(Circular reference):\s+(.*)$`), circular},
	{regexp.MustCompile(`(?s)^'?((?:services|volumes|networks|configs|secrets|include)(?:\[[^\]]*\]|\.[^\s:'\]]+)*)'?:? (.+)$`), plainText},
	{regexp.MustCompile(`(?s)^(?:(?:1|2|3|\d+) error\(s\) decoding:|decoding failed due to the following error\(s\):)\s+(?:\* )?(?:error decoding )?'([^']+)'[: ]+(.+)$`), decodeError},
}

func plainText(l *loader, m []string) ([]string, string, string) {
	p := l.parts(m[1])
	return p, strings.TrimPrefix(strings.TrimSpace(m[2]), ": "), ""
}

func circular(l *loader, m []string) ([]string, string, string) {
	name, _, _ := strings.Cut(strings.TrimSpace(m[2]), " in ")
	return []string{"services", name, "extends"}, "extends goes round in a circle", ""
}

func decodeError(l *loader, m []string) ([]string, string, string) {
	text, _, _ := strings.Cut(m[2], "\n")
	return l.parts(m[1]), text, ""
}

var quoted = regexp.MustCompile(`'([^']+)'`)

func unknownKey(l *loader, m []string) ([]string, string, string) {
	var names []string
	for _, q := range quoted.FindAllStringSubmatch(m[2], -1) {
		names = append(names, q[1])
	}
	slices.Sort(names)
	p := l.parts(m[1])
	if len(names) == 0 {
		return p, m[0], ""
	}
	p = append(p, names[0])
	return p, "unknown key " + names[0], l.suggest(p)
}

// explain turns compose-go's error into a problem and takes its cause out of
// the files, so that the next round finds the next one.
func (l *loader) explain(err error) bool {
	before := len(l.removed)
	for line := range strings.SplitSeq(l.errorText(err), "\x00") {
		l.explainOne(line)
	}
	return len(l.removed) > before
}

// errorText separates joined errors by NUL: interpolation reports all of them.
func (l *loader) errorText(err error) string {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []string
		for _, e := range joined.Unwrap() {
			all = append(all, l.errorText(e))
		}
		return strings.Join(all, "\x00")
	}
	return l.stage.scrub(err.Error())
}

func (l *loader) explainOne(message string) {
	for _, e := range explanations {
		m := e.message.FindStringSubmatch(message)
		if m == nil {
			continue
		}
		p, text, hint := e.explain(l, m)
		if len(p) == 0 {
			break
		}
		p = l.refine(p, text)
		if !l.tookOutBelow(p) {
			l.wrong(p, polish(text), hint)
		}
		l.takeOut(p)
		return
	}
	if p := l.culprit(message); p != nil {
		l.wrong(p, message, "")
		l.takeOut(p)
		return
	}
	p := desired.Problem{File: l.main(), Text: polish(message)}
	if m := parseFailure.FindStringSubmatch(p.Text); m != nil {
		p = desired.Problem{File: m[1], Line: atoi(m[2]), Text: m[3], Hint: "the file is not valid YAML"}
	}
	if message == "empty compose file" && len(l.removed) > 0 {
		return
	}
	if message == "empty compose file" {
		p.Text, p.Hint = "the file is empty", "a compose file begins with services:"
	}
	l.add(p)
}

// parseFailure is how compose-go's own YAML parser, stricter in places than
// ours, tells where it stopped.
var parseFailure = regexp.MustCompile(`^failed to parse (\S+): yaml: (?:construct errors: )?.*?line (\d+)(?:, column \d+)?: (?:yaml: )?(.+)$`)

// takeOut removes a path from every file that has it.
func (l *loader) takeOut(p []string) {
	for n := len(p); n > 0; n-- {
		gone := false
		for _, s := range l.sources {
			for _, doc := range s.docs {
				if cut(doc, p[:n], s.lists) {
					gone, s.changed = true, true
				}
			}
		}
		if gone {
			l.removed = append(l.removed, p[:n])
			return
		}
	}
}

// tookOutBelow tells whether a complaint about p may come from what was taken
// out of it.
func (l *loader) tookOutBelow(p []string) bool {
	return slices.ContainsFunc(l.removed, func(r []string) bool { return len(r) > len(p) && slices.Equal(r[:len(p)], p) })
}

var strconvError = regexp.MustCompile(`strconv\.(\w+): parsing ("[^"]*"): .*`)

// polish says what Go's parsers mean.
func polish(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	text = strings.ReplaceAll(text, "must be a integer", "must be an integer")
	if m := strconvError.FindStringSubmatch(text); m != nil {
		kind := "a whole number"
		if m[1] == "ParseFloat" {
			kind = "a number"
		}
		return m[2] + " is not " + kind
	}
	return strings.TrimPrefix(text, "time: ")
}

// wasRemoved tells whether something at or below p was taken out, so that
// what follows from its absence is not reported.
func (l *loader) wasRemoved(p ...string) bool {
	return slices.ContainsFunc(l.removed, func(r []string) bool {
		n := min(len(r), len(p))
		return slices.Equal(r[:n], p[:n])
	})
}
