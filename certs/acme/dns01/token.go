package dns01

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/fairlead/fairlead/certs/cloud"
)

// tokens keeps a token that runs out.
type tokens struct {
	fetch func(context.Context) (cloud.Token, error)

	mu    sync.Mutex
	token string
	until time.Time
}

// sign fetches a token when there is none that lasts another minute.
func (t *tokens) sign(ctx context.Context, r *http.Request, _ []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if time.Until(t.until) < time.Minute {
		a, err := t.fetch(ctx)
		if err != nil {
			return err
		}
		until, err := a.Until(time.Now())
		if err != nil {
			return err
		}
		t.token, t.until = a.Value, until
	}
	r.Header.Set("Authorization", "Bearer "+t.token)
	return nil
}
