package auth

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Options say over what a store works.
type Options struct {
	DB *bolt.DB
	// Key signs sessions: at least 32 bytes that stay on this host.
	Key []byte
	// Code keeps the setup code; nil: none is asked for.
	Code CodeFile
	// Mark says apart from the database that there was an administrator: a
	// database that was lost must not open the setup to whoever comes. nil: there
	// is none.
	Mark Mark
	// Changed is called after changes of users and tokens; nil: nobody asks. It
	// must not block.
	Changed func()
	// Cost of a password's hash; zero: the default.
	Cost Cost
	// Proxies whose word about a client's address is believed.
	Proxies Proxies
	// Keep is how many entries the audit log has before the oldest go; 0: the
	// default.
	Keep int
}

// MinKey is the least length of the key that signs sessions (RFC 7518, 3.2).
const MinKey = 32

// Store keeps the people of a daemon. It holds them in memory as well, so that
// asking who somebody is touches no disk; it is the only writer of its bucket.
type Store struct {
	db      *bolt.DB
	key     []byte
	code    CodeFile
	mark    Mark
	changed func()
	proxies Proxies
	keep    int
	hash    *hasher

	signIns    *throttle // by address
	accounts   *throttle // by account
	setupCodes *throttle // by address
	refusals   *throttle // by caller: what is written down of them
	own        *throttle // by user: what they do to their own account
	setup      chan struct{}

	loaded  atomic.Bool
	writing sync.Mutex   // one change at a time
	mu      sync.RWMutex // guards what follows, for as long as a map takes
	cache

	glimpsed sync.Mutex
	glimpses map[string]glimpse // by id of a user, a session or a token
}

// cache is what the bucket holds. What the pointers lead to is never changed.
type cache struct {
	users    map[string]*account
	emails   map[string]string // normalised: id
	sessions map[string]*Session
	tokens   map[string]*tokenRecord
	secrets  map[secretHash]string // hash of a token: its id
	closed   bool                  // there was an administrator once
}

// account is a user with what nobody is shown.
type account struct {
	User
	Password string    `json:"password,omitempty"`       // hash
	Set      time.Time `json:"password_set_at,omitzero"` // by a person: a hash is made anew when the cost changes
}

// NewStore does no I/O.
func NewStore(o Options) (*Store, error) {
	if len(o.Key) < MinKey {
		return nil, fmt.Errorf("make store of users: its key has %d bytes, not %d", len(o.Key), MinKey)
	}
	if o.Keep == 0 {
		o.Keep = defaultKeep
	}
	return &Store{
		db: o.DB, key: o.Key, code: o.Code, mark: o.Mark, changed: o.Changed, proxies: o.Proxies, keep: o.Keep, hash: newHasher(o.Cost),
		signIns: newThrottle(addressRate), accounts: newThrottle(accountRate), setupCodes: newThrottle(codeRate), refusals: newThrottle(refusalRate), own: newThrottle(ownRate),
		setup: make(chan struct{}, 1), glimpses: map[string]glimpse{},
	}, nil
}

var (
	rootBucket     = []byte("auth")
	usersBucket    = []byte("users")
	sessionsBucket = []byte("sessions")
	tokensBucket   = []byte("tokens")
	auditBucket    = []byte("audit")
	closedKey      = []byte("setup-closed")
)

