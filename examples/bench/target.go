package main

import (
	"fmt"
	"io"
)

// A metric is what of a series is compared.
type metric int

const (
	speed metric = iota
	allocations
	evenness
	moreTime        // nanoseconds more than versus
	moreAllocations // more than versus
	value           // the figure that valueName names
	moreValue       // of it more than versus has
)

// noAllocation is how little per operation counts as nothing: what the runtime
// allocates for itself meanwhile does not.
const noAllocation = 0.01

// A target compares one series with another, or with a number.
type target struct {
	kase, impl string
	metric     metric
	valueName  string
	// versus names the series that speed is divided by; versusCase is kase unless set.
	versus, versusCase string
	// max is the most the ratio or number may be; 0 means that it is only shown.
	max float64
	// aim is where we would like it to be one day; 0 for nothing beyond max.
	aim float64
}

// A verdict is a target with what was found.
type verdict struct {
	target
	value    float64 // the median over rounds
	spread   float64
	measured bool // false if a series it needs was left out
	missed   bool
}

func (t target) label() string {
	switch t.metric {
	case allocations:
		return t.impl + ": allocations per operation"
	case evenness:
		return t.impl + ": fairness"
	case moreTime:
		return t.impl + " − " + t.versus + ": ns"
	case moreAllocations:
		return t.impl + " − " + t.versus + ": allocations"
	case value:
		return t.impl + ": " + t.valueName
	case moreValue:
		return t.impl + " − " + t.versus + ": " + t.valueName
	default:
		if t.versusCase != "" {
			return fmt.Sprintf("%s / %s in %s", t.impl, t.versus, t.versusCase)
		}
		return t.impl + " / " + t.versus
	}
}

// judge compares in each round and takes the median of that.
func (r *results) judge(targets []target) []verdict {
	verdicts := make([]verdict, 0, len(targets))
	for _, t := range targets {
		v := verdict{target: t}
		if xs := r.values(t); len(xs) > 0 {
			v.measured = true
			v.value, v.spread = median(xs), spread(xs)
			v.missed = t.max > 0 && v.value > t.max
		}
		verdicts = append(verdicts, v)
	}
	return verdicts
}

func (r *results) values(t target) []float64 {
	s := r.find(t.kase, t.impl)
	if s == nil {
		return nil
	}
	switch t.metric {
	case allocations:
		return s.allocs
	case evenness:
		return s.fairness
	case value:
		return s.values[t.valueName]
	case speed, moreTime, moreAllocations, moreValue: // with a peer, below
	}
	kase := t.kase
	if t.versusCase != "" {
		kase = t.versusCase
	}
	peer := r.find(kase, t.versus)
	if peer == nil {
		return nil
	}
	switch t.metric { //nolint:exhaustive // the others need no peer
	case moreTime:
		if s.turns != nil {
			return lapByLap(differences, s.turns, peer.turns)
		}
		return differences(s.ns, peer.ns)
	case moreAllocations:
		return differences(s.allocs, peer.allocs)
	case moreValue:
		return differences(s.values[t.valueName], peer.values[t.valueName])
	}
	if s.turns != nil && kase == t.kase {
		return lapByLap(ratios, s.turns, peer.turns)
	}
	return ratios(s.ns, peer.ns)
}

// lapByLap compares turns of the same lap and takes the median for each round.
func lapByLap(compare func(a, b []float64) []float64, a, b [][]float64) []float64 {
	xs := make([]float64, 0, len(a))
	for i := range min(len(a), len(b)) {
		xs = append(xs, median(compare(a[i], b[i])))
	}
	return xs
}

// reportCheck lists what was missed and returns the exit status. A check that
// could look at nothing has failed.
func reportCheck(w io.Writer, verdicts []verdict) int {
	looked, status := 0, 0
	for _, v := range verdicts {
		switch {
		case v.max == 0:
		case !v.measured:
			fmt.Fprintf(w, "check: not measured: %s, %s\n", v.kase, v.label())
		case v.missed:
			looked++
			status = 1
			fmt.Fprintf(w, "check: missed: %s, %s: %.3f, at most %.4g allowed\n", v.kase, v.label(), v.value, v.max)
		default:
			looked++
		}
	}
	if looked == 0 {
		fmt.Fprintln(w, "check: no target could be checked")
		return 1
	}
	fmt.Fprintf(w, "check: looked at %d targets\n", looked)
	return status
}
