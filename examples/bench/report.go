package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
)

// report is the JSON form. It is a contract: others parse it.
type report struct {
	Suite  string       `json:"suite"`
	Rounds int          `json:"rounds"`
	Cases  []reportCase `json:"cases"`
}

// reportCase is one implementation in one case: medians over the rounds.
type reportCase struct {
	Case   string  `json:"case"`
	Impl   string  `json:"impl"`
	Ns     float64 `json:"ns_per_op"`
	Allocs float64 `json:"allocs_per_op"`
	Bytes  float64 `json:"bytes_per_op"`
	// Fairness is null in cases where nobody waits.
	Fairness *float64 `json:"fairness"`
	// Values are other figures by name, where a case has some.
	Values map[string]float64 `json:"values,omitempty"`
}

func (r *results) report() report {
	rep := report{Suite: r.suite, Rounds: r.rounds, Cases: make([]reportCase, 0, len(r.series))}
	for _, s := range r.series {
		c := reportCase{
			Case:   s.kase,
			Impl:   s.impl,
			Ns:     round2(median(s.ns)),
			Allocs: round2(median(s.allocs)),
			Bytes:  round2(median(s.bytes)),
		}
		if s.fair {
			f := round2(median(s.fairness))
			c.Fairness = &f
		}
		for name, xs := range s.values {
			if c.Values == nil {
				c.Values = make(map[string]float64)
			}
			c.Values[name] = round2(median(xs))
		}
		rep.Cases = append(rep.Cases, c)
	}
	return rep
}

func writeJSON(w io.Writer, r *results) error {
	return json.NewEncoder(w).Encode(r.report())
}

func writeTable(w io.Writer, r *results, verdicts []verdict) error {
	t := &text{w: w}
	t.printf("suite %s: medians of %d rounds, %s %s/%s, GOMAXPROCS %d\n",
		r.suite, r.rounds, runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0))
	t.cases(r)
	t.verdicts(verdicts)
	return t.err
}

// text writes until the first error.
type text struct {
	w   io.Writer
	err error
}

func (t *text) printf(format string, a ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.w, format, a...)
	}
}

func (t *text) cases(r *results) {
	last := ""
	for i, c := range r.report().Cases {
		s := r.series[i]
		if c.Case != last {
			t.printf("\n%s: %s\n", c.Case, s.about)
		}
		if c.Values != nil {
			last = c.Case
			t.values(c)
			continue
		}
		if c.Case != last {
			t.printf("  %-18s %10s %5s %10s %7s %9s %5s\n", "", "ns/op", "±", "allocs/op", "B/op", "fairness", "cpus")
		}
		last = c.Case
		fair := ""
		if c.Fairness != nil {
			fair = fmt.Sprintf("%.2f", *c.Fairness)
		}
		t.printf("  %-18s %10.1f %4.0f%% %10.2f %7.0f %9s %5.1f\n",
			c.Impl, c.Ns, 100*spread(s.ns), c.Allocs, c.Bytes, fair, median(s.cpus))
	}
}

// values prints the figures of a case that has its own.
func (t *text) values(c reportCase) {
	t.printf("  %-18s", c.Impl)
	for _, name := range slices.Sorted(maps.Keys(c.Values)) {
		t.printf("  %s %.6g", name, c.Values[name])
	}
	t.printf("\n")
}

// verdicts prints the comparisons that could be made.
func (t *text) verdicts(verdicts []verdict) {
	title := false
	for _, v := range verdicts {
		if !v.measured {
			continue
		}
		if !title {
			t.printf("\nmedians of the ratios in each round, and targets\n")
			t.printf("  %-17s %-40s %9s %5s %8s %6s\n", "", "", "value", "±", "target", "aim")
			title = true
		}
		word := ""
		switch {
		case v.missed:
			word = "MISSED"
		case v.max > 0:
			word = "ok"
		}
		t.printf("  %-17s %-40s %9.3f %4.0f%% %8s %6s  %s\n",
			v.kase, v.label(), v.value, 100*v.spread, atMost(v.max), atMost(v.aim), word)
	}
}

func atMost(x float64) string {
	if x == 0 {
		return ""
	}
	return fmt.Sprintf("≤ %.4g", x)
}
