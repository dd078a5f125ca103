package store

import (
	"crypto"
	"errors"
	"fmt"

	"github.com/fairlead/fairlead/certs/pair"
)

// Key returns the key of this host, and makes it when there is none yet. It is
// never replaced: one of another kind than the wanted one stays, see Rekey. A
// key that cannot be read is an error, not a reason to make another one: a CA
// may be at work on its request.
func (s *Store) Key(a pair.Algorithm) (key crypto.Signer, made bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.key == nil {
		if err := s.makeKey(a); err != nil {
			return nil, false, fmt.Errorf("make key in %s: %w", s.dir, err)
		}
		made = true
	}
	key, err = s.ownKey()
	return key, made, err
}

func (s *Store) ownKey() (crypto.Signer, error) {
	if s.key == nil {
		return nil, errors.New("there is no key yet")
	}
	key, err := pair.ParseKey(s.key.data)
	if err != nil {
		return nil, fmt.Errorf("read %s/%s: %w; put back a copy, or remove it to have a new one made, which has to be certified", s.dir, keyName, err)
	}
	return key, nil
}

// makeKey writes a new key, never over one that is there.
func (s *Store) makeKey(a pair.Algorithm) error {
	f, err := newKey(a)
	if err != nil {
		return err
	}
	if data, _, err := s.room.read(keyName); err == nil && len(data) == 0 {
		if err := s.room.Remove(keyName); err != nil {
			return err
		}
	}
	tmp := s.room.tmp + keyName
	if err := s.room.RemoveAll(tmp); err != nil {
		return err
	}
	if err := s.room.create(tmp, f); err != nil {
		return err
	}
	// A link, unlike a rename, fails where the name is taken already.
	s.room.at("link " + keyName)
	err = s.room.Link(tmp, keyName)
	s.room.at("remove " + tmp)
	if err := errors.Join(err, s.room.Remove(tmp), s.room.sync(".")); err != nil {
		return err
	}
	s.key = &f
	return nil
}

func newKey(a pair.Algorithm) (file, error) {
	key, err := pair.NewKey(a)
	if err != nil {
		return file{}, err
	}
	data, err := pair.EncodeKey(key)
	return file{keyName, data, secretMode}, err
}

// Rekey replaces the key of this host on an operator's word. What is live keeps
// its own key until a pair with the new one is published.
func (s *Store) Rekey(a pair.Algorithm) (crypto.Signer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := newKey(a)
	if err == nil {
		err = s.room.replace(keyName, f)
	}
	if err != nil {
		return nil, fmt.Errorf("replace key in %s: %w", s.dir, err)
	}
	s.key = &f
	return s.ownKey()
}

// CSR returns the signing request for the key of this host, in PEM, and writes
// it anew when key, subject or domains are others than those it was made for.
// Key comes first.
func (s *Store) CSR(subject pair.Subject, domains []string) (csr []byte, made bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, err := s.ownKey()
	if err != nil {
		return nil, false, fmt.Errorf("make signing request: %w", err)
	}
	if s.csr != nil && pair.CSRMatches(s.csr.data, key.Public(), subject, domains) == nil {
		return s.csr.data, false, nil
	}
	f := file{name: csrName, mode: publicMode}
	if f.data, err = pair.CSR(key, subject, domains); err != nil {
		return nil, false, err
	}
	if err := s.room.replace(csrName, f); err != nil {
		return nil, false, fmt.Errorf("write signing request to %s: %w", s.dir, err)
	}
	s.csr = &f
	return f.data, true, nil
}

// OwnKey is the key of this host; ok is false when there is none, or none that
// can be read.
func (s *Store) OwnKey() (key crypto.Signer, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, err := s.ownKey()
	return key, err == nil
}
