//go:build cgo

package duck

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/fairlead/fairlead/connectors"
)

const (
	metaFile     = "_meta.json"
	maxMeta      = 1 << 20 // bytes of _meta.json
	maxMetaDepth = 8
	maxText      = 4096 // bytes of a description
)

// simpleMeta is _meta.json of the simple output.
type simpleMeta struct {
	Tables map[string]simpleTable `json:"tables"`
	// Complete names the tables that are whole even if the program fails later. It
	// is for whoever runs the program.
	Complete []string `json:"complete"`
}

// simpleTable is what _meta.json says of a table.
type simpleTable struct {
	Description string              `json:"description"`
	Owner       string              `json:"owner"`
	PrimaryKey  []string            `json:"primary_key"`
	Columns     map[string]string   `json:"columns"`
	Strategy    connectors.Strategy `json:"strategy"`
	Rows        *int64              `json:"rows"`
}

const metaHint = `it is {"tables": {"NAME": {"description": "…", "owner": "…", "primary_key": ["…"], "columns": {"COLUMN": "TYPE"}, "strategy": "full|incremental|partitioned", "rows": 0}}, "complete": ["NAME"]}; every key may be left out`

// readMeta reads _meta.json strictly: a key that is spelt wrong would otherwise
// have a table of changes taken for a whole one.
func readMeta(data []byte) (simpleMeta, *fault) {
	bad := func(err error) (simpleMeta, *fault) {
		return simpleMeta{}, wrong(badMeta, metaFile, short(err.Error()), metaHint)
	}
	if len(data) > maxMeta {
		return bad(fmt.Errorf("it has more than %d bytes", maxMeta))
	}
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if err := checkJSON(data); err != nil {
		return bad(err)
	}
	var m simpleMeta
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil {
		return bad(err)
	}
	for name, t := range m.Tables {
		if err := t.check(name); err != nil {
			return bad(err)
		}
	}
	return m, nil
}

func (t simpleTable) check(name string) error {
	switch {
	case !connectors.ValidName(name):
		return fmt.Errorf("tables: %q is no name of a table", short(name))
	case t.Strategy != "" && t.Strategy != connectors.Full && t.Strategy != connectors.Incremental && t.Strategy != connectors.Partitioned:
		return fmt.Errorf("tables.%s.strategy: %q is none of full, incremental and partitioned", name, short(string(t.Strategy)))
	case len(t.Description) > maxText || len(t.Owner) > maxText:
		return fmt.Errorf("tables.%s: a text has more than %d bytes", name, maxText)
	case len(t.Columns) > maxColumns || len(t.PrimaryKey) > maxColumns:
		return fmt.Errorf("tables.%s: more than %d columns", name, maxColumns)
	}
	for column, text := range t.Columns {
		if _, err := readType(text); err != nil {
			return fmt.Errorf("tables.%s.columns.%s: %w", name, short(column), err)
		}
	}
	return nil
}

// checkJSON is one value of bounded depth, without a key that is there twice.
func checkJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	var keys []map[string]bool // of the objects that are open; nil for a list
	key := false               // a key is next
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read JSON: %w", err)
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			var open map[string]bool
			if key = token == json.Delim('{'); key {
				open = map[string]bool{}
			}
			if keys = append(keys, open); len(keys) > maxMetaDepth {
				return fmt.Errorf("more than %d levels", maxMetaDepth)
			}
			continue
		case json.Delim('}'), json.Delim(']'):
			keys = keys[:len(keys)-1]
		default:
			if name, isText := token.(string); key && isText {
				if keys[len(keys)-1][name] {
					return fmt.Errorf("key %q is there twice", short(name))
				}
				keys[len(keys)-1][name], key = true, false
				continue
			}
		}
		if len(keys) == 0 {
			if dec.More() {
				return errors.New("there is more than one value")
			}
			return nil
		}
		key = keys[len(keys)-1] != nil
	}
}
