package auth

import (
	"context"
	"time"
)

// The operations that the audit log knows by name beside those of the API.
const (
	opSignIn = "signIn"
	opSetup  = "bootstrap"
)

// badLogin is the one answer to every failure to sign in.
func badLogin() *Refusal {
	return &Refusal{Kind: Nobody, Detail: "the email or the password is wrong", Hint: "an administrator sets a new password; on the host, fairlead user passwd EMAIL", Told: true}
}

// SignIn begins a session. That there is no such user, that the user is
// disabled and that the password is wrong are the same answer after the same
// work.
func (s *Store) SignIn(ctx context.Context, v Visit, email, password string) (Grant, error) {
	if err := s.load(); err != nil {
		return Grant{}, err
	}
	email = foldEmail(email)
	a, known := s.find(email)
	free, err := s.admit(v, email, a)
	if err != nil {
		return Grant{}, err
	}
	if len(password) > maxPassword*4 {
		password = password[:maxPassword*4] // which nobody has; the work stays the same
	}
	ok, old, err := s.hash.verify(ctx, a.Password, sameForm(password))
	if err != nil {
		free() // nothing was tried
		return Grant{}, err
	}
	if !ok || !known || a.Disabled {
		return Grant{}, s.failed(v, opSignIn, a, reasonOf(known, a.Disabled))
	}
	free()
	if err := s.Busy(Caller{ID: a.ID, Role: a.Role}); err != nil {
		return Grant{}, err
	}
	fresh := ""
	if old {
		if fresh, err = s.hash.hash(ctx, sameForm(password)); err != nil {
			return Grant{}, err
		}
	}
	return s.begin(v, a, fresh)
}

func reasonOf(known, disabled bool) string {
	switch {
	case !known:
		return "there is no such user"
	case disabled:
		return "the user is disabled"
	}
	return "the password is wrong"
}

// find returns a copy of a user; an empty one that nobody is.
func (s *Store) find(email string) (account, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	a, there := s.users[s.emails[email]]
	if !there {
		return account{}, false
	}
	return *a, true
}

// admit counts an attempt, and returns how to take it back. Attempts on an
// account are counted whoever makes them, but for addresses where its owner is
// signed in: nobody locks somebody else out.
func (s *Store) admit(v Visit, email string, a account) (free func(), err error) {
	from, account := block(v.Address), clip(email, maxEmail)
	if a.ID != "" && s.knows(a.ID, from) {
		account += " at " + from
	}
	if wait, first := s.signIns.take(from); wait > 0 {
		return nil, s.tooMany(v, a, wait, first)
	}
	if wait, first := s.accounts.take(account); wait > 0 {
		return nil, s.tooMany(v, a, wait, first)
	}
	return func() { s.signIns.give(from); s.accounts.give(account) }, nil
}

// knows reports whether a user has a session from an address.
func (s *Store) knows(user, from string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, x := range s.sessions {
		if x.User == user && blockOf(x.Address) == from {
			return true
		}
	}
	return false
}

// tooMany refuses. Only the first of a row is written down: a flood does not
// fill the log.
func (s *Store) tooMany(v Visit, a account, wait time.Duration, first bool) error {
	no := &Refusal{Kind: TooMany, Detail: "there were too many attempts to sign in", Hint: "wait, or set a new password on the host: fairlead user passwd EMAIL", RetryAfter: wait, Told: true}
	if !first {
		return no
	}
	if err := s.note(v, opSignIn, a, "there were too many attempts"); err != nil {
		return err
	}
	return no
}

// failed writes a failure down and returns what is answered.
func (s *Store) failed(v Visit, operation string, a account, reason string) error {
	if err := s.note(v, operation, a, reason); err != nil {
		return err
	}
	return badLogin()
}

// note writes down that somebody unknown was refused. An address that is
// nobody's is left out: people type their password there.
func (s *Store) note(v Visit, operation string, a account, reason string) error {
	return s.Record(Entry{Operation: operation, Target: a.Email, Address: v.address(), Via: ViaSession, Outcome: OutcomeRefused, Detail: reason, Correlation: v.Correlation})
}

// begin stores the session of somebody who proved who they are. What was known
// of the user when they were asked may have changed meanwhile.
func (s *Store) begin(v Visit, a account, fresh string) (Grant, error) {
	var g Grant
	err := s.change(func(c *change) error {
		now, there := c.users[a.ID]
		if !there || now.Disabled || !now.Set.Equal(a.Set) {
			return badLogin()
		}
		u := *now
		if fresh != "" {
			u.Password = fresh
		}
		u.Seen = time.Now().UTC().Truncate(time.Second)
		x, err := c.begin(u.User, v)
		if err != nil {
			return err
		}
		g.User, g.Session = u.User, x
		return c.putUser(u)
	})
	if err != nil {
		return Grant{}, err
	}
	return s.granted(v, opSignIn, g)
}

// granted signs the token and writes the success down.
func (s *Store) granted(v Visit, operation string, g Grant) (Grant, error) {
	var err error
	if g.Token, err = s.sign(g.User, g.Session); err != nil {
		return Grant{}, err
	}
	return g, s.Record(Entry{User: g.User.ID, Who: g.User.Label(), Email: g.User.Email, Via: ViaSession, Session: g.Session.ID, Operation: operation,
		Target: g.User.Email, Address: v.address(), Outcome: OutcomeDone, Correlation: v.Correlation})
}

// ChangePassword sets a new password of somebody who knows the old one, and
// ends their other sessions.
func (s *Store) ChangePassword(ctx context.Context, v Visit, who Caller, old, fresh string) error {
	if who.Via != ViaSession {
		return refuse(Denied, "a password is changed by who is signed in with it", "sign in: POST /auth/token; on the host, fairlead user passwd EMAIL")
	}
	u, err := s.User(ctx, who.ID)
	if err != nil {
		return err
	}
	a, _ := s.find(u.Email)
	free, err := s.admit(v, u.Email, a)
	if err != nil {
		return err
	}
	ok, _, err := s.hash.verify(ctx, a.Password, sameForm(old))
	if err != nil {
		free()
		return err
	}
	if !ok {
		return refuse(Denied, "current_password: it is wrong", "an administrator can set a new one")
	}
	free()
	if err := s.Busy(who); err != nil {
		return err
	}
	_, err = s.ChangeUser(ctx, who, who.ID, UserChange{Password: &fresh})
	return err
}
