package hostile

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Answer is what came back.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Judge holds an answer against what must be so whatever was asked, and lists
// what is not. isCall says that the path is one of the API, whose errors are JSON.
func Judge(req *http.Request, isCall bool, a Answer) (wrong []string) {
	say := func(format string, args ...any) {
		wrong = append(wrong, fmt.Sprintf("%s %s: ", req.Method, clipped(req.URL.String()))+fmt.Sprintf(format, args...))
	}
	if a.Status >= 500 && a.Status != http.StatusServiceUnavailable && a.Status != http.StatusGatewayTimeout {
		say("%d %.400s", a.Status, a.Body)
	}
	if a.Header.Get("Content-Security-Policy") == "" || a.Header.Get("X-Content-Type-Options") != "nosniff" || a.Header.Get("X-Evil") != "" {
		say("headers %v", a.Header)
	}
	if a.Status < 400 || !isCall || req.Method == http.MethodHead || strings.HasPrefix(req.URL.Path, "/readyz") {
		return wrong
	}
	var e struct{ Detail, Hint string }
	if err := json.Unmarshal(a.Body, &e); err != nil || e.Detail == "" || e.Hint == "" || a.Header.Get("Content-Type") != "application/json" {
		say("%d without a detail or a hint: %.300s", a.Status, a.Body)
	}
	if strings.Contains(e.Detail, strings.Repeat("A", 200)) {
		say("%d says all that was sent: %.300s", a.Status, a.Body)
	}
	return wrong
}

func clipped(s string) string {
	const most = 160
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
