package postgres

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/connectors"
)

func TestAddresses(t *testing.T) {
	for raw, want := range map[string]string{
		"postgres://u:p@db.acme.com/shop":                                "postgres://u@db.acme.com:5432/shop?sslmode=verify-full",
		"postgresql://u:p@db.acme.com:6432/shop?sslmode=require":         "postgres://u@db.acme.com:6432/shop?sslmode=require",
		"postgres://u:p@127.0.0.1/shop":                                  "postgres://u@127.0.0.1:5432/shop?sslmode=disable",
		"postgres://u@localhost/shop?sslmode=verify-ca":                  "postgres://u@localhost:5432/shop?sslmode=verify-ca",
		"postgres://u@[::1]:5433/shop":                                   "postgres://u@[::1]:5433/shop?sslmode=disable",
		"postgres://u@/shop?host=/run/postgresql":                        "postgres://u@/shop?host=%2Frun%2Fpostgresql",
		"postgres://u@/shop?host=/run/../run/postgresql&sslmode=require": "postgres://u@/shop?host=%2Frun%2Fpostgresql",
		"postgres://u:p@127.0.0.1.evil.com/shop":                         "postgres://u@127.0.0.1.evil.com:5432/shop?sslmode=verify-full",
	} {
		if got, err := parseURL(raw); err != nil || got.public() != want {
			t.Errorf("%q is %q, %v", raw, got.public(), err)
		}
	}
	for _, raw := range []string{"", "mysql://u:hidden@h/d", "postgres://u:hidden@h", "postgres://h/d", "postgres://u:hidden@/d", "postgres://u:hidden@h:0/d", "postgres://u:hidden@h:99999/d",
		"postgres://u:hidden@h/d?sslmode=prefer", "postgres://u:hidden@h/d?sslmode=allow", "postgres://u:hidden@h/d?passfile=/etc/shadow", "postgres://u:hidden@h/d?host=/run", "postgres://u:hidden@/d?host=h",
		"postgres://u:hidden@h,i/d", "postgres://u:hidden@h/d?sslmode=disable&sslmode=require", "postgres://u:hid%zzden@h/d", "postgres://u:hidden@h/d%0a", "postgres://u:hidden@h/d#x", "postgres:u:hidden@h"} {
		_, err := New(Settings{URL: raw})
		if err == nil || strings.Contains(err.Error(), "hid") || connectors.Hint(err) == "" {
			t.Errorf("%q: %v", raw, err)
		}
	}
	if _, err := New(Settings{URL: "postgres://u:p@db.acme.com/shop", CA: "no PEM"}); err == nil || !strings.Contains(err.Error(), "ca: ") {
		t.Errorf("a bad CA: %v", err)
	}
}

func TestNothingComesFromTheEnvironment(t *testing.T) {
	for key, value := range map[string]string{"PGHOST": "evil.example", "PGPASSWORD": "other", "PGUSER": "root", "PGSSLMODE": "disable", "PGAPPNAME": "x", "PGOPTIONS": "-c x=y", "PGTARGETSESSIONATTRS": "read-write"} {
		t.Setenv(key, value)
	}
	s, err := New(Settings{URL: "postgres://u@db.acme.com/shop"})
	if err != nil {
		t.Fatal(err)
	}
	c := s.config
	if c.Host != "db.acme.com" || c.User != "u" || c.Password != "" || c.TLSConfig == nil || c.TLSConfig.InsecureSkipVerify || len(c.Fallbacks) > 0 || len(c.RuntimeParams) != 2 || c.ValidateConnect != nil {
		t.Errorf("the configuration is %+v", c)
	}
}

func TestNumericsKeepEachOfTheirDigits(t *testing.T) {
	mod := func(p, s int32) int32 { return p<<16 | s&0x7ff + 4 }
	for m, want := range map[int32]string{-1: "DOUBLE", mod(12, 2): "DECIMAL(12,2)", mod(38, 0): "DECIMAL(38,0)", mod(39, 0): "VARCHAR", mod(1000, 1000): "VARCHAR",
		mod(5, -3): "DECIMAL(8,0)", mod(2, 5): "DECIMAL(5,5)"} {
		if got := numeric(m); got.duck != want {
			t.Errorf("%d is %s, not %s", m, got.duck, want)
		}
	}
}

func FuzzURL(f *testing.F) {
	for _, seed := range []string{"postgres://u:p@h:1/d?sslmode=require", "postgres://u@/d?host=/run", "postgres://%00@h/d", "postgres://u:p@[::1%25lo]/d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := parseURL(raw)
		if err != nil {
			return
		}
		again, err := parseURL(got.public())
		again.password = got.password
		if err != nil || again.host != got.host || again.user != got.user || again.database != got.database || again.sslmode != got.sslmode {
			t.Errorf("%q is %q, which is %+v, %v", raw, got.public(), again, err)
		}
	})
}
