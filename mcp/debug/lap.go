package debug

import (
	"math"
	"time"
)

// lap holds the times of calls of one kind, in buckets whose bounds grow by a quarter
// of a power of two each: from 64 µs to over an hour, exact to 20 %.
type lap struct {
	count, failed, toolFailed uint64
	sum, most, last           time.Duration
	buckets                   [lapBuckets]uint64
}

const (
	lapBuckets = 108
	lapFirst   = 64 * time.Microsecond
)

func (l *lap) add(d time.Duration, failed, toolFailed bool) {
	l.count++
	if failed {
		l.failed++
	}
	if toolFailed {
		l.toolFailed++
	}
	l.sum += d
	l.most, l.last = max(l.most, d), d
	l.buckets[lapBucket(d)]++
}

// lapBucket returns the first bucket whose bound is not below d.
func lapBucket(d time.Duration) int {
	if d <= lapFirst {
		return 0
	}
	i := int(math.Ceil(4 * math.Log2(float64(d)/float64(lapFirst))))
	return min(i, lapBuckets-1)
}

func lapBound(i int) time.Duration {
	return time.Duration(float64(lapFirst) * math.Pow(2, float64(i)/4))
}

// quantile returns the bound under which a share q of the times lies, never more
// than the longest time.
func (l *lap) quantile(q float64) time.Duration {
	rank, seen := uint64(math.Ceil(q*float64(l.count))), uint64(0)
	for i, n := range l.buckets {
		if seen += n; n > 0 && seen >= rank {
			if i == lapBuckets-1 {
				return l.most
			}
			return min(lapBound(i), l.most)
		}
	}
	return l.most
}
