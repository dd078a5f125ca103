package reconciler

import "github.com/fairlead/fairlead/desired"

// Notices tells people what happens. Package server/notify implements it.
type Notices interface {
	// Set says which channels an instance has until the next Set. Calling it
	// again with the same costs nothing, and it never waits.
	Set(instance string, channels []desired.NotifySpec)
}

// keepNotices hands over the channels of the newest revision that can be read:
// also of one that is refused later, or asks for nothing that runs.
func (r *Instance) keepNotices(l loaded) {
	if r.cfg.Notices == nil || l.err != nil || l.spec.Name == "" {
		return
	}
	r.cfg.Notices.Set(r.cfg.Name, l.spec.Notify)
}
