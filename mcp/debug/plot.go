package debug

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// The size of a plot in its own units; the page stretches it.
const (
	plotWidth  = 600.0
	plotHeight = 120.0
)

// plot is a small picture of some numbers over time.
type plot struct {
	Title string
	Top   string // the number at the upper edge
	Since string // how long ago the left edge was
	Lines []line
}

// line is one of them. Lines are drawn in the order of a plot, so the first has the
// area under it filled.
type line struct {
	Name  string
	Now   string
	Class string
	Path  string // points of a polyline
	Area  string // points of a polygon
}

// series says what a line shows.
type series struct {
	name string
	of   func(*Point) float64
}

func newPlot(title string, points []Point, format func(float64) string, all ...series) plot {
	p := plot{Title: title}
	if len(points) == 0 {
		points = []Point{{}}
	}
	top := 0.0
	for i := range points {
		for _, s := range all {
			top = max(top, s.of(&points[i]))
		}
	}
	top = niceTop(top)
	first, last := points[0].Time, points[len(points)-1].Time
	p.Top, p.Since = format(top), ago(last.Sub(first))
	span := max(last.Sub(first), 1)
	for n, s := range all {
		var b strings.Builder
		for i := range points {
			x := plotWidth * float64(points[i].Time.Sub(first)) / float64(span)
			y := plotHeight * (1 - s.of(&points[i])/top)
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(strconv.FormatFloat(x, 'f', 1, 64) + "," + strconv.FormatFloat(y, 'f', 1, 64))
		}
		l := line{Name: s.name, Now: format(s.of(&points[len(points)-1])), Class: "s" + strconv.Itoa(n+1), Path: b.String()}
		if n == 0 {
			l.Area = "0,120 " + l.Path + " 600,120"
		}
		p.Lines = append(p.Lines, l)
	}
	return p
}

// niceTop returns the next of 1, 2 and 5 times a power of ten, so that the scale does
// not change with every point.
func niceTop(v float64) float64 {
	if v <= 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, step := range []float64{1, 2, 5} {
		if step*power >= v*(1-1e-9) {
			return step * power
		}
	}
	return 10 * power
}

func plots(points []Point) []plot {
	sizes := newPlot("Sessions and callers", points, count,
		series{"sessions", func(p *Point) float64 { return float64(p.Sessions) }},
		series{"leases", func(p *Point) float64 { return float64(p.Leases) }},
		series{"waiting", func(p *Point) float64 { return float64(p.Waiting) }})
	waits := newPlot("Wait for a session", points, secondsText,
		series{"longest", func(p *Point) float64 { return p.WaitMax }},
		series{"mean", func(p *Point) float64 { return p.WaitMean }})
	calls := newPlot("Calls per second", points, rate,
		series{"calls", func(p *Point) float64 { return p.Calls }},
		series{"failed", func(p *Point) float64 { return p.Errors }})
	return []plot{sizes, waits, calls}
}

func count(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func rate(v float64) string {
	if v >= 100 || v == math.Trunc(v) {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'f', 1, 64)
}

// secondsText shows a time in three digits or so.
func secondsText(s float64) string {
	switch {
	case s == 0:
		return "0"
	case s < 1e-3:
		return strconv.FormatFloat(s*1e6, 'f', 0, 64) + " µs"
	case s < 1:
		return strconv.FormatFloat(s*1e3, 'g', 3, 64) + " ms"
	case s < 60:
		return strconv.FormatFloat(s, 'g', 3, 64) + " s"
	}
	return ago(time.Duration(s * float64(time.Second)))
}

// ago shows a time in its two largest units.
func ago(d time.Duration) string {
	s := int64(max(d, 0) / time.Second)
	switch {
	case s < 60:
		return strconv.FormatInt(s, 10) + " s"
	case s < 3600:
		return pair(s/60, "min", s%60, "s")
	case s < 86400:
		return pair(s/3600, "h", s%3600/60, "min")
	}
	return pair(s/86400, "d", s%86400/3600, "h")
}

func pair(a int64, unit string, b int64, small string) string {
	out := strconv.FormatInt(a, 10) + " " + unit
	if b > 0 {
		out += " " + strconv.FormatInt(b, 10) + " " + small
	}
	return out
}
