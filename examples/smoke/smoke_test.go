// Package smoke_test makes the steps of the example against the real test
// application.
package smoke_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler/verify"
)

var ready = regexp.MustCompile(`ready address=.*:([0-9]+)`)

// start builds the application once and runs it on a free port.
func start(t *testing.T, binary string, env ...string) (base string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Env = append(env, "PORT=0", "APP_VERSION=2026.11.1")
	cmd.Cancel = func() error { return cmd.Process.Kill() }
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if m := ready.FindStringSubmatch(lines.Text()); m != nil {
			return "http://127.0.0.1:" + m[1]
		}
	}
	t.Fatalf("the application ended before it was ready: %v", lines.Err())
	return ""
}

func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "app")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", binary, "../app")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build app: %v\n%s", err, out)
	}
	return binary
}

func TestStepsAgainstTheApplication(t *testing.T) {
	data, err := os.ReadFile("steps.yaml")
	if err != nil {
		t.Fatal(err)
	}
	steps, err := desired.ParseSmoke("steps.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	binary := build(t)
	p := verify.New(verify.Options{Secret: func(name string) (string, bool) {
		v, there := map[string]string{"SMOKE_EMAIL": "smoke@example.com", "SMOKE_PASSWORD": "long enough"}[name]
		return v, there
	}})
	tests := []struct {
		name string
		env  []string
		bad  string // the step that does not pass
	}{
		{"good", nil, ""},
		{"sick", []string{"APP_SICK=true"}, "health"},
		{"somebody else's", []string{"APP_ADMIN_EMAIL=ada@example.com", "APP_ADMIN_PASSWORD=hers"}, "token"},
		{"healthy, but without rows", []string{"APP_QUERY_EMPTY=true"}, "query"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base := start(t, binary, tt.env...)
			for range 2 { // the second time there is an administrator, and a sync may run
				bad, found := p.Run(context.WithoutCancel(t.Context()), base, verify.Steps(steps), nil, nil).Bad()
				if bad.Name != tt.bad || found && (bad.Status != verify.Failed || bad.Found == "") {
					t.Errorf("%+v", bad)
				}
				if strings.Contains(bad.Reason(), "long enough") {
					t.Errorf("shown: %s", bad.Reason())
				}
			}
		})
	}
}
