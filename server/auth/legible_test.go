package auth_test

import (
	"context"
	"encoding/binary"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/server/auth"
)

// rows are all values of the people's bucket.
func rows(t *testing.T, db *bolt.DB, visit func(path []string, key, value []byte)) {
	t.Helper()
	err := db.View(func(tx *bolt.Tx) error {
		root := tx.Bucket([]byte("auth"))
		return root.ForEach(func(name, v []byte) error {
			if v != nil {
				visit([]string{"auth"}, name, v)
				return nil
			}
			return root.Bucket(name).ForEach(func(k, v []byte) error { visit([]string{"auth", string(name)}, k, v); return nil })
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestLegible: all that the store writes can be read, and nothing of it under
// another key or in another bucket.
func TestLegible(t *testing.T) {
	t.Parallel()
	w, ctx := newWorld(t), context.Background()
	g, err := w.Bootstrap(ctx, near, auth.NewUser{Email: "ada@example.com", Password: goodPassword}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.CreateToken(ctx, auth.Caller{ID: g.User.ID, Role: auth.RoleAdmin}, g.User.ID, auth.NewToken{Name: "ci"}); err != nil {
		t.Fatal(err)
	}
	if err := w.Record(auth.Entry{Operation: "test", Outcome: auth.OutcomeDone}); err != nil {
		t.Fatal(err)
	}
	buckets := map[string]int{}
	rows(t, w.db, func(path []string, key, value []byte) {
		buckets[path[len(path)-1]]++
		if err := auth.Legible(path, key, value); err != nil {
			t.Errorf("%v %q: %v", path, key, err)
		}
		if len(path) < 2 {
			return
		}
		other := append([]byte("x"), key...)
		if path[1] == "audit" {
			other = binary.BigEndian.AppendUint64(nil, 77)
		}
		if auth.Legible(path, other, value) == nil {
			t.Errorf("%v %q can be read under another key", path, key)
		}
		if auth.Legible(path, key, value[:len(value)-1]) == nil {
			t.Errorf("%v %q can be read when it is cut", path, key)
		}
		for _, bucket := range []string{"users", "sessions", "tokens", "audit"} {
			if bucket != path[1] && auth.Legible([]string{"auth", bucket}, key, value) == nil {
				t.Errorf("%v %q is one of %s as well", path, key, bucket)
			}
		}
	})
	if buckets["users"] == 0 || buckets["sessions"] == 0 || buckets["tokens"] == 0 || buckets["audit"] == 0 || buckets["auth"] == 0 {
		t.Errorf("the buckets are %v", buckets)
	}
	if auth.Legible([]string{"auth"}, []byte("users"), []byte("x")) == nil {
		t.Error("a value in the place of a bucket can be read")
	}
	if err := auth.Legible([]string{"reconciler"}, []byte("x"), nil); err != nil {
		t.Errorf("a value of others: %v", err)
	}
	if auth.Fills([]string{"auth", "sessions"}) || !auth.Fills([]string{"auth", "users"}) || !auth.Fills([]string{"auth"}) || !auth.Fills([]string{"reconciler", "shop", "sessions"}) {
		t.Error("sessions, and those alone, are not taken from a copy")
	}
}
