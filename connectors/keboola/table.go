package keboola

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/connectors/internal/rest"
)

// table is a table as the service tells of it.
type table struct {
	ID             string     `json:"id"`
	Name           string     `json:"name"`
	PrimaryKey     []string   `json:"primaryKey"`
	RowsCount      *int64     `json:"rowsCount"`
	DataSizeBytes  *int64     `json:"dataSizeBytes"`
	LastImportDate string     `json:"lastImportDate"`
	LastChangeDate string     `json:"lastChangeDate"`
	IsAlias        bool       `json:"isAlias"`
	Columns        []string   `json:"columns"`
	ColumnMetadata metadata   `json:"columnMetadata"`
	Metadata       []fact     `json:"metadata"`
	Definition     definition `json:"definition"`
	Bucket         struct {
		ID          string `json:"id"`
		Description string `json:"description"`
	} `json:"bucket"`
	SourceTable struct {
		ColumnMetadata metadata `json:"columnMetadata"`
	} `json:"sourceTable"`
}

// fact is a piece of metadata: who said what when.
type fact struct {
	Key       string `json:"key"`
	Value     string `json:"value"`
	Provider  string `json:"provider"`
	Timestamp string `json:"timestamp"`
}

// metadata is by column. An empty one comes as a list, as PHP writes it.
type metadata map[string][]fact

func (m *metadata) UnmarshalJSON(data []byte) error {
	if data = bytes.TrimSpace(data); len(data) == 0 || data[0] == '[' || string(data) == "null" {
		*m = nil
		return nil
	}
	return json.Unmarshal(data, (*map[string][]fact)(m))
}

// definition is there for tables with native types; else it is null or a list.
type definition struct{ columns map[string]native }

type native struct {
	base   string
	length string
}

func (d *definition) UnmarshalJSON(data []byte) error {
	d.columns = nil
	if data = bytes.TrimSpace(data); len(data) == 0 || data[0] != '{' {
		return nil
	}
	var form struct {
		Columns []struct {
			Name       string `json:"name"`
			BaseType   string `json:"basetype"`
			Definition struct {
				Length json.RawMessage `json:"length"`
			} `json:"definition"`
		} `json:"columns"`
	}
	if err := json.Unmarshal(data, &form); err != nil {
		return err
	}
	d.columns = map[string]native{}
	for _, c := range form.Columns {
		length := strings.Trim(string(c.Definition.Length), `"`)
		d.columns[c.Name] = native{c.BaseType, length}
	}
	return nil
}

// value is the newest fact of a key; what a user said goes before what a
// component found.
func value(facts []fact, key string) string {
	best := fact{}
	for _, f := range facts {
		if f.Key != key {
			continue
		}
		user, had := f.Provider == "user", best.Provider == "user"
		if best.Key == "" || (user && !had) || (user == had && f.Timestamp > best.Timestamp) {
			best = f
		}
	}
	return best.Value
}

// typeOf is the type of a column as DuckDB writes it: that of the native
// definition, or of KBC.datatype.basetype, else VARCHAR.
func (t table) typeOf(column string) string {
	if n, ok := t.Definition.columns[column]; ok && n.base != "" {
		return duckType(n.base, n.length)
	}
	facts := t.ColumnMetadata[column]
	if value(facts, "KBC.datatype.basetype") == "" {
		facts = t.SourceTable.ColumnMetadata[column]
	}
	return duckType(value(facts, "KBC.datatype.basetype"), value(facts, "KBC.datatype.length"))
}

// duckType maps a base type of Keboola. A NUMERIC of unknown length is DOUBLE: any
// DECIMAL would refuse some numbers.
func duckType(base, length string) string {
	switch strings.ToUpper(base) {
	case "INTEGER":
		return "BIGINT"
	case "NUMERIC":
		return decimal(length)
	case "FLOAT":
		return "DOUBLE"
	case "BOOLEAN", "DATE", "TIMESTAMP":
		return strings.ToUpper(base)
	}
	return "VARCHAR"
}

func decimal(length string) string {
	precision, scale, both := strings.Cut(length, ",")
	p, err := strconv.Atoi(strings.TrimSpace(precision))
	if err != nil || p < 1 || p > 38 {
		return "DOUBLE"
	}
	s := 0
	if both {
		if s, err = strconv.Atoi(strings.TrimSpace(scale)); err != nil || s < 0 || s > p {
			return "DOUBLE"
		}
	}
	return fmt.Sprintf("DECIMAL(%d,%d)", p, s)
}

func (t table) description() string {
	if said := value(t.Metadata, "KBC.description"); said != "" {
		return rest.Short(said)
	}
	return ""
}

// propose makes of a table's name one that is valid and not taken yet.
func propose(t table, taken map[string]bool) string {
	name := identifier(t.Name)
	if taken[strings.ToLower(name)] {
		name = identifier(t.ID)
	}
	for i := 2; taken[strings.ToLower(name)]; i++ {
		suffix := "_" + strconv.Itoa(i)
		name = identifier(t.ID)
		name = name[:min(len(name), 64-len(suffix))] + suffix
	}
	taken[strings.ToLower(name)] = true
	return name
}

// identifier keeps of a text what a name in the catalog may hold.
func identifier(s string) string {
	var b strings.Builder
	for _, c := range s {
		word := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		digit := c >= '0' && c <= '9'
		switch {
		case b.Len() == 64:
		case digit && b.Len() == 0:
			b.WriteString("_")
			b.WriteRune(c)
		case word || digit:
			b.WriteRune(c)
		default:
			b.WriteByte('_')
		}
	}
	if b.Len() == 0 {
		return "_"
	}
	return b.String()[:min(b.Len(), 64)]
}
