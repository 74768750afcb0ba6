package metrics

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Config configures a Periodic. The zero value of each field means its default.
type Config struct {
	// Collect measures. It runs on a goroutine of the Periodic, one at a time, and
	// should not block; one that panics is counted and yields nothing. Required.
	Collect func(now time.Time) Batch
	// Sink takes the batches. It is closed by Close. Required.
	Sink Sink
	// Interval is the time between two collections. Default: 1 min.
	Interval time.Duration
	// Timeout bounds one Export. Default: 10 s.
	Timeout time.Duration
	// Queue is how many batches wait while the sink is slow or away; when one more
	// comes, the oldest is dropped and counted. Default: 60.
	Queue int
	// RetryMin and RetryMax bound the time between two attempts, which doubles from
	// one to the next. Defaults: 1 s, 1 min.
	RetryMin, RetryMax time.Duration
}

// Counts are what a Periodic has done. They never go down.
type Counts struct {
	Collected uint64 // batches
	Exported  uint64 // batches that arrived, those with rejected points included
	Dropped   uint64 // batches that were given up: the queue was full, the error permanent, or Close out of time
	Retries   uint64 // attempts that failed and were made again
	Rejected  uint64 // points
	Panics    uint64 // of Collect and of the sink
}

// Periodic measures from time to time and hands what it measured to a sink.
type Periodic struct {
	// Immutable after creation.
	cfg    Config
	ctx    context.Context // of exports; ends when Close has no more time
	cancel context.CancelFunc
	stop   chan struct{}
	done   chan struct{} // closed when the exporting goroutine has ended
	wake   chan struct{} // holds one token if the queue may have something

	mu     sync.Mutex
	queue  []Batch // guarded by mu; the oldest first
	closed bool    // guarded by mu; Close was called

	lastErr atomic.Pointer[error]

	collected, exported, dropped, retries, rejected, panics atomic.Uint64
}

// ConfigError is a fault of a Config.
type ConfigError struct{ Field, Problem string }

func (e *ConfigError) Error() string { return "metrics: Config." + e.Field + " " + e.Problem }

// ErrClosed reports a second Close.
var ErrClosed = errors.New("metrics: closed")

