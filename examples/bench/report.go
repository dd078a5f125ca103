package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// series are the readings of one contender, in milliseconds where they are times.
type series []float64

func (s *series) add(d time.Duration) { *s = append(*s, float64(d)/float64(time.Millisecond)) }

// median is 0 without readings.
func (s series) median() float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(s)/2]
}

func (s series) String() string {
	if len(s) < 2 {
		return number(s.median())
	}
	return fmt.Sprintf("%s [%s–%s]", number(s.median()), number(slices.Min(s)), number(slices.Max(s)))
}

// number shows three digits that count.
func number(v float64) string {
	switch {
	case v == float64(int(v)) || v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// figure is one comparison. Without a contender it is a reading of its own.
type figure struct {
	name    string
	ours    series
	against string
	theirs  series
	unit    string
	floor   bool    // the contender is what no reconciler can do without
	limit   float64 // of the ratio, or of the reading when there is no contender; 0: none is set
	least   bool    // the limit is the least that is wanted: more is better
	pairs   bool    // readings of one round belong together: the ratio is the median of theirs
	none    bool    // every reading is to be 0
	untold  bool    // only in the file for programs; people see it in a table of its own
}

func (f figure) ratio() float64 {
	if f.theirs.median() == 0 {
		return 0
	}
	if f.pairs && len(f.ours) == len(f.theirs) {
		return f.ratios().median()
	}
	return f.ours.median() / f.theirs.median()
}

// ratios are those of each round.
func (f figure) ratios() series {
	list := make(series, len(f.ours))
	for i := range list {
		list[i] = f.ours[i] / f.theirs[i]
	}
	return list
}

// spread is what the middle half of the rounds lies between.
func (f figure) spread() (low, high float64) {
	sorted := slices.Sorted(slices.Values(f.ratios()))
	if len(sorted) == 0 {
		return 0, 0
	}
	return sorted[len(sorted)/4], sorted[len(sorted)-1-len(sorted)/4]
}

// verdict compares with the figure that the project set itself.
func (f figure) verdict() string {
	if f.none {
		if len(f.ours) == 0 || slices.Max(f.ours) > 0 {
			return "MISS (none)"
		}
		return "PASS (none)"
	}
	if f.limit == 0 {
		return ""
	}
	got, of := f.ratio(), "×"
	if len(f.theirs) == 0 {
		got, of = f.ours.median(), " "+f.unit
	}
	word, bound := "PASS", "at most"
	if f.least {
		bound = "at least"
	}
	if f.least && got < f.limit || !f.least && got > f.limit {
		word = "MISS"
	}
	return fmt.Sprintf("%s (%s %s%s)", word, bound, number(f.limit), of)
}

// report collects what was measured.
type report struct {
	figures []figure
	tables  []string // of what does not fit the one for all
	notes   []string
}

func (r *report) figure(f figure) { r.figures = append(r.figures, f) }

// note keeps a line that explains the figures.
func (r *report) note(format string, args ...any) {
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// print writes the table for people.
func (r *report) print(out io.Writer) {
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "WHAT\tOURS\tAGAINST\tTHEIRS\tUNIT\tRATIO\tFIGURE TO REACH")
	for _, f := range r.figures {
		if f.untold {
			continue
		}
		against, ratio := f.against, "–"
		if f.floor {
			against += " (floor)"
		}
		if f.ratio() > 0 {
			ratio = strconv.FormatFloat(f.ratio(), 'f', 2, 64) + "×"
		}
		theirs := f.theirs.String()
		if len(f.theirs) == 0 {
			against, theirs = "–", "–"
		}
		fmt.Fprintln(w, strings.TrimRight(strings.Join([]string{f.name, f.ours.String(), against, theirs, f.unit, ratio, f.verdict()}, "\t"), "\t"))
	}
	_ = w.Flush() // it goes where the rest goes
	for _, t := range r.tables {
		fmt.Fprint(out, "\n", t)
	}
	if len(r.notes) > 0 {
		fmt.Fprintln(out)
	}
	for _, n := range r.notes {
		fmt.Fprintln(out, n)
	}
	fmt.Fprintln(out, "\nmedian [min–max]; a ratio is of medians, or the median of the ratios of each round for proxies. A floor is the raw API calls that no reconciler can do without.")
}

// record is a figure as programs read it.
type record struct {
	Name    string  `json:"name"`
	Ours    float64 `json:"ours"`
	Against string  `json:"against"`
	Theirs  float64 `json:"theirs"`
	Unit    string  `json:"unit"`
	Ratio   float64 `json:"ratio"`
}

// write replaces the file for programs as a whole.
func (r *report) write(name string) error {
	list := make([]record, len(r.figures))
	for i, f := range r.figures {
		list[i] = record{f.name, f.ours.median(), f.against, f.theirs.median(), f.unit, f.ratio()}
	}
	data, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return fmt.Errorf("write figures: %w", err)
	}
	_, err = tmp.Write(append(data, '\n'))
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Chmod(tmp.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		_ = os.Remove(tmp.Name()) // the error that matters is the first
		return fmt.Errorf("write figures: %w", err)
	}
	return nil
}
