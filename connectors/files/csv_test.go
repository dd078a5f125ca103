package files

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/connectors"
)

// normal reads CSV with options, given as name, value, ….
func normal(t testing.TB, text string, types map[string]string, set ...string) (string, came, error) {
	t.Helper()
	o, err := parseOptions(pairs(set))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	got, err := reading{options: o, types: types}.csv(bufio.NewReaderSize(strings.NewReader(text), 16), formatCSV, &out)
	return out.String(), got, err
}

func pairs(set []string) map[string]string {
	out := map[string]string{}
	for i := 0; i+1 < len(set); i += 2 {
		out[set[i]] = set[i+1]
	}
	return out
}

func TestCSVIsReadAsItIsMeant(t *testing.T) {
	types := map[string]string{"n": "DECIMAL(12,2)", "d": "DATE", "t": "TIMESTAMP", "i": "BIGINT"}
	for _, c := range []struct {
		name, in, want string
		set            []string
	}{
		{"plain", "a,b\n1,2\n", "\"a\",\"b\"\n1,2\n", nil},
		{"no end", "a,b\r\n1,2", "\"a\",\"b\"\n1,2\n", nil},
		{"mark of byte order", "\xef\xbb\xbfa\n1\n", "\"a\"\n1\n", nil},
		{"quotes", "a,b\n\"x,y\",\"say \"\"hi\"\"\"\n", "\"a\",\"b\"\n\"x,y\",\"say \"\"hi\"\"\"\n", nil},
		{"a row of two lines", "a,b\n\"x\r\ny\",2\n", "\"a\",\"b\"\n\"x\r\ny\",2\n", nil},
		{"null and empty", "a,b,c\n,\"\",NA\n\"NA\",NULL,x\n", "\"a\",\"b\",\"c\"\n,\"\",\n\"NA\",,x\n", []string{"null", "NA,NULL"}},
		{"a bare quote", "a,b\n5\" pipe,2\n", "\"a\",\"b\"\n\"5\"\" pipe\",2\n", nil},
		{"found delimiter", "a;b\n1,5;2\n", "\"a\",\"b\"\n\"1,5\",2\n", nil},
		{"found tab", "a\tb\n1\t2\n", "\"a\",\"b\"\n1,2\n", nil},
		{"delimiter of a quoted header", "\"a;x;y\",b\n1,2\n", "\"a;x;y\",\"b\"\n1,2\n", nil},
		{"declared delimiter", "a|b;c\n1|2;3\n", "\"a\",\"b;c\"\n1,2;3\n", []string{"delimiter", "|"}},
		{"other quote", "a,b\n'x,y','it''s \"'\n", "\"a\",\"b\"\n\"x,y\",\"it's \"\"\"\n", []string{"quote", "'"}},
		{"no quote", "a,b\n\"x,2\n", "\"a\",\"b\"\n\"\"\"x\",2\n", []string{"quote", "none"}},
		{"no header", "1,2\n3,4\n", "\"column0\",\"column1\"\n1,2\n3,4\n", []string{"header", "false"}},
		{"names", "1,2\n", "\"x\",\"y\"\n1,2\n", []string{"header", "false", "names", "x, y"}},
		{"names of nothing", "", "\"x\",\"y\"\n", []string{"header", "false", "names", "x,y"}},
		{"skip", "report of today\n\"\n\na\n1\n", "\"a\"\n1\n", []string{"skip", "2"}},
		{"empty lines", "a,b\n\n1,2\n\r\n3,4\n\n", "\"a\",\"b\"\n1,2\n3,4\n", nil},
		{"latin-1", "a\nca\xf1a\n", "\"a\"\ncaña\n", []string{"encoding", "latin-1"}},
		{"windows-1250", "m\xecsto\n\x8eilina\n", "\"město\"\nŽilina\n", []string{"encoding", "windows-1250"}},
		{"utf-16", "\xff\xfea\x00,\x00b\x00\n\x001\x00,\x00\x17\x01\n\x00", "\"a\",\"b\"\n1,ė\n", []string{"encoding", "utf-16"}},
		{"utf-16 told by its mark", "\xfe\xff\x00a\x00\n\x00b\x00\n", "\"a\"\nb\n", nil},
		{"numbers", "n;i;x\n1 234,50;1 000;1,5\n-0,5;;a\n", "\"n\",\"i\",\"x\"\n1234.50,1000,\"1,5\"\n-0.5,,a\n", []string{"decimal", ",", "thousands", " "}},
		{"dates", "d,t\n3.1.2026,31.12.99 7:05\n,\n", "\"d\",\"t\"\n2026-01-03,1999-12-31 07:05:00\n,\n", []string{"dateFormat", "%d.%m.%Y", "timestampFormat", "%d.%m.%y %H:%M"}},
		{"names that differ in case", "a,A,,a\n1,2,3,4\n", "\"a\",\"A_2\",\"column2\",\"a_3\"\n1,2,3,4\n", nil},
		{"a lone return", "a,b\n1\r2,3\n", "\"a\",\"b\"\n\"1\r2\",3\n", nil},
	} {
		got, _, err := normal(t, c.in, types, c.set...)
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v\nwant %q", c.name, got, err, c.want)
		}
	}
}

