package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// transcript runs commands and writes down what a person sees.
type transcript struct {
	*world
	text strings.Builder
}

// step runs a command that must end with the code.
func (s *transcript) step(code int, args ...string) {
	s.t.Helper()
	r := s.must(code, args...)
	shown := make([]string, len(args))
	for i, a := range args {
		shown[i] = a
		if strings.Contains(a, " ") {
			shown[i] = fmt.Sprintf("%q", a)
		}
	}
	fmt.Fprintf(&s.text, "$ fairlead %s\n%s%s", strings.Join(shown, " "), r.stdout, r.stderr)
	if code != 0 {
		fmt.Fprintf(&s.text, "(exit code %d)\n", code)
	}
}

func (s *transcript) golden(name string) {
	s.t.Helper()
	golden(s.t, name, s.steady(s.text.String()))
	s.text.Reset()
}

func TestHelpGolden(t *testing.T) {
	c := &cli{getenv: os.Getenv}
	var reference strings.Builder
	var walk func(cmd *cobra.Command, path []string)
	walk = func(cmd *cobra.Command, path []string) {
		var out, problems bytes.Buffer
		program := &cli{in: strings.NewReader(""), out: &out, err: &problems, getenv: func(string) string { return "" }, version: "test", newEngine: newMemoryEngine}
		if code := program.main(append(slices.Clone(path), "--help")); code != exitDone || problems.Len() > 0 {
			t.Errorf("%v --help: exit code %d\n%s", path, code, problems.String())
		}
		fmt.Fprintf(&reference, "## fairlead %s\n%s\n", strings.Join(path, " "), out.String())
		for _, sub := range cmd.Commands() {
			if sub.Name() != "completion" && sub.Name() != "help" {
				walk(sub, append(append([]string{}, path...), sub.Name()))
			}
		}
	}
	walk(c.root(), nil)
	golden(t, "help.txt", reference.String())
}

// TestStoryGolden plays what an operator does, from the first commit on, with a
// daemon, and compares everything that is printed.
func TestStoryGolden(t *testing.T) {
	s := &transcript{world: newWorld(t)}
	s.begin(map[string]string{"instance.yaml": acmeInstance, "compose.yaml": acmeCompose("1", "hello")})
	s.start()
	s.must(0, "apply") // whatever of it the daemon has done already
	s.step(0, "status")
	s.step(0, "status", "acme")
	s.golden("status.txt")

	s.must(0, "suspend", "--reason", "first look at the plan")
	s.commit("Greet the world", map[string]string{"compose.yaml": acmeCompose("2", "hello, world")})
	s.step(0, "plan", "acme")
	s.step(2, "plan", "--detailed-exitcode")
	s.golden("plan.txt")
	s.step(5, "apply")
	s.step(0, "resume")
	s.golden("suspend.txt")
	s.must(0, "apply", "acme")

	s.must(0, "suspend", "--reason", "hold the daemon back")
	s.commit("Break a key", map[string]string{"compose.yaml": "services:\n  web:\n    imag: example.com/app:3\n    ports: [\"80\"]\n"})
	s.must(0, "resume")
	s.step(6, "apply")
	s.step(0, "status")
	s.golden("refused.txt")

	s.commit("Upgrade to a sick release", map[string]string{"compose.yaml": acmeCompose("sick", "hello, world")})
	s.must(3, "apply")
	s.step(3, "apply")
	s.step(0, "status", "acme")
	s.golden("rolledback.txt")

	s.step(0, "why", "web")
	s.golden("why.txt")
	s.must(0, "rollback", "1", "-q")
	s.step(0, "status")
	s.golden("held.txt")
	s.step(0, "rollback", "--commit", "acme", "1", "-q")
	s.step(0, "status")
	s.step(0, "history")
	s.golden("history.txt")
	s.step(0, "events", "--limit", "4")
	s.step(0, "logs", "--tail", "5")
	s.golden("events.txt")
}

func TestErrorsGolden(t *testing.T) {
	s := &transcript{world: newWorld(t)}
	s.step(1, "plan")
	s.begin(map[string]string{"instance.yaml": acmeInstance, "compose.yaml": acmeCompose("1", "hello")})
	s.step(1, "status", "nope")
	s.step(1, "why", "nope")
	s.step(1, "rollback", "7")
	s.step(1, "rollback", "acme", "x")
	s.step(1, "suspend")
	s.step(1, "suspend", "--reason", "x", "--until", "tomorrow")
	s.step(1, "events", "-f")
	s.step(1, "history", "--limit", "0")
	s.step(1, "status", "-o", "xml")
	s.step(1, "status", "--colour")
	s.step(1, "stauts")
	s.step(1, "run", "--listen", "everywhere")
	s.step(1, "plan", "--poll", "soon")
	s.step(1, "plan", "--ref", "v9")
	s.step(1, "plan", "--config", "nowhere.yaml")
	s.step(1, "init", s.repo)
	s.step(1, "apply", "--repo", s.dir)
	s.golden("errors.txt")
}

func TestValidateAndInitGolden(t *testing.T) {
	s := &transcript{world: newWorld(t)}
	s.begin(map[string]string{"instance.yaml": acmeInstance, "compose.yaml": acmeCompose("1", "hello")})
	s.step(0, "validate", "acme")
	s.write("bad/instance.yaml", "apiVersion: fairlead/v1\nname: Bad_Name\nretian: {generations: 5}\n")
	s.write("bad/compose.yaml", "services:\n  web:\n    imag: example.com/app:1\n")
	s.step(1, "validate", "acme", "bad")
	s.golden("validate.txt")

	s.step(0, "init", "shop")
	s.golden("init.txt")
	s.must(0, "validate", "shop")
	if r := s.must(0, "plan", "--repo", "shop"); !strings.Contains(r.stdout, "+ container shop-web-1") {
		t.Errorf("the starter does not plan: %s", r.stdout)
	}
}

var goldenMark = regexp.MustCompile("(?s)<!-- golden: ([a-z]+\\.txt) -->\n```text\n.*?```")

// TestDocsAreProduced keeps the examples in docs/cli.md those that the program
// prints. It comes after the tests that write them.
func TestDocsAreProduced(t *testing.T) {
	file := filepath.Join("..", "..", "docs", "cli.md")
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	marks := 0
	got := goldenMark.ReplaceAllStringFunc(string(doc), func(block string) string {
		marks++
		name := goldenMark.FindStringSubmatch(block)[1]
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Error(err)
		}
		return "<!-- golden: " + name + " -->\n```text\n" + string(text) + "```"
	})
	if marks < 8 {
		t.Errorf("docs/cli.md has %d examples", marks)
	}
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != string(doc) {
		t.Error("the examples in docs/cli.md are stale; -update writes them anew")
	}
}

// TestDocsNameEverything fails when docs/cli.md leaves out a command, a flag, a
// variable or a key.
func TestDocsNameEverything(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "cli.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range options() {
		for _, want := range []string{"`--" + o.flag + "`", "`" + o.env + "`", "`" + o.key + "`"} {
			if !strings.Contains(string(doc), want) {
				t.Errorf("docs/cli.md does not have %s", want)
			}
		}
	}
	c := &cli{getenv: os.Getenv}
	for _, cmd := range c.root().Commands() {
		if !strings.Contains(string(doc), "### `fairlead "+cmd.Name()) && cmd.Name() != "help" {
			t.Errorf("docs/cli.md has no heading for fairlead %s", cmd.Name())
		}
	}
}
