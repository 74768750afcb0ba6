package main

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
)

// casPool is the floor: the compare-and-swap pair without which no lock-free
// pool can do, and nothing around it. It counts the leases on each slot, looks
// for one from the first slot on, and cannot wait.
type casPool struct {
	words []casWord
	seats uint32 // leases a slot carries at once
}

type casWord struct {
	leases atomic.Uint32
	res    *conn
	_      [112]byte // two cache lines, which prefetchers fetch as a pair
}

var _ peer = (*casPool)(nil)

var errFull = errors.New("no slot is free")

func openCAS(size int) (peer, error) { return newCAS(size, 1), nil }

func newCAS(size, seats int) *casPool {
	p := &casPool{words: make([]casWord, size), seats: uint32(seats)}
	for i := range p.words {
		p.words[i].res = &conn{n: i}
	}
	return p
}

func (p *casPool) cycle(_ context.Context, n int, yield bool) error {
	if p.seats > 1 {
		return p.cycleShared(n, yield)
	}
	for range n {
		w := p.acquire()
		if w == nil {
			return errFull
		}
		if yield {
			runtime.Gosched()
		}
		w.leases.CompareAndSwap(1, 0)
	}
	return nil
}

// cycleShared is cycle where a slot carries several leases.
func (p *casPool) cycleShared(n int, yield bool) error {
	for range n {
		w := p.acquireShared()
		for w == nil { // all seats were taken while we looked
			runtime.Gosched()
			w = p.acquireShared()
		}
		if yield {
			runtime.Gosched()
		}
		for {
			v := w.leases.Load()
			if w.leases.CompareAndSwap(v, v-1) {
				break
			}
		}
	}
	return nil
}

func (p *casPool) acquire() *casWord {
	for i := range p.words {
		w := &p.words[i]
		if w.leases.Load() == 0 && w.leases.CompareAndSwap(0, 1) {
			return w
		}
	}
	return nil
}

func (p *casPool) acquireShared() *casWord {
	for i := range p.words {
		w := &p.words[i]
		for v := w.leases.Load(); v < p.seats; v = w.leases.Load() {
			if w.leases.CompareAndSwap(v, v+1) {
				return w
			}
		}
	}
	return nil
}

func (p *casPool) hold(_ context.Context, k int) (func(), error) {
	return holdEach(k, func() (func(), error) {
		w := p.acquireShared()
		if w == nil {
			return nil, errFull
		}
		return func() { w.leases.Add(^uint32(0)) }, nil
	})
}

func (p *casPool) close() error { return nil }
