package front

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// retryAfter is what a client is told to wait before it comes again, and how
// often the page for people loads itself again.
const retryAfter = 10 // seconds

// message is what an answer of our own says.
type message struct{ title, detail, hint string }

func messageOf(status int) message {
	switch status {
	case http.StatusServiceUnavailable:
		return message{"Back in a moment", "the application is being restarted or upgraded", "try again in a few seconds"}
	case http.StatusBadGateway:
		return message{"Back in a moment", "the application did not answer", "try again in a few seconds"}
	case http.StatusMisdirectedRequest:
		return message{"Not served here", "this connection does not serve the host that was asked for", "check the name in the address"}
	case http.StatusNotFound:
		return message{"Not served here", "no such host is served here", "check the name in the address"}
	case http.StatusForbidden:
		return message{"Use https", "this host is served over https only", "use https:// in the address"}
	default:
		return message{"Bad request", "the request could not be understood", "check the address"}
	}
}

// refuse answers in our own name: a page for people, JSON for programs.
func refuse(w http.ResponseWriter, r *http.Request, status int) {
	m, h := messageOf(status), w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	again := status == http.StatusServiceUnavailable || status == http.StatusBadGateway
	if again {
		h.Set("Retry-After", strconv.Itoa(retryAfter))
	}
	body, kind := fmt.Sprintf("{\"detail\":%q,\"hint\":%q}\n", m.detail, m.hint), "application/json"
	if wantsPage(r) {
		body, kind = htmlPage(m, again), "text/html; charset=utf-8"
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	}
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write([]byte(body)) // the client may be gone
	}
}

func wantsPage(r *http.Request) bool {
	for _, v := range r.Header["Accept"] {
		if strings.Contains(v, "text/html") {
			return true
		}
	}
	return false
}

// htmlPage holds nothing that came with the request.
func htmlPage(m message, again bool) string {
	refresh := ""
	if again {
		refresh = fmt.Sprintf(`<meta http-equiv="refresh" content="%d">`, retryAfter)
	}
	return fmt.Sprintf(pageText, refresh, m.title, m.title, m.detail, m.hint)
}

const pageText = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark"><meta name="robots" content="noindex">%s
<title>%s</title>
<style>
body{margin:0;min-height:100vh;display:grid;place-items:center;font:16px/1.5 system-ui,sans-serif;background:#fafafa;color:#222}
main{max-width:28rem;padding:2rem;text-align:center}
h1{font-size:1.5rem;font-weight:600;margin:0 0 .5rem}
p{margin:.25rem 0;color:#666}
@media (prefers-color-scheme:dark){body{background:#16181c;color:#eee}p{color:#9aa0a6}}
</style></head>
<body><main><h1>%s</h1><p>%s;</p><p>%s.</p></main></body></html>
`
