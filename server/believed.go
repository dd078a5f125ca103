package server

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/server/auth"
)

// believed is for a call that goes on until the client leaves: its context ends
// when who asks is nobody any more. Otherwise nobody who has lost the account, or
// a token that was ended, would stop listening.
func (a *API) believed(ctx context.Context, who auth.Caller) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if a.cfg.Auth == nil || who.Via != auth.ViaSession && who.Via != auth.ViaToken {
		return ctx, cancel
	}
	go func() {
		defer cancel()
		ticker := time.NewTicker(a.doubts)
		defer ticker.Stop()
		for valid := true; valid; valid = a.Valid(ctx, who) { // they have just been asked
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}()
	return ctx, cancel
}
