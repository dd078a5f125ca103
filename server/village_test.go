package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/server/auth"
	"github.com/fairlead/fairlead/server/auth/authtest"
)

const (
	adaPassword   = "plum-lantern-orbit"
	gracePassword = "quiet-harbour-velvet"
)

// village is a house with people of its own, reached by a real listener and by
// the socket.
type village struct {
	*house
	api    *API
	store  *auth.Store
	url    string
	code   *authtest.Code
	socket *Client
	notes  *plainNotes
}

// plainNotes are notes before they are sealed.
type plainNotes struct {
	Notes
	mu  sync.Mutex
	all []byte
}

func (n *plainNotes) Put(key string, data []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(append(n.all, data...), '\n')
	return n.Notes.Put(key, data)
}

func newVillage(t *testing.T) *village {
	t.Helper()
	v := &village{house: newHouse(t), code: &authtest.Code{}}
	v.notes = &plainNotes{Notes: v.config.Notes}
	db, err := bolt.Open(filepath.Join(t.TempDir(), "people.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	options := authtest.Options(db, v.code)
	options.Proxies = auth.Proxies{netip.MustParsePrefix("127.0.0.0/8")}
	v.store, err = auth.NewStore(options)
	if err != nil {
		t.Fatal(err)
	}
	config := v.config
	config.Auth, config.Notes = v.store, v.notes
	v.api = NewAPI(config)
	s := httptest.NewServer(v.api.PublicHandler(Public{People: v.store, Pages: http.HandlerFunc(page)}))
	t.Cleanup(s.Close)
	v.url = s.URL
	listener, err := Listen(filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.api.Serve(ctx, listener) }()
	v.socket = NewClient(listener.Addr().String(), "")
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return v
}

// page is one of the pages, which says what it is and who may.
func page(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/rings/one/polish":
		NoteOperation(r.Context(), "POST /rings/{name}/polish", auth.RoleAdmin)
	case "/query":
		NoteOperation(r.Context(), "POST /query", auth.RoleAnalyst)
	}
	_, _ = io.WriteString(w, "page")
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// json reads the answer.
func (a answer) json(t *testing.T) (v map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	return v
}

// ask makes a request; headers are "Name: value".
func (v *village) ask(method, path, bearer string, body any, headers ...string) answer {
	v.t.Helper()
	content := []byte{}
	if body != nil {
		content, _ = json.Marshal(body)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, v.url+path, bytes.NewReader(content))
	if err != nil {
		v.t.Error(err)
		return answer{}
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		v.t.Error(err)
		return answer{}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Error(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

type object = map[string]any

// want asks and compares the status, and whether the body holds a text.
func (v *village) want(status int, text, method, path, bearer string, body any, headers ...string) answer {
	v.t.Helper()
	a := v.ask(method, path, bearer, body, headers...)
	if a.status != status || !strings.Contains(a.body, text) {
		v.t.Errorf("%s %s: %d %s, want %d and %q", method, path, a.status, a.body, status, text)
	}
	return a
}

// settle makes the first administrator and returns her token.
func (v *village) settle() string {
	v.t.Helper()
	a := v.want(200, "access_token", "POST", "/auth/bootstrap", "", object{"email": "ada@example.com", "name": "Ada", "password": adaPassword})
	return a.json(v.t)["access_token"].(string)
}

// people makes a user as an administrator and signs them in.
func (v *village) people(admin, email, role string) (id, token string) {
	v.t.Helper()
	u := v.want(201, email, "POST", "/api/users", admin, object{"email": email, "role": role, "password": gracePassword})
	in := v.want(200, "bearer", "POST", "/auth/token", "", object{"email": email, "password": gracePassword})
	return u.json(v.t)["id"].(string), in.json(v.t)["access_token"].(string)
}
