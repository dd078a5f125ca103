package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fairlead/fairlead/examples/ports"
)

// process is a part of the comparison, or a proxy of somebody else's.
type process struct {
	cmd  *exec.Cmd
	in   io.Closer // its end ends a part
	out  *bufio.Reader
	said strings.Builder
}

// part starts this program once more.
func (b *bench) part(args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	p := &process{cmd: exec.Command(self, append([]string{"part"}, args...)...)}
	p.cmd.Env, p.cmd.Stderr = cleanEnvironment(), &p.said
	in, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	p.in, p.out = in, bufio.NewReader(out)
	return p, nil
}

// line reads the next one that the process says.
func (p *process) line() (string, error) {
	text, err := p.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("it ended: %w: %s", err, p.said.String())
	}
	return strings.TrimSpace(text), nil
}

// end ends it, by force if need be: it holds nothing that must be saved.
func (p *process) end() {
	if p.in != nil {
		_ = p.in.Close()
	}
	_ = p.cmd.Process.Kill() // it may be gone
	_ = p.cmd.Wait()
}

// contender is a proxy with what was read of it.
type contender struct {
	name     string
	what     string // for the table
	proc     *process
	addr     string
	readings map[string]*reading // by the way of asking
	beside   map[string]series   // requests per CPU second while the others of ours were asked, too
	rss      series
}

// reading is what one way of asking showed, a value for each round.
type reading struct{ perCPU, perSecond, p50, p99 series }

// proxies compares them, one at a time, in turn.
type proxies struct {
	b       *bench
	dir     string
	pair    pairFiles
	backend string
	list    []*contender
	started []*process
}

const (
	ours      = "our front"
	bareProxy = "tuned httputil.ReverseProxy"
	polite    = "the same with X-Forwarded-*"
	clients   = 64

	bareProxies = 2 // first in the list, with ours

	shareOfRaw = 0.9 // of the bare proxy's requests per CPU second, at least
)

func measureFront(ctx context.Context, b *bench) error {
	p := &proxies{b: b, dir: filepath.Join(b.dir, "front")}
	defer p.end()
	if err := p.setUp(ctx); err != nil {
		return err
	}
	rounds := b.rounds(9, 1)
	for round := range rounds {
		if err := p.round(ctx, round%2 == 1); err != nil {
			return err
		}
		b.tell("proxies: round %d of %d", round+1, rounds)
	}
	p.tell()
	return nil
}

// round reads each of them once in each way of asking, there or back, and those of ours all at the same time.
func (p *proxies) round(ctx context.Context, back bool) error {
	order := slices.Clone(p.list)
	if back {
		slices.Reverse(order)
	}
	for _, kind := range []string{keepAlive, overHTTP2, anew} {
		if err := p.sideBySide(ctx, kind); err != nil {
			return err
		}
		for _, c := range order {
			if err := p.measure(ctx, c, kind); err != nil {
				return err
			}
		}
	}
	for _, c := range order {
		now, _, err := memory(c.proc.cmd.Process.Pid)
		if err != nil {
			return err
		}
		c.rss = append(c.rss, now)
	}
	return nil
}

func (p *proxies) end() {
	for _, s := range p.started {
		s.end()
	}
}

func (p *proxies) setUp(ctx context.Context) (err error) {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return err
	}
	if p.pair, err = makePair(p.dir); err != nil {
		return err
	}
	if _, p.backend, err = p.start(childBackend); err != nil {
		return err
	}
	for _, own := range []struct{ part, name, what string }{
		{childPolite, polite, "and with time-outs of idle connections"}, {childFront, ours, "as in the daemon"}, {childBare, bareProxy, "nothing around it"},
	} {
		proc, addr, err := p.start(own.part, "-backend", p.backend, "-chain", p.pair.chain, "-key", p.pair.key)
		if err != nil {
			return err
		}
		p.add(own.name, own.what, proc, addr)
	}
	p.addOthers(ctx)
	return nil
}

