package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

// dataFormat is the version of the data directory. It changes when an older
// program could not read what a newer one wrote.
const dataFormat = 1

// commit is set by the linker (make build).
var commit = ""

// keepHealth has the API know what runs, keep its notes, and find out by a write
// whether the store can be written to.
func (c *cli) keepHealth(cfg *server.Config, d *dataDir, store *reconciler.Store) {
	v := &cfg.Version
	v.Channel, v.ImageTag, v.CommitSHA, v.SchemaVersion = c.getenv("FAIRLEAD_CHANNEL"), c.getenv("FAIRLEAD_IMAGE_TAG"), commit, dataFormat
	if v.Channel == "" && c.version != "dev" {
		v.Channel = channelOf(c.version)
	}
	if d.lock == nil {
		return
	}
	cfg.Notes = store.Notebook("server")
	cfg.Write = func(context.Context) error { return writeCanary(d.db, time.Now()) }
}

// channelOf tells a build from one that was released: git describe leaves a
// hash behind the tag, or says that there are changes.
func channelOf(version string) string {
	if strings.Contains(version, "-g") || strings.HasSuffix(version, "-dirty") || !strings.Contains(version, ".") {
		return "dev"
	}
	return "stable"
}

// writeCanary writes one key, and has it on the disk when it returns.
func writeCanary(db *bolt.DB, now time.Time) error {
	err := db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte("health"))
		if err != nil {
			return err
		}
		return b.Put([]byte("canary"), []byte(now.UTC().Format(time.RFC3339Nano)))
	})
	if err != nil {
		return fmt.Errorf("write to %s: %w", db.Path(), err)
	}
	return nil
}
