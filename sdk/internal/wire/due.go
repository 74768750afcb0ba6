package wire

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Due is context.WithDeadline without a timer until somebody calls Done: a timer costs
// more than the rest of a short call does that nobody waits in. release has to be
// called in the end.
func Due(parent context.Context, at time.Time) (ctx context.Context, release func()) {
	d := &due{parent: parent, at: at}
	if deadline, ok := parent.Deadline(); ok && deadline.Before(at) {
		d.at = deadline
	}
	return d, d.release
}

// due is such a context.
type due struct {
	// Immutable after creation.
	parent context.Context //nolint:containedctx // that is what a context is made of
	at     time.Time

	timed atomic.Pointer[context.Context] // once there is a timer

	mu     sync.Mutex
	cancel context.CancelFunc // guarded by mu; of timed
	over   bool               // guarded by mu; release was called
}

func (d *due) Deadline() (time.Time, bool) { return d.at, true }

func (d *due) Done() <-chan struct{} {
	if c := d.timed.Load(); c != nil {
		return (*c).Done()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if c := d.timed.Load(); c != nil {
		return (*c).Done()
	}
	c, cancel := context.WithDeadline(d.parent, d.at)
	if d.cancel = cancel; d.over {
		cancel()
	}
	d.timed.Store(&c)
	return c.Done()
}

func (d *due) Err() error {
	if c := d.timed.Load(); c != nil {
		return (*c).Err()
	}
	if err := d.parent.Err(); err != nil {
		return err
	}
	if !time.Now().Before(d.at) {
		return context.DeadlineExceeded
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.over {
		return context.Canceled
	}
	return nil
}

// Value asks what Done belongs to, so that package context finds the two together.
func (d *due) Value(key any) any {
	if c := d.timed.Load(); c != nil {
		return (*c).Value(key)
	}
	return d.parent.Value(key)
}

func (d *due) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.over = true
	if d.cancel != nil {
		d.cancel()
	}
}
