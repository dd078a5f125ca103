package files

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/connectors"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
)

// options are how the files of a table are read.
type options struct {
	delimiter  byte // 0: found out from the first row
	quote      byte // 0: none
	header     bool
	names      []string // of columns, where there is no header
	skip       int      // lines before the header
	null       map[string]bool
	encoding   string
	decoder    encoding.Encoding // nil: UTF-8
	decimal    byte
	thousands  byte
	date       *layout
	timestamp  *layout
	skipBad    bool
	allowEmpty bool
	strict     bool
}

var encodings = map[string]encoding.Encoding{
	"utf-8": nil, "latin-1": charmap.ISO8859_1, "iso-8859-2": charmap.ISO8859_2, "windows-1250": charmap.Windows1250, "windows-1252": charmap.Windows1252,
	"utf-16":    unicode.UTF16(unicode.LittleEndian, unicode.UseBOM),
	"utf-16-le": unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM), "utf-16-be": unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM),
}

// setters read one option each.
var setters = map[string]func(o *options, v string) error{
	"delimiter":       func(o *options, v string) error { return one(v, &o.delimiter, "") },
	"quote":           func(o *options, v string) error { return one(v, &o.quote, "none") },
	"header":          func(o *options, v string) error { return boolean(v, &o.header) },
	"names":           setNames,
	"skip":            setSkip,
	"null":            setNull,
	"encoding":        setEncoding,
	"decimal":         setDecimal,
	"thousands":       func(o *options, v string) error { return one(v, &o.thousands, "none") },
	"dateFormat":      func(o *options, v string) (err error) { o.date, err = parseLayout(v, false); return err },
	"timestampFormat": func(o *options, v string) (err error) { o.timestamp, err = parseLayout(v, true); return err },
	"badRows":         setBadRows,
	"allowEmpty":      func(o *options, v string) error { return boolean(v, &o.allowEmpty) },
	"strict":          func(o *options, v string) error { return boolean(v, &o.strict) },
}

func parseOptions(text map[string]string) (o options, err error) {
	o = options{quote: '"', header: true, null: map[string]bool{}, decimal: '.'}
	for _, name := range slices.Sorted(maps.Keys(text)) {
		set, known := setters[name]
		if !known {
			return o, fmt.Errorf("options.%s: is no option; there are %s", name, strings.Join(slices.Sorted(maps.Keys(setters)), ", "))
		}
		if err := set(&o, text[name]); err != nil {
			return o, fmt.Errorf("options.%s: %w", name, err)
		}
	}
	return o, o.check()
}

func (o options) check() error {
	switch {
	case o.quote != 0 && o.quote == o.delimiter:
		return errors.New("options.quote: is the delimiter, too")
	case o.decimal == o.thousands:
		return errors.New("options.thousands: is the decimal character, too")
	case len(o.names) > 0 && o.header:
		return errors.New("options.names: are for files without a header; set header to false")
	}
	return nil
}

// one reads a single character of ASCII.
func one(v string, to *byte, none string) error {
	if v == `\t` || v == "tab" {
		v = "\t"
	}
	switch {
	case none != "" && v == none:
		*to = 0
	case len(v) != 1 || v[0] > 0x7e || v[0] == '\n' || v[0] == '\r' || v[0] == 0:
		return fmt.Errorf("%q is not one character of ASCII", v)
	default:
		*to = v[0]
	}
	return nil
}

func boolean(v string, to *bool) (err error) {
	if *to, err = strconv.ParseBool(v); err != nil {
		return fmt.Errorf("%q is neither true nor false", v)
	}
	return nil
}

func setSkip(o *options, v string) (err error) {
	if o.skip, err = strconv.Atoi(v); err != nil || o.skip < 0 || o.skip > 1_000_000 {
		return fmt.Errorf("%q is no number of lines", v)
	}
	return nil
}

func setNames(o *options, v string) error {
	o.names = strings.Split(v, ",")
	for i, n := range o.names {
		if o.names[i] = strings.TrimSpace(n); o.names[i] == "" {
			return errors.New("a name is empty; write them as id,name,amount")
		}
	}
	return nil
}

func setNull(o *options, v string) error {
	for word := range strings.SplitSeq(v, ",") {
		o.null[word] = true
	}
	return nil
}

func setEncoding(o *options, v string) error {
	decoder, known := encodings[strings.ToLower(v)]
	if !known {
		return fmt.Errorf("%q is not known; there are %s", v, strings.Join(slices.Sorted(maps.Keys(encodings)), ", "))
	}
	o.encoding, o.decoder = strings.ToLower(v), decoder
	return nil
}

