package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"
)

const (
	fairQuota   = 100                   // operations every goroutine must get where fairness is measured
	maxStretch  = 10                    // a measurement may take this many times its duration for that
	chunkTime   = 20 * time.Microsecond // of work between two looks at the stop flag
	maxChunk    = 1 << 16
	patience    = 30 * time.Second // beyond this, goroutines that do not come back are stuck
	warmUpShare = 10               // the warm-up is this part of a measurement
)

// A sample is one measurement.
type sample struct {
	ns, allocs, bytes float64   // per operation
	fairness          float64   // most over fewest operations of a goroutine; 0 where not measured
	starved           bool      // a goroutine stayed below fairQuota
	cpus              float64   // processors had on average
	turns             []float64 // ns per operation in each turn, where they were taken in turns
	// values are other figures by name. With some, only what is not zero of the
	// above was measured.
	values map[string]float64
}

// measure opens im and has the goroutines of c work on it for the time d, after
// a garbage collection and a warm-up on the same goroutines.
func (c *benchCase) measure(im impl, d time.Duration) (smp sample, err error) {
	if im.once != nil {
		return im.once()
	}
	fx, err := im.open()
	if err != nil {
		return sample{}, err
	}
	cw := &crew{stretch: maxStretch, patience: patience, stacks: os.Stderr}
	defer func() {
		if fx.close == nil || errors.Is(err, errStuck) {
			return
		}
		if cerr := fx.close(); err == nil {
			err = cerr
		}
	}()

	for g := range c.goroutines {
		cw.workers = append(cw.workers, &worker{op: fx.worker(g), shifts: make(chan *shift, 1)})
	}
	cw.chunk = 1
	if !c.stepwise && !c.fair {
		if cw.chunk, err = calibrate(cw.workers[0].op); err != nil {
			return sample{}, err
		}
	}
	runtime.GC()
	cw.start()
	defer cw.dismiss()
	if _, err = cw.work(d/warmUpShare, 0); err != nil {
		return sample{}, err
	}
	quota := 0
	if c.fair {
		quota = fairQuota
	}
	return cw.work(d, quota)
}

// calibrate returns how many operations make chunkTime. It is the most of three
// attempts, because a disturbed one finds too few.
func calibrate(op func(n int) error) (int, error) {
	most := 1
	for range 3 {
		for n := 1; n <= maxChunk; n *= 2 {
			start := time.Now()
			if err := op(n); err != nil {
				return 0, err
			}
			if time.Since(start) >= chunkTime {
				most = max(most, n)
				break
			}
		}
	}
	return most, nil
}

// A crew is the goroutines of one measurement. They outlive the warm-up, so that
// neither their creation nor the growth of their stacks is measured.
type crew struct {
	workers  []*worker
	chunk    int
	stretch  time.Duration // how many times its duration a shift may take for the quota
	patience time.Duration // for goroutines to come back after the stop
	stacks   io.Writer     // where the stacks go if they do not
}

type worker struct {
	op     func(n int) error
	shifts chan *shift
	ops    int       // in the last shift
	end    time.Time // of the last shift
	_      [64]byte  // neighbours do not share a cache line
}

// A shift is a time during which all goroutines of a crew work.
type shift struct {
	chunk, quota int
	ready, done  sync.WaitGroup
	start        chan struct{}
	stop         atomic.Bool
	served       atomic.Int64 // goroutines that reached the quota
	err          atomic.Pointer[error]
}

func (cw *crew) start() {
	for _, w := range cw.workers {
		go func() {
			for s := range w.shifts {
				w.work(s)
			}
		}()
	}
}

func (cw *crew) dismiss() {
	for _, w := range cw.workers {
		close(w.shifts)
	}
}

func (w *worker) work(s *shift) {
	s.ready.Done()
	<-s.start
	n := 0
	for n == 0 || !s.stop.Load() { // everyone at least once, which warms everyone up
		if err := w.op(s.chunk); err != nil {
			s.fail(err)
			break
		}
		if n += s.chunk; n == s.quota {
			s.served.Add(1)
		}
	}
	w.ops, w.end = n, time.Now()
	s.done.Done()
}

// fail ends the shift. It is a function of its own because err escapes here, and
// an allocation for each operation would be charged to the pool.
func (s *shift) fail(err error) {
	s.err.CompareAndSwap(nil, &err)
	s.stop.Store(true)
}

var errStuck = errors.New("goroutines are stuck, see their stacks")

// work has the crew work for the time d, and longer if some goroutine has not
// done quota operations by then. The time counted ends with the last operation.
func (cw *crew) work(d time.Duration, quota int) (sample, error) {
	crewSize := len(cw.workers)
	s := &shift{chunk: cw.chunk, quota: quota, start: make(chan struct{})}
	s.ready.Add(crewSize)
	s.done.Add(crewSize)
	for _, w := range cw.workers {
		w.shifts <- s
	}
	s.ready.Wait()

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start, cpuStart := time.Now(), cpuTime()
	close(s.start)
	time.Sleep(d)
	for quota > 0 && s.served.Load() < int64(crewSize) && !s.stop.Load() && time.Since(start) < cw.stretch*d { //nolint:durationcheck // stretch is a factor
		time.Sleep(d / 10)
	}
	s.stop.Store(true)
	if !waitFor(&s.done, cw.patience) {
		_ = pprof.Lookup("goroutine").WriteTo(cw.stacks, 1)
		err := fmt.Errorf("%w: no end %v after the stop", errStuck, cw.patience)
		if first := s.err.Load(); first != nil {
			err = errors.Join(*first, err)
		}
		return sample{}, err
	}
	cpu := cpuTime() - cpuStart
	runtime.ReadMemStats(&after)
	if err := s.err.Load(); err != nil {
		return sample{}, *err
	}

	ops := make([]int, crewSize)
	total, end := 0, start
	for i, w := range cw.workers {
		ops[i] = w.ops
		total += w.ops
		if w.end.After(end) {
			end = w.end
		}
	}
	per := func(x uint64) float64 { return float64(x) / float64(total) }
	smp := sample{
		ns:     per(uint64(end.Sub(start))),
		allocs: per(after.Mallocs - before.Mallocs),
		bytes:  per(after.TotalAlloc - before.TotalAlloc),
		cpus:   float64(cpu) / float64(end.Sub(start)),
	}
	if quota > 0 {
		smp.fairness, smp.starved = fairness(ops, quota)
	}
	return smp, nil
}

// waitFor reports whether wg came to zero in time.
func waitFor(wg *sync.WaitGroup, limit time.Duration) bool {
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-time.After(limit):
		return false
	}
}
