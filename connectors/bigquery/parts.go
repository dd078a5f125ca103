package bigquery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/connectors"
)

// partitioned lists the partitions that were modified since the last run. Listing
// rows costs nothing; asking for the partitions is a query of 10 MB.
func (r *run) partitioned(ctx context.Context, w *wish) error {
	have, err := r.partitions(ctx, w)
	if err != nil {
		return fmt.Errorf("find its partitions: %w", err)
	}
	w.result.Changes = len(w.past.Parts) > 0 && len(have) > 0
	parts := slices.Sorted(maps.Keys(have))
	if w.result.Changes {
		parts, w.result.Gone = connectors.DifferingParts(w.past.Parts, have)
		w.result.Parts = parts
	}
	for _, part := range parts {
		if err := r.copy(ctx, w, part, r.list(w, partition(part))); err != nil {
			return fmt.Errorf("partition %s: %w", partition(part), err)
		}
	}
	if len(have) == 0 { // a table has at least one file
		err = r.copy(ctx, w, partOf("__NULL__"), func(context.Context, string) (rowsPage, error) { return rowsPage{}, nil })
	}
	w.keep.Cursor, w.keep.Parts = "", have
	return err
}

// partOf names the part that a partition is: a name that begins with _ is no part's.
// https://cloud.google.com/bigquery/docs/managing-partitioned-tables has the two.
func partOf(id string) string {
	switch id {
	case "__NULL__":
		return "null"
	case "__UNPARTITIONED__":
		return "unpartitioned"
	}
	return id
}

// partition is the name of a part at BigQuery.
func partition(part string) string {
	switch part {
	case "null":
		return "__NULL__"
	case "unpartitioned":
		return "__UNPARTITIONED__"
	}
	return part
}

// partitions asks when each was modified.
func (r *run) partitions(ctx context.Context, w *wish) (map[string]string, error) {
	ref := w.table.Reference
	sql := "SELECT partition_id, CONCAT(CAST(UNIX_MICROS(last_modified_time) AS STRING), ' ', CAST(total_rows AS STRING)) AS version FROM `" +
		ref.Project + "." + ref.Dataset + "`.INFORMATION_SCHEMA.PARTITIONS WHERE table_name = @table AND partition_id IS NOT NULL"
	is := named("table", "STRING", ref.Table)
	if _, err := r.source.plan(ctx, sql, is); err != nil {
		return nil, err
	}
	job, err := r.source.execute(ctx, sql, is)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	pages := r.source.results(job)
	err = paged(ctx, func(token string) (string, error) {
		page, err := pages(ctx, token)
		if err != nil {
			return "", err
		}
		for _, row := range page.Rows {
			id, version, err := pair(row)
			if err != nil {
				return "", err
			}
			out[partOf(id)] = version
		}
		return page.Next, nil
	})
	return out, err
}

// pair reads a partition, whose name is going to be that of a file.
func pair(r row) (id, version string, err error) {
	if len(r.F) != 2 {
		return "", "", fmt.Errorf("a row has %d fields instead of 2", len(r.F))
	}
	if id, err = r.F[0].text(); err == nil {
		version, err = r.F[1].text()
	}
	if err == nil && (!word(id, "-") || len(id) > 100 || id != partition(partOf(id)) || strings.HasPrefix(partOf(id), "_") || strings.HasPrefix(id, "-")) {
		err = errors.New("a partition has no name that is known")
	}
	return id, version, err
}
