package docker

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/network"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// trialSuffix is on the name of a network that is made to see whether it can
// be. It is of nobody's specification, so that one that a crash left is removed
// by the next plan.
const trialSuffix = ".next"

// tryNetwork makes a network beside the one that it replaces and removes it
// again. To replace one, its containers are taken off it: what is found wrong
// only then (a driver that is not there) is an outage, and the way back another.
func (e *Engine) tryNetwork(ctx context.Context, t reconciler.Target, n desired.Network, old network.Summary) error {
	if sharesWith(n, old) {
		return nil
	}
	if err := e.removeNetwork(ctx, t, n.Name+trialSuffix); err != nil { // a crash left it
		return err
	}
	var made network.CreateResponse
	err := call(ctx, writeTimeout, func(ctx context.Context) (err error) {
		made, err = e.api().NetworkCreate(ctx, n.Name+trialSuffix, mapNetwork(n, e.networkLabels(t, n)))
		return err
	})
	switch {
	case err != nil && (conflict(err) || noPoolLeft(err)):
		return nil // the old one may be in its way
	case err != nil:
		return e.fail(err, "create network %s (tried beside the old one, which stays)", n.Name)
	}
	err = call(ctx, writeTimeout, func(ctx context.Context) error { return e.api().NetworkRemove(ctx, made.ID) })
	if notFound(err) {
		return nil
	}
	return e.fail(err, "remove network %s", n.Name+trialSuffix)
}

// exclusiveOptions are driver options whose value only one network can have.
var exclusiveOptions = []string{"com.docker.network.bridge.name", "parent"}

// sharesWith says that a network takes what the old one has, so that both
// cannot be there at a time.
func sharesWith(n desired.Network, old network.Summary) bool {
	for _, k := range exclusiveOptions {
		if v := n.DriverOpts[k]; v != "" && v == old.Options[k] {
			return true
		}
	}
	if n.IPAM == nil {
		return false
	}
	return slices.ContainsFunc(n.IPAM.Pools, func(p desired.IPAMPool) bool {
		return slices.ContainsFunc(old.IPAM.Config, func(c network.IPAMConfig) bool { return overlap(p.Subnet, c.Subnet) })
	})
}

func overlap(a, b string) bool {
	p, err := netip.ParsePrefix(a)
	if err != nil {
		return false
	}
	q, err := netip.ParsePrefix(b)
	return err == nil && p.Overlaps(q)
}

// noPoolLeft says that the engine has no addresses for one network more.
func noPoolLeft(err error) bool {
	s := fmt.Sprint(err)
	return strings.Contains(s, "non-overlapping") || strings.Contains(s, "fully subnetted")
}
