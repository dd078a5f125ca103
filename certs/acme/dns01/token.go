package dns01

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// tokens keeps a token that runs out.
type tokens struct {
	fetch func(context.Context) (tokenAnswer, error)

	mu    sync.Mutex
	token string
	until time.Time
}

// tokenAnswer is what all OAuth services answer. Azure's VM sends the number as a
// string.
type tokenAnswer struct {
	Token   string `json:"access_token"`
	Seconds number `json:"expires_in"`
}

type number int

func (n *number) UnmarshalJSON(text []byte) error {
	*n = 0
	for _, c := range text {
		if c >= '0' && c <= '9' && *n < 1e8 {
			*n = *n*10 + number(c-'0')
		}
	}
	return nil
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
		t.token, t.until = a.Token, time.Now().Add(time.Duration(a.Seconds)*time.Second)
	}
	r.Header.Set("Authorization", "Bearer "+t.token)
	return nil
}
