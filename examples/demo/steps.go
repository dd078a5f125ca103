package main

import (
	"context"
	"slices"

	"github.com/fairlead/fairlead/reconciler"
)

// step is one scene of the story.
type step struct {
	title string
	ask   asking
	// arrived says whether what was to happen has happened.
	arrived func(v view) bool
	checks  []check
	show    []string // a command of fairlead whose output is shown
	then    func(ctx context.Context, d *demo) error
}

// asking changes something and returns what to show of it. It sets d.asked to when that began.
type asking func(ctx context.Context, d *demo) ([]string, error)

// view is what is looked at while a step is waited for.
type view struct {
	status reconciler.Status
	head   string              // of the repository
	fresh  []reconciler.Record // applies that ended since the step began, newest first
}

// steps is the story.
func steps() []step {
	return slices.Concat(goodDays(), badDays(), releaseDays(), withoutGap(), corporateDays(), dataDays())
}

// goodDays is what everybody hopes for.
func goodDays() []step {
	return []step{
		{
			title: "Create: a commit becomes running containers",
			ask: commits("Add the instance", func(d *demo) error {
				return d.writeInstance(d.address())
			}),
			arrived: applied,
			checks: []check{
				answers("/version", "2026.11.1"), answers("/file?path=config/greeting.txt", "Hello from generation one."),
				answers("/file?path=data/schema", "2026.11.1"), runs("app"), runs("db"), ended("migrate"), storesData,
			},
			then: come,
		},
		{
			title: "Change a configuration file: only what mounts it is replaced",
			ask: commits("Greet in another way", func(d *demo) error {
				return d.edit("config/greeting.txt", "generation one", "a file in git")
			}),
			arrived: applied,
			checks: []check{
				answers("/file?path=config/greeting.txt", "Hello from a file in git."), answers("/version", "2026.11.1"),
				replaced("app"), untouched("db"), untouched("migrate"),
			},
		},
		{
			title: "Upgrade: migration first, then the app",
			ask: commits("Release 2026.11.2", func(d *demo) error {
				return d.edit("instance.yaml", "version: 2026.11.1", "version: 2026.11.2")
			}),
			arrived: applied,
			checks: []check{
				answers("/version", "2026.11.2"), answers("/file?path=data/schema", "2026.11.2"),
				replaced("app"), replaced("migrate"), untouched("db"), keepsData,
			},
		},
	}
}

// badDays is what Fairlead is for.
func badDays() []step {
	return []step{
		{
			title: "A commit that does not validate: nothing changes",
			ask: commits("Tidy up (with two slips)", func(d *demo) error {
				if err := d.edit("compose.yaml", "    command: [write", "    comand: [write"); err != nil {
					return err
				}
				return d.edit("instance.yaml", "bake: 1s", "bake: 1 second")
			}),
			arrived: refused,
			checks: []check{
				answers("/version", "2026.11.2"), untouched("app"), untouched("db"), untouched("migrate"),
			},
		},
		{
			title: "git revert mends it; what runs is what is asked for, so there is nothing to do",
			ask:   reverts("HEAD"), arrived: synced,
			checks: []check{answers("/version", "2026.11.2"), untouched("app"), untouched("db"), untouched("migrate")},
		},
		{
			title: "A release that never gets healthy: rolled back by itself",
			ask: commits("Release 2026.11.3", func(d *demo) error {
				return d.edit("instance.yaml", "version: 2026.11.2", "version: 2026.11.3")
			}),
			arrived: rolledBack,
			checks: []check{
				answers("/version", "2026.11.2"), answers("/health", `"status":"healthy"`), untouched("app"), untouched("db"),
				runs("app"), nothingAside, keepsData,
			},
		},
		{
			title: "Somebody kills and removes containers: healed",
			ask:   vandalizes, arrived: healed,
			checks: []check{
				answers("/version", "2026.11.2"), runs("app"), runs("db"), untouched("app"), replaced("db"), keepsData,
			},
		},
		{
			title: "git revert, twice: the old state is back",
			ask:   reverts("HEAD", "HEAD~3"), arrived: applied,
			checks: []check{
				answers("/version", "2026.11.1"), answers("/file?path=config/greeting.txt", "Hello from a file in git."),
				replaced("app"), untouched("db"), nothingAside, keepsData,
			},
		},
	}
}

func applied(v view) bool {
	return synced(v) && v.status.Applied.Commit == v.head && len(v.fresh) > 0
}

func synced(v view) bool {
	s := v.status
	return s.Attempted.Commit == v.head && s.Phase == reconciler.PhaseIdle && s.Sync == reconciler.Synced && s.Health == reconciler.Healthy
}

func refused(v view) bool {
	return v.status.Attempted.Commit == v.head && v.status.Phase == reconciler.PhaseRefused && len(v.status.Problems) > 0
}

func rolledBack(v view) bool {
	return len(v.fresh) > 0 && v.fresh[0].Revision.Commit == v.head && v.fresh[0].Outcome == reconciler.RolledBack &&
		v.status.Health == reconciler.Healthy
}

// healed waits until both are up again. The engine tells of them one after the other, so the first attempt may find that
// the other one is gone too, and be made again.
func healed(v view) bool {
	touched := map[string]bool{}
	for _, rec := range v.fresh {
		for _, a := range rec.Actions {
			touched[a.Name] = touched[a.Name] || rec.Kind == "heal"
		}
	}
	return touched["app"] && touched["db"] && v.fresh[0].Outcome == reconciler.Applied && v.status.Health == reconciler.Healthy
}
