package core

import "sync"

// Affinity says what an affinity key asks for.
type Affinity uint8

const (
	// Prefer takes the resource last used under the key if it has a free seat, and
	// another one if not. Either way the key is then bound to what was taken.
	Prefer Affinity = iota
	// Pin takes the resource last used under the key and waits for it if it is
	// busy. If that resource is gone the call fails with a PinLostError. A key not
	// seen before takes any resource.
	Pin
	// PinOrRebind is Pin, but takes another resource if the key's own is gone.
	PinOrRebind
)

// affinity remembers which resource was last used under a key: a map, and a ring
// through its entries in the order of their use. A key is forgotten with its slot,
// or when there are too many. While its slot lives on, a key whose resource is
// gone is still known to be lost.
//
// mu is a leaf: nothing else is locked under it.
type affinity[T Resource] struct {
	mu    sync.Mutex
	limit int
	keys  map[string]*binding[T]
	ring  binding[T] // sentinel: next is the most, prev the least recently used
}

// binding ties a key to a resource in a slot.
type binding[T Resource] struct {
	key         string
	slot        *slot[T]
	id          uint64
	prev, next  *binding[T] // by use
	left, right *binding[T] // of the same slot
}

// find returns the slot that key is bound to, the resource it was bound to, and
// whether that resource can still be leased. It counts as a use. The slot is nil for an unknown key.
func (a *affinity[T]) find(key string) (s *slot[T], id uint64, alive bool) {
	a.mu.Lock()
	b := a.keys[key]
	if b == nil {
		a.mu.Unlock()
		return nil, 0, false
	}
	s, id = b.slot, b.id
	a.usedLocked(b)
	a.mu.Unlock()
	// The word is read before the resource: if the slot was live then, and still
	// has the resource after, then that was the resource.
	w := s.word.Load()
	return s, id, w&(flagLive|flagRetiring) == flagLive && s.res.Load().id == id
}

// usedLocked notes that b was used now. REQUIRES: a.mu.
func (a *affinity[T]) usedLocked(b *binding[T]) {
	if a.ring.next == b {
		return
	}
	if b.next != nil {
		b.prev.next, b.next.prev = b.next, b.prev
	}
	b.prev, b.next = &a.ring, a.ring.next
	b.prev.next, b.next.prev = b, b
}

// bind notes that key was used with the resource id in s.
func (a *affinity[T]) bind(key string, s *slot[T], id uint64) {
	if a.limit == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	b := a.keys[key]
	if b == nil {
		if a.keys == nil {
			a.keys = make(map[string]*binding[T])
			a.ring.prev, a.ring.next = &a.ring, &a.ring
		}
		if len(a.keys) >= a.limit {
			a.dropLocked(a.ring.prev)
		}
		b = &binding[T]{key: key}
		a.keys[key] = b
	} else if b.slot != s {
		b.detach()
	}
	a.usedLocked(b)
	b.id = id
	if b.slot != s {
		b.slot = s
		b.right = s.keys
		if b.right != nil {
			b.right.left = b
		}
		s.keys = b
	}
}

// detach takes b off the list of its slot.
func (b *binding[T]) detach() {
	if b.left != nil {
		b.left.right = b.right
	} else {
		b.slot.keys = b.right
	}
	if b.right != nil {
		b.right.left = b.left
	}
	b.left, b.right, b.slot = nil, nil, nil
}

// dropLocked forgets b. REQUIRES: a.mu.
func (a *affinity[T]) dropLocked(b *binding[T]) {
	b.detach()
	b.prev.next, b.next.prev = b.next, b.prev
	delete(a.keys, b.key)
}

// forget drops every key bound to s.
func (a *affinity[T]) forget(s *slot[T]) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for s.keys != nil {
		a.dropLocked(s.keys)
	}
}

// of returns the keys bound to the resource id in s.
func (a *affinity[T]) of(s *slot[T], id uint64) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var keys []string
	for b := s.keys; b != nil; b = b.right {
		if b.id == id {
			keys = append(keys, b.key)
		}
	}
	return keys
}
