package front

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/desired"
)

const (
	checkEvery = 5 * time.Second // how often the files of a pair are looked at
	maxPEM     = 1 << 20         // of a chain or key; a chain takes some 10 kB
	// currentFor is how long a specification counts as in use after it was asked
	// for, which the front does every 10 s; forgetAfter, when its pair is dropped.
	currentFor  = time.Minute
	forgetAfter = time.Hour
)

// FilesOptions are the settings of Files.
type FilesOptions struct {
	// Dir keeps the self-signed pairs, so that they stay the same over a
	// restart; empty: they are kept in memory. It is made when it is missing.
	Dir string
	Log *logrus.Entry    // nil: nothing is logged
	Now func() time.Time // nil: time.Now
}

// Files is the Certificates that reads a pair from the paths that a
// specification names, again whenever they change, and makes a self-signed one
// where no pair is named or none has been readable yet. A pair that is broken
// never takes the place of a good one.
type Files struct {
	opts  FilesOptions
	mu    sync.Mutex // guards pairs
	pairs map[string]*pair
}

// NewFiles returns a Files. It reads and writes nothing yet.
func NewFiles(opts FilesOptions) *Files {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		l := logrus.New()
		l.SetOutput(io.Discard)
		opts.Log = logrus.NewEntry(l)
	}
	return &Files{opts: opts, pairs: map[string]*pair{}}
}

// pair is what is known of one specification.
type pair struct {
	files   *Files
	spec    desired.CertificateSpec
	domains []string
	served  atomic.Pointer[Certificate]
	asked   atomic.Int64 // Unix nanoseconds of the last question
	checked atomic.Int64 // and of the last look

	mu      sync.Mutex // one looks at a time; guards what follows
	stamps  [2]stamp   // of the files last read
	sum     [sha256.Size]byte
	problem atomic.Pointer[string]
}

// stamp tells whether a file has been replaced or written to.
type stamp struct {
	info    fs.FileInfo
	missing bool
}

func (s stamp) same(o stamp) bool {
	if s.info == nil || o.info == nil {
		return s.missing && o.missing
	}
	return os.SameFile(s.info, o.info) && s.info.Size() == o.info.Size() && s.info.ModTime().Equal(o.info.ModTime())
}

// Certificate implements Certificates.
func (f *Files) Certificate(host string, spec desired.CertificateSpec) (Certificate, error) {
	p := f.pair(host, spec)
	now := f.opts.Now()
	p.asked.Store(now.UnixNano())
	if c := p.served.Load(); c != nil {
		if now.Sub(time.Unix(0, p.checked.Load())).Abs() < checkEvery || !p.mu.TryLock() {
			return *c, nil // another looks already
		}
	} else {
		p.mu.Lock()
	}
	defer p.mu.Unlock()
	err := p.look(now)
	p.checked.Store(now.UnixNano())
	p.report(err)
	if c := p.served.Load(); c != nil {
		return *c, nil
	}
	return Certificate{}, err
}

// Problems are what is wrong now with the pairs that are in use, a line each, in
// order.
func (f *Files) Problems() []string {
	now := f.opts.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for _, key := range slices.Sorted(maps.Keys(f.pairs)) {
		if s := f.pairs[key].problem.Load(); s != nil && f.pairs[key].unused(now) < currentFor {
			list = append(list, *s)
		}
	}
	return list
}

func (f *Files) pair(host string, spec desired.CertificateSpec) *pair {
	domains := slices.Clone(spec.Domains)
	if len(domains) == 0 {
		domains = []string{host}
	}
	slices.Sort(domains)
	domains = slices.Compact(domains)
	key := strings.Join(append([]string{spec.Fullchain, spec.Privkey}, domains...), "\x00")
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.pairs[key]
	if p == nil {
		now := f.opts.Now()
		maps.DeleteFunc(f.pairs, func(_ string, old *pair) bool { return old.unused(now) > forgetAfter })
		p = &pair{files: f, spec: spec, domains: domains}
		p.asked.Store(now.UnixNano())
		f.pairs[key] = p
	}
	return p
}

// unused is how long nobody has asked for the pair.
func (p *pair) unused(now time.Time) time.Duration { return now.Sub(time.Unix(0, p.asked.Load())) }