func (p *proxies) add(name, what string, proc *process, addr string) {
	p.list = append(p.list, &contender{name: name, what: what, proc: proc, addr: addr,
		readings: map[string]*reading{keepAlive: {}, overHTTP2: {}, anew: {}}, beside: map[string]series{}})
}

// start starts a part that tells where it listens.
func (p *proxies) start(args ...string) (*process, string, error) {
	proc, err := p.b.part(args...)
	if err != nil {
		return nil, "", err
	}
	p.started = append(p.started, proc)
	addr, err := proc.line()
	if err != nil {
		return nil, "", fmt.Errorf("start %s: %w", args[0], err)
	}
	return proc, addr, nil
}

// addOthers adds those that are there or can be built. The comparison goes on without the others.
func (p *proxies) addOthers(ctx context.Context) {
	for _, other := range []struct {
		peer
		name, what string
		run        func(ctx context.Context, bin, addr string) (*process, error)
	}{
		{caddy(), "Caddy, tuned", "512 idle connections a host, no compression, no log", func(_ context.Context, bin, addr string) (*process, error) {
			return p.caddy(bin, addr, "{\n\t\ttransport http {\n\t\t\tkeepalive_idle_conns_per_host 512\n\t\t\tcompression off\n\t\t}\n\t}")
		}},
		{caddy(), "Caddy, default", "no log", func(_ context.Context, bin, addr string) (*process, error) { return p.caddy(bin, addr, "") }},
		{kamalProxy(), "kamal-proxy", "log to /dev/null", p.kamal},
	} {
		err := func() error {
			bin, err := other.find(ctx, p.b)
			if err != nil {
				return err
			}
			addr, err := freeAddress()
			if err != nil {
				return err
			}
			proc, err := other.run(ctx, bin, addr)
			if err != nil {
				return err
			}
			p.add(other.name, other.version+", "+other.what, proc, addr)
			return nil
		}()
		if err != nil {
			p.b.note("%s is not measured: %v", other.name, err)
			p.b.tell("%s is not measured: %v", other.name, err)
		}
	}
}

// freeAddress is one that nobody listens on.
func freeAddress() (string, error) {
	port, err := ports.Free()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), err
}

// answers waits until a proxy shows a certificate.
func answers(ctx context.Context, addr string) error {
	return until(ctx, upLimit, func() (bool, error) {
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Second}, "tcp", addr, clientTLS("http/1.1"))
		if err != nil {
			return false, nil
		}
		return true, conn.Close()
	})
}

