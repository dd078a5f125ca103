package pages

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed static templates
var embedded embed.FS

// files are what pages are dressed with. The name of each holds a hash of its
// content, so that browsers may keep it for ever.
type files struct {
	names   map[string]string // by the name in the templates
	content map[string][]byte // by the name with the hash
}

// parts are the files that are served as one, in this order.
func parts() map[string][]string {
	return map[string][]string{
		"app.css":  {"tokens.css", "base.css", "frame.css", "components.css", "instance.css", "work.css"},
		"app.js":   {"app.js", "work.js"},
		"logo.svg": {"logo.svg"},
	}
}

func readFiles() (*files, error) {
	f := &files{names: map[string]string{}, content: map[string][]byte{}}
	for name, from := range parts() {
		var all bytes.Buffer
		for _, part := range from {
			b, err := fs.ReadFile(embedded, "static/"+part)
			if err != nil {
				return nil, fmt.Errorf("read static file: %w", err)
			}
			all.Write(b)
		}
		sum := sha256.Sum256(all.Bytes())
		ext := path.Ext(name)
		hashed := strings.TrimSuffix(name, ext) + "." + hex.EncodeToString(sum[:6]) + ext
		f.names[name], f.content[hashed] = "/static/"+hashed, all.Bytes()
	}
	return f, nil
}

func (s *Site) static(w http.ResponseWriter, r *http.Request) {
	protect(w.Header())
	f, err := s.files()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	name := r.PathValue("file")
	content, there := f.content[name]
	if !there {
		s.serve(everybody, func(v *visit) (reply, error) { return nil, v.missing() })(w, r)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
}