// look brings what is served up to date. An error says what is wrong although
// something may be served.
func (p *pair) look(now time.Time) error {
	var err error
	if p.spec.Fullchain != "" || p.spec.Privkey != "" {
		if err = p.read(now); err != nil {
			err = fmt.Errorf("certificate for %s: %w", strings.Join(p.domains, ", "), err)
		}
		if c := p.served.Load(); c != nil && !c.SelfSigned {
			return err
		}
	}
	return errors.Join(err, p.selfSign(now))
}

// read takes the pair from its files when they have changed.
func (p *pair) read(now time.Time) error {
	before := p.stamps
	stamps := [2]stamp{stampOf(p.spec.Fullchain), stampOf(p.spec.Privkey)}
	if s := p.problem.Load(); s == nil && p.served.Load() != nil && stamps[0].same(before[0]) && stamps[1].same(before[1]) {
		return nil
	}
	chain, err := readPEM(p.spec.Fullchain)
	if err != nil {
		return fmt.Errorf("read fullchain: %w", err)
	}
	key, err := readPEM(p.spec.Privkey)
	if err != nil {
		return fmt.Errorf("read privkey: %w", err)
	}
	sum := sha256.Sum256(slices.Concat(chain, []byte{0}, key))
	old := p.served.Load()
	if old != nil && !old.SelfSigned && sum == p.sum {
		p.stamps = stamps
		return nil
	}
	cert, err := p.verify(chain, key, now)
	if err != nil {
		return err
	}
	if old != nil && !old.SelfSigned && !validAt(cert, now) && validAt(old.Certificate, now) {
		return fmt.Errorf("%s: the new certificate is valid from %s to %s, which is not now; the one before is still served", p.spec.Fullchain,
			cert.Leaf.NotBefore.UTC().Format(time.RFC3339), cert.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	p.served.Store(&Certificate{Certificate: cert})
	p.stamps, p.sum = stamps, sum
	p.files.opts.Log.WithFields(logFields{"domains": p.domains, "until": cert.Leaf.NotAfter.UTC().Format(time.RFC3339)}).Info("certificate loaded")
	return nil
}

// verify makes a certificate of the bytes, if they belong together and to one
// of the domains.
func (p *pair) verify(chain, key []byte, now time.Time) (*tls.Certificate, error) {
	if len(bytes.TrimSpace(chain)) == 0 || len(bytes.TrimSpace(key)) == 0 {
		return nil, fmt.Errorf("%s or %s is empty", p.spec.Fullchain, p.spec.Privkey)
	}
	cert, err := tls.X509KeyPair(chain, key) // fills in Leaf, and compares its key
	if err != nil {
		return nil, fmt.Errorf("load %s with %s: %w", p.spec.Fullchain, p.spec.Privkey, err)
	}
	covered := func(d string) bool { return cert.Leaf.VerifyHostname(d) == nil }
	if !slices.ContainsFunc(p.domains, covered) {
		return nil, fmt.Errorf("%s: the certificate is for %s", p.spec.Fullchain, strings.Join(cert.Leaf.DNSNames, ", "))
	}
	return &cert, nil
}

func validAt(c *tls.Certificate, now time.Time) bool {
	return !now.Before(c.Leaf.NotBefore) && now.Before(c.Leaf.NotAfter)
}

// report logs a problem once, and once more when it is over.
func (p *pair) report(err error) {
	was := p.problem.Load()
	log := p.files.opts.Log.WithField("domains", p.domains)
	switch {
	case err == nil && was != nil:
		p.problem.Store(nil)
		log.Info("the certificate is in order again")
	case err != nil && (was == nil || *was != err.Error()):
		s := err.Error()
		p.problem.Store(&s)
		log.WithError(err).Warn("certificate cannot be used; what was served before stays, or a self-signed one stands in")
	}
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{missing: true}
	}
	return stamp{info: info}
}

// readPEM reads a file that an operator has named, following links as
// certificate tools lay them.
func readPEM(path string) ([]byte, error) {
	if path == "" {
		return nil, errors.New("no path is given")
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, maxPEM+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(b) > maxPEM {
		return nil, fmt.Errorf("%s is larger than %d KiB", path, maxPEM>>10)
	}
	return b, nil
}