func TestBadRowsAreSaidWithTheirLine(t *testing.T) {
	types := map[string]string{"d": "DATE", "n": "DOUBLE"}
	for _, c := range []struct {
		name, in, want, rest string
		set                  []string
	}{
		{"too few", "a,b\n1,2\n3\n4,5\n", "line 3: 1 fields instead of 2", "1,2\n4,5\n", nil},
		{"too many", "a,b\n\"x\ny\",1\n1,2,3\n4,5\n", "line 4: 3 fields instead of 2", "\"x\ny\",1\n4,5\n", nil},
		{"after a quote", "a,b\n1,2\n\"x\"y,3\n4,5\n", "line 3: text after a closing quote", "1,2\n4,5\n", nil},
		{"not UTF-8", "a,b\n\xff,2\n4,5\n", "line 2: a byte is not UTF-8; set encoding", "4,5\n", nil},
		{"no such day", "d,b\n31.04.2026,1\n30.04.2026,2\n", "line 2: column d: \"31.04.2026\" is not of the form that is declared", "2026-04-30,2\n", []string{"dateFormat", "%d.%m.%Y"}},
		{"no number", "n;b\n1,2,3;1\n1,5;2\n", "line 2: column n: \"1,2,3\" is not of the form that is declared", "1.5,2\n", []string{"decimal", ","}},
	} {
		_, _, err := normal(t, c.in, types, c.set...)
		if err == nil || err.Error() != c.want || connectors.Hint(err) == "" {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
		text, got, err := normal(t, c.in, types, append(c.set, "badRows", "skip")...)
		_, rows, _ := strings.Cut(text, "\n")
		if err != nil || rows != c.rest || got.bad != 1 || got.firstly != c.want {
			t.Errorf("%s, left out: %q, %+v, %v", c.name, rows, got, err)
		}
	}
	for name, in := range map[string]string{"open quote": "a,b\n1,\"2\n3,4\n", "empty": "", "a header of bytes": "\xff\xc0\n1\n"} {
		if text, _, err := normal(t, in, nil, "badRows", "skip"); err == nil || connectors.Hint(err) == "" {
			t.Errorf("%s: %q, no error", name, text)
		}
	}
	if _, _, err := normal(t, "a,b\n1,\""+strings.Repeat("x\n", maxRow), nil); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a row without an end: %v", err)
	}
}

