package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
)

const maxManifest = 4 << 20 // the limit that the OCI distribution specification names

// manifestStore keeps accepted manifests on disk. The registry library keeps blobs there but manifests only in memory.
type manifestStore struct{ dir string }

// keptManifest is one file of the store.
type keptManifest struct {
	Path        string `json:"path"` // of the request: /v2/REPO/manifests/REFERENCE
	ContentType string `json:"contentType"`
	Body        []byte `json:"body"`
}

// keeping saves each manifest before the answer to its PUT is sent.
func (s manifestStore) keeping(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method != http.MethodPut || !strings.Contains(req.URL.Path, "/manifests/") {
			next.ServeHTTP(w, req)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxManifest))
		if err != nil {
			writeStatus(w, http.StatusRequestEntityTooLarge, 0)
			return
		}
		kept := keptManifest{Path: req.URL.Path, ContentType: req.Header.Get("Content-Type"), Body: body}
		answer := kept.put(req.Context(), next)
		if answer.Code < 300 {
			if err := s.save(kept); err != nil {
				writeStatus(w, http.StatusInternalServerError, 0)
				return
			}
		}
		copyAnswer(w, answer)
	})
}

// put sends the manifest to a registry handler.
func (k keptManifest) put(ctx context.Context, to http.Handler) *httptest.ResponseRecorder {
	req := httptest.NewRequestWithContext(ctx, http.MethodPut, k.Path, bytes.NewReader(k.Body))
	req.Header.Set("Content-Type", k.ContentType)
	answer := httptest.NewRecorder()
	to.ServeHTTP(answer, req)
	return answer
}

func copyAnswer(w http.ResponseWriter, from *httptest.ResponseRecorder) {
	for name, values := range from.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(from.Code)
	_, _ = w.Write(from.Body.Bytes()) // the client is gone when this fails
}

func (s manifestStore) save(k keptManifest) error {
	data, err := json.Marshal(k)
	if err != nil {
		return fmt.Errorf("encode manifest: %w", err)
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fmt.Errorf("make manifest directory: %w", err)
	}
	sum := sha256.Sum256([]byte(k.Path))
	return writeFile(filepath.Join(s.dir, hex.EncodeToString(sum[:])+".json"), bytes.NewReader(data))
}

// replay puts every kept manifest back. An index comes after the manifests it names, which the registry checks for.
func (s manifestStore) replay(to http.Handler) error {
	names, err := filepath.Glob(filepath.Join(s.dir, "*.json"))
	if err != nil {
		return fmt.Errorf("list manifests: %w", err)
	}
	var indexes []keptManifest
	for _, name := range names {
		k, err := readManifest(name)
		if err != nil {
			return err
		}
		if strings.Contains(k.ContentType, "index") || strings.Contains(k.ContentType, "list") {
			indexes = append(indexes, k)
			continue
		}
		if err := k.restore(to); err != nil {
			return err
		}
	}
	for _, k := range indexes {
		if err := k.restore(to); err != nil {
			return err
		}
	}
	return nil
}

func (k keptManifest) restore(to http.Handler) error {
	if answer := k.put(context.Background(), to); answer.Code >= 300 {
		return fmt.Errorf("restore manifest %s: status %d", k.Path, answer.Code)
	}
	return nil
}

func readManifest(name string) (keptManifest, error) {
	var k keptManifest
	data, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(data, &k)
	}
	if err != nil {
		return k, fmt.Errorf("read manifest %s: %w", name, err)
	}
	return k, nil
}

// writeFile fills name by way of a temporary file, so that no reader sees half of it.
func writeFile(name string, from io.Reader) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already when the rename has happened
	_, err = io.Copy(f, from)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
