//go:build cgo

package duck

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fairlead/fairlead/connectors"
)

// The codes of problems. They are stable: people search for them.
const (
	badFormat    = "NotADatabase"
	badStorage   = "StorageVersionUnsupported"
	badWAL       = "UncleanExtract"
	badFileKind  = "NotARegularFile"
	badSize      = "TooLarge"
	badLock      = "Locked"
	badDamage    = "Damaged"
	badMeta      = "BadMeta"
	badName      = "BadName"
	badDuplicate = "Duplicate"
	badMode      = "BadQueryMode"
	badMissing   = "Missing"
	badCount     = "RowCount"
	badView      = "BadView"
	badRemote    = "RemoteNotAllowed"
	badColumns   = "BadColumns"
	badType      = "BadType"
	badValue     = "BadValue"
	badContent   = "BadContent"
	badUnknown   = "UnknownFile"
	badTooMany   = "TooMany"
	badKey       = "BadPrimaryKey"
	badBase      = "BaseLost"
	badEmpty     = "Nothing"
)

// fault is a problem as an error.
type fault struct{ connectors.Problem }

func (f *fault) Error() string {
	where := f.Table
	if f.File != "" {
		where = f.File
	}
	if where == "" {
		return f.Found
	}
	return where + ": " + f.Found
}

// wrong makes a problem of a file.
func wrong(code, file, found, hint string) *fault {
	return &fault{connectors.Problem{Code: code, File: file, Found: found, Hint: hint}}
}

// of says which table a problem is of.
func (f *fault) of(table string) *fault {
	f.Table = table
	return f
}

// asFault is the problem that an error is; what is none of ours is about content.
func asFault(err error, table string) connectors.Problem {
	if f, ok := errors.AsType[*fault](err); ok {
		p := f.Problem
		if p.Table == "" {
			p.Table = table
		}
		return p
	}
	return connectors.Problem{Code: badContent, Table: table, Found: short(err.Error())}
}

// findings are all the problems of a directory. A child ends with more of them
// than anyone reads.
type findings struct{ list []connectors.Problem }

const maxFindings = 1000

func (f *findings) add(p connectors.Problem) {
	if len(f.list) < maxFindings {
		f.list = append(f.list, p)
	}
}

// err adds an error, of a table when one is named.
func (f *findings) err(err error, table string) {
	if err != nil {
		f.add(asFault(err, table))
	}
}

const maxQuoted = 300

// short makes a text of somebody else's fit to be quoted: one line, bounded,
// nothing that moves a cursor.
func short(s string) string {
	if len(s) > maxQuoted {
		cut := maxQuoted
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

const (
	maxColumns    = 4096
	maxColumnName = 255
)

// checkColumns says what is wrong with the names of columns.
func checkColumns(file string, names []string) *fault {
	if len(names) == 0 {
		return wrong(badColumns, file, "there are no columns", "write a first row with the names of the columns, or declare them")
	}
	if len(names) > maxColumns {
		return wrong(badColumns, file, fmt.Sprintf("%d columns are more than %d", len(names), maxColumns), "write fewer columns, or rows of name and value")
	}
	seen := map[string]string{}
	for _, n := range names {
		if what := columnName(n); what != "" {
			return wrong(badColumns, file, fmt.Sprintf("column %q: %s", short(n), what), fmt.Sprintf("name columns with up to %d bytes of printable text", maxColumnName))
		}
		if other, there := seen[fold(n)]; there {
			return wrong(badColumns, file, fmt.Sprintf("columns %q and %q are the same to SQL", short(other), short(n)), "rename one: SQL does not tell capitals from small letters")
		}
		seen[fold(n)] = n
	}
	return nil
}

// fold makes equal what is equal to DuckDB, which folds ASCII letters alone.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

func columnName(n string) string {
	switch {
	case strings.TrimSpace(n) == "":
		return "it has no name"
	case len(n) > maxColumnName:
		return fmt.Sprintf("its name has %d bytes", len(n))
	case !utf8.ValidString(n):
		return "its name is not UTF-8"
	case strings.ContainsFunc(n, unicode.IsControl):
		return "its name has a control character"
	}
	return ""
}
