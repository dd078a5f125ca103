package pages

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The plane of a chart, in units of its view box, and how much is drawn on it.
const (
	chartWidth, chartHeight   = 720, 300
	chartLeft, chartRight     = 64, 12
	chartTop, chartBottom     = 14, 44
	maxBars, maxPoints, ticks = 40, 1000, 5
	labelLength               = 14
	// chartMost keeps the scale away from where floating numbers end.
	chartMost = 1e290
)

// chart is a drawing of one column over another. Everything in it is a number
// that was made here, or a text that the template escapes.
type chart struct {
	Kind          string // bar or line
	X, Y          string // names of the columns
	Width, Height int
	Left, Right   string // edges of the plane
	TickX, LabelY string // where numbers and labels stand
	Grid          []chartTick
	Labels        []chartLabel
	Bars          []chartBar
	Line          string // points of the line
	Area          string
	Dots          []chartBar // of a short line: where the values are
	Zero          string
	Summary       string // what it shows, for who does not see it
	Undrawn       int    // values that there is no room for
}

type chartTick struct{ Y, Text string }

type chartLabel struct{ X, Text string }

type chartBar struct{ X, Y, W, H, Title string }

// chartChoice says what of a result is drawn. Columns are numbers from 0 on.
type chartChoice struct {
	Kind string
	X, Y int
}

// chooseChart is the choice where the reader made none: the first number over
// the first time or text, as a line when that is a time.
func chooseChart(g *grid) (chartChoice, bool) {
	c := chartChoice{Kind: "bar", Y: -1}
	c.X = slices.IndexFunc(g.Columns, func(col gridColumn) bool { return slices.Contains([]string{"time", "text", "bool"}, col.Kind) })
	if c.X < 0 {
		c.X = slices.IndexFunc(g.Columns, func(col gridColumn) bool { return col.Kind == "num" })
	}
	for i, col := range g.Columns {
		if c.Y < 0 && i != c.X && col.Kind == "num" {
			c.Y = i
		}
	}
	if c.X < 0 || c.Y < 0 || len(g.Rows) < 2 {
		return c, false
	}
	if g.Columns[c.X].Kind == "time" || len(g.Rows) > maxBars {
		c.Kind = "line"
	}
	return c, true
}

// fits says whether a choice is one that this result allows.
func (c chartChoice) fits(g *grid) bool {
	return (c.Kind == "bar" || c.Kind == "line") && c.X >= 0 && c.Y >= 0 && c.X < len(g.Columns) && c.Y < len(g.Columns) && g.Columns[c.Y].Kind == "num"
}

type point struct {
	label string
	value float64
}

// drawChart draws a choice that fits; false when there is nothing to draw.
func drawChart(g *grid, choice chartChoice) (*chart, bool) {
	points := chartPoints(g, choice)
	most := maxPoints
	if choice.Kind == "bar" {
		most = maxBars
	}
	left := max(0, len(points)-most)
	points = points[:len(points)-left]
	if len(points) == 0 {
		return nil, false
	}
	c := &chart{Kind: choice.Kind, X: g.Columns[choice.X].Name, Y: g.Columns[choice.Y].Name, Width: chartWidth, Height: chartHeight,
		Left: coordinate(chartLeft), Right: coordinate(chartWidth - chartRight), TickX: coordinate(chartLeft - 8), LabelY: coordinate(chartHeight - chartBottom + 22), Undrawn: left}
	low, high, step := niceScale(points)
	at := func(v float64) float64 {
		v = math.Max(low, math.Min(high, v))
		return chartTop + (high-v)/(high-low)*(chartHeight-chartTop-chartBottom)
	}
	for v := low; v <= high+step/2; v += step {
		c.Grid = append(c.Grid, chartTick{coordinate(at(v)), shortNumber(v, step)})
	}
	c.Zero = coordinate(at(math.Max(low, math.Min(0, high))))
	if c.draw(points, at); choice.Kind == "line" {
		c.join(points, at, at(math.Max(low, math.Min(0, high))))
	}
	c.Summary = summary(c, points)
	return c, true
}

// chartPoints are the values in the order of the result; of a line over time in
// the order of time, since its points are joined.
func chartPoints(g *grid, choice chartChoice) (points []point) {
	for _, row := range g.Rows {
		if choice.X >= len(row) || choice.Y >= len(row) {
			continue
		}
		if v, ok := row[choice.Y].number(); ok {
			label := row[choice.X].Text
			if row[choice.X].Null {
				label = "NULL"
			}
			points = append(points, point{label, v})
		}
	}
	if choice.Kind == "line" && g.Columns[choice.X].Kind == "time" {
		slices.SortStableFunc(points, func(a, b point) int { return cmp.Compare(a.label, b.label) })
	}
	return points
}

