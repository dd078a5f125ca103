// Package authtest has what tests need of people wherever they are let in: a
// store whose passwords cost little to hash, and a setup code in memory. Nothing
// but tests may import it.
package authtest

import (
	"bytes"
	"io/fs"
	"sync"

	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/server/auth"
)

// Cheap is a cost at which a test may hash a thousand passwords.
func Cheap() auth.Cost { return auth.Cost{Memory: 8, Time: 1, Threads: 1} }

// Options are those of a store over a database that belongs to a test. code may be
// nil: no setup from elsewhere then.
func Options(db *bolt.DB, code *Code) auth.Options {
	o := auth.Options{DB: db, Key: bytes.Repeat([]byte("k"), auth.MinKey), Cost: Cheap()}
	if code != nil {
		o.Code = code
	}
	return o
}

// Code is a setup code in memory. The zero value has none.
type Code struct {
	mu   sync.Mutex
	code string
}

// Read returns the code, or fs.ErrNotExist.
func (c *Code) Read() (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.code == "" {
		return "", fs.ErrNotExist
	}
	return c.code, nil
}

// Write replaces the code.
func (c *Code) Write(code string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.code = code
	return nil
}

// String is the code; empty without one.
func (c *Code) String() string {
	code, _ := c.Read() // whose only error says that there is none
	return code
}

// Remove ends the code.
func (c *Code) Remove() error { return c.Write("") }
