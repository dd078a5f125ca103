package keboola

import (
	"bytes"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/connectors"
)

// BenchmarkSlice stores one slice of 200,000 rows: opened, checked, packed again.
func BenchmarkSlice(b *testing.B) {
	text := strings.Repeat("\"1234567\",\"19.90\",\"a note of some words, and \"\"quotes\"\"\"\n", 200_000)
	packed := pack(text)
	s, err := New(Settings{URL: "https://" + apiHost, Token: token})
	if err != nil {
		b.Fatal(err)
	}
	p := plan{columns: []connectors.Column{{Name: "id"}, {Name: "amount"}, {Name: "note"}}}
	path := filepath.Join(b.TempDir(), "t.csv.gz")
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		got, err := s.write(&http.Response{Body: io.NopCloser(bytes.NewReader(packed))}, path, p, false, 1<<40)
		if err != nil || got.rows != 200_000 {
			b.Fatal(got, err)
		}
	}
}
