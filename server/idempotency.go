package server

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/fairlead/fairlead/server/auth"
)

// The headers of a request that may be repeated (draft-ietf-httpapi-idempotency-key-header).
const (
	idempotencyHeader = "Idempotency-Key"
	replayedHeader    = "Idempotency-Replayed"
)

// The bounds of what is remembered of requests with a key.
const (
	keptAnswers = 256            // the newest
	keepAnswers = 24 * time.Hour // and not for longer
	maxReplayed = 64 << 10       // bytes of an answer
)

var idempotencyKey = regexp.MustCompile(`^[\x21-\x7e]{1,128}$`)

// replay is what became of a request with a key.
type replay struct {
	Seq      int64     `json:"seq"`
	ID       string    `json:"id"`   // hash of who asked, for what, and the key
	Body     string    `json:"body"` // hash
	At       time.Time `json:"at"`
	Status   int       `json:"status"` // 0: under way
	Type     string    `json:"type,omitempty"`
	Location string    `json:"location,omitempty"`
	Answer   []byte    `json:"answer,omitempty"`
	TooLong  bool      `json:"too_long,omitempty"` // the answer was not kept
	crashed  bool      // was under way when the daemon ended
}

// replays remembers the newest requests with a key, over restarts as well.
type replays struct {
	notes Notes // nil: nothing is kept

	mu     sync.Mutex
	loaded bool
	seq    int64
	byID   map[string]*replay
}

func newReplays(notes Notes) *replays { return &replays{notes: notes, byID: map[string]*replay{}} }

// repeatable has a POST with a key answered once, however often it comes. What
// failed is forgotten: it may be tried again under the same key.
func (a *API) repeatable(op operation, next http.Handler) http.Handler {
	kept := a.replays
	if op.role == public || op.secret {
		kept = a.replaysInMemory
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Header.Get(idempotencyHeader)
		if key == "" {
			next.ServeHTTP(w, r)
			return
		}
		mine, err := newReplay(op, r, key)
		var before *replay
		if err == nil {
			before, err = kept.begin(mine)
		}
		switch {
		case err != nil:
			answerError(w, err)
		case before != nil:
			before.write(w)
		default:
			kept.record(mine, w, r, next)
		}
	})
}

// newReplay reads the key of a request and what it asks for.
func newReplay(op operation, r *http.Request, key string) (*replay, error) {
	if !idempotencyKey.MatchString(key) || len(r.Header.Values(idempotencyHeader)) > 1 {
		return nil, &Error{Status: http.StatusBadRequest, Detail: idempotencyHeader + " is not 1 to 128 visible ASCII characters", Hint: "send a UUID, another one for each thing to do"}
	}
	if op.stream() {
		return nil, &Error{Status: http.StatusBadRequest, Detail: op.method + " " + op.path + " answers with a stream and takes no " + idempotencyHeader,
			Hint: "leave the header out; the call may be made again"}
	}
	body := sha256.New()
	if held, is := r.Body.(heldBody); is {
		_, _ = held.WriteTo(body) // neither end fails
		_, _ = held.Seek(0, io.SeekStart)
	}
	return &replay{ID: hashed(whoseKey(r), r.Method, r.URL.RequestURI(), key), Body: hex.EncodeToString(body.Sum(nil)), At: time.Now().UTC()}, nil
}

// whoseKey keeps the keys of different callers apart; those whom nobody knows
// by where they are.
func whoseKey(r *http.Request) string {
	who, known := auth.From(r.Context())
	if !known {
		return "from " + auth.VisitFrom(r.Context()).Address.String()
	}
	return who.Via + "\x00" + cmp.Or(who.ID, who.Name)
}

