package auth

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// The bounds of users.
const (
	maxUsers = 10_000
	maxName  = 100 // characters
	maxEmail = 254 // RFC 5321, 4.5.3.1.3
)

// address is the common part of what RFC 5322 allows: no quoted parts, no
// comments, and ASCII only, so that no two addresses look the same.
var address = regexp.MustCompile(`^[a-z0-9!#$%&'*+/=?^_{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_{|}~-]+)*@[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)

// foldEmail writes an address as it is compared: without blanks, in small
// letters. No mailbox that matters tells them apart.
func foldEmail(email string) string { return strings.ToLower(strings.TrimSpace(email)) }

func checkEmail(email string) error {
	if len(email) > maxEmail || !address.MatchString(email) {
		return refuse(Invalid, "email: it is not an address", "give one like ada@example.com")
	}
	return nil
}

func checkName(name string) error {
	if utf8.RuneCountInString(name) > maxName || !plainText(name) || strings.ContainsAny(name, "<>") {
		return refuse(Invalid, fmt.Sprintf("name: it is one line of up to %d characters without < and >", maxName), "it is the author's name in commits")
	}
	return nil
}

func checkRole(role Role) error {
	if slices.Contains(Roles(), role) {
		return nil
	}
	return refuse(Invalid, fmt.Sprintf("role: there is no role %q", clip(string(role), maxAgent)), "there are: viewer, analyst, admin")
}

// user finds one in a change.
func (c *change) user(id string) (*account, error) {
	if a, there := c.users[id]; there {
		return a, nil
	}
	return nil, refuse(Missing, "there is no such user", "GET /api/users lists them; on the host, fairlead user list")
}

// Users returns everybody, by address.
func (s *Store) Users(context.Context) ([]User, error) {
	if err := s.load(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	list := []User{}
	for _, a := range s.users {
		list = append(list, s.shown(a))
	}
	slices.SortFunc(list, func(x, y User) int { return strings.Compare(x.Email, y.Email) })
	return list, nil
}

// shown is a user as people see them; s.mu is held.
func (s *Store) shown(a *account) User {
	u := a.User
	u.SignsIn = a.Password != ""
	u.Seen = s.seen(u.ID, u.Seen).at
	return u
}

// User finds one by id or by address.
func (s *Store) User(_ context.Context, idOrEmail string) (User, error) {
	if err := s.load(); err != nil {
		return User{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	a, there := s.users[idOrEmail]
	if !there {
		a, there = s.users[s.emails[foldEmail(idOrEmail)]]
	}
	if !there {
		return User{}, refuse(Missing, "there is no such user", "GET /api/users lists them; on the host, fairlead user list")
	}
	return s.shown(a), nil
}

// NewUser is what is wanted of a user. Without a password nobody signs in as
// them until one is set.
type NewUser struct {
	Email, Name, Password string
	Role                  Role
}

// prepare checks what is wanted and makes the hash, which takes time and so
// happens outside of changes.
func (s *Store) prepare(ctx context.Context, n NewUser) (account, error) {
	n.Email, n.Name, n.Password = foldEmail(n.Email), strings.TrimSpace(n.Name), sameForm(n.Password)
	for _, err := range []error{checkEmail(n.Email), checkName(n.Name), checkRole(n.Role)} {
		if err != nil {
			return account{}, err
		}
	}
	a := account{User: User{ID: newID(), Email: n.Email, Name: n.Name, Role: n.Role, Created: time.Now().UTC().Truncate(time.Second)}}
	if n.Password == "" {
		return a, nil
	}
	if err := checkPassword(n.Password, n.Email, n.Name); err != nil {
		return a, err
	}
	var err error
	a.Password, err = s.hash.hash(ctx, n.Password)
	a.Set = time.Now().UTC()
	return a, err
}

// CreateUser makes a user.
func (s *Store) CreateUser(ctx context.Context, n NewUser) (User, error) {
	if err := s.load(); err != nil {
		return User{}, err
	}
	a, err := s.prepare(ctx, n)
	if err != nil {
		return User{}, err
	}
	if err := s.change(func(c *change) error { return c.addUser(a) }); err != nil {
		return User{}, err
	}
	s.dropCode()
	return s.User(ctx, a.ID)
}

// addUser stores a new user. The first administrator who can sign in ends the
// setup.
func (c *change) addUser(a account) error {
	switch {
	case c.emails[a.Email] != "":
		return refuse(Conflict, "there is a user with this address already", "GET /api/users lists them; PATCH /api/users/{id} changes one")
	case len(c.users) >= maxUsers:
		return refuse(Conflict, fmt.Sprintf("there are %d users already", maxUsers), "delete those that nobody needs")
	}
	if a.governs() {
		if err := c.closeSetup(); err != nil {
			return err
		}
	}
	return c.putUser(a)
}

// governs reports whether somebody can sign in as an administrator.
func (a *account) governs() bool { return a.Role == RoleAdmin && !a.Disabled && a.Password != "" }

// UserChange is what is to be different of a user; what is nil stays.
type UserChange struct {
	Name     *string
	Role     *Role
	Disabled *bool
	Password *string
}

// ChangeUser changes a user. A new password, another role and being disabled
// end the user's sessions, but for the caller's own.
func (s *Store) ChangeUser(ctx context.Context, who Caller, id string, n UserChange) (User, error) {
	hash, err := s.prepareChange(ctx, id, &n)
	if err != nil {
		return User{}, err
	}
	err = s.change(func(c *change) error {
		old, err := c.user(id)
		if err != nil {
			return err
		}
		a := n.apply(*old, hash)
		if old.governs() && !a.governs() && !c.othersGovern(id) {
			return lastAdmin()
		}
		if a.governs() {
			if err := c.closeSetup(); err != nil {
				return err
			}
		}
		if a.Role != old.Role || a.Disabled || hash != "" {
			if err := c.endSessions(id, who.Session); err != nil {
				return err
			}
		}
		return c.putUser(a)
	})
	if err != nil {
		return User{}, err
	}
	s.dropCode()
	return s.User(ctx, id)
}

// prepareChange checks what is wanted and makes the hash of a new password.
func (s *Store) prepareChange(ctx context.Context, id string, n *UserChange) (hash string, err error) {
	u, err := s.User(ctx, id)
	if err != nil {
		return "", err
	}
	if n.Name != nil {
		*n.Name = strings.TrimSpace(*n.Name)
		if err := checkName(*n.Name); err != nil {
			return "", err
		}
		u.Name = *n.Name
	}
	if n.Role != nil {
		if err := checkRole(*n.Role); err != nil {
			return "", err
		}
	}
	if n.Password == nil {
		return "", nil
	}
	password := sameForm(*n.Password)
	if err := checkPassword(password, u.Email, u.Name); err != nil {
		return "", err
	}
	return s.hash.hash(ctx, password)
}

func (n UserChange) apply(a account, hash string) account {
	if n.Name != nil {
		a.Name = *n.Name
	}
	if n.Role != nil {
		a.Role = *n.Role
	}
	if n.Disabled != nil {
		a.Disabled = *n.Disabled
	}
	if hash != "" {
		a.Password, a.Set = hash, time.Now().UTC()
	}
	return a
}

// othersGovern reports whether somebody else is an administrator.
func (c *change) othersGovern(id string) bool {
	for _, a := range c.users {
		if a.ID != id && a.governs() {
			return true
		}
	}
	return false
}

func lastAdmin() error {
	return refuse(Conflict, "nobody else can sign in as an administrator",
		"make another one first: POST /api/users with role admin, or on the host fairlead user add EMAIL --role admin")
}

// DeleteUser removes a user with all sessions and tokens.
func (s *Store) DeleteUser(_ context.Context, id string) (User, error) {
	var gone User
	err := s.change(func(c *change) error {
		a, err := c.user(id)
		if err != nil {
			return err
		}
		if a.governs() && !c.othersGovern(id) {
			return lastAdmin()
		}
		if err := c.endSessions(id, ""); err != nil {
			return err
		}
		for _, t := range c.tokens {
			if t.User == id {
				if err := c.removeToken(t); err != nil {
					return err
				}
			}
		}
		gone, c.grave = a.User, true
		return c.remove(usersBucket, id, func(m *cache) { delete(m.users, a.ID); delete(m.emails, a.Email) })
	})
	return gone, err
}
