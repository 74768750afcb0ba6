package main

import (
	"math"
	"slices"
)

// median returns the middle of xs, which it leaves as they are; NaN if there are none.
func median(xs []float64) float64 {
	if len(xs) == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(xs))
	mid := len(s) / 2
	if len(s)%2 == 1 {
		return s[mid]
	}
	return (s[mid-1] + s[mid]) / 2
}

// spread returns half the distance between the quartiles of xs, as a share of
// their median: how far the middle half of the rounds lies apart.
func spread(xs []float64) float64 {
	m := median(xs)
	if len(xs) < 2 || m == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(xs))
	half := (len(s) + 1) / 2
	return math.Abs((median(s[len(s)-half:]) - median(s[:half])) / 2 / m)
}

// fairness returns the most operations over the fewest, where none counts as
// one, and whether the fewest are below quota.
func fairness(ops []int, quota int) (ratio float64, starved bool) {
	most, fewest := slices.Max(ops), slices.Min(ops)
	return float64(most) / float64(max(fewest, 1)), fewest < quota
}

// ratios divides pairwise, round by round.
func ratios(over, under []float64) []float64 {
	rs := make([]float64, 0, len(over))
	for i := range min(len(over), len(under)) {
		rs = append(rs, over[i]/under[i])
	}
	return rs
}

// differences subtracts pairwise, round by round.
func differences(more, less []float64) []float64 {
	ds := make([]float64, 0, len(more))
	for i := range min(len(more), len(less)) {
		ds = append(ds, more[i]-less[i])
	}
	return ds
}

// round2 rounds to two decimals.
func round2(x float64) float64 { return math.Round(x*100) / 100 }
