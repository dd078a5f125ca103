package main

import (
	"path/filepath"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"
)

func TestWriteCanary(t *testing.T) {
	db, err := bolt.Open(filepath.Join(t.TempDir(), "db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := writeCanary(db, time.Now()); err != nil {
			t.Error(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := writeCanary(db, time.Now()); err == nil {
		t.Error("a write to a store that is shut went well")
	}
}

func TestChannelOf(t *testing.T) {
	for version, want := range map[string]string{"2026.11.3": "stable", "v1.2.0": "stable", "2026.11.3-4-gabc1234": "dev", "2026.11.3-dirty": "dev", "abc1234": "dev"} {
		if got := channelOf(version); got != want {
			t.Errorf("%s is %s", version, got)
		}
	}
}
