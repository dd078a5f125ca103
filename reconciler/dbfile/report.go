package dbfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Report says what was found of a damaged database, and what became of it. It
// lies beside the damaged file.
type Report struct {
	At   time.Time `json:"at"`
	Kept string    `json:"kept,omitempty"` // where the damaged file is; empty: there was none
	// Read is how many values were read of the damaged file, and Copy when the
	// copy was made from which others come; zero: there was none.
	Read int       `json:"values_read"`
	Copy time.Time `json:"copy,omitzero"`
	Lost []Lost    `json:"lost"`

	name string // of the report's own file
}

// Stands reports whether nobody took the report away yet.
func (r *Report) Stands() bool { return exists(r.name) }

// Lost is what could not be read of a bucket.
type Lost struct {
	Bucket string `json:"bucket"` // empty: the file as a whole
	Places int    `json:"places"`
	What   string `json:"what"`             // of the first place
	Filled int    `json:"filled,omitempty"` // values that came from the copy
	// Whole says that no value is missing: only room or order was damaged.
	Whole bool `json:"whole,omitempty"`
}

const (
	reportSuffix = ".json"
	maxReport    = 64 << 10
	maxLost      = 100
	maxTold      = 6 // in a line; all are in the file
)

// tell sums up.
func (r *Report) tell(places []place, filled map[string]int) {
	at := map[string]int{}
	of := func(bucket string) *Lost {
		i, known := at[bucket]
		if !known {
			i, at[bucket] = len(r.Lost), len(r.Lost)
			r.Lost = append(r.Lost, Lost{Bucket: bucket, Whole: true})
		}
		return &r.Lost[i]
	}
	for _, l := range places {
		one := of(strings.Join(l.path, "/"))
		if one.Places++; one.What == "" || one.Whole && !l.idle {
			one.What = l.what
		}
		one.Whole = one.Whole && l.idle
	}
	for path, n := range filled {
		of(strings.ReplaceAll(path, "\x00", "/")).Filled += n
	}
	slices.SortFunc(r.Lost, func(a, b Lost) int { return strings.Compare(a.Bucket, b.Bucket) })
	r.Lost = r.Lost[:min(len(r.Lost), maxLost)]
}

func sum(counts map[string]int) (n int) {
	for _, one := range counts {
		n += one
	}
	return n
}

// String tells it in a line.
func (r *Report) String() string {
	var parts []string
	for i, l := range r.Lost {
		if i == maxTold {
			parts = append(parts, fmt.Sprintf("and %d more parts", len(r.Lost)-maxTold))
			break
		}
		part := l.Bucket
		switch {
		case part == "":
			part = "the file"
		case !strconv.CanBackquote(part): // a name that is damaged
			part = strconv.Quote(part)
		}
		if l.Places > 0 {
			part += fmt.Sprintf(": %s", l.What)
			if l.Places > 1 {
				part += fmt.Sprintf(" (and %d more)", l.Places-1)
			}
		}
		if l.Filled > 0 {
			part += fmt.Sprintf(", %d values from the copy", l.Filled)
		}
		parts = append(parts, part)
	}
	text := fmt.Sprintf("the database was found damaged at %s: %s; %d values of it were read", r.At.Format(time.RFC3339), strings.Join(parts, "; "), r.Read)
	if r.Harmless() {
		text += ", none is missing"
	}
	if r.Copy.IsZero() {
		text += ", and there was no copy"
	} else {
		text += ", the copy is of " + r.Copy.Format(time.RFC3339)
	}
	return text
}

// Harmless reports whether nothing that was in the database is missing.
func (r *Report) Harmless() bool {
	return !slices.ContainsFunc(r.Lost, func(l Lost) bool { return !l.Whole })
}

// Touches reports whether something of a bucket, of what is in it or of what it
// is in may be missing or older than it was.
func (r *Report) Touches(path ...string) bool {
	want := strings.Join(path, "/")
	return slices.ContainsFunc(r.Lost, func(l Lost) bool {
		return !l.Whole && (l.Bucket == "" || l.Bucket == want || strings.HasPrefix(l.Bucket, want+"/") || strings.HasPrefix(want, l.Bucket+"/"))
	})
}

// keepReport writes the report beside the damaged file.
func (o Options) keepReport(r *Report) error {
	name := r.Kept
	if name == "" {
		name = filepath.Join(o.Damaged, filepath.Base(o.Path)+r.At.Format(".20060102T150405Z"))
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		err = os.MkdirAll(o.Damaged, 0o700)
	}
	old, _ := filepath.Glob(filepath.Join(o.Damaged, "*"+reportSuffix))
	for slices.Sort(old); len(old) > 2*maxDamaged; old = old[1:] {
		_ = os.Remove(old[0]) // the damaged file went before
	}
	if err == nil {
		err = writeFile(name+reportSuffix, append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("keep the report: %w", err)
	}
	return nil
}

// Reports are those of which the damaged file, or the report itself, was not
// removed yet, the oldest first. One that cannot be read is left out.
func Reports(dir string) (list []*Report) {
	names, _ := filepath.Glob(filepath.Join(dir, "*"+reportSuffix))
	slices.Sort(names)
	for _, name := range names[max(0, len(names)-maxDamaged):] {
		if r, err := readReport(name); err == nil {
			list = append(list, r)
		}
	}
	return list
}

func readReport(name string) (*Report, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxReport))
	r := new(Report)
	r.name = name
	return r, errors.Join(err, json.Unmarshal(text, r))
}

// writeFile writes a file so that it is there whole or not at all.
func writeFile(name string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), unfinished+"*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // when it was not renamed
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(os.Rename(f.Name(), name), syncDir(filepath.Dir(name)))
}
