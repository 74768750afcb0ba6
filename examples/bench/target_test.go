package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestJudgeTakesTheMedianOfPairedRatios(t *testing.T) {
	t.Parallel()
	r := newResults("s", 3, []benchCase{
		{name: "a", impls: []impl{{name: "core"}, {name: "peer"}}},
		{name: "b", fair: true, impls: []impl{{name: "core"}}},
	})
	for _, x := range []struct{ core, peer, b float64 }{{10, 100, 15}, {40, 100, 40}, {30, 300, 30}} {
		r.add("a", "core", sample{ns: x.core})
		r.add("a", "peer", sample{ns: x.peer})
		r.add("b", "core", sample{ns: x.b, allocs: 0.02, fairness: 1.4})
	}
	for _, tt := range []struct {
		target
		value  float64
		missed bool
	}{
		// The ratio of the medians would be 0.3.
		{target{kase: "a", impl: "core", versus: "peer", max: 0.1}, 0.1, false},
		{target{kase: "a", impl: "core", versus: "peer", max: 0.09}, 0.1, true},
		{target{kase: "a", impl: "core", versus: "peer"}, 0.1, false},
		{target{kase: "b", impl: "core", versus: "core", versusCase: "a", max: 2}, 1, false},
		{target{kase: "b", impl: "core", metric: allocations, max: noAllocation}, 0.02, true},
		{target{kase: "b", impl: "core", metric: evenness, max: 1.5}, 1.4, false},
	} {
		v := r.judge([]target{tt.target})[0]
		if !v.measured || v.value != tt.value || v.missed != tt.missed {
			t.Errorf("%s, %s: %+v, want value %v, missed %v", tt.kase, tt.label(), v, tt.value, tt.missed)
		}
	}
	if v := r.judge([]target{{kase: "a", impl: "core", versus: "nobody", max: 1}})[0]; v.measured || v.missed {
		t.Errorf("without a peer: %+v", v)
	}
}

func TestCheckListsWhatWasMissed(t *testing.T) {
	t.Parallel()
	met := verdict{target: target{kase: "a", impl: "core", versus: "p", max: 1}, value: 0.5, measured: true}
	missed := verdict{target: target{kase: "b", impl: "core", versus: "p", max: 1}, value: 2, measured: true, missed: true}
	absent := verdict{target: target{kase: "c", impl: "core", versus: "p", max: 1}}
	shown := verdict{target: target{kase: "d", impl: "core", versus: "p"}, value: 9, measured: true}
	for _, tt := range []struct {
		name     string
		verdicts []verdict
		status   int
		says     string
	}{
		{"all met", []verdict{met, shown}, 0, "looked at 1 target"},
		{"one missed", []verdict{met, missed, shown}, 1, "missed: b, core / p: 2.000, at most 1"},
		{"one absent", []verdict{met, absent}, 0, "not measured: c"},
		{"nothing to look at", []verdict{absent, shown}, 1, "no target could be checked"},
	} {
		var b bytes.Buffer
		if status := reportCheck(&b, tt.verdicts); status != tt.status || !strings.Contains(b.String(), tt.says) {
			t.Errorf("%s: status %d, said %q", tt.name, status, b.String())
		}
	}
}

func TestDifferencesAndValuesAreJudged(t *testing.T) {
	t.Parallel()
	r := newResults("s", 3, []benchCase{{name: "a", impls: []impl{{name: "pool"}, {name: "direct"}}}})
	for _, x := range []float64{1, 2, 30} { // a slow round slows both
		r.add("a", "pool", sample{ns: 100*x + 9, allocs: 12, values: map[string]float64{"heap": 50 * x}})
		r.add("a", "direct", sample{ns: 100 * x, allocs: 5, values: map[string]float64{"heap": 49 * x}})
	}
	for _, tt := range []struct {
		target
		value  float64
		missed bool
	}{
		{target{kase: "a", impl: "pool", metric: moreTime, versus: "direct", max: 8}, 9, true},
		{target{kase: "a", impl: "pool", metric: moreAllocations, versus: "direct", max: 7}, 7, false},
		{target{kase: "a", impl: "pool", metric: value, valueName: "heap", max: 99}, 100, true},
		{target{kase: "a", impl: "pool", metric: moreValue, valueName: "heap", versus: "direct", max: 2}, 2, false},
	} {
		v := r.judge([]target{tt.target})[0]
		if !v.measured || v.value != tt.value || v.missed != tt.missed {
			t.Errorf("%s: %+v, want value %v, missed %v", tt.label(), v, tt.value, tt.missed)
		}
	}
	if v := r.judge([]target{{kase: "a", impl: "pool", metric: value, valueName: "nothing", max: 1}})[0]; v.measured {
		t.Errorf("a value that is not there was measured: %+v", v)
	}
}

func TestTurnsAreComparedLapByLap(t *testing.T) {
	t.Parallel()
	r := newResults("s", 2, []benchCase{{name: "a", impls: []impl{{name: "pool"}, {name: "direct"}}}, {name: "b", impls: []impl{{name: "direct"}}}})
	// The machine is slow in other laps of the two; the medians of the turns are alike.
	r.add("a", "pool", sample{ns: 102, turns: []float64{102, 204, 1002, 102, 102}})
	r.add("a", "direct", sample{ns: 100, turns: []float64{100, 200, 1000, 100, 100}})
	r.add("a", "pool", sample{ns: 110, turns: []float64{110, 404, 1020}})
	r.add("a", "direct", sample{ns: 400, turns: []float64{100, 400, 1000}})
	r.add("b", "direct", sample{ns: 51})
	r.add("b", "direct", sample{ns: 55})
	for _, tt := range []struct {
		target
		value float64
	}{
		{target{kase: "a", impl: "pool", metric: moreTime, versus: "direct"}, 6}, // of 2 and 10
		{target{kase: "a", impl: "pool", versus: "direct"}, 1.02},
		{target{kase: "a", impl: "pool", versus: "direct", versusCase: "b"}, 2}, // no laps in common
	} {
		if v := r.judge([]target{tt.target})[0]; !v.measured || v.value != tt.value {
			t.Errorf("%s: %v, want %v", tt.label(), v.value, tt.value)
		}
	}
}
