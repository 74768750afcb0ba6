package main

import (
	"math"
	"slices"
	"testing"
)

func TestMedianIsTheMiddleAndLeavesItsInputAlone(t *testing.T) {
	t.Parallel()
	xs := []float64{5, 1, 3}
	if got := median(xs); got != 3 {
		t.Errorf("median of three = %v, want 3", got)
	}
	if !slices.Equal(xs, []float64{5, 1, 3}) {
		t.Errorf("median reordered its input: %v", xs)
	}
	if got := median([]float64{4, 1, 2, 100}); got != 3 {
		t.Errorf("median of four = %v, want 3, the mean of the middle two", got)
	}
	if got := median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing = %v, want NaN", got)
	}
}

func TestSpreadIsHalfTheDistanceOfTheQuartiles(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		xs   []float64
		want float64
	}{
		{[]float64{7}, 0},
		{[]float64{0, 0, 0}, 0},
		{[]float64{10, 10, 10, 1000}, 24.75}, // quartiles 10 and 505, median 10
		{[]float64{90, 95, 100, 105, 110}, 0.05},
	} {
		if got := spread(tt.xs); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("spread(%v) = %v, want %v", tt.xs, got, tt.want)
		}
	}
}

func TestFairnessIsMostOverFewest(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		ops     []int
		ratio   float64
		starved bool
	}{
		{[]int{200, 100, 150}, 2, false},
		{[]int{100, 100}, 1, false},
		{[]int{990, 99}, 10, true},
		{[]int{500, 0}, 500, true},
	} {
		ratio, starved := fairness(tt.ops, 100)
		if ratio != tt.ratio || starved != tt.starved {
			t.Errorf("fairness(%v) = %v, %v, want %v, %v", tt.ops, ratio, starved, tt.ratio, tt.starved)
		}
	}
}

func TestRatiosArePairedByRound(t *testing.T) {
	t.Parallel()
	// One slow round slows both down: the ratio of the medians would be 1.
	ours, theirs := []float64{10, 100, 50}, []float64{20, 200, 50}
	if got := ratios(ours, theirs); !slices.Equal(got, []float64{0.5, 0.5, 1}) {
		t.Errorf("ratios = %v", got)
	}
}

func TestRound2(t *testing.T) {
	t.Parallel()
	for x, want := range map[float64]float64{0.004: 0, 0.006: 0.01, 155.126: 155.13} {
		if got := round2(x); got != want {
			t.Errorf("round2(%v) = %v, want %v", x, got, want)
		}
	}
}
