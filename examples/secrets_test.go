package examples_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/compose"
	"github.com/fairlead/fairlead/desired/secrets"
)

// TestSecrets decrypts what lies in git with the key beside it, and refuses the
// instance without.
func TestSecrets(t *testing.T) {
	key, err := os.ReadFile("secrets/age.key")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := secrets.ParseKeys("age.key", key)
	if err != nil {
		t.Fatal(err)
	}
	read := func(keys *secrets.Keys) (desired.Spec, error) {
		return desired.Load(desired.Input{Tree: os.DirFS("."), Dir: "secrets", Compose: compose.Load,
			Secrets: secrets.Reader{Keys: func() (*secrets.Keys, error) { return keys, nil }}})
	}
	s, err := read(keys)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Services["app"].Environment["APP_ADMIN_PASSWORD"]; got != "correct horse battery staple" {
		t.Errorf("the password is %q", got)
	}
	_, other, err := secrets.NewKey(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := read(other); err == nil || !strings.Contains(err.Error(), "secrets.enc.yaml") || strings.Contains(err.Error(), "battery") {
		t.Errorf("with another key: %v", err)
	}
}
