package debug

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	mcpool "github.com/go-mcpool/mcpool/mcp"
)

func smallRecords() *records { return newRecords(Config{Points: 3, Events: 5, Tools: 4, Rows: 3}) }

func TestAFloodOfOneKindIsOneEvent(t *testing.T) {
	t.Parallel()
	r := smallRecords()
	r.change(Bad, "circuit opened", "p", 0, errors.New("refused"))
	for i := range 1000 {
		r.change(Bad, "open failed", "p", uint64(i), errors.New("refused"))
		r.change(Warn, "probe failed", "p", 7, errors.New("refused"))
	}
	got := r.changes.newestFirst()
	if len(got) != 3 || got[0].What != "probe failed" || got[0].Count != 1000 || got[1].What != "open failed" || got[1].Count != 1000 ||
		got[1].Session != 999 || got[2].What != "circuit opened" || got[2].Count != 1 {
		t.Errorf("events %+v", got)
	}
	if got[1].Last.Before(got[1].First) {
		t.Error("the last of them is before the first")
	}
}

func TestTheOrderOfWhatIsNoFaultIsKept(t *testing.T) {
	t.Parallel()
	l, start := events{room: 100}, time.Now()
	at := time.Duration(0)
	add := func(what string, level Level, n int, gap time.Duration) {
		for range n {
			at += gap
			l.add(Event{First: start.Add(at), Last: start.Add(at), What: what, Level: level})
		}
	}
	add("opened", Good, 3, time.Minute)
	add("closed", Info, 2, time.Minute)
	add("failed", Bad, 2, time.Minute)
	add("opened", Good, 2, time.Minute)
	add("failed", Bad, 1, time.Minute)
	for range 50 { // flapping
		add("opened", Good, 1, time.Millisecond)
		add("closed", Info, 1, time.Millisecond)
	}
	var got []string
	for _, e := range l.all {
		got = append(got, fmt.Sprint(e.What, e.Count))
	}
	if want := []string{"opened3", "closed2", "opened2", "failed3", "opened50", "closed50"}; !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

func TestEventsAreBoundedAndTheOldestGo(t *testing.T) {
	t.Parallel()
	r := smallRecords()
	for i := range 50 {
		r.change(Info, fmt.Sprint(i), "p", 0, nil)
		r.call(mcpool.CallEnd{CallStart: mcpool.CallStart{Method: "m"}, Err: fmt.Errorf("fault %d", i)})
	}
	for name, got := range map[string][]Event{"changes": r.changes.newestFirst(), "failures": r.failures.newestFirst()} {
		if len(got) != 5 || cap(r.changes.all) > 16 {
			t.Errorf("%s: %d of them, want 5", name, len(got))
		}
	}
	if got := r.changes.newestFirst(); got[0].What != "49" || got[4].What != "45" {
		t.Errorf("events %+v", got)
	}
}

func TestToolsAreBoundedAndThoseNotListedHaveNoRow(t *testing.T) {
	t.Parallel()
	r := smallRecords()
	call := func(tool string, listed bool) {
		r.call(mcpool.CallEnd{CallStart: mcpool.CallStart{Method: "tools/call", Tool: tool, Listed: listed}, Duration: time.Second})
	}
	for i := range 100 {
		call(fmt.Sprintf("listed %d", i), true)
		call(fmt.Sprintf("made up %d", i), false)
	}
	if len(r.calls) > 5 || len(r.order) != len(r.calls) {
		t.Errorf("%d rows, want 4 and one for the others at most", len(r.calls))
	}
	for name := range r.calls {
		if strings.HasPrefix(name, "made up") {
			t.Errorf("%q has a row", name)
		}
	}
	total := uint64(0)
	for _, l := range r.calls {
		total += l.count
	}
	if total != 200 {
		t.Errorf("%d calls are counted, want 200", total)
	}
}

func TestTextOfOthersIsMadeFitToShow(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain":                   "plain",
		"two\nlines\tand tab":     "two lines and tab",
		"bad \xff byte":           "bad \uFFFD byte",
		"turned \u202e around":    "turned  around",
		"bell\a":                  "bell",
		strings.Repeat("ä", 11):   strings.Repeat("ä", 10) + "…",
		strings.Repeat("x", 10):   strings.Repeat("x", 10),
		strings.Repeat("x", 5000): strings.Repeat("x", 10) + "…",
	} {
		limit := 10
		if len(in) < 25 {
			limit = max(10, utf8.RuneCountInString(in))
			if strings.HasPrefix(in, "ä") {
				limit = 10
			}
		}
		if got := clip(in, limit); got != want {
			t.Errorf("clip(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzClip(f *testing.F) {
	f.Add("text\u202e\xff", 3)
	f.Fuzz(func(t *testing.T, s string, n int) {
		n = min(max(n, 0), 1000)
		got := clip(s, n)
		if !utf8.ValidString(got) || utf8.RuneCountInString(got) > n+1 || strings.ContainsAny(got, "\n\r\u202e\x00") {
			t.Errorf("clip(%q, %d) = %q", s, n, got)
		}
	})
}

func TestQuantilesAreExactToAFifth(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		var l lap
		times := make([]time.Duration, 1+rnd.IntN(500))
		for i := range times {
			// From the first bound to an hour, each order of magnitude alike.
			times[i] = lapFirst * time.Duration(1<<rnd.IntN(25)) * time.Duration(100+rnd.IntN(100)) / 100
			l.add(times[i], false, false)
		}
		slices.Sort(times)
		for _, q := range []float64{.5, .9, .99, 1} {
			exact, got := times[int(q*float64(len(times))+.9999999)-1], l.quantile(q)
			if got < exact || float64(got) > 1.2*float64(exact) {
				t.Fatalf("seed %d: quantile %v of %d times is %v, want %v or a bit more", seed, q, len(times), got, exact)
			}
		}
		if l.quantile(1) != times[len(times)-1] {
			t.Fatalf("seed %d: the longest is %v, want %v", seed, l.quantile(1), times[len(times)-1])
		}
	}
}

func TestAPlotStaysInItsFrame(t *testing.T) {
	t.Parallel()
	start := time.Now()
	var points []Point
	for i := range 20 {
		points = append(points, Point{Time: start.Add(time.Duration(i) * time.Second), Sessions: i * 7, Leases: i, WaitMax: float64(i) / 1000})
	}
	for _, p := range [][]Point{nil, points[:1], points} {
		for _, plot := range plots(p) {
			for _, l := range plot.Lines {
				for pair := range strings.SplitSeq(l.Path, " ") {
					var x, y float64
					if _, err := fmt.Sscanf(pair, "%f,%f", &x, &y); err != nil || x < 0 || x > plotWidth || y < 0 || y > plotHeight {
						t.Errorf("%s, %s: point %q (%v)", plot.Title, l.Name, pair, err)
					}
				}
			}
		}
	}
	if p := plots(points)[0]; p.Top != "200" || p.Since != "19 s" || p.Lines[0].Now != "133" || !strings.HasSuffix(p.Lines[0].Path, " 600.0,40.2") {
		t.Errorf("plot %+v", p)
	}
}

func TestTimesAreShownInFewDigits(t *testing.T) {
	t.Parallel()
	for in, want := range map[float64]string{0: "0", 2e-5: "20 µs", .0123: "12.3 ms", .5: "500 ms", 1.234: "1.23 s", 90: "1 min 30 s", 7200: "2 h", 90000: "1 d 1 h"} {
		if got := secondsText(in); got != want {
			t.Errorf("secondsText(%v) = %q, want %q", in, got, want)
		}
	}
}
