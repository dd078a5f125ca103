// Command notices is a receiver of Fairlead's webhooks, as short as it can be
// and still right: it proves the signature, refuses what is old, and takes each
// delivery once. Start it with the secret in HOOK_SECRET:
//
//	HOOK_SECRET=… go run ./examples/notices
//
// and name it in instance.yaml: notify: [{url: "generic+http://HOST:9000/",
// secret: "${secret:HOOK_SECRET}"}].
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

// notice is what a receiver usually wants to know.
type notice struct {
	Delivery string `json:"delivery"`
	Kind     string `json:"kind"`
	Instance string `json:"instance"`
	Text     string `json:"text"`
}

// receiver takes notices; told is called once for each.
type receiver struct {
	secret []byte
	told   func(notice)

	mu   sync.Mutex
	seen map[string]time.Time
}

const (
	maxBody = 1 << 20
	maxAge  = 5 * time.Minute
	// remember is longer than Fairlead tries to deliver.
	remember = 25 * time.Hour
)

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	if err != nil || !r.genuine(req.Header, body, time.Now()) {
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	var n notice
	if err := json.Unmarshal(body, &n); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if r.first(n.Delivery, time.Now()) {
		r.told(n)
	}
	w.WriteHeader(http.StatusNoContent)
}

// genuine says whether whoever sent a body knows the secret, and sent it now.
func (r *receiver) genuine(h http.Header, body []byte, now time.Time) bool {
	stamp := h.Get("X-Fairlead-Timestamp")
	at, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || now.Sub(time.Unix(at, 0)).Abs() > maxAge {
		return false
	}
	mac := hmac.New(sha256.New, r.secret)
	mac.Write([]byte(stamp + "."))
	mac.Write(body)
	return hmac.Equal([]byte("sha256="+hex.EncodeToString(mac.Sum(nil))), []byte(h.Get("X-Fairlead-Signature")))
}

// first says whether a delivery comes for the first time.
func (r *receiver) first(delivery string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, at := range r.seen {
		if now.Sub(at) > remember {
			delete(r.seen, id)
		}
	}
	_, again := r.seen[delivery]
	r.seen[delivery] = now
	return !again
}

func main() {
	r := &receiver{secret: []byte(os.Getenv("HOOK_SECRET")), seen: map[string]time.Time{},
		told: func(n notice) { fmt.Printf("[%s] %s\n", n.Kind, n.Text) }}
	if len(r.secret) < 16 {
		log.Fatal("set HOOK_SECRET to the secret of the webhook")
	}
	s := &http.Server{Addr: ":9000", Handler: r, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}
	log.Fatal(s.ListenAndServe())
}
