package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/server"
)

// maxSQL bounds a statement that is read from standard input.
const maxSQL = 64 << 10

func (c *cli) queryCommand() *cobra.Command {
	var q server.Query
	var instance, format, out string
	cmd := &cobra.Command{
		Use:   "query SQL|-",
		Short: "Ask the data of an instance",
		Long: `Runs one SELECT over the tables that connectors have brought, in the SQL of DuckDB:
  fairlead query "SELECT country, count(*) FROM orders GROUP BY ALL"

Tables are SOURCE.TABLE, or TABLE where only one source has it; fairlead tables lists
them. fairlead.history, fairlead.sync_history and fairlead.instances are tables, too.
A statement that is - is read from standard input.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.SQL = args[0]
			if q.SQL == "-" {
				text, err := io.ReadAll(io.LimitReader(c.in, maxSQL+1))
				if err != nil {
					return fmt.Errorf("read statement: %w", err)
				}
				q.SQL = string(text)
			}
			return c.query(cmd.Context(), instance, format, out, q)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&instance, "instance", "", "whose data (may be left out when there is one instance)")
	flags.StringVarP(&format, "output", "o", "table", "table, csv, json, arrow or parquet")
	flags.StringVar(&out, "to", "", "write to this file")
	flags.Int64Var(&q.Limit, "limit", 0, "most rows (default 1000)")
	flags.Int64Var(&q.Offset, "offset", 0, "rows to leave out before; the same from call to call only with ORDER BY")
	flags.Float64Var(&q.Timeout, "timeout", 0, "seconds after which it is given up (default and most: 60)")
	return cmd
}

func (c *cli) query(ctx context.Context, instance, format, out string, q server.Query) (err error) {
	switch format {
	case "table":
		q.Format = "json"
	case "csv", "json", "arrow", "parquet":
		q.Format = format
	default:
		return withHint(fmt.Errorf("--output: %q is not a format", format), "it is table, csv, json, arrow or parquet")
	}
	if _, tty := terminal(c.out); tty && out == "" && (format == "arrow" || format == "parquet") {
		return withHint(fmt.Errorf("%s is nothing for a terminal", format), "write it to a file: --to FILE")
	}
	b, err := c.connect(ctx, toAct)
	if err != nil {
		return err
	}
	defer b.Close()
	if instance, err = pickOne(ctx, b, given1(instance)); err != nil {
		return err
	}
	to := c.out
	if out != "" {
		f, err := os.OpenFile(out, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
		if err != nil {
			return fmt.Errorf("write result: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		to = f
	}
	q.User = b.by
	rows := &rowsOut{format: format, to: to, p: c.paint(to)}
	res, err := b.Query(ctx, instance, q, rows.begin, rows)
	if err != nil {
		return err
	}
	if err := rows.end(res); err != nil {
		return err
	}
	if res.Truncated {
		fmt.Fprintf(c.err, "there are more rows than %s; --limit shows more, --offset the next\n", grouped(res.Rows))
	}
	return nil
}

func given1(name string) []string {
	if name == "" {
		return nil
	}
	return []string{name}
}

// rowsOut writes rows as they are asked for.
type rowsOut struct {
	format  string
	to      io.Writer
	p       painter
	columns []connectors.Column
	lines   bytes.Buffer // of JSON, whole: a table wants to know its widths
}

func (r *rowsOut) begin(res server.QueryResult) error { r.columns = res.Columns; return nil }

func (r *rowsOut) Write(b []byte) (int, error) {
	if r.format == "table" || r.format == "json" {
		return r.lines.Write(b)
	}
	return r.to.Write(b)
}

func (r *rowsOut) end(res server.QueryResult) error {
	switch r.format {
	case "table":
		return r.table()
	case "json":
		return r.json(res)
	}
	return nil
}

func (r *rowsOut) each(do func(row []any) error) error {
	dec := json.NewDecoder(&r.lines)
	dec.UseNumber()
	for {
		var row []any
		if err := dec.Decode(&row); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read result: %w", err)
		}
		if err := do(row); err != nil {
			return err
		}
	}
}

func (r *rowsOut) table() error {
	var head []cell
	for _, c := range r.columns {
		head = append(head, cell{c.Name, r.p.bold})
	}
	rows := [][]cell{head}
	err := r.each(func(row []any) error {
		var line []cell
		for _, v := range row {
			line = append(line, shownValue(v, r.p))
		}
		rows = append(rows, line)
		return nil
	})
	if err == nil {
		table(r.to, rows)
	}
	return err
}

func shownValue(v any, p painter) cell {
	switch v := v.(type) {
	case nil:
		return cell{"NULL", p.dim}
	case string:
		return plainCell(oneLine(v))
	case json.Number:
		return plainCell(v.String())
	}
	text, err := json.Marshal(v)
	if err != nil {
		return plainCell(fmt.Sprint(v))
	}
	return plainCell(oneLine(string(text)))
}

// json writes the object that the API answers with.
func (r *rowsOut) json(res server.QueryResult) error {
	names, types := []string{}, []string{}
	for _, c := range r.columns {
		names, types = append(names, c.Name), append(types, c.Type)
	}
	head, err := json.Marshal(map[string]any{"columns": names, "types": types})
	if err != nil {
		return err
	}
	rows := strings.ReplaceAll(strings.TrimSuffix(r.lines.String(), "\n"), "\n", ",\n")
	_, err = fmt.Fprintf(r.to, `%s,"rows":[%s],"row_count":%d,"truncated":%t}`+"\n", head[:len(head)-1], rows, res.Rows, res.Truncated)
	return err
}

func (c *cli) tablesCommand() *cobra.Command {
	var instance string
	cmd := &cobra.Command{
		Use:   "tables [TABLE]",
		Short: "List the tables that can be asked, or the columns of one",
		Long:  "Lists the tables that fairlead query can ask, with rows, freshness and owner; of one\ntable its columns.",
		Args:  cobra.MaximumNArgs(1),
		RunE:  func(cmd *cobra.Command, args []string) error { return c.tables(cmd.Context(), instance, asName(args)) },
	}
	cmd.Flags().StringVar(&instance, "instance", "", "whose tables (may be left out when there is one instance)")
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) tables(ctx context.Context, instance, name string) error {
	b, err := c.connect(ctx, toAct)
	if err != nil {
		return err
	}
	defer b.Close()
	if instance, err = pickOne(ctx, b, given1(instance)); err != nil {
		return err
	}
	all, err := b.Catalog(ctx, instance)
	if err != nil {
		return err
	}
	if name != "" {
		return c.oneTable(all, name)
	}
	if done, err := c.structured(all); done || err != nil {
		return err
	}
	if len(all) == 0 {
		fmt.Fprintln(c.out, "no tables; a connector brings some (docs/connectors.md)")
		return nil
	}
	printCatalog(c, all, time.Now())
	return nil
}

func printCatalog(c *cli, all []connectors.CatalogTable, now time.Time) {
	p := c.paint(c.out)
	rows := [][]cell{heads(p, "TABLE", "ALSO", "MODE", "ROWS", "COLUMNS", "DATA", "OWNER", "DESCRIPTION")}
	for _, t := range all {
		rows = append(rows, []cell{plainCell(t.Source + "." + t.Name), plainCell(orDash(t.Flat)), plainCell(string(t.QueryMode)), plainCell(grouped(t.Rows)),
			plainCell(fmt.Sprint(len(t.Columns))), plainCell(age(t.ExtractedAt, now)), plainCell(orDash(t.Owner)), plainCell(firstLine(t.Description))})
	}
	width, _ := terminal(c.out)
	fitLast(rows, width)
	table(c.out, rows)
}

func (c *cli) oneTable(all []connectors.CatalogTable, name string) error {
	for _, t := range all {
		if !strings.EqualFold(t.Source+"."+t.Name, name) && !strings.EqualFold(t.Flat, name) {
			continue
		}
		if done, err := c.structured(t); done || err != nil {
			return err
		}
		d := detail{c.out, c.paint(c.out), time.Now()}
		fmt.Fprintln(c.out, d.p.bold(t.Source+"."+t.Name))
		d.field("Rows", grouped(t.Rows))
		d.field("Data", publishedAgo(t.ExtractedAt, d.now))
		d.field("Owner", orDash(t.Owner))
		d.field("Key", orDash(commas(t.PrimaryKey)))
		if t.Description != "" {
			d.field("About", oneLine(t.Description))
		}
		rows := [][]cell{heads(d.p, "COLUMN", "TYPE")}
		for _, col := range t.Columns {
			rows = append(rows, []cell{plainCell(col.Name), plainCell(col.Type)})
		}
		table(c.out, rows)
		for _, change := range t.SchemaChanges {
			fmt.Fprintln(c.out, d.p.yellow(oneLine(change)))
		}
		return nil
	}
	return withHint(fmt.Errorf("there is no table %s", name), "fairlead tables lists them")
}

func (c *cli) profileCommand() *cobra.Command {
	var instance string
	cmd := &cobra.Command{
		Use:   "profile TABLE COLUMN",
		Short: "Tell what is in a column",
		Long:  "Tells what is in a column: how many values are missing, how many differ, the least\nand the greatest, and the most frequent.",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := c.connect(cmd.Context(), toAct)
			if err != nil {
				return err
			}
			defer b.Close()
			name, err := pickOne(cmd.Context(), b, given1(instance))
			if err != nil {
				return err
			}
			text, err := b.Profile(cmd.Context(), name, b.by, args[0], args[1])
			if err != nil {
				return err
			}
			var v any
			if err := json.Unmarshal(text, &v); err != nil {
				return fmt.Errorf("read profile: %w", err)
			}
			if done, err := c.structured(v); done || err != nil {
				return err
			}
			return writeYAML(c.out, v)
		},
	}
	cmd.Flags().StringVar(&instance, "instance", "", "whose table (may be left out when there is one instance)")
	c.outputFlag(cmd)
	return cmd
}
