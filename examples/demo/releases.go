package main

// releaseDays is an instance that follows a channel. Its app is the only writer of its data, so it is stopped before
// its successor starts.
func releaseDays() []step {
	return []step{
		{
			title: "Unpin: from now on, releases arrive by themselves",
			ask: commits("Follow the channel", func(d *demo) error {
				return d.edit("instance.yaml", "\n  version: 2026.11.1", "")
			}),
			arrived: followed,
			checks:  []check{answers("/version", "2026.11.1"), untouched("app"), untouched("migrate"), untouched("db")},
		},
		{
			title: "A release appears in the channel: it arrives by itself",
			ask:   channelMoves("2026.11.4"), arrived: upgraded("2026.11.4"),
			checks: []check{
				answers("/version", "2026.11.4"), answers("/file?path=data/schema", "2026.11.4"),
				replaced("app"), replaced("migrate"), untouched("db"), keepsData, requestsWaited,
			},
			show: []string{"history", "--limit", "1", "--full"},
		},
		{
			title: "A sick release appears: undone, and not tried again",
			ask:   channelMovesNow("2026.11.5"), arrived: undone("2026.11.5"),
			checks: []check{
				answers("/version", "2026.11.4"), untouched("app"), untouched("db"), runs("app"), nothingAside, keepsData,
				requestsWaited, nobodySaw("2026.11.5"), notTriedAgain,
			},
			show: []string{"why", "app"},
		},
		{
			title: "A release that is healthy but cannot do its work: the smoke test notices",
			ask:   channelMovesNow("2026.11.6"), arrived: undone("2026.11.6"),
			checks: []check{
				answers("/version", "2026.11.4"), untouched("app"), nothingAside, requestsWaited, nobodySaw("2026.11.6"), notTriedAgain,
			},
			show: []string{"status"},
		},
		{
			title: "Pin: one line more in git, and the channel may move as it likes",
			ask: commits("Stay with 2026.11.4", func(d *demo) error {
				return d.edit("instance.yaml", "  channel: stable", "  channel: stable\n  version: 2026.11.4")
			}),
			arrived: synced,
			checks:  []check{staysPinned("2026.11.7"), answers("/version", "2026.11.4"), untouched("app"), untouched("migrate")},
		},
		{
			title: "Unpin: the newest release of the channel arrives",
			ask: thenApply(commits("Follow the channel again", func(d *demo) error {
				return d.edit("instance.yaml", "\n  version: 2026.11.4", "")
			})),
			arrived: upgraded("2026.11.7"),
			checks:  []check{answers("/version", "2026.11.7"), replaced("app"), keepsData, requestsWaited},
		},
	}
}

// withoutGap is the same for an app of which two may run for a moment.
func withoutGap() []step {
	return []step{
		{
			title: "An app of which two may run: the next is started before the last is stopped",
			ask: commits("Start first: state is kept elsewhere now", func(d *demo) error {
				if err := d.edit("instance.yaml", "\n  locks: [\"app:/srv/data/app.lock\"]", ""); err != nil {
					return err
				}
				if err := d.edit("app.env", "APP_LOCK=/srv/data/app.lock\n", ""); err != nil {
					return err
				}
				return d.edit("compose.prod.yaml", "    deploy:\n", "    deploy:\n      update_config: {order: start-first}\n")
			}),
			arrived: applied,
			checks:  []check{replaced("app"), untouched("migrate"), nothingAside, nobodyWaited},
		},
		{
			title: "Start first, a sick release: thrown away before any request reached it",
			ask:   channelMovesNow("2026.11.8"), arrived: undone("2026.11.8"),
			checks: []check{
				answers("/version", "2026.11.7"), untouched("app"), nothingAside, nobodyWaited, nobodySaw("2026.11.8"), notTriedAgain,
			},
		},
		{
			title: "Start first, a release that fails the smoke test: the same",
			ask:   channelMovesNow("2026.11.9"), arrived: undone("2026.11.9"),
			checks: []check{
				answers("/version", "2026.11.7"), untouched("app"), nothingAside, nobodyWaited, nobodySaw("2026.11.9"), notTriedAgain,
			},
		},
		{
			title: "Start first, a good release: nobody notices",
			ask:   channelMovesNow("2026.11.10"), arrived: upgraded("2026.11.10"),
			checks: []check{answers("/version", "2026.11.10"), replaced("app"), nothingAside, keepsData, nobodyWaited},
		},
	}
}

// followed says whether the instance follows the channel, with nothing left to do.
func followed(v view) bool {
	return synced(v) && v.status.Release != nil && v.status.Release.Channel == channel
}
