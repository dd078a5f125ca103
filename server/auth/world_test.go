package auth_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/server/auth"
	"github.com/fairlead/fairlead/server/auth/authtest"
)

const (
	goodPassword = "plum-lantern-orbit"
	newPassword  = "quiet-harbour-velvet"
)

// world is a store over a real database, which can be closed and opened again.
type world struct {
	t    *testing.T
	path string
	db   *bolt.DB
	opt  auth.Options
	code *authtest.Code
	*auth.Store
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, path: filepath.Join(t.TempDir(), "fairlead.db"), code: &authtest.Code{}}
	w.opt = auth.Options{Key: []byte("0123456789abcdef0123456789abcdef"), Cost: authtest.Cheap(), Code: w.code, Proxies: auth.Proxies{netip.MustParsePrefix("10.0.0.0/8")}}
	w.open()
	t.Cleanup(func() { _ = w.db.Close() })
	return w
}

func (w *world) open() {
	w.t.Helper()
	var err error
	if w.db, err = bolt.Open(w.path, 0o600, &bolt.Options{NoFreelistSync: true}); err != nil {
		w.t.Fatal(err)
	}
	w.opt.DB = w.db
	if w.Store, err = auth.NewStore(w.opt); err != nil {
		w.t.Fatal(err)
	}
}

// again closes the database and opens it, as a daemon does that starts anew.
func (w *world) again() {
	w.t.Helper()
	if err := w.db.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.open()
}

func (w *world) add(email string, role auth.Role) auth.User {
	w.t.Helper()
	u, err := w.CreateUser(context.Background(), auth.NewUser{Email: email, Role: role, Password: goodPassword})
	if err != nil {
		w.t.Fatalf("create %s: %v", email, err)
	}
	return u
}

// from is a visit from an address.
func from(address string) auth.Visit {
	return auth.Visit{Address: netip.MustParseAddr(address), Agent: "test"}
}

func (w *world) in(email string) auth.Grant {
	w.t.Helper()
	g, err := w.SignIn(context.Background(), from("192.0.2.1"), email, goodPassword)
	if err != nil {
		w.t.Fatalf("sign in as %s: %v", email, err)
	}
	return g
}

// who asks with a header of authorization; nobody when it is refused.
func (w *world) who(bearer string) (auth.Caller, error) {
	w.t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/api/me", nil)
	r.Header.Set("Authorization", "Bearer "+bearer)
	c, known, err := w.Authenticate(r)
	if err == nil && !known {
		w.t.Errorf("nobody asked, with %q", bearer)
	}
	return c, err
}

// kindOf is the kind of a refusal; -1 for none.
func kindOf(err error) auth.Kind {
	var no *auth.Refusal
	if !errors.As(err, &no) {
		return -1
	}
	return no.Kind
}

func wantKind(t *testing.T, what string, err error, want auth.Kind) {
	t.Helper()
	if got := kindOf(err); got != want {
		t.Errorf("%s: error %v of kind %d, want kind %d", what, err, got, want)
	}
}

func ptr[T any](v T) *T { return &v }

func caller(u auth.User) auth.Caller {
	return auth.Caller{ID: u.ID, Email: u.Email, Role: u.Role, Via: auth.ViaSession}
}

// newWorldF is a world for fuzzing, with one user.
func newWorldF(f *testing.F) *auth.Store {
	f.Helper()
	db, err := bolt.Open(filepath.Join(f.TempDir(), "fairlead.db"), 0o600, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = db.Close() })
	s, err := auth.NewStore(auth.Options{DB: db, Key: []byte("0123456789abcdef0123456789abcdef"), Cost: authtest.Cheap()})
	if err == nil {
		_, err = s.CreateUser(context.Background(), auth.NewUser{Email: "ada@example.com", Role: auth.RoleAdmin, Password: goodPassword})
	}
	if err != nil {
		f.Fatal(err)
	}
	return s
}
