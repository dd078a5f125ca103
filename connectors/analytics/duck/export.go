//go:build cgo

package duck

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// RunExport writes a database with views over the files of generations, one
// schema a source and the flat names in main, and beside it attach.sql, which
// makes the same views in any DuckDB. Remote tables are left out: other readers
// have nothing attached. The views hold until the next export, and a while
// longer, as old generations are kept.
func RunExport(ctx context.Context, req wire.ExportRequest) error {
	views, err := exportViews(req)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	in := make([]string, len(views))
	for i, v := range views {
		in[i] = v.statement("fairlead.")
	}
	if err := writeDatabase(ctx, req.To, filepath.Dir(req.To), nil, in); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if err := writeScript(filepath.Join(filepath.Dir(req.To), "attach.sql"), views); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	return nil
}

// view is one statement of an export: a schema, or a view.
type view struct{ schema, name, query string }

func (v view) statement(database string) string {
	if v.name == "" {
		return "CREATE SCHEMA IF NOT EXISTS " + database + quoteName(v.schema)
	}
	return "CREATE OR REPLACE VIEW " + database + quoteName(v.schema) + "." + quoteName(v.name) + " AS SELECT * FROM " + v.query
}

func exportViews(req wire.ExportRequest) ([]view, error) {
	var out []view
	where := map[string]string{}
	for _, s := range req.Sources {
		if !filepath.IsAbs(s.Dir) {
			return nil, fmt.Errorf("source %s: directory %s is not absolute", s.Name, s.Dir)
		}
		out = append(out, view{schema: s.Name})
		for _, t := range s.Tables {
			if t.Remote != nil || len(t.Files) == 0 {
				continue
			}
			files := make([]leftFile, len(t.Files))
			for i, f := range t.Files {
				if !filepath.IsLocal(f.Path) {
					return nil, fmt.Errorf("source %s: file %s is not below its directory", s.Name, short(f.Path))
				}
				files[i].path = filepath.Join(s.Dir, f.Path)
			}
			where[s.Name+"."+t.Name] = "read_parquet(" + pathList(files) + ", hive_partitioning = false)"
			out = append(out, view{s.Name, t.Name, where[s.Name+"."+t.Name]})
		}
	}
	for _, flat := range slices.Sorted(maps.Keys(req.Flat)) {
		if query, there := where[req.Flat[flat]]; there {
			out = append(out, view{"main", flat, query})
		}
	}
	return out, nil
}

// writeScript writes the views as a script, whole or not at all.
func writeScript(path string, views []view) error {
	var b strings.Builder
	b.WriteString("-- Views over the data that Fairlead attached last. Run it in any DuckDB:\n--   duckdb -init attach.sql\n")
	for _, v := range views {
		b.WriteString(v.statement("") + ";\n")
	}
	temp := path + ".tmp"
	if err := os.WriteFile(temp, []byte(b.String()), 0o640); err != nil {
		return err
	}
	if err := syncPath(temp); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return err
	}
	return syncPath(filepath.Dir(path))
}
