package source

import (
	"context"
	"sync"
	"time"
)

// expirySlack is how long before its end a token is no longer used: a request
// takes time, and clocks differ.
const expirySlack = time.Minute

// cache keeps tokens until shortly before their end. Whoever wants one that is
// not there gets it for all that wait.
type cache[T any] struct {
	mu sync.Mutex
	m  map[string]*slot[T]
}

type slot[T any] struct {
	turn  chan struct{} // holds one thing while somebody looks or asks
	value T
	until time.Time
}

func (c *cache[T]) slot(key string) *slot[T] {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil {
		c.m = map[string]*slot[T]{}
	}
	if c.m[key] == nil {
		c.m[key] = &slot[T]{turn: make(chan struct{}, 1)}
	}
	return c.m[key]
}

// get returns the token of key, from ask when there is none that lasts.
func (c *cache[T]) get(ctx context.Context, key string, now func() time.Time, ask func(context.Context) (T, time.Time, error)) (T, error) {
	s := c.slot(key)
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		var none T
		return none, unanswered(ctx, key, ctx.Err(), nil)
	}
	defer func() { <-s.turn }()
	if s.until.After(now().Add(expirySlack)) {
		return s.value, nil
	}
	value, until, err := ask(ctx)
	if err != nil {
		var none T
		return none, err
	}
	s.value, s.until = value, until
	return value, nil
}

// drop forgets the token of key: the service no longer takes it.
func (c *cache[T]) drop(ctx context.Context, key string) {
	s := c.slot(key)
	select {
	case s.turn <- struct{}{}:
		s.until = time.Time{}
		<-s.turn
	case <-ctx.Done():
	}
}

// credential is a bearer token, and whose it is.
type credential struct{ token, who string }