// load reads the bucket once.
func (s *Store) load() error {
	if s.loaded.Load() {
		return nil
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	return s.loadLocked()
}

func (s *Store) loadLocked() error {
	if s.loaded.Load() {
		return nil
	}
	c := cache{users: map[string]*account{}, emails: map[string]string{}, sessions: map[string]*Session{}, tokens: map[string]*tokenRecord{}, secrets: map[secretHash]string{}}
	err := s.db.View(func(tx *bolt.Tx) error {
		root := tx.Bucket(rootBucket)
		if root == nil {
			return nil
		}
		c.closed = root.Get(closedKey) != nil
		if err := each(root, usersBucket, c.addUser); err != nil {
			return err
		}
		if err := each(root, sessionsBucket, c.addSession); err != nil {
			return err
		}
		return each(root, tokensBucket, c.addToken)
	})
	if err == nil {
		err = s.heedMark(&c)
	}
	if err != nil {
		return fmt.Errorf("read users: %w", err)
	}
	s.mu.Lock()
	s.cache = c
	s.mu.Unlock()
	s.loaded.Store(true)
	return nil
}

// each reads the values of a bucket, which may not be there yet.
func each[T any](root *bolt.Bucket, name []byte, add func(*T)) error {
	b := root.Bucket(name)
	if b == nil {
		return nil
	}
	return b.ForEach(func(k, v []byte) error {
		one := new(T)
		if err := json.Unmarshal(v, one); err != nil {
			return fmt.Errorf("%s %s: %w", name, k, err)
		}
		add(one)
		return nil
	})
}

func (c *cache) addUser(a *account)    { c.users[a.ID], c.emails[a.Email] = a, a.ID }
func (c *cache) addSession(x *Session) { c.sessions[x.ID] = x }
func (c *cache) addToken(t *tokenRecord) {
	c.tokens[t.ID], c.secrets[t.Hash] = t, t.ID
}

// change is a set of writes that happen together, or not at all.
type change struct {
	*Store
	root  *bolt.Bucket
	after []func(*cache) // what memory learns once it is on disk
	grave bool           // users or tokens are others than before
}

// change makes writes in one transaction.
func (s *Store) change(do func(*change) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.loadLocked(); err != nil {
		return err
	}
	var c *change
	err := s.db.Update(func(tx *bolt.Tx) error {
		root, err := tx.CreateBucketIfNotExists(rootBucket)
		if err != nil {
			return fmt.Errorf("write users: %w", err)
		}
		c = &change{Store: s, root: root}
		return do(c)
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	for _, f := range c.after {
		f(&s.cache)
	}
	s.mu.Unlock()
	if c.grave && s.changed != nil {
		s.changed()
	}
	return nil
}

func (c *change) put(bucket []byte, id string, v any, then func(*cache)) error {
	b, err := c.root.CreateBucketIfNotExists(bucket)
	if err == nil {
		var data []byte
		if data, err = json.Marshal(v); err == nil {
			err = b.Put([]byte(id), data)
		}
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", bucket, err)
	}
	c.after = append(c.after, then)
	return nil
}

func (c *change) remove(bucket []byte, id string, then func(*cache)) error {
	if b := c.root.Bucket(bucket); b != nil {
		if err := b.Delete([]byte(id)); err != nil {
			return fmt.Errorf("write %s: %w", bucket, err)
		}
	}
	c.after = append(c.after, then)
	return nil
}

func (c *change) putUser(a account) error {
	c.grave = true
	return c.put(usersBucket, a.ID, a, func(m *cache) { m.addUser(&a) })
}

func (c *change) putSession(x Session) error {
	return c.put(sessionsBucket, x.ID, x, func(m *cache) { m.addSession(&x) })
}

func (c *change) endSession(id string) error {
	return c.remove(sessionsBucket, id, func(m *cache) { delete(m.sessions, id) })
}

func (c *change) putToken(t tokenRecord) error {
	c.grave = true
	return c.put(tokensBucket, t.ID, t, func(m *cache) { m.addToken(&t) })
}

func (c *change) removeToken(t *tokenRecord) error {
	c.grave = true
	return c.remove(tokensBucket, t.ID, func(m *cache) { delete(m.tokens, t.ID); delete(m.secrets, t.Hash) })
}

// closeSetup ends the setup for good.
func (c *change) closeSetup() error {
	if c.root.Get(closedKey) != nil {
		return nil
	}
	if err := c.root.Put(closedKey, []byte(time.Now().UTC().Format(time.RFC3339))); err != nil {
		return fmt.Errorf("write users: %w", err)
	}
	c.after = append(c.after, func(m *cache) { m.closed = true })
	return nil
}
