package front

import (
	"net/http"
	"time"

	"github.com/sirupsen/logrus"
)

type logFields = logrus.Fields

// access logs a request when it is its turn, or when it went wrong. The query
// is left out: it may hold secrets.
func (f *Front) access(ex *exchange, took time.Duration) {
	every := uint64(max(f.opts.AccessEvery, 0))
	if every == 0 || (f.served.Add(1)%every != 0 && ex.status < http.StatusInternalServerError) {
		return
	}
	fields := logFields{
		"host": ex.route.host, "method": ex.in.Method, "path": ex.in.URL.Path, "status": ex.status,
		"ms": took.Milliseconds(), "peer": peerOf(ex.in.RemoteAddr), "proto": ex.in.Proto,
	}
	if ex.waited > 0 {
		fields["held_ms"] = ex.waited.Milliseconds()
	}
	f.log.WithFields(fields).Info("request")
}
