package analytics

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// Where the host has control groups that we may change, each child is in one with
// its limit, and it is gone with the child; elsewhere it is said once why not.
func TestChildrenAreInGroups(t *testing.T) {
	g := &cgroups{}
	told := 0
	g.told = func(error) { told++ }
	for _, place := range []string{"memory", "unified", ""} {
		dir := filepath.Join(cgroupRoot, place, fmt.Sprintf("fairlead-test-%d", os.Getpid()))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() { must(t, os.Remove(dir)) })
		g.dir, g.file = dir, "memory.limit_in_bytes"
		if place != "memory" {
			g.file = "memory.max"
		}
		break
	}
	if g.dir == "" {
		g.dir = filepath.Join(t.TempDir(), "missing")
	}
	group := g.make("worker", 300<<20)
	w, err := startWorker(t.Context(), []string{self(t), "plain"}, wire.Setup{Temp: filepath.Join(t.TempDir(), "w")}, group)
	must(t, err)
	defer w.close()
	if group == nil {
		if told != 1 || g.make("worker", 1) != nil || told != 1 {
			t.Errorf("told %d times that there are no groups", told)
		}
		return
	}
	limit, err := os.ReadFile(filepath.Join(group.dir, g.file))
	must(t, err)
	members, err := os.ReadFile(filepath.Join(group.dir, "cgroup.procs"))
	must(t, err)
	if strings.TrimSpace(string(limit)) != fmt.Sprint(300<<20) || strings.TrimSpace(string(members)) != fmt.Sprint(w.cmd.Process.Pid) {
		t.Errorf("limit %s, members %s", limit, members)
	}
	w.close()
	if exists(group.dir) {
		t.Error("the group is left")
	}
}