func TestColumnsAreChosenByName(t *testing.T) {
	o, _ := parseOptions(nil)
	var out bytes.Buffer
	got, err := reading{options: o, columns: []string{"c", "a"}}.csv(bufio.NewReader(strings.NewReader("a,b,c\n1,2,3\n")), formatCSV, &out)
	if err != nil || out.String() != "\"c\",\"a\"\n3,1\n" || strings.Join(got.columns, " ") != "c a" {
		t.Errorf("%q, %+v, %v", out.String(), got, err)
	}
	if _, err := (reading{options: o, columns: []string{"x"}}).csv(bufio.NewReader(strings.NewReader("a\n1\n")), formatCSV, io.Discard); err == nil || !strings.Contains(err.Error(), "no column x") {
		t.Errorf("a column that is not there: %v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, set := range map[string][]string{
		"unknown": {"separator", ";"}, "two characters": {"delimiter", ";;"}, "no ASCII": {"delimiter", "ž"}, "quote is delimiter": {"delimiter", "\"", "quote", "\""},
		"encoding": {"encoding", "ebcdic"}, "skip": {"skip", "-1"}, "header": {"header", "maybe"}, "names": {"header", "false", "names", "a,,b"}, "names with header": {"names", "a"},
		"decimal": {"decimal", ";"}, "thousands": {"thousands", "."}, "date": {"dateFormat", "%d.%m"}, "both years": {"dateFormat", "%Y%y%m%d"}, "hours of a date": {"dateFormat", "%Y%m%d%H"},
		"end": {"dateFormat", "%Y%m%d%"}, "bad rows": {"badRows", "ignore"}, "newline": {"delimiter", "\n"},
	} {
		if o, err := parseOptions(pairs(set)); err == nil || !strings.HasPrefix(err.Error(), "options.") {
			t.Errorf("%s: %+v, %v", name, o, err)
		}
	}
}

// value draws a field; nothing is NULL.
func value() *rapid.Generator[*string] {
	text := rapid.Custom(func(t *rapid.T) string {
		return rapid.StringOfN(rapid.RuneFrom([]rune("ab,;\"'\n\r\t| éžя0")), 0, 12, -1).Draw(t, "text")
	})
	return rapid.Ptr(text, true)
}

// dialect writes rows as somebody may: own delimiter, quotes where they are
// needed or wanted, line ends and encoding.
type dialect struct {
	delim    string
	quote    string
	end      string
	encoding string
	always   bool
}

func (d dialect) write(rows [][]*string) string {
	var b strings.Builder
	for _, row := range rows {
		for i, f := range row {
			if i > 0 {
				b.WriteString(d.delim)
			}
			switch {
			case f == nil:
			case d.always || *f == "" || strings.ContainsAny(*f, d.delim+d.quote+"\r\n"):
				b.WriteString(d.quote + strings.ReplaceAll(*f, d.quote, d.quote+d.quote) + d.quote)
			default:
				b.WriteString(*f)
			}
		}
		b.WriteString(d.end)
	}
	text := b.String()
	switch d.encoding {
	case "windows-1250":
		text, _ = charmap.Windows1250.NewEncoder().String(text)
	case "utf-16":
		text, _ = unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM).NewEncoder().String(text)
	}
	return text
}

// TestNormalCSVMeansTheSame: whatever the dialect, what comes out reads as what
// was written, by a reader of RFC 4180 that is not ours.
func TestNormalCSVMeansTheSame(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := dialect{rapid.SampledFrom([]string{",", ";", "\t", "|"}).Draw(rt, "delim"), rapid.SampledFrom([]string{"\"", "'"}).Draw(rt, "quote"),
			rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(rt, "end"), rapid.SampledFrom([]string{"utf-8", "utf-16", "windows-1250"}).Draw(rt, "encoding"), rapid.Bool().Draw(rt, "always")}
		width := rapid.IntRange(2, 5).Draw(rt, "width") // a row of one NULL is an empty line
		var head []*string
		for i := range width {
			name := fmt.Sprintf("c%d", i)
			head = append(head, &name)
		}
		rows := rapid.SliceOfN(rapid.SliceOfN(value(), width, width), 0, 8).Draw(rt, "rows")
		for _, row := range rows {
			for i, f := range row {
				if f != nil && d.encoding == "windows-1250" {
					s := strings.ReplaceAll(*f, "я", "")
					row[i] = &s
				}
			}
		}
		text, got, err := normal(t, d.write(append([][]*string{head}, rows...)), nil, "delimiter", d.delim, "quote", d.quote, "encoding", d.encoding)
		if err != nil || got.rows != int64(len(rows)) {
			rt.Fatalf("%+v, %v", got, err)
		}
		read, err := nulls(text, width)
		if err != nil || len(read) != len(rows)+1 {
			rt.Fatalf("%q: %v", text, err)
		}
		for i, row := range rows {
			for j, f := range row {
				if g := read[i+1][j]; (f == nil) != (g == nil) || f != nil && strings.ReplaceAll(*f, "\r\n", "\n") != *g {
					rt.Fatalf("row %d, column %d of %q", i, j, text)
				}
			}
		}
	})
}

