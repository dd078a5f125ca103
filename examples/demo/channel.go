package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/fairlead/fairlead/reconciler"
)

const channel = "stable"

// tag makes the channel mean a version, as a release engineer would.
func (p place) tag(ctx context.Context, version string) error {
	repo := p.address() + "/" + p.name + "/app"
	from, err := name.NewTag(repo+":stable-"+version, name.Insecure)
	if err != nil {
		return fmt.Errorf("move channel: %w", err)
	}
	desc, err := remote.Get(from, remote.WithContext(ctx))
	if err == nil {
		err = remote.Tag(from.Context().Tag(channel), desc, remote.WithContext(ctx))
	}
	if err != nil {
		return fmt.Errorf("move channel to %s: %w", version, err)
	}
	return nil
}

func (p place) tagged(version string) string {
	return fmt.Sprintf("in the registry, %s/app:%s is now %s", p.name, channel, version)
}

// channelMoves moves the channel and does nothing else: the daemon has to ask by itself.
func channelMoves(version string) asking {
	return func(ctx context.Context, d *demo) ([]string, error) {
		d.asked = time.Now()
		return []string{d.tagged(version), "nothing more: the daemon asks the registry every 10s"}, d.tag(ctx, version)
	}
}

// channelMovesNow moves the channel and has the daemon ask at once, to keep the demo short.
func channelMovesNow(version string) asking {
	return thenApply(func(ctx context.Context, d *demo) ([]string, error) {
		d.asked = time.Now()
		return []string{d.tagged(version)}, d.tag(ctx, version)
	})
}

// thenApply has the daemon ask the registry at once. How that ends is seen by looking.
func thenApply(ask asking) asking {
	return func(ctx context.Context, d *demo) ([]string, error) {
		lines, err := ask(ctx, d)
		if err != nil {
			return nil, err
		}
		_, _, err = d.apply(ctx)
		return append(lines, "fairlead apply    # asks now; by itself it would within 10s"), err
	}
}

// apply runs fairlead apply, which asks the registry afresh and waits for the outcome.
func (d *demo) apply(ctx context.Context) (code int, said string, err error) {
	return d.fairleadCode(ctx, "apply", "--timeout", "60s", d.name)
}

// upgraded says whether a release has arrived and stands.
func upgraded(version string) func(view) bool {
	return func(v view) bool {
		return applied(v) && v.fresh[0].Kind == "deploy" && v.fresh[0].Release == version && v.status.Release != nil &&
			v.status.Release.RunningRelease == version
	}
}

// undone says whether a release was tried, rolled back, and put into quarantine.
func undone(version string) func(view) bool {
	return func(v view) bool {
		return rolledBack(v) && v.fresh[0].Release == version && v.status.Phase == reconciler.PhaseQuarantined
	}
}

// notTriedAgain has the registry asked afresh and checks that a release in quarantine is left alone.
var notTriedAgain = check{"the registry is asked again (fairlead apply, exit code 3), and it is not tried again",
	func(ctx context.Context, d *demo) error {
		before, err := d.newestRecord(ctx)
		if err != nil {
			return err
		}
		asked := time.Now()
		code, said, err := d.apply(ctx)
		if err != nil {
			return err
		}
		if code != 3 {
			return fmt.Errorf("fairlead apply ends with %d: %s", code, said)
		}
		return d.nothingHappened(ctx, before, asked)
	}}

// staysPinned moves the channel and checks that a pinned instance does not follow.
func staysPinned(version string) check {
	return check{"the channel moves to " + version + ", and nothing happens", func(ctx context.Context, d *demo) error {
		before, err := d.newestRecord(ctx)
		if err != nil {
			return err
		}
		if err := d.tag(ctx, version); err != nil {
			return err
		}
		asked := time.Now()
		code, said, err := d.apply(ctx)
		if err != nil {
			return err
		}
		if code != 0 {
			return fmt.Errorf("fairlead apply ends with %d: %s", code, said)
		}
		return d.nothingHappened(ctx, before, asked)
	}}
}

// nothingHappened checks that the registry was asked since and that no apply followed.
func (d *demo) nothingHappened(ctx context.Context, before int, asked time.Time) error {
	status, err := d.client.Status(ctx, d.name)
	if err != nil {
		return err
	}
	if status.Release == nil || status.Release.Asked.Before(asked) {
		return errors.New("the registry was not asked")
	}
	after, err := d.newestRecord(ctx)
	if err == nil && after != before {
		err = fmt.Errorf("there is an apply more in the history: number %d after %d", after, before)
	}
	return err
}

// gapLine says what users notice of an apply.
func gapLine(g reconciler.Gap) string {
	line := fmt.Sprintf("%s changed hands in %s: %d requests waited", g.Service, rounded(g.For), g.Held)
	if g.Held > 0 {
		line += ", the longest for " + rounded(g.Longest)
	}
	if g.Refused > 0 {
		line += fmt.Sprintf("; %d were refused", g.Refused)
	}
	return line
}

// firstLine is the start of what a program said.
func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}