// NewPeriodic starts one. It reports every fault of cfg at once.
func NewPeriodic(cfg Config) (*Periodic, error) {
	var errs []error
	fault := func(field, problem string) { errs = append(errs, &ConfigError{field, problem}) }
	if cfg.Collect == nil {
		fault("Collect", "is nil: give the function that measures")
	}
	if cfg.Sink == nil {
		fault("Sink", "is nil: give where the metrics go")
	}
	for _, f := range []struct {
		name string
		v    *time.Duration
		zero time.Duration
	}{
		{"Interval", &cfg.Interval, time.Minute},
		{"Timeout", &cfg.Timeout, 10 * time.Second},
		{"RetryMin", &cfg.RetryMin, time.Second},
		{"RetryMax", &cfg.RetryMax, max(time.Minute, cfg.RetryMin)},
	} {
		if *f.v == 0 {
			*f.v = f.zero
		} else if *f.v < 0 {
			fault(f.name, fmt.Sprintf("is %v: give a time above zero, or 0 for the default", *f.v))
		}
	}
	if cfg.Queue == 0 {
		cfg.Queue = 60
	} else if cfg.Queue < 0 {
		fault("Queue", fmt.Sprintf("is %d: give at least 1, or 0 for the default", cfg.Queue))
	}
	if cfg.RetryMin > cfg.RetryMax && cfg.RetryMax > 0 {
		fault("RetryMin", "is more than RetryMax")
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	p := &Periodic{cfg: cfg, stop: make(chan struct{}), done: make(chan struct{}), wake: make(chan struct{}, 1)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	collected := make(chan struct{})
	go func() { defer close(collected); p.collectAll() }()
	go func() { defer close(p.done); p.exportAll(collected) }()
	return p, nil
}

// Counts returns the counts of now.
func (p *Periodic) Counts() Counts {
	return Counts{
		Collected: p.collected.Load(), Exported: p.exported.Load(), Dropped: p.dropped.Load(),
		Retries: p.retries.Load(), Rejected: p.rejected.Load(), Panics: p.panics.Load(),
	}
}

// Err returns the last error of the sink, nil since an export went well.
func (p *Periodic) Err() error {
	if e := p.lastErr.Load(); e != nil {
		return *e
	}
	return nil
}

// Close measures once more, sends what is queued while ctx lasts, and closes the
// sink. It returns an error if batches were left.
func (p *Periodic) Close(ctx context.Context) error {
	p.mu.Lock()
	again := p.closed
	p.closed = true
	p.mu.Unlock()
	if again {
		return ErrClosed
	}
	close(p.stop)
	var errs []error
	select {
	case <-p.done:
	case <-ctx.Done():
		p.cancel()
		<-p.done // a sink returns soon after its context ended
	}
	p.cancel()
	p.mu.Lock()
	if left := len(p.queue); left > 0 {
		p.dropped.Add(uint64(left))
		p.queue = nil
		errs = append(errs, fmt.Errorf("metrics: %d batches were not sent: %w", left, errors.Join(p.Err(), ctx.Err())))
	}
	p.mu.Unlock()
	if err := p.guard(func() error { return p.cfg.Sink.Close(ctx) }); err != nil {
		errs = append(errs, fmt.Errorf("metrics: closing the sink: %w", err))
	}
	return errors.Join(errs...)
}

// collectAll measures at each tick, and once more in the end.
func (p *Periodic) collectAll() {
	tick := time.NewTicker(p.cfg.Interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.collect()
		case <-p.stop:
			p.collect()
			return
		}
	}
}

func (p *Periodic) collect() {
	var b Batch
	if p.guard(func() error { b = p.cfg.Collect(time.Now()); return nil }) != nil {
		return
	}
	p.collected.Add(1)
	p.mu.Lock()
	if len(p.queue) >= p.cfg.Queue {
		p.queue = append(p.queue[:0:0], p.queue[1:]...)
		p.dropped.Add(1)
	}
	p.queue = append(p.queue, b)
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// exportAll sends what is queued, and ends when the last measuring is over and
// nothing is left, or there is no more time.
func (p *Periodic) exportAll(collected <-chan struct{}) {
	for {
		for p.exportOldest() {
		}
		select {
		case <-p.wake:
		case <-p.ctx.Done():
			<-collected
			return
		case <-collected:
			for p.exportOldest() {
			}
			return
		}
	}
}

// exportOldest sends the oldest batch, which is out of the queue meanwhile, and
// returns whether to go on with the next. One that fails goes back to the front if
// there is room still.
func (p *Periodic) exportOldest() bool {
	p.mu.Lock()
	if len(p.queue) == 0 || p.ctx.Err() != nil {
		p.mu.Unlock()
		return false
	}
	b := p.queue[0]
	p.queue = p.queue[1:]
	p.mu.Unlock()
	for wait := p.cfg.RetryMin; ; wait = min(2*wait, p.cfg.RetryMax) {
		err := p.export(b)
		if err == nil {
			return true
		}
		if errors.Is(err, ErrPermanent) {
			p.dropped.Add(1)
			return true
		}
		pause := wait - time.Duration(rand.Int64N(int64(wait)/4+1)) //nolint:gosec // jitter
		if retry, ok := errors.AsType[*RetryError](err); ok {
			pause = min(max(retry.After, pause), 10*p.cfg.RetryMax)
		}
		if !p.sleep(pause) || !p.room() {
			p.giveBack(b)
			return p.ctx.Err() == nil
		}
		p.retries.Add(1)
	}
}

// sleep returns false if there is no more time. When Close comes it is cut short, and
// from then on no longer than RetryMin: what can be sent is sent in the time there is.
func (p *Periodic) sleep(d time.Duration) bool {
	stop := p.stop
	select {
	case <-stop:
		d, stop = min(d, p.cfg.RetryMin), nil
	default:
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-stop:
		return true
	case <-p.ctx.Done():
		return false
	}
}

// room tells whether the batch that is being sent still has its place: while it was
// tried again the queue may have filled up, and it is the oldest.
func (p *Periodic) room() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue) < p.cfg.Queue
}

// giveBack queues a batch again, or drops it because it is the oldest of too many.
func (p *Periodic) giveBack(b Batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) >= p.cfg.Queue {
		p.dropped.Add(1)
		return
	}
	p.queue = append([]Batch{b}, p.queue...)
}

func (p *Periodic) export(b Batch) error {
	ctx, cancel := context.WithTimeout(p.ctx, p.cfg.Timeout)
	defer cancel()
	var res Result
	err := p.guard(func() (err error) { res, err = p.cfg.Sink.Export(ctx, b); return err })
	if err != nil {
		p.lastErr.Store(&err)
		return err
	}
	p.lastErr.Store(nil)
	p.exported.Add(1)
	p.rejected.Add(uint64(max(res.Rejected, 0)))
	return nil
}

// guard runs a function of the user's and makes an error of a panic.
func (p *Periodic) guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			p.panics.Add(1)
			err = fmt.Errorf("metrics: panic: %v", v)
		}
	}()
	return f()
}
