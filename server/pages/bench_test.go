package pages

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"

	"github.com/fairlead/fairlead/server/auth"
)

// BenchmarkPages makes the two pages that are open all day.
func BenchmarkPages(b *testing.B) {
	h := houseFor(b)
	h.fleet()
	ctx := auth.With(b.Context(), auth.Caller{ID: "u", Name: "Ada", Role: auth.RoleAdmin, Session: "s"})
	for _, path := range []string{"/", "/instances/acme"} {
		b.Run(path, func(b *testing.B) {
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil)
			for b.Loop() {
				w := httptest.NewRecorder()
				h.site.ServeHTTP(w, r)
				if w.Code != http.StatusOK {
					b.Fatal(w.Code)
				}
			}
		})
	}
}

// BenchmarkLook is what the hub does each second while somebody looks.
func BenchmarkLook(b *testing.B) {
	h := houseFor(b)
	h.fleet()
	for b.Loop() {
		h.site.hub.look()
	}
}

// BenchmarkTemplates says what the templates weigh once they are read.
func BenchmarkTemplates(b *testing.B) {
	h := houseFor(b)
	weigh := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := weigh()
	if _, err := h.site.looks(); err != nil {
		b.Fatal(err)
	}
	read := weigh()
	for b.Loop() {
	}
	b.ReportMetric(float64(read-before), "B/read")
	runtime.KeepAlive(h)
}
