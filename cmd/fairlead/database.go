package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/dbfile"
	"github.com/fairlead/fairlead/server/auth"
)

// notebooks are the rooms that have one in the store.
var notebooks = []string{"server", "certs", "notices", "connectors"}

func (d *dataDir) database() string { return filepath.Join(d.path, "state", "fairlead.db") }

func (d *dataDir) copies() string { return filepath.Join(d.path, "state", "copies") }

func (d *dataDir) damaged() string { return filepath.Join(d.path, "state", "damaged") }

func (d *dataDir) databaseOptions() (dbfile.Options, error) {
	store, err := reconciler.NewStore(nil, d.key) // for its key
	return dbfile.Options{Path: d.database(), Copies: d.copies(), Damaged: d.damaged(),
		Judge: judgeOf(store), Fill: auth.Fills, Timeout: openTimeout, Now: time.Now}, err
}

// judgeOf asks those who wrote a value what it is worth.
func judgeOf(store *reconciler.Store) dbfile.Judge {
	return func(path []string, key, value []byte) dbfile.Verdict {
		sealed, err := store.Legible(path, key, value, notebooks)
		switch {
		case sealed && err == nil:
			return dbfile.Opened
		case sealed:
			return dbfile.Unsealed
		case err != nil || auth.Legible(path, key, value) != nil:
			return dbfile.Spoilt
		}
		return dbfile.Sound
	}
}

// hintOfDamage says what to do about a database that cannot be read as it is.
func hintOfDamage(err error) error {
	var damaged *dbfile.DamagedError
	if errors.As(err, &damaged) {
		return withHint(err, "start the daemon: it keeps the damaged file, and goes on with what can be read of it and of its newest copy")
	}
	return err
}

// afterDamage is what there is to do for a person.
const afterDamage = "what is missing: fairlead history, fairlead user list, docs/operations.md (Disasters); then move the files of the report away from state/damaged, which ends this warning"

// complainOfDamage tells who runs a command what was found of the database.
func (c *cli) complainOfDamage(d *dataDir) {
	if d.damage != nil {
		c.complain(withHint(errors.New(d.damage.String()), afterDamage))
	}
}

// recall makes the store agree with itself after a part of it was lost, and tells
// everybody.
func (s *system) recall(log *logrus.Entry) error {
	d := s.data
	if d.damage == nil {
		return nil
	}
	store, err := reconciler.NewStore(d.db, d.key)
	if err != nil {
		return err
	}
	log.WithField("kept", d.damage.Kept).Error(d.damage.String())
	log.Error("What to do: " + afterDamage)
	told, err := store.Mend()
	for name, forgot := range told {
		if forgot == "" && !d.damage.Touches("reconciler", name) {
			continue
		}
		log.WithField("instance", name).Warn("A part of what was known of the instance is lost: " + forgot + "what runs is recognised")
		err = errors.Join(err, s.events.Report(name, "StateRecovered", forgot+d.damage.String()))
	}
	return err
}

// storeTrouble is what is wrong with the database: what was found of it, until
// somebody takes the report away, and why there is no copy of late.
func storeTrouble(d *dataDir, copies *dbfile.Keeper) func() []string {
	reports := dbfile.Reports(d.damaged())
	return func() (list []string) {
		for _, r := range reports {
			if r.Stands() {
				list = append(list, r.String()+"; "+afterDamage)
			}
		}
		var damaged *dbfile.DamagedError
		switch err := copies.Err(); {
		case errors.As(err, &damaged):
			list = append(list, fmt.Sprintf("the database is damaged on its disk (%s): restart the daemon, which goes on with what can be read and with the copy before", damaged.What))
		case err != nil:
			list = append(list, err.Error())
		}
		return list
	}
}

// weighty are the events after which a copy is made at once: decisions of people,
// and what keeps a bad release from being tried again.
func weighty(reason string) bool {
	return slices.Contains([]string{"Suspended", "Resumed", "RollbackAsked", "RolledBack", "Quarantined"}, reason)
}

// keepCopies makes copies of the database until ctx ends.
func (s *system) keepCopies(ctx context.Context, log *logrus.Entry) {
	happened, stop := s.events.Listen()
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.copies.Run(ctx, func(err error) { log.WithError(err).Error("Copy the database") })
	}()
	defer func() { <-done }()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-happened:
			if s.copies.Later(); weighty(e.Reason) {
				s.copies.Soon()
			}
		}
	}
}
