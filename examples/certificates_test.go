package examples_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/compose"
)

// loadCertificate loads an example under certificates, on a host with secrets.
func loadCertificate(t *testing.T, name string) (desired.Spec, desired.CertificateSpec) {
	t.Helper()
	local := fstest.MapFS{".env": {Data: []byte("EAB_MAC_KEY=bWFjLWtleS0x\nCLOUDFLARE_TOKEN=hush-hush\n"), Mode: 0o600}}
	s, err := desired.Load(desired.Input{Tree: os.DirFS("certificates"), Dir: name, Local: local, Compose: compose.Load})
	if err != nil || len(s.Certificates) != 1 || len(s.Notes) != 0 {
		t.Fatalf("%s: %d certificates, notes %q, %v", name, len(s.Certificates), s.Notes, err)
	}
	for _, c := range s.Certificates {
		return s, c
	}
	panic("unreachable")
}

func TestCertificates(t *testing.T) {
	for name, right := range map[string]func(desired.Spec, desired.CertificateSpec) bool{
		"corporate": func(_ desired.Spec, c desired.CertificateSpec) bool {
			return c.Privkey == "" && c.Key == "rsa2048" && c.Every == time.Hour && strings.HasPrefix(c.CA, "-----BEGIN CERTIFICATE-----") && c.Fallback != ""
		},
		"secret-manager": func(_ desired.Spec, c desired.CertificateSpec) bool {
			return c.Privkey == "sm://acme-production/data-key" && c.Every == 24*time.Hour
		},
		"letsencrypt": func(s desired.Spec, c desired.CertificateSpec) bool {
			return len(c.ACME.Issuers) == 2 && c.ACME.Issuers[1].EABKey == "bWFjLWtleS0x" && c.ACME.Issuers[1].Email == "ops@example.com" &&
				slices.Contains(s.Sensitive, "bWFjLWtleS0x")
		},
		"wildcard": func(_ desired.Spec, c desired.CertificateSpec) bool {
			return c.ACME.Issuers[0].Directory == desired.DefaultDirectory && c.ACME.DNS.With["api_token"] == "hush-hush"
		},
		"files": func(_ desired.Spec, c desired.CertificateSpec) bool { return c.Every == time.Minute && c.Key == "" },
		"own-caddy": func(_ desired.Spec, c desired.CertificateSpec) bool {
			return c.Deliver[0].Mode == 0o440 && *c.Deliver[0].UID == 999 && c.Reload[0].Signal == "SIGUSR1" && len(c.Encrypted["own-caddy/data.key.age"]) > 0
		},
	} {
		if s, c := loadCertificate(t, name); !right(s, c) {
			t.Errorf("%s: %+v", name, c)
		}
	}
}