func setDecimal(o *options, v string) error {
	if v != "." && v != "," {
		return fmt.Errorf("%q is neither a point nor a comma", v)
	}
	o.decimal = v[0]
	return nil
}

func setBadRows(o *options, v string) error {
	if v != "fail" && v != "skip" {
		return fmt.Errorf("%q is neither fail nor skip", v)
	}
	o.skipBad = v == "skip"
	return nil
}

var (
	numberRegexp = regexp.MustCompile(`(?i)^(TINYINT|SMALLINT|INTEGER|INT|BIGINT|HUGEINT|UTINYINT|USMALLINT|UINTEGER|UBIGINT|FLOAT|REAL|DOUBLE|DECIMAL|NUMERIC)\b`)
	dateRegexp   = regexp.MustCompile(`(?i)^DATE$`)
	timeRegexp   = regexp.MustCompile(`(?i)^(TIMESTAMP|DATETIME)\b`)
)

// rewriter changes a value as it is written; ok is false for one that is not of
// its form.
type rewriter func(value []byte, to []byte) (out []byte, ok bool)

// rewriters are those of columns whose declared types an option is about; nil for
// the others.
func (o options) rewriters(names []string, types map[string]string) []rewriter {
	out := make([]rewriter, len(names))
	for i, name := range names {
		switch t := types[name]; {
		case numberRegexp.MatchString(t) && (o.decimal != '.' || o.thousands != 0):
			out[i] = o.number
		case dateRegexp.MatchString(t) && o.date != nil:
			out[i] = o.date.rewrite
		case timeRegexp.MatchString(t) && o.timestamp != nil:
			out[i] = o.timestamp.rewrite
		}
	}
	return out
}

// unused says which options stand for nothing, since no type is declared that
// they are about.
func (o options) unused(types map[string]string) (said []string) {
	has := func(form *regexp.Regexp) bool {
		return slices.ContainsFunc(slices.Collect(maps.Values(types)), form.MatchString)
	}
	for _, c := range []struct {
		set  bool
		form *regexp.Regexp
		name string
	}{{o.decimal != '.' || o.thousands != 0, numberRegexp, "decimal and thousands are of columns with a declared type that is a number"},
		{o.date != nil, dateRegexp, "dateFormat is of columns that are declared DATE"}, {o.timestamp != nil, timeRegexp, "timestampFormat is of columns that are declared TIMESTAMP"}} {
		if c.set && !has(c.form) {
			said = append(said, "options: "+c.name+", and types has none")
		}
	}
	return said
}

// number makes 1.234,50 into 1234.50. Spaces between thousands may be those that
// do not break.
func (o options) number(value, to []byte) ([]byte, bool) {
	digits, seen := 0, false
	for i := 0; i < len(value); i++ {
		c := value[i]
		switch {
		case c >= '0' && c <= '9':
			to, digits = append(to, c), digits+1
		case c == '-' || c == '+':
			if digits > 0 && value[i-1]|0x20 != 'e' || digits == 0 && (i > 0 || seen) {
				return to, false
			}
			to = append(to, c)
		case c == o.decimal:
			if seen {
				return to, false
			}
			to, seen = append(to, '.'), true
		case c|0x20 == 'e' && digits > 0:
			to, seen = append(to, c), true
		case o.thousands != 0 && c == o.thousands && digits > 0 && !seen:
		case o.thousands == ' ' && c == 0xc2 && i+1 < len(value) && value[i+1] == 0xa0 && digits > 0 && !seen:
			i++
		default:
			return to, false
		}
	}
	return to, digits > 0
}

// checkSpec looks at what a table says, before anything is asked.
func checkSpec(spec connectors.TableSpec) (o options, err error) {
	if o, err = parseOptions(spec.Options); err != nil {
		return o, err
	}
	switch {
	case spec.Where != "" || spec.Query != "":
		err = errors.New("where and query: files cannot be asked; filter in queries of the table")
	case len(pathsOf(spec)) == 0:
		err = errors.New("paths: there are none; name files or a glob")
	case len(pathsOf(spec)) > 1000:
		err = errors.New("paths: more than 1000; use a glob")
	case spec.Strategy == connectors.Incremental && len(spec.PrimaryKey) == 0:
		err = errors.New("primaryKey: incremental needs one, to join what changed with what is there")
	case spec.Strategy != "" && spec.Strategy != connectors.Full && spec.Strategy != connectors.Incremental && spec.Strategy != connectors.Partitioned:
		err = fmt.Errorf("strategy: %q is none of full, incremental, partitioned", spec.Strategy)
	default:
		_, err = parseFormat(spec.Format)
	}
	return o, err
}
