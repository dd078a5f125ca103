package git

import (
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"testing"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/storage/memory"
)

// manyFiles is a repository of the size of bench.md's: 1000 files in 50 directories.
func manyFiles() []string {
	var files []string
	for i := range 1000 {
		files = append(files, fmt.Sprintf("instances/i%02d/f%03d.yaml", i%50, i), strings.Repeat(fmt.Sprintf("key%d: value\n", i), 40))
	}
	return files
}

func BenchmarkSyncNoNewsHTTP(b *testing.B) {
	rem := newRemote(b, manyFiles()...)
	r := open(b, Options{Repo: rem.serve(b, false).repo()})
	sync1(b, r)
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Sync(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFloorGoGitListHTTP is go-git asking the same server for its refs
// with its own transport: what a sync without news cannot be much cheaper than.
func BenchmarkFloorGoGitListHTTP(b *testing.B) {
	rem := newRemote(b, manyFiles()...)
	url := rem.serve(b, false).repo()
	b.ReportAllocs()
	for b.Loop() {
		list := gogit.NewRemote(memory.NewStorage(), &config.RemoteConfig{Name: "origin", URLs: []string{url}})
		if _, err := list.ListContext(b.Context(), &gogit.ListOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

func BenchmarkSyncNoNewsLocal(b *testing.B) {
	r := open(b, Options{Repo: newWork(b, manyFiles()...)})
	sync1(b, r)
	b.ReportAllocs()
	for b.Loop() {
		if err := r.Sync(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSyncOneCommitHTTP(b *testing.B) {
	rem := newRemote(b, manyFiles()...)
	r := open(b, Options{Repo: rem.serve(b, false).repo()})
	sync1(b, r)
	i := 0
	for b.Loop() {
		b.StopTimer()
		i++
		rem.commit(b, "Change", "instances/i01/f001.yaml", number("n: ", i))
		b.StartTimer()
		if err := r.Sync(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCloneHTTP(b *testing.B) {
	rem := newRemote(b, manyFiles()...)
	srv := rem.serve(b, false)
	for b.Loop() {
		r := open(b, Options{Repo: srv.repo()})
		if err := r.Sync(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadAll(b *testing.B) {
	rem := newRemote(b, manyFiles()...)
	r := open(b, Options{Repo: rem.serve(b, false).repo()})
	sync1(b, r)
	s, err := r.Latest(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		err := fs.WalkDir(s.Tree, ".", func(p string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				_, err = fs.ReadFile(s.Tree, p)
			}
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
