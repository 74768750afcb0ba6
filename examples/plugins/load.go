package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	mcpool "github.com/go-mcpool/mcpool/mcp"
)

const (
	callers = 8 // on each pool
	// patience is for what has to happen sooner or later, on a machine that is busy.
	patience = 2 * time.Minute
)

// load is callers that call until they are told to stop.
type load struct {
	stop    context.CancelFunc
	callers sync.WaitGroup
	each    [callers]atomic.Int64 // calls that ended
	failed  atomic.Int64
	first   atomic.Pointer[error]
}

// startLoad starts callers, whom the server has to know as who.
func startLoad(ctx context.Context, pool *mcpool.Pool, who string) *load {
	l := &load{}
	stop := make(chan struct{})
	l.stop = sync.OnceFunc(func() { close(stop) })
	for i := range callers {
		l.callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-ctx.Done():
					return
				default:
				}
				if err := callAs(ctx, pool, who); err != nil {
					l.failed.Add(1)
					l.first.CompareAndSwap(nil, &err)
				}
				l.each[i].Add(1)
			}
		})
	}
	return l
}

// callAs makes one call.
func callAs(ctx context.Context, pool *mcpool.Pool, who string) error {
	res, err := pool.Call(ctx, "whoami", nil)
	if err != nil {
		return err
	}
	for _, c := range res.Content {
		if t, ok := c.(*mcp.TextContent); ok {
			if t.Text != who {
				return fmt.Errorf("the server takes %s for %q", who, t.Text)
			}
			return nil
		}
	}
	return errors.New("an empty answer")
}

// end waits for the callers, and returns what came of their calls.
func (l *load) end() counts {
	l.stop()
	l.callers.Wait()
	return l.counts()
}

func (l *load) counts() counts {
	c := counts{Failed: l.failed.Load()}
	for i := range l.each {
		c.Calls += l.each[i].Load()
	}
	return c
}

// check says what the first failed call said.
func (l *load) check() error {
	if first := l.first.Load(); first != nil {
		return fmt.Errorf("%d of %d calls failed: %w", l.failed.Load(), l.counts().Calls, *first)
	}
	return nil
}

// everyone waits until each caller has begun and ended a call from now on: nobody
// then hangs in what was before.
func (l *load) everyone(ctx context.Context) error {
	var goal [callers]int64
	for i := range goal {
		goal[i] = l.each[i].Load() + 2 // one may be under way
	}
	return until(ctx, "a caller's next two calls", func() bool {
		for i := range goal {
			if l.each[i].Load() < goal[i] {
				return false
			}
		}
		return true
	})
}

// until waits for a condition.
func until(ctx context.Context, what string, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waited in vain for %s: %w", what, ctx.Err())
		}
	}
	return nil
}