// nulls reads with encoding/csv what it says of texts, and tells NULL by the
// bytes: an empty field that stands between bare delimiters.
func nulls(text string, width int) ([][]*string, error) {
	const mark = "\x00empty"
	all, err := csv.NewReader(strings.NewReader(markEmpty(text, mark))).ReadAll()
	var out [][]*string
	for _, row := range all {
		if len(row) != width {
			return nil, fmt.Errorf("%d fields", len(row))
		}
		var fields []*string
		for _, f := range row {
			switch f {
			case "":
				fields = append(fields, nil)
			case mark:
				empty := ""
				fields = append(fields, &empty)
			default:
				fields = append(fields, &f)
			}
		}
		out = append(out, fields)
	}
	return out, err
}

// markEmpty replaces each "" that is a whole field.
func markEmpty(text, mark string) string {
	var b strings.Builder
	quoted := false
	for i := 0; i < len(text); i++ {
		starts := !quoted && (i == 0 || text[i-1] == ',' || text[i-1] == '\n')
		if starts && strings.HasPrefix(text[i:], `""`) && (i+2 == len(text) || text[i+2] == ',' || text[i+2] == '\n') {
			b.WriteString(mark)
			i++
			continue
		}
		if text[i] == '"' {
			quoted = !quoted
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// FuzzCSV: what is written can be read by an RFC 4180 reader, has a header and
// the rows that are said, each as wide as the header, and is UTF-8.
func FuzzCSV(f *testing.F) {
	for _, seed := range []string{"a,b\n1,2\n", "a;b\r\n\"x\"\"\n\";2", "\xef\xbb\xbfa\n\"", "\xff\xfea\x00\n\x00", "a,A,\n1,,\"\"\n", "a\n\n\n1\n", "a,b\n\"x\"y,1\n\xff,2\n"} {
		f.Add([]byte(seed), byte(0), byte('"'), true)
		f.Add([]byte(seed), byte(';'), byte('\''), false)
	}
	f.Fuzz(func(t *testing.T, in []byte, delim, quote byte, skip bool) {
		o, err := parseOptions(nil)
		if err != nil {
			t.Fatal(err)
		}
		if delim != 0 && one(string(rune(delim)), &o.delimiter, "") != nil || quote != 0 && one(string(rune(quote)), &o.quote, "") != nil || o.quote == o.delimiter {
			return
		}
		o.skipBad = skip
		var out bytes.Buffer
		got, err := reading{options: o}.csv(bufio.NewReaderSize(bytes.NewReader(in), 16), formatCSV, &out)
		if err != nil {
			return
		}
		if !utf8.Valid(out.Bytes()) {
			t.Fatalf("%q is not UTF-8", out.Bytes())
		}
		if len(got.columns) < 2 {
			return // a row of one NULL is an empty line
		}
		r := csv.NewReader(&out)
		r.FieldsPerRecord = len(got.columns)
		rows := int64(-1)
		for ; err == nil; rows++ {
			_, err = r.Read()
		}
		if !errors.Is(err, io.EOF) || rows-1 != got.rows {
			t.Fatalf("%d rows of %d, %v", rows-1, got.rows, err)
		}
	})
}

func BenchmarkCSV(b *testing.B) {
	plain := "id,amount,note,day\n" + strings.Repeat("1234567,19.90,a note of some words and more,2026-11-23\n", 100_000)
	for name, c := range map[string]struct {
		text  string
		set   []string
		types map[string]string
	}{
		"asis":     {plain, nil, nil},
		"quoted":   {strings.ReplaceAll(plain, "a note of some words and more", `"a note, with ""quotes"""`), nil, nil},
		"dialect":  {strings.NewReplacer(",", ";", ".", ",").Replace(plain), []string{"decimal", ","}, map[string]string{"amount": "DECIMAL(12,2)"}},
		"win-1250": {plain, []string{"encoding", "windows-1250"}, nil},
	} {
		b.Run(name, func(b *testing.B) {
			o, err := parseOptions(pairs(c.set))
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(c.text)))
			b.ReportAllocs()
			for b.Loop() {
				got, err := reading{options: o, types: c.types}.csv(bufio.NewReaderSize(strings.NewReader(c.text), buffer), formatCSV, io.Discard)
				if err != nil || got.rows != 100_000 {
					b.Fatal(got, err)
				}
			}
		})
	}
}
