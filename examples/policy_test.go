package examples_test

import (
	"os"
	"testing"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/compose"
	"github.com/fairlead/fairlead/desired/git"
)

// TestPolicy keeps its own policy, and no other.
func TestPolicy(t *testing.T) {
	load := func(host ...desired.Bounds) (desired.Spec, error) {
		return desired.Load(desired.Input{Tree: os.DirFS("."), Dir: "policy", Compose: compose.Load, Signers: git.CheckSigners, Bounds: host})
	}
	s, err := load()
	if err != nil || s.Policy == nil || !s.Policy.Signed || s.Policy.SignersFile != "policy/allowed_signers" {
		t.Fatalf("%+v, %v", s.Policy, err)
	}
	if _, err := load(desired.Bounds{Of: "the policy of this host", HostMounts: []string{}}); err == nil {
		t.Error("a mount goes past the policy of the host")
	}
}
