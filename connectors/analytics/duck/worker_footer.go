//go:build cgo

package duck

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/connectors"
)

// surveyed is how many files one statement looks at.
const surveyed = 1000

// survey reads the footers of all files, and says of each source whose files are
// damaged, or lack a column of the manifest, what is wrong. To plan
// all views, and those of flat names, would cost ten times as much.
func (w *worker) survey(ctx context.Context, sources []source) map[string]error {
	damaged := map[string]error{}
	all, err := w.footers(ctx, sources...)
	for _, s := range sources {
		found, wrong := all, err
		if wrong != nil { // of one of them
			found, wrong = w.footers(ctx, s)
		}
		if wrong == nil {
			wrong = s.lacks(found)
		}
		if wrong != nil {
			damaged[s.Name] = wrong
		}
	}
	return damaged
}

// lacks says which column of a table is in none of its files.
func (s source) lacks(found map[string]*footer) error {
	for _, t := range s.Tables {
		if t.Remote != nil {
			continue
		}
		for _, c := range t.Columns {
			if !slices.ContainsFunc(t.Files, func(f connectors.ManifestFile) bool {
				file := found[filepath.Join(s.Dir, f.Path)]
				return file != nil && file.columns[lower(c.Name)]
			}) {
				return fmt.Errorf("table %s does not have a column %s in its files", t.Name, c.Name)
			}
		}
	}
	return nil
}

// footers are those of the files of sources, by path.
func (w *worker) footers(ctx context.Context, sources ...source) (map[string]*footer, error) {
	found := map[string]*footer{}
	var paths []string
	for _, s := range sources {
		for _, t := range s.Tables {
			for _, f := range t.Files {
				path := filepath.Join(s.Dir, f.Path)
				if found[path] == nil {
					found[path] = &footer{columns: map[string]bool{}}
					paths = append(paths, quoteText(path))
				}
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, attachLimit)
	defer cancel()
	for part := range slices.Chunk(paths, surveyed) {
		err := w.engine.rows(ctx, "SELECT file_name, name, num_children FROM parquet_schema(["+strings.Join(part, ", ")+"])", func(row []any) error {
			path, _ := row[0].(string)
			name, _ := row[1].(string)
			children, _ := row[2].(int64)
			if f := found[path]; f != nil {
				f.add(name, children)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// footer is what a Parquet file says of its columns.
type footer struct {
	columns map[string]bool // by name in lower case
	open    []int64         // how many elements are still to come of each group that the next is in
}

// add takes the next element of the schema: the file itself, then each column
// followed by what is in it (Parquet, SchemaElement).
func (f *footer) add(name string, children int64) {
	if depth := len(f.open); depth > 0 {
		if f.open[depth-1]--; depth == 1 {
			f.columns[lower(name)] = true
		}
	}
	f.open = append(f.open, children)
	for last := len(f.open) - 1; last > 0 && f.open[last] == 0; last-- {
		f.open = f.open[:last]
	}
}
