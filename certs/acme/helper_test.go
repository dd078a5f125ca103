package acme

import (
	"context"
	"crypto/tls"
	"flag"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

// TestMain lets more tests run at once than there are processors: they mostly wait
// for an authority, and one of them for a minute.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// kept is a Manager that runs, with what it handed over.
type kept struct {
	*Manager
	t    *testing.T
	site *site
	log  *buffer

	mu    sync.Mutex
	pairs []Pair
	stop  func()
}

// keep runs a Manager until the test ends or stop is called. Its backoff is
// short, so that tests do not wait for a minute.
func keep(t *testing.T, s *site, opts Options) *kept {
	t.Helper()
	k := &kept{t: t, site: s, log: &buffer{}}
	l := logrus.New()
	l.SetOutput(k.log)
	l.SetLevel(logrus.DebugLevel)
	opts.Log, opts.Issued = logrus.NewEntry(l), k.take
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	if opts.Every == 0 {
		opts.Every = 100 * time.Millisecond
	}
	if opts.Backoff == nil {
		opts.Backoff = []time.Duration{300 * time.Millisecond, 600 * time.Millisecond}
	}
	k.Manager = New(opts)
	if s != nil {
		s.mu.Lock()
		s.manager = k.Manager
		s.mu.Unlock()
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	k.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(func() {
		k.stop()
		if t.Failed() {
			text := k.log.String()
			t.Logf("the manager said:\n%s", text[max(0, len(text)-6000):])
		}
	})
	return k
}

func (k *kept) take(_ context.Context, p Pair) error {
	both, err := tls.X509KeyPair(p.Chain, p.Key)
	if err != nil {
		return err
	}
	if k.site != nil {
		k.site.mu.Lock()
		k.site.pair = &both
		k.site.mu.Unlock()
	}
	k.mu.Lock() // who waits for the pair finds it served
	k.pairs = append(k.pairs, p)
	k.mu.Unlock()
	return nil
}

func (k *kept) handed() []Pair {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]Pair(nil), k.pairs...)
}

func (k *kept) ensure(r Request) {
	k.t.Helper()
	if r.Name == "" {
		r.Name = "data"
	}
	if err := k.Ensure(r); err != nil {
		k.t.Fatal(err)
	}
}

// await returns the n-th pair that is handed over.
func (k *kept) await(n int) Pair {
	k.t.Helper()
	eventually(k.t, "enough pairs are handed over", func() bool { return len(k.handed()) >= n })
	return k.handed()[n-1]
}

func (k *kept) one() Status {
	k.t.Helper()
	all := k.Status()
	if len(all) != 1 {
		k.t.Fatalf("status of %d certificates, want 1", len(all))
	}
	return all[0]
}

// leaf reads the first certificate of a pair.
func leaf(t *testing.T, p Pair) *record {
	t.Helper()
	r := &record{Chain: string(p.Chain), Key: string(p.Key)}
	if err := r.parse(); err != nil {
		t.Fatal(err)
	}
	return r
}

func encodeKeyOf(k KeyType) ([]byte, error) {
	key, err := keyTypes[k]()
	if err != nil {
		return nil, err
	}
	return encodeKey(key)
}

func defaults() Options {
	var o Options
	o.fill()
	return o
}
