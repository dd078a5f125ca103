package monitoring_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// promtool runs Prometheus's own checker, which `make test` installs.
func promtool(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatal("promtool is missing: make need-promtool installs it")
	}
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	return string(out), err
}

func TestFilesAreValid(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"check", "rules", "--lint-fatal", "fairlead.rules.yaml"}, {"check", "config", "--syntax-only", "prometheus.yaml"}} {
		if out, err := promtool(t, args...); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

var alertNamed = regexp.MustCompile(`(?m)^ +- alert: (\w+)$`)

// TestAlerts has every alert fire for the host that is bad, once it has lasted,
// and be silent for the one that is good.
func TestAlerts(t *testing.T) {
	t.Parallel()
	if out, err := promtool(t, "test", "rules", "fairlead.tests.yaml", "hours.tests.yaml", "days.tests.yaml"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	rules, tests := read(t, "fairlead.rules.yaml"), read(t, "fairlead.tests.yaml")+read(t, "hours.tests.yaml")+read(t, "days.tests.yaml")
	for _, m := range alertNamed.FindAllStringSubmatch(rules, -1) {
		_, of, tested := strings.Cut(tests, "  - name: "+m[1]+"\n")
		of, _, _ = strings.Cut(of, "  - name: ")
		if !tested || !strings.Contains(of, `host="good"`) || !strings.Contains(of, `exp_samples: [{labels: '{host="bad"}', value: 1}]`) {
			t.Errorf("%s has no test with a bad and a good host", m[1])
		}
	}
}

// TestAnAlertThatIsWrongIsFound breaks each rule and has its test fail: one that
// passes with a broken rule proves nothing.
func TestAnAlertThatIsWrongIsFound(t *testing.T) {
	t.Parallel()
	rules, names := read(t, "fairlead.rules.yaml"), []string{"fairlead.tests.yaml", "hours.tests.yaml", "days.tests.yaml"}
	expr := regexp.MustCompile(`(?m)( +expr: \|\n +)(.*)$`)
	const broken = `label_replace(vector(1), "host", "good", "", "")` // silent for the bad one as well
	dir := t.TempDir()
	texts := map[string]string{"fairlead.rules.yaml": expr.ReplaceAllString(rules, "${1}"+broken)}
	for _, name := range names {
		texts[name] = read(t, name)
	}
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, err := promtool(t, "test", "rules", filepath.Join(dir, names[0]), filepath.Join(dir, names[1]), filepath.Join(dir, names[2]))
	if failed, all := strings.Count(out, "exp:"), len(alertNamed.FindAllString(rules, -1)); err == nil || failed < all {
		t.Errorf("of %d rules only %d fail: %v\n%s", all, failed, err, out)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
