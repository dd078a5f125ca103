package docker

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// Memory keeps a few kilobytes a key over restarts of the daemon. Keys are
// names of instances, imagesKey and askedKey. A key that is absent is nil without an
// error. It may be used from several goroutines.
type Memory interface {
	Get(key string) ([]byte, error)
	Put(key string, value []byte) error
}

// imagesKey holds which images were pulled, and askedKey when. No instance has a
// dot in its name.
const (
	imagesKey = ".images"
	askedKey  = ".pulls"
)

// NewMemory returns a Memory that forgets when the process ends.
func NewMemory() Memory { return &volatile{m: map[string][]byte{}} }

type volatile struct {
	mu sync.Mutex
	m  map[string][]byte
}

func (v *volatile) Get(key string) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.m[key]), nil
}

func (v *volatile) Put(key string, value []byte) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.m[key] = slices.Clone(value)
	return nil
}

// remembered is what is known of one container since it was settled.
type remembered struct {
	Service    string `json:"service"`
	Replica    int    `json:"replica"`
	Generation string `json:"generation,omitempty"`
	Hash       string `json:"hash"`
	Image      string `json:"image"`
	// Settings are those that other hands can change on a container, as they
	// were when it was made. None of them can hold a secret.
	Settings map[string]string `json:"settings,omitempty"`
}

// page is what is remembered of one instance.
type page struct {
	Containers map[string]remembered `json:"containers,omitempty"` // by ID
	Completed  map[string]bool       `json:"completed,omitempty"`  // by ID
}

func (p page) clone() page {
	c := page{Containers: maps.Clone(p.Containers), Completed: maps.Clone(p.Completed)}
	if c.Containers == nil {
		c.Containers = map[string]remembered{}
	}
	if c.Completed == nil {
		c.Completed = map[string]bool{}
	}
	return c
}

// notebook reads every page once and writes through.
type notebook struct {
	mem    Memory
	mu     sync.Mutex
	pages  map[string]page
	pulled map[string][]string  // image ID -> references it was pulled by
	asked  map[string]time.Time // reference -> when it was pulled last
}

func newNotebook(mem Memory) *notebook { return &notebook{mem: mem, pages: map[string]page{}} }

// read returns a copy. A page that cannot be read or understood is an error,
// never an empty page: with it every container would count as another's.
func (n *notebook) read(instance string) (page, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p, err := n.load(instance)
	return p.clone(), err
}

func (n *notebook) load(instance string) (page, error) {
	if p, ok := n.pages[instance]; ok {
		return p, nil
	}
	b, err := n.mem.Get(instance)
	if err != nil {
		return page{}, fmt.Errorf("read memory of %s: %w", instance, err)
	}
	var p page
	if len(b) > 0 {
		if err := json.Unmarshal(b, &p); err != nil {
			return page{}, fmt.Errorf("read memory of %s: %w", instance, err)
		}
	}
	n.pages[instance] = p
	return p, nil
}

// change applies f to the page and writes it when it differs.
func (n *notebook) change(instance string, f func(*page)) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	old, err := n.load(instance)
	if err != nil {
		return err
	}
	p := old.clone()
	f(&p)
	before, _ := json.Marshal(old.clone())
	after, err := json.Marshal(p)
	if err != nil || string(before) == string(after) {
		return err
	}
	if err := n.mem.Put(instance, after); err != nil {
		return fmt.Errorf("write memory of %s: %w", instance, err)
	}
	n.pages[instance] = p
	return nil
}

// images returns a copy of what was pulled.
func (n *notebook) images() (map[string][]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.loadImages(); err != nil {
		return nil, err
	}
	return maps.Clone(n.pulled), nil
}

func (n *notebook) loadImages() error {
	if n.pulled != nil {
		return nil
	}
	pulled, asked := map[string][]string{}, map[string]time.Time{}
	if err := n.recall(imagesKey, &pulled); err != nil {
		return err
	}
	if err := n.recall(askedKey, &asked); err != nil {
		return err
	}
	n.pulled, n.asked = pulled, asked
	return nil
}

func (n *notebook) recall(key string, into any) error {
	b, err := n.mem.Get(key)
	if err == nil && len(b) > 0 {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		return fmt.Errorf("read memory of images: %w", err)
	}
	return nil
}

func (n *notebook) keep(key string, what any) error {
	b, err := json.Marshal(what)
	if err == nil {
		err = n.mem.Put(key, b)
	}
	if err != nil {
		return fmt.Errorf("write memory of images: %w", err)
	}
	return nil
}

// lastPull is when the reference was pulled last; zero: never, as far as is known.
func (n *notebook) lastPull(ref string) (time.Time, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	err := n.loadImages()
	return n.asked[fullRef(ref)], err
}

// notePull remembers that ref was pulled as the image id, and when.
func (n *notebook) notePull(id, ref string, now time.Time) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.loadImages(); err != nil {
		return err
	}
	if !slices.Contains(n.pulled[id], ref) {
		m := maps.Clone(n.pulled)
		m[id] = append(slices.Clone(m[id]), ref)
		if err := n.keep(imagesKey, m); err != nil {
			return err
		}
		n.pulled = m
	}
	asked := maps.Clone(n.asked)
	asked[fullRef(ref)] = now.UTC().Round(0)
	if err := n.keep(askedKey, asked); err != nil {
		return err
	}
	n.asked = asked
	return nil
}

// forgetImage forgets an image, and when the references were pulled that it
// alone was known by.
func (n *notebook) forgetImage(id string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.loadImages(); err != nil {
		return err
	}
	m, asked := maps.Clone(n.pulled), maps.Clone(n.asked)
	delete(m, id)
	known := map[string]bool{}
	for _, refs := range m {
		for _, r := range refs {
			known[fullRef(r)] = true
		}
	}
	maps.DeleteFunc(asked, func(ref string, _ time.Time) bool { return !known[ref] })
	if err := n.keep(imagesKey, m); err != nil {
		return err
	}
	n.pulled = m
	if err := n.keep(askedKey, asked); err != nil {
		return err
	}
	n.asked = asked
	return nil
}