// draw makes the bars, or the dots of a line that is short enough, and the
// labels below.
func (c *chart) draw(points []point, at func(float64) float64) {
	slot := float64(chartWidth-chartLeft-chartRight) / float64(len(points))
	every := max(1, int(math.Ceil(float64(len(points))*88/(chartWidth-chartLeft-chartRight))))
	zero := at(0)
	if n, err := strconv.ParseFloat(c.Zero, 64); err == nil {
		zero = n
	}
	for i, p := range points {
		x := chartLeft + slot*float64(i)
		title := p.label + ": " + plainNumber(p.value)
		if i%every == 0 {
			c.Labels = append(c.Labels, chartLabel{coordinate(x + slot/2), cutLabel(p.label)})
		}
		y := at(p.value)
		switch {
		case c.Kind == "bar":
			c.Bars = append(c.Bars, chartBar{coordinate(x + slot*0.14), coordinate(math.Min(y, zero)), coordinate(slot * 0.72), coordinate(math.Max(1, math.Abs(zero-y))), title})
		case len(points) <= 60:
			c.Dots = append(c.Dots, chartBar{X: coordinate(x + slot/2), Y: coordinate(y), Title: title})
		}
	}
}

func (c *chart) join(points []point, at func(float64) float64, zero float64) {
	slot := float64(chartWidth-chartLeft-chartRight) / float64(len(points))
	var line strings.Builder
	for i, p := range points {
		fmt.Fprintf(&line, "%s,%s ", coordinate(chartLeft+slot*(float64(i)+0.5)), coordinate(at(p.value)))
	}
	c.Line = strings.TrimSpace(line.String())
	first, last := chartLeft+slot/2, chartLeft+slot*(float64(len(points))-0.5)
	c.Area = fmt.Sprintf("%s,%s %s %s,%s", coordinate(first), coordinate(zero), c.Line, coordinate(last), coordinate(zero))
}

func summary(c *chart, points []point) string {
	low, high := points[0], points[0]
	for _, p := range points {
		if p.value < low.value {
			low = p
		}
		if p.value > high.value {
			high = p
		}
	}
	text := func(p point) string { return plainNumber(p.value) + " at " + cutLabel(p.label) }
	return fmt.Sprintf("%s by %s, %d values. Lowest: %s. Highest: %s.", c.Y, c.X, len(points), text(low), text(high))
}

// niceScale is a scale from or to 0, where that is near, in steps of 1, 2 or 5
// times a power of ten.
func niceScale(points []point) (low, high, step float64) {
	low, high = points[0].value, points[0].value
	for _, p := range points {
		low, high = math.Min(low, p.value), math.Max(high, p.value)
	}
	low, high = math.Max(math.Min(low, 0), -chartMost), math.Min(math.Max(high, 0), chartMost)
	if high-low < 1/chartMost {
		low, high = 0, 1
	}
	rough := high/ticks - low/ticks
	power := math.Pow(10, math.Floor(math.Log10(rough)))
	for _, m := range []float64{1, 2, 5, 10} {
		if step = m * power; step >= rough {
			break
		}
	}
	return math.Floor(low/step) * step, math.Ceil(high/step) * step, step
}

// shortNumber writes a number of a scale: 1.5M, 20k, 0.25.
func shortNumber(v, step float64) string {
	for _, unit := range []struct {
		size float64
		name string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(v) >= unit.size && step >= unit.size/100 && math.Abs(v) < 1e15 {
			return strconv.FormatFloat(round(v/unit.size), 'f', -1, 64) + unit.name
		}
	}
	if math.Abs(v) >= 1e15 || v != 0 && math.Abs(v) < 1e-6 && step < 1e-6 {
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	if math.Abs(v) < step/2 {
		v = 0
	}
	return strconv.FormatFloat(v, 'f', max(0, int(math.Ceil(-math.Log10(step)-1e-9))), 64)
}

// plainNumber writes a value without what sums of floating numbers leave behind.
func plainNumber(v float64) string {
	if rounded, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 12, 64), 64); err == nil {
		v = rounded
	}
	if a := math.Abs(v); a >= 1e15 || a != 0 && a < 1e-9 {
		return strconv.FormatFloat(v, 'g', 6, 64)
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// round leaves out what sums of floating numbers leave behind.
func round(v float64) float64 { return math.Round(v*1e6) / 1e6 }

func coordinate(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

var stamp = regexp.MustCompile(`^[0-9]{4}-([0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2})`)

func cutLabel(s string) string {
	s = strings.TrimSuffix(strings.TrimSuffix(s, " 00:00:00"), "T00:00:00")
	if m := stamp.FindStringSubmatch(s); m != nil {
		return m[1] + " " + m[2]
	}
	if short := cutRunes(s, labelLength); len(short) < len(s) {
		return short + "…"
	}
	return s
}
