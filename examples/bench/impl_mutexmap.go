package main

import (
	"context"
	"slices"
	"sync"
)

// mutexMap is the plainest affinity there can be: one lock, and the resource
// last used under each key.
type mutexMap struct {
	mu    sync.Mutex
	last  map[string]int // by key, the resource it had last
	inUse []bool
}

var _ keyedPeer = (*mutexMap)(nil)

func openMutexMap(size int) (keyedPeer, error) {
	return &mutexMap{last: make(map[string]int), inUse: make([]bool, size)}, nil
}

func (m *mutexMap) cycle(_ context.Context, keys []string, first, n int) error {
	for i := range n {
		slot, ok := m.acquire(keys[(first+i)%len(keys)])
		if !ok {
			return errFull
		}
		m.release(slot)
	}
	return nil
}

func (m *mutexMap) acquire(key string) (slot int, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if slot, ok = m.last[key]; ok && !m.inUse[slot] {
		m.inUse[slot] = true
		return slot, true
	}
	if slot = slices.Index(m.inUse, false); slot >= 0 {
		m.inUse[slot] = true
		m.last[key] = slot
		return slot, true
	}
	return 0, false
}

func (m *mutexMap) release(slot int) {
	m.mu.Lock()
	m.inUse[slot] = false
	m.mu.Unlock()
}

func (m *mutexMap) close() error { return nil }