// sideBySide asks the front and the bare proxies at the same time: whatever else the machine does then, it does to each of
// them, so that a ratio of a few hundredths means something on a busy machine as well.
func (p *proxies) sideBySide(ctx context.Context, kind string) error {
	got := make([]float64, bareProxies+1)
	group, ctx := errgroup.WithContext(ctx)
	for i, c := range p.list[:len(got)] {
		group.Go(func() error {
			v, used, err := p.volley(ctx, c, kind, besideClients, volleyLong)
			got[i] = float64(v.Requests) / used.Seconds()
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, c := range p.list[:len(got)] {
		c.beside[kind] = append(c.beside[kind], got[i])
	}
	return nil
}

// measure reads one way of asking once.
func (p *proxies) measure(ctx context.Context, c *contender, kind string) error {
	v, used, err := p.volley(ctx, c, kind, clients, volleyLong)
	if err != nil {
		return err
	}
	r := c.readings[kind]
	r.perCPU = append(r.perCPU, float64(v.Requests)/used.Seconds())
	r.perSecond = append(r.perSecond, float64(v.Requests)/v.Seconds)
	r.p50, r.p99 = append(r.p50, v.P50), append(r.p99, v.P99)
	return nil
}

const (
	volleyWarm    = 300 * time.Millisecond
	volleyLong    = 2 * time.Second // 64 handshakes take one on a busy machine
	besideClients = clients / 2
)

// volley makes requests, and reads what processor time the proxy took for those that are counted.
func (p *proxies) volley(ctx context.Context, c *contender, kind string, n int, long time.Duration) (v volley, used time.Duration, err error) {
	defer func() {
		if err == nil && (v.Requests == 0 || v.Failed > v.Requests/1000) {
			err = fmt.Errorf("%d requests, %d failed: %s", v.Requests, v.Failed, v.Why)
		}
		if err != nil {
			err = fmt.Errorf("ask %s over %s: %w", c.name, kind, err)
		}
	}()
	load, err := p.b.part(childLoad, "-addr", c.addr, "-kind", kind, "-clients", fmt.Sprint(n), "-warm", volleyWarm.String(), "-for", long.String())
	if err != nil {
		return v, 0, err
	}
	defer load.end()
	stop := context.AfterFunc(ctx, func() { _ = load.in.Close() })
	defer stop()
	if word, err := load.line(); err != nil || word != "go" {
		return v, 0, errors.Join(context.Cause(ctx), err)
	}
	pid := c.proc.cmd.Process.Pid
	before, err := processorTime(pid)
	if err != nil {
		return v, 0, err
	}
	if err := pause(ctx, long); err != nil {
		return v, 0, err
	}
	after, err := processorTime(pid)
	if err != nil {
		return v, 0, err
	}
	text, err := load.line()
	if err == nil {
		err = json.Unmarshal([]byte(text), &v)
	}
	return v, after - before, err
}

// tell compares the front with each of the others, and shows all of them.
func (p *proxies) tell() {
	front := p.ours()
	for _, c := range p.list {
		if c == front {
			continue
		}
		for _, kind := range []string{keepAlive, overHTTP2, anew} {
			f := figure{name: "front, " + kind + ": requests per CPU second", ours: front.readings[kind].perCPU, against: c.name,
				theirs: c.readings[kind].perCPU, unit: "1/s", pairs: true}
			if len(c.beside) > 0 {
				f.ours, f.theirs = front.beside[kind], c.beside[kind]
			}
			if c.name == bareProxy && kind == keepAlive {
				f.least, f.limit = true, shareOfRaw
			}
			p.b.figure(f)
			if len(c.beside) > 0 {
				low, high := f.spread()
				p.b.note("Our front and %s, %s: half of the %d rounds are between %s× and %s×.", c.name, kind, len(f.ours), number(low), number(high))
			}
			p.untold(kind, "requests a second", "1/s", c, func(r *reading) series { return r.perSecond })
			p.untold(kind, "p50", "ms", c, func(r *reading) series { return r.p50 })
			p.untold(kind, "p99", "ms", c, func(r *reading) series { return r.p99 })
		}
		p.b.figure(figure{name: "front: memory (VmRSS)", ours: front.rss, against: c.name, theirs: c.rss, unit: "MiB", untold: true})
	}
	p.b.tables = append(p.b.tables, p.table())
	p.b.note("Proxies: TLS 1.3, ECDSA P-256, %d clients that ask as fast as they are answered, an application that answers 27 bytes; "+
		"proxy, application and clients are processes of their own and share the processors.", clients)
}

func (p *proxies) ours() *contender {
	return p.list[slices.IndexFunc(p.list, func(c *contender) bool { return c.name == ours })]
}

func (p *proxies) untold(kind, what, unit string, c *contender, of func(*reading) series) {
	p.b.figure(figure{name: "front, " + kind + ": " + what, ours: of(p.ours().readings[kind]), against: c.name,
		theirs: of(c.readings[kind]), unit: unit, pairs: true, untold: true})
}

func (p *proxies) table() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "PROXY\tASKED OVER\tREQUESTS PER CPU SECOND\tREQUESTS A SECOND\tP50 MS\tP99 MS\tRSS MIB\tWHAT IT IS")
	for _, kind := range []string{keepAlive, overHTTP2, anew} {
		for _, c := range p.list {
			r := c.readings[kind]
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.name, kind, r.perCPU, r.perSecond, r.p50, r.p99, c.rss, c.what)
		}
	}
	_ = w.Flush() // to memory
	return b.String()
}
