package store

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/fairlead/fairlead/certs/pair"
)

const (
	currentName   = "current"
	fullchainName = "fullchain.pem"
	privkeyName   = "privkey.pem"
	metaName      = "meta.json"
	keyName       = "key.pem"
	csrName       = "cert.csr"

	metaFormat  = 1
	dirMode     = 0o700
	secretMode  = 0o600
	publicMode  = 0o644
	defaultKeep = 3
)

// ErrOverReal refuses to publish a self-signed pair where a real one was
// published before, be it expired.
var ErrOverReal = errors.New("a self-signed certificate never takes the place of a real one")

// Options are the settings of a Store.
type Options struct {
	Keep int              // previous generations kept beside the current one; 0: 3
	Now  func() time.Time // nil: time.Now

	step func(string) // told before each thing that is done; for tests
}

// Store is one certificate on disk. The directory holds current, a link to the
// generation that is live, generations 1/, 2/ …, and key.pem and cert.csr where
// the key is made on this host. All of it is kept in memory as well, so that
// what is changed by hand can be put back. One Store at a time may have a
// directory. Its methods may be called from many goroutines.
type Store struct {
	dir  string
	opts Options

	mu      sync.Mutex // guards everything that follows
	room    room
	gens    []Generation // that verify, oldest first; the last one is current
	highest int          // number ever seen
	key     *file        // nil: none
	csr     *file
}

// Origin is where a pair comes from. None of it may be secret: strip URLs of
// their queries.
type Origin struct {
	Source  string `json:"source,omitempty"`  // "https://pki.acme.com/data/fullchain.pem", "self-signed"
	Version string `json:"version,omitempty"` // the source's own: an ETag, a generation
	Commit  string `json:"commit,omitempty"`  // of the desired state
}

// Meta is what is remembered of a generation.
type Meta struct {
	Format int `json:"format"`
	Origin
	Published  time.Time         `json:"published"`
	SelfSigned bool              `json:"selfSigned,omitempty"`
	Restored   int               `json:"restored,omitempty"` // the older generation that this is a copy of
	Leaf       string            `json:"leaf"`               // fingerprint of the certificate
	SPKI       string            `json:"spki"`               // and of its public key
	Issuer     string            `json:"issuer"`
	Serial     string            `json:"serial"`
	Domains    []string          `json:"domains"`
	NotBefore  time.Time         `json:"notBefore"`
	NotAfter   time.Time         `json:"notAfter"`
	Files      map[string]string `json:"files"` // sha256 of each, in hex
}

// Generation is a pair that was published. The zero Generation is none.
type Generation struct {
	Number int
	Pair   pair.Pair
	Meta   Meta
	files  func() []file // which nothing prints, whatever the verb
}

// Format keeps the key out of whatever prints the generation.
func (g Generation) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "generation %d, %v", g.Number, g.Pair)
}

func (g Generation) name() string { return strconv.Itoa(g.Number) }

// Open opens the store of one certificate and makes it when it is missing; the
// directory above must be there. It removes what a crash left and makes the
// newest generation current that verifies. What it found amiss is among repairs;
// an error says that the directory cannot be used at all.
func Open(dir string, opts Options) (s *Store, repairs []Drift, err error) {
	if opts.Keep <= 0 {
		opts.Keep = defaultKeep
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	s = &Store{dir: dir, opts: opts}
	if s.room, err = s.enter(); err != nil {
		return nil, nil, fmt.Errorf("open certificate store: %w", err)
	}
	if repairs, err = s.boot(); err != nil {
		return nil, repairs, errors.Join(fmt.Errorf("open certificate store %s: %w", dir, err), s.room.Close())
	}
	return s, repairs, nil
}

func (s *Store) enter() (room, error) {
	return enter(s.dir, dirMode, room{tmp: ".tmp-", uid: -1, gid: -1, step: s.opts.step})
}

// SetKeep says how many generations are kept beside the current one; 0: 3.
func (s *Store) SetKeep(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n <= 0 {
		n = defaultKeep
	}
	if s.opts.Keep != n {
		s.opts.Keep = n
		s.prune()
	}
}

// Close lets go of the directory.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.room.Close()
}

// Current is the live generation; ok is false when nothing was published yet.
func (s *Store) Current() (g Generation, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current()
}

func (s *Store) current() (Generation, bool) {
	if len(s.gens) == 0 {
		return Generation{}, false
	}
	return s.gens[len(s.gens)-1], true
}

// Generations are those that are kept, oldest first; the last one is live.
func (s *Store) Generations() []Generation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.gens)
}

// HasReal reports whether a certificate that is not self-signed was published:
// from then on nothing self-signed may be.
func (s *Store) HasReal() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hasReal()
}

