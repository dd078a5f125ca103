package deliver

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// engineLimit bounds a question to the engine.
const engineLimit = 10 * time.Second

// visit is one call's work at one server.
type visit struct {
	*Deliverer
	s        *server
	instance string
	r        desired.Reloader
	domain   string // that it is asked for
	live     pair.Pair
	files    files

	containers []netip.Addr
	fresh      bool // neither the pair nor a container changed since the last visit
	tried      bool // it had its time to show the pair, and was told where that can be
	told       bool
}

// serve sees to it that a server serves the pair, if that is due.
func (d *Deliverer) serve(ctx context.Context, instance string, spec desired.CertificateSpec, r desired.Reloader, live pair.Pair, f files) Outcome {
	domains := spec.Domains
	if len(domains) == 0 {
		domains = live.Leaf().DNSNames
	}
	if len(domains) == 0 {
		return failure(nameOf(r), errors.New("prove certificate: it has no domain to ask for"))
	}
	v := &visit{
		Deliverer: d, s: d.server(identity{instance, domains[0], r}), instance: instance, r: r,
		domain: nameToAsk(domains[0]), live: live, files: f,
	}
	v.s.Lock()
	defer v.s.Unlock()
	return v.serve(ctx)
}

func (v *visit) serve(ctx context.Context) Outcome {
	same := v.s.of == digestOf(v.live)
	if err := v.findContainers(ctx); err != nil {
		if same && v.s.last.Target.OK {
			return v.s.again() // what could not be observed has not changed
		}
		return failure(nameOf(v.r), fmt.Errorf("find containers of %s: %w", v.r.Service, err))
	}
	v.fresh = same && slices.Equal(v.s.containers, v.containers)
	// A file that was put back is a reason to look, not to tell: who changes it
	// all the time would have the server reload all the time.
	if v.fresh && v.files != filesWritten && time.Now().Before(v.s.due) {
		return v.s.again()
	}
	o := v.bring(ctx)
	if !o.Target.OK && ctx.Err() != nil {
		return o // nothing was found out
	}
	v.remember(o)
	return o
}

func (v *visit) findContainers(ctx context.Context) error {
	if v.r.Service == "" {
		return nil
	}
	if v.opts.Servers == nil {
		return errors.New("there is no engine")
	}
	ctx, cancel := context.WithTimeout(ctx, engineLimit)
	defer cancel()
	list, err := v.opts.Servers.Addresses(ctx, v.instance, v.r.Service)
	if err != nil {
		return err
	}
	list = slices.Clone(list)
	for i, a := range list {
		list[i] = a.Unmap()
	}
	slices.SortFunc(list, netip.Addr.Compare)
	v.containers = slices.Compact(list)
	return nil
}

// remember notes what came of a visit, and when the next one is due.
func (v *visit) remember(o Outcome) {
	s, now := v.s, time.Now()
	if !v.fresh || o.Target.OK {
		s.failed, s.retry = 0, time.Time{}
	}
	s.due = now.Add(proveEvery)
	if !o.Target.OK {
		s.due = now.Add(lookEvery)
	}
	if !o.Target.OK && v.tried {
		s.failed++
		s.retry = now.Add(patience(s.failed))
	}
	if o.Target.OK {
		s.leaf = pair.Fingerprint(v.live.Leaf())
	}
	s.of, s.containers, s.last = digestOf(v.live), v.containers, o
}

// bring looks whether the server has the pair; when it has not, tells it to
// reload and looks again until it has or the time is over.
func (v *visit) bring(ctx context.Context) Outcome {
	if v.r.Service != "" && len(v.containers) == 0 {
		return failure(nameOf(v.r), fmt.Errorf("prove certificate at %s: no container of it is running; what it serves is seen once one is", v.r.Service))
	}
	at, err := v.places(ctx)
	if err != nil {
		return failure(nameOf(v.r), fmt.Errorf("prove certificate at %s: %w", v.where(), err))
	}
	enough := view.proved
	if v.onlyChainIsNew() {
		enough = view.whole
	}
	w := v.look(ctx, at)
	if v.canTell() && !w.answered() && !v.resting() {
		// It may be starting: before it listens for signals, one can end it.
		w, _ = v.await(ctx, at, w, within(v.r), view.answered, nil)
	}
	switch {
	case enough(w):
		return v.proved(w)
	case v.resting():
		return v.unproved(w, nil)
	case v.files == filesFailed:
		return v.unproved(w, errors.New("it was not told to reload, since the certificate could not be written"))
	}
	v.tried = true
	w, err = v.tellAndAwait(ctx, at, w, enough)
	if w.proved() {
		return v.proved(w)
	}
	return v.unproved(w, err)
}

// resting says that it failed not long ago and is only looked at now.
func (v *visit) resting() bool { return v.fresh && time.Now().Before(v.s.retry) }

func (v *visit) canTell() bool { return v.r.Signal != "" || v.r.Caddy != "" }

// onlyChainIsNew says that the leaf was proved already, with another chain
// above it. A server which shows the leaf need not have read the rest.
func (v *visit) onlyChainIsNew() bool {
	return v.canTell() && v.s.leaf == pair.Fingerprint(v.live.Leaf()) && v.s.of != digestOf(v.live)
}

func failure(name string, err error) Outcome {
	return Outcome{Target: reconciler.CertificateTarget{Name: name, Message: err.Error(), At: time.Now().UTC()}, Err: err}
}

func success(name, note string) Outcome {
	return Outcome{Target: reconciler.CertificateTarget{Name: name, OK: true, Message: note, At: time.Now().UTC()}}
}
