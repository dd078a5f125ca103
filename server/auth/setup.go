package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// CodeFile keeps the setup code where only this host's administrator reads it.
type CodeFile interface {
	// Read returns fs.ErrNotExist where there is none.
	Read() (string, error)
	Write(code string) error
	// Remove does nothing where there is none.
	Remove() error
}

// Mark is kept where the database is not.
type Mark interface {
	// Made reports whether it is there. When that cannot be told it is an error:
	// then nobody is let in.
	Made() (bool, error)
	// Make does nothing where it is there already.
	Make() error
}

// heedMark closes the setup when there was an administrator, whatever is left of
// the database.
func (s *Store) heedMark(c *cache) error {
	for _, a := range c.users {
		c.closed = c.closed || a.Role == RoleAdmin
	}
	if c.closed || s.mark == nil {
		return nil
	}
	made, err := s.mark.Made()
	c.closed = made
	return err
}

// keepMark makes the mark once the setup is closed.
func (s *Store) keepMark() error {
	if s.mark == nil {
		return nil
	}
	return s.mark.Make()
}

// SetupOpen reports whether there never was an administrator.
func (s *Store) SetupOpen() (bool, error) {
	if err := s.load(); err != nil {
		return false, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return !s.closed, nil
}

// SetupCode returns the code that the setup asks for from elsewhere, and makes
// it where there is none; empty when the setup is closed.
func (s *Store) SetupCode() (string, error) {
	open, err := s.SetupOpen()
	if err != nil || s.code == nil {
		return "", err
	}
	if !open {
		return "", errors.Join(s.keepMark(), s.code.Remove())
	}
	code, err := s.code.Read()
	if err == nil && code != "" {
		return code, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read setup code: %w", err)
	}
	code = newCode()
	if err := s.code.Write(code); err != nil {
		return "", fmt.Errorf("write setup code: %w", err)
	}
	return code, nil
}

// newCode is 100 random bits in groups that people can type.
func newCode() string {
	const group = 4
	text := base32.NewEncoding("ABCDEFGHJKLMNPQRSTUVWXYZ23456789").WithPadding(base32.NoPadding).EncodeToString(random(13))[:20]
	var groups []string
	for i := 0; i < len(text); i += group {
		groups = append(groups, text[i:i+group])
	}
	return strings.Join(groups, "-")
}

// dropCode removes the code once it is of no use, and makes the mark. That
// either fails for once does no harm: the database says the same, and the next
// start does it.
func (s *Store) dropCode() {
	if open, err := s.SetupOpen(); err == nil && !open && s.code != nil {
		_ = errors.Join(s.keepMark(), s.code.Remove())
	}
}

func setupClosed() *Refusal {
	return refuse(Denied, "the setup is closed: there is an administrator, or there was one", "sign in: POST /auth/token; on the host, fairlead user add EMAIL --role admin makes another administrator")
}

// Bootstrap makes the first administrator and signs them in. It does so once:
// of those who come at the same time one wins. From elsewhere than this host it
// asks for the setup code.
func (s *Store) Bootstrap(ctx context.Context, v Visit, n NewUser, code string) (Grant, error) {
	select { // one at a time, so that 50 who race cost one hash
	case s.setup <- struct{}{}:
		defer func() { <-s.setup }()
	case <-ctx.Done():
		return Grant{}, ctx.Err()
	}
	open, err := s.SetupOpen()
	if err != nil {
		return Grant{}, err
	}
	if !open {
		return Grant{}, setupClosed()
	}
	if err := s.checkCode(v, code); err != nil {
		return Grant{}, err
	}
	n.Role = RoleAdmin
	if n.Password == "" {
		return Grant{}, checkPassword("", n.Email, n.Name)
	}
	a, err := s.prepare(ctx, n)
	if err != nil {
		return Grant{}, err
	}
	var g Grant
	err = s.change(func(c *change) error {
		if c.closed {
			return setupClosed()
		}
		g, err = c.first(a, v)
		return err
	})
	if err != nil {
		return Grant{}, err
	}
	s.dropCode()
	return s.granted(v, opSetup, g)
}

// first stores the first administrator. A user of that address whom the host's
// administrator made before becomes it.
func (c *change) first(a account, v Visit) (g Grant, err error) {
	if id := c.emails[a.Email]; id != "" {
		was := c.users[id]
		a.ID, a.Created = was.ID, was.Created
		if a.Name == "" {
			a.Name = was.Name
		}
	}
	if err := c.closeSetup(); err != nil {
		return g, err
	}
	if err := c.putUser(a); err != nil {
		return g, err
	}
	g.User = a.User
	g.Session, err = c.begin(a.User, v)
	return g, err
}

// checkCode lets in who is on this host, or has the code.
func (s *Store) checkCode(v Visit, given string) error {
	if s.code == nil || (v.Near && v.byPerson()) {
		return nil
	}
	if wait, first := s.setupCodes.take(block(v.Address)); wait > 0 {
		no := &Refusal{Kind: TooMany, Detail: "there were too many attempts with a wrong setup code", RetryAfter: wait, Told: true,
			Hint: "read it on the host: fairlead user setup-code"}
		if !first {
			return no
		}
		return errors.Join(no, s.note(v, opSetup, account{}, "there were too many attempts"))
	}
	want, err := s.SetupCode()
	if err != nil {
		return err
	}
	if want == "" || !sameCode(want, given) {
		no := refuse(Denied, "setup_code: the setup asks for the right code where it is not made on the host itself",
			"read it on the host with fairlead user setup-code (or in state/setup.code), and send it as setup_code or X-Setup-Code")
		no.Told = true
		return errors.Join(no, s.note(v, opSetup, account{}, "the setup code is wrong or missing"))
	}
	s.setupCodes.give(block(v.Address))
	return nil
}

// sameCode compares what people typed, in a time that does not tell how much of
// it is right.
func sameCode(want, given string) bool {
	plain := func(s string) [sha256.Size]byte {
		return sha256.Sum256([]byte(strings.ToUpper(strings.NewReplacer("-", "", " ", "").Replace(strings.TrimSpace(s)))))
	}
	w, g := plain(want), plain(given)
	return subtle.ConstantTimeCompare(w[:], g[:]) == 1
}