func (s *Store) hasReal() bool {
	return slices.ContainsFunc(s.gens, func(g Generation) bool { return !g.Pair.SelfSigned() })
}

// Publish makes a pair the live generation, whole or not at all: with an error
// the one before is live still. The pair that is live already is not written
// again.
func (s *Store) Publish(p pair.Pair, from Origin) (Generation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.publish(p, Meta{Origin: from})
}

// Rollback makes a copy of an older generation the live one.
func (s *Store) Rollback(number int) (Generation, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.gens, func(g Generation) bool { return g.Number == number })
	if i < 0 {
		return Generation{}, fmt.Errorf("roll back certificate: there is no generation %d", number)
	}
	return s.publish(s.gens[i].Pair, Meta{Origin: s.gens[i].Meta.Origin, Restored: number})
}

func (s *Store) publish(p pair.Pair, m Meta) (Generation, error) {
	if p.IsZero() {
		return Generation{}, errors.New("publish certificate: there is no pair")
	}
	live, any := s.current()
	if any && live.Pair.Equal(p) {
		return live, nil
	}
	if p.SelfSigned() && s.hasReal() {
		return Generation{}, fmt.Errorf("publish certificate: %w", ErrOverReal)
	}
	g, err := s.generation(p, m)
	if err != nil {
		return Generation{}, fmt.Errorf("publish certificate: %w", err)
	}
	if err := s.write(g); err != nil {
		s.abandon(g)
		return Generation{}, fmt.Errorf("publish certificate as generation %d of %s: %w", g.Number, s.dir, err)
	}
	s.gens = append(s.gens, g)
	s.prune()
	return g, nil
}

// generation is the next one, in memory.
func (s *Store) generation(p pair.Pair, m Meta) (Generation, error) {
	key, err := p.PrivateKey()
	if err != nil {
		return Generation{}, err
	}
	s.highest++
	g := Generation{Number: s.highest, Pair: p}
	files := []file{{privkeyName, key, secretMode}, {fullchainName, p.Fullchain(), publicMode}}
	g.Meta = describe(p, m, files)
	g.Meta.Published = s.opts.Now().UTC().Truncate(time.Second)
	text, err := g.Meta.encode()
	if err != nil {
		return Generation{}, err
	}
	// It is written last: a directory without it was never whole.
	files = append(files, file{metaName, text, secretMode})
	g.files = func() []file { return files }
	return g, nil
}

func (m Meta) encode() ([]byte, error) {
	text, err := json.MarshalIndent(m, "", "  ")
	return append(text, '\n'), err
}

// describe fills in what the pair itself tells.
func describe(p pair.Pair, m Meta, files []file) Meta {
	leaf := p.Leaf()
	m.Format, m.SelfSigned = metaFormat, p.SelfSigned()
	m.Leaf, m.SPKI = pair.Fingerprint(leaf), pair.SPKI(leaf.PublicKey)
	m.Issuer, m.Serial, m.Domains = leaf.Issuer.String(), leaf.SerialNumber.Text(16), slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		m.Domains = append(m.Domains, ip.String())
	}
	m.NotBefore, m.NotAfter = leaf.NotBefore.UTC(), leaf.NotAfter.UTC()
	m.Files = map[string]string{}
	for _, f := range files {
		m.Files[f.name] = sum(f.data)
	}
	return m
}

func sum(data []byte) string {
	h := sha256.Sum256(data)
	return hex.EncodeToString(h[:])
}

// write puts a generation on disk, reads it back, and makes it current.
func (s *Store) write(g Generation) error {
	if err := s.room.directory(g.name(), dirMode, g.files()); err != nil {
		return err
	}
	back, err := s.load(g.Number)
	if err != nil {
		return fmt.Errorf("read back what was written: %w", err)
	}
	if !back.Pair.Equal(g.Pair) {
		return errors.New("read back what was written: it is another pair")
	}
	return s.room.link(currentName, g.name())
}

// abandon takes back what write did.
func (s *Store) abandon(g Generation) {
	if target, err := s.room.Readlink(currentName); err == nil && target == g.name() {
		live, any := s.current()
		if !any || s.room.link(currentName, live.name()) != nil {
			return // it is whole, and better than a link to nothing
		}
	}
	_ = s.room.RemoveAll(g.name()) // the error that led here is what counts
}

// prune removes generations that are too old. What cannot be removed now is
// removed after the next one, or at the next start.
func (s *Store) prune() {
	for len(s.gens) > s.opts.Keep+1 {
		if err := s.room.discard(s.gens[0].name()); err != nil {
			return
		}
		s.gens = slices.Delete(s.gens, 0, 1)
	}
}
