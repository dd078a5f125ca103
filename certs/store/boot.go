package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/certs/pair"
)

// errEdited says that a generation's files belong together but are not those
// that were written.
var errEdited = errors.New("it is not what was written")

// boot reads the directory and mends it.
func (s *Store) boot() (repairs []Drift, err error) {
	gone, err := s.room.sweep()
	if err != nil {
		return nil, fmt.Errorf("remove what a crash left: %w", err)
	}
	for _, name := range gone {
		repairs = append(repairs, Drift{name, Leftover, "half a step", "nothing"})
	}
	numbers, err := s.numbers()
	if err != nil {
		return repairs, err
	}
	var edited []Generation
	for _, n := range numbers {
		s.highest = max(s.highest, n)
		g, err := s.load(n)
		switch {
		case err == nil:
			s.gens = append(s.gens, g)
			continue
		case errors.Is(err, errEdited):
			edited = append(edited, g)
		}
		repairs = append(repairs, Drift{strconv.Itoa(n), Damaged, err.Error(), "a generation that verifies"})
	}
	repairs = append(repairs, s.loadOwn()...)
	// Nothing verifies: a pair that was put there by hand is better than none.
	if len(s.gens) == 0 && len(edited) > 0 {
		if _, err := s.publish(edited[len(edited)-1].Pair, Meta{Origin: Origin{Source: "found on disk"}}); err != nil {
			return repairs, err
		}
	}
	s.drop(numbers)
	s.prune()
	mended, err := s.mend()
	return append(repairs, mended...), err
}

// numbers lists what looks like a generation, in order.
func (s *Store) numbers() (list []int, err error) {
	entries, err := s.room.list()
	if err != nil {
		return nil, fmt.Errorf("list generations: %w", err)
	}
	for _, e := range entries {
		if n, err := strconv.Atoi(e.Name()); err == nil && n > 0 && strconv.Itoa(n) == e.Name() {
			list = append(list, n)
		}
	}
	slices.Sort(list)
	return list, nil
}

// drop removes damaged generations that would not be kept any more.
func (s *Store) drop(numbers []int) {
	if len(s.gens) <= s.opts.Keep {
		return
	}
	oldest := s.gens[len(s.gens)-s.opts.Keep-1].Number
	for _, n := range numbers {
		known := slices.ContainsFunc(s.gens, func(g Generation) bool { return g.Number == n })
		if n < oldest && !known {
			_ = s.room.discard(strconv.Itoa(n)) // tried again at the next start
		}
	}
}

// load reads a generation and verifies it: its files are what was written, and
// chain and key belong together. Time, names and trust do not matter: what was
// good once may be served until there is better.
func (s *Store) load(n int) (Generation, error) {
	g := Generation{Number: n}
	info, err := s.room.Lstat(g.name())
	if err != nil {
		return g, err
	}
	if !info.IsDir() {
		return g, fmt.Errorf("it is %s", what(info.Mode()))
	}
	files := []file{{name: privkeyName, mode: secretMode}, {name: fullchainName, mode: publicMode}}
	for i, f := range files {
		if files[i].data, _, err = s.room.read(path.Join(g.name(), f.name)); err != nil {
			return g, err
		}
	}
	if g.Pair, err = pair.Load(files[1].data, files[0].data); err != nil {
		return g, err
	}
	return s.loadMeta(g, files)
}

// loadMeta holds a pair against what was written down about it. Where nothing is
// left of that, a pair that belongs together is taken as it is.
func (s *Store) loadMeta(g Generation, files []file) (Generation, error) {
	text, _, err := s.room.read(path.Join(g.name(), metaName))
	if err != nil || json.Unmarshal(text, &g.Meta) != nil {
		g.Meta = describe(g.Pair, Meta{Origin: Origin{Source: "found on disk"}}, files)
		if text, err = g.Meta.encode(); err != nil {
			return g, err
		}
	}
	for _, f := range files {
		if g.Meta.Files[f.name] != sum(f.data) {
			return g, fmt.Errorf("%w: %s", errEdited, f.name)
		}
	}
	files = append(files, file{metaName, text, secretMode})
	g.files = func() []file { return files }
	return g, nil
}

// loadOwn reads the key and the signing request of this host. One that cannot be
// read keeps no certificate from being served: Key says so when it is asked.
func (s *Store) loadOwn() (amiss []Drift) {
	for _, f := range []struct {
		file
		into **file
	}{{file{name: keyName, mode: secretMode}, &s.key}, {file{name: csrName, mode: publicMode}, &s.csr}} {
		data, _, err := s.room.read(f.name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			amiss = append(amiss, Drift{f.name, Unreadable, err.Error(), "a file"})
		case len(strings.TrimSpace(string(data))) > 0: // a power cut may leave an empty one
			*f.into = &file{f.name, data, f.mode}
		}
	}
	if s.csr != nil {
		if _, err := pair.CSRKey(s.csr.data); err != nil {
			s.csr, amiss = nil, append(amiss, Drift{csrName, Damaged, err.Error(), "a signing request"})
		}
	}
	if s.key == nil {
		s.key = s.recovered()
	} else if _, err := pair.ParseKey(s.key.data); err != nil {
		amiss = append(amiss, Drift{keyName, Damaged, err.Error(), "a private key"})
		if copied := s.recovered(); copied != nil {
			s.key = copied
		}
	}
	return amiss
}

// recovered finds the key of this host among the generations: the request tells
// which one it was.
func (s *Store) recovered() *file {
	if s.csr == nil {
		return nil
	}
	pub, err := pair.CSRKey(s.csr.data)
	if err != nil {
		return nil
	}
	for _, g := range slices.Backward(s.gens) {
		if pair.SPKI(g.Pair.Key().Public()) == pair.SPKI(pub) {
			return &file{keyName, g.files()[0].data, secretMode}
		}
	}
	return nil
}
