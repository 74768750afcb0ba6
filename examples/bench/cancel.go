package main

import (
	"context"
	"sync/atomic"
)

// contexts makes contexts that can be cancelled, one for each goroutine, before
// the clock starts.
type contexts struct{ cancels []context.CancelFunc }

func (cs *contexts) next() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cs.cancels = append(cs.cancels, cancel)
	return ctx
}

func (cs *contexts) cancel() error {
	for _, cancel := range cs.cancels {
		cancel()
	}
	return nil
}

// doomTime is after how many leases a doomed context ends. With 64 goroutines
// on 8 resources a waiter in a line stands behind more than that, so it gives up.
const doomTime = 16

// doom hands out contexts that end soon. All who ask between two changes get the
// same one, so that making contexts costs next to nothing, and what ends it is
// the number of leases others got, not time: a slow pool sees as many waiters
// give up as a fast one.
type doom struct {
	current atomic.Pointer[doomed]
	leases  atomic.Int64
	gaveUp  atomic.Int64 // for the test of the case itself
}

type doomed struct {
	ctx    context.Context
	cancel context.CancelFunc
}

func newDoom() *doom {
	d := &doom{}
	d.current.Store(newDoomed())
	return d
}

func newDoomed() *doomed {
	ctx, cancel := context.WithCancel(context.Background())
	return &doomed{ctx, cancel}
}

func (d *doom) context() context.Context { return d.current.Load().ctx }

// leased counts a lease that came to its end.
func (d *doom) leased() {
	if d.leases.Add(1)%doomTime == 0 {
		d.current.Swap(newDoomed()).cancel()
	}
}

func (d *doom) end() error {
	d.current.Load().cancel()
	return nil
}

// cancelling is a fixture in which every second acquire of a goroutine has a
// context that ends soon. A waiter that gives up counts as an operation.
func cancelling(p peer, d *doom) *fixture {
	cs := &contexts{}
	return &fixture{
		worker: func(g int) func(int) error {
			c := &canceller{p: p, doom: d, ctx: cs.next(), patient: g%2 == 0}
			return c.run
		},
		close: closeAll(d.end, cs.cancel),
	}
}

type canceller struct {
	p       peer
	doom    *doom
	ctx     context.Context
	patient bool // whether the next acquire waits as long as it takes
}

func (c *canceller) run(n int) error {
	for range n {
		ctx := c.ctx
		if !c.patient {
			ctx = c.doom.context()
		}
		c.patient = !c.patient
		switch err := c.p.cycle(ctx, 1, true); {
		case err == nil:
			c.doom.leased()
		case ctx != c.ctx && ctx.Err() != nil:
			c.doom.gaveUp.Add(1)
		default:
			return err
		}
	}
	return nil
}

func cancelCase(name, about string, goroutines, size int, os []opener) benchCase {
	return benchCase{name: name, about: about, goroutines: goroutines, stepwise: true,
		impls: impls(os, size, func(p peer) (*fixture, error) { return cancelling(p, newDoom()), nil })}
}