func hashed(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// begin notes that a request is under way, or returns what became of it before.
func (k *replays) begin(mine *replay) (before *replay, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.loadLocked(); err != nil {
		return nil, err
	}
	old := k.byID[mine.ID]
	if old != nil && (old.Status == 0 && !old.crashed || time.Since(old.At) < keepAnswers) {
		return old, old.refusal(mine)
	}
	k.seq++
	mine.Seq = k.seq
	if err := k.keep(mine); err != nil {
		return nil, err
	}
	k.byID[mine.ID] = mine
	k.forgetLocked()
	return nil, nil
}

// refusal is why a request is not answered as the one before; nil: it is.
func (p *replay) refusal(now *replay) error {
	switch {
	case p.Body != now.Body:
		return &Error{Status: http.StatusUnprocessableEntity, Detail: "this " + idempotencyHeader + " was used for another body",
			Hint: "use a new key for what is new, or send what was sent first"}
	case p.crashed:
		return &Error{Status: http.StatusConflict, Detail: "the request with this " + idempotencyHeader + " was under way when the daemon ended",
			Hint: "look what came of it, and use a new key if it has to be made again"}
	case p.Status == 0:
		return &Error{Status: http.StatusConflict, Detail: "the request with this " + idempotencyHeader + " is under way", Hint: "ask again in a moment", RetryAfter: time.Second}
	case p.TooLong:
		return &Error{Status: http.StatusConflict, Detail: fmt.Sprintf("the request with this %s was answered with %d, and the answer was too long to keep", idempotencyHeader, p.Status),
			Hint: "look what came of it; do not make it again"}
	}
	return nil
}

// write answers as before.
func (p *replay) write(w http.ResponseWriter) {
	h := w.Header()
	h.Set(replayedHeader, "true")
	h.Set("Content-Type", p.Type)
	if p.Location != "" {
		h.Set("Location", p.Location)
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(p.Answer) // the client may be gone
}

// record lets a request through and remembers its answer.
func (k *replays) record(mine *replay, w http.ResponseWriter, r *http.Request, next http.Handler) {
	tee := &teeWriter{ResponseWriter: w}
	defer func() { k.end(mine, tee) }() // also when the handler panics: that is no answer
	next.ServeHTTP(tee, r)
	tee.whole = true
}

func (k *replays) end(mine *replay, tee *teeWriter) {
	k.mu.Lock()
	defer k.mu.Unlock()
	done := *mine
	done.Status, done.Type, done.Location = tee.code(), tee.Header().Get("Content-Type"), tee.Header().Get("Location")
	done.Answer, done.TooLong = tee.body.Bytes(), tee.tooLong
	if !tee.whole || done.Status/100 != 2 {
		delete(k.byID, mine.ID)
		done = replay{Seq: mine.Seq} // a slot that says nothing
	} else {
		k.byID[mine.ID] = &done
	}
	if mine.Seq > k.seq-keptAnswers {
		// The answer is on its way. If it cannot be kept, a repetition after a
		// restart is told that nobody knows what came of it.
		_ = k.keep(&done)
	}
}

func replaySlot(seq int64) string { return "replay-" + strconv.FormatInt(seq%keptAnswers, 10) }

func (k *replays) keep(p *replay) error {
	if k.notes == nil {
		return nil
	}
	data, err := json.Marshal(p)
	if err == nil {
		err = k.notes.Put(replaySlot(p.Seq), data)
	}
	if err != nil {
		return fmt.Errorf("keep %s: %w", idempotencyHeader, err)
	}
	return nil
}

func (k *replays) loadLocked() error {
	if k.loaded || k.notes == nil {
		return nil
	}
	for i := range int64(keptAnswers) {
		data, err := k.notes.Get(replaySlot(i))
		if err != nil {
			return fmt.Errorf("read %s: %w", idempotencyHeader, err)
		}
		p := &replay{}
		if len(data) == 0 || json.Unmarshal(data, p) != nil {
			continue
		}
		k.seq = max(k.seq, p.Seq)
		if p.ID != "" {
			p.crashed = p.Status == 0
			k.byID[p.ID] = p
		}
	}
	k.loaded = true
	return nil
}

// forgetLocked leaves out what is too old, or has no place on disk any more.
func (k *replays) forgetLocked() {
	for id, p := range k.byID {
		if under := p.Status == 0 && !p.crashed; !under && (p.Seq <= k.seq-keptAnswers || time.Since(p.At) >= keepAnswers) {
			delete(k.byID, id)
		}
	}
}

// teeWriter keeps what it passes on.
type teeWriter struct {
	http.ResponseWriter
	status  int
	body    bytes.Buffer
	tooLong bool
	whole   bool // the handler returned
}

// Unwrap lets http.ResponseController through.
func (t *teeWriter) Unwrap() http.ResponseWriter { return t.ResponseWriter }

func (t *teeWriter) WriteHeader(status int) {
	if t.status == 0 && status >= http.StatusOK {
		t.status = status
	}
	t.ResponseWriter.WriteHeader(status)
}

func (t *teeWriter) Write(p []byte) (int, error) {
	if t.status == 0 {
		t.status = http.StatusOK
	}
	if t.tooLong = t.tooLong || t.body.Len()+len(p) > maxReplayed; t.tooLong {
		t.body = bytes.Buffer{}
	} else {
		t.body.Write(p)
	}
	return t.ResponseWriter.Write(p)
}

func (t *teeWriter) code() int { return cmp.Or(t.status, http.StatusOK) }
