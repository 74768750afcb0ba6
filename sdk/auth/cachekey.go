package auth

import (
	"cmp"
	"hash/maphash"
	"maps"
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
)

// table finds the entry of a request. Readers take no lock: each shard is a map
// that is copied when a key comes or goes, which happens once per identity and not
// once per request.
type table struct {
	seed     maphash.Seed // immutable after init
	collide  bool         // immutable after init; tests set it to give every key one hash
	shards   [64]shard
	count    atomic.Int64
	evicting sync.Mutex // one eviction at a time; taken before any shard.mu
}

type shard struct {
	entries atomic.Pointer[map[uint64]*entry] // replaced under mu, never written to
	mu      sync.Mutex
	closed  bool // guarded by mu
}

func (t *table) init() {
	t.seed = maphash.MakeSeed()
	for i := range t.shards {
		t.shards[i].entries.Store(&map[uint64]*entry{})
	}
}

func (t *table) hash(req *Request) uint64 {
	if t.collide {
		return 7
	}
	return hashRequest(t.seed, req)
}

// lookup returns nil if there is no entry for the request.
func (t *table) lookup(req *Request) *entry {
	h := t.hash(req)
	e := (*t.shards[h%uint64(len(t.shards))].entries.Load())[h]
	if e == nil || !sameKey(&e.key, req) {
		return nil
	}
	return e
}

// lookupOrAdd returns nil once the table is closed. Two requests with the same hash
// cannot both be remembered: the newer one takes the place. With 64 seeded bits
// that does not happen twice in a lifetime, and if it does it costs a refresh and
// never mixes them up.
func (t *table) lookupOrAdd(req *Request, now int64) (e *entry, added bool) {
	h := t.hash(req)
	s := &t.shards[h%uint64(len(t.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false
	}
	old := *s.entries.Load()
	displaced := old[h]
	if displaced != nil && sameKey(&displaced.key, req) {
		return displaced, false
	}
	e = &entry{key: req.Clone()}
	e.key.Identity.Subject = nil // it belongs to one call, not to the key
	e.used.Store(now)
	entries := maps.Clone(old)
	entries[h] = e
	s.entries.Store(&entries)
	if displaced == nil {
		t.count.Add(1)
	}
	return e, true
}

// remove drops the entries that match.
func (t *table) remove(match func(*entry) bool) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		old := *s.entries.Load()
		entries := maps.Clone(old)
		maps.DeleteFunc(entries, func(_ uint64, e *entry) bool { return match(e) })
		if len(entries) != len(old) {
			s.entries.Store(&entries)
			t.count.Add(int64(len(entries) - len(old)))
		}
		s.mu.Unlock()
	}
}

// close drops everything and adds no more.
func (t *table) close() {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		s.closed = true
		t.count.Add(-int64(len(*s.entries.Load())))
		s.entries.Store(&map[uint64]*entry{})
		s.mu.Unlock()
	}
}

// evict brings the table back under limit when it has outgrown it, by dropping the
// least recently used; a sixteenth more, so that the walk over all keys is paid by
// that many additions. Entries in the middle of a call go last, keep never.
func (t *table) evict(limit int, keep *entry) {
	if t.count.Load() <= int64(limit) {
		return
	}
	t.evicting.Lock()
	defer t.evicting.Unlock()
	excess := int(t.count.Load()) - limit
	if excess <= 0 {
		return
	}
	type candidate struct {
		*entry
		used int64
		busy bool
	}
	var all []candidate
	for i := range t.shards {
		for _, e := range *t.shards[i].entries.Load() {
			if e != keep {
				all = append(all, candidate{e, e.used.Load(), e.busy()})
			}
		}
	}
	slices.SortFunc(all, func(a, b candidate) int {
		if a.busy != b.busy {
			if a.busy {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.used, b.used)
	})
	victims := make(map[*entry]bool)
	for _, c := range all[:min(excess+limit/16, len(all))] {
		victims[c.entry] = true
	}
	t.remove(func(e *entry) bool { return victims[e] })
}

// sameKey reports whether two requests share credentials.
func sameKey(a, b *Request) bool {
	return a.Identity.ID == b.Identity.ID && a.Target == b.Target &&
		slices.Equal(a.Scopes, b.Scopes) && maps.Equal(a.Identity.Attrs, b.Identity.Attrs)
}

func hashRequest(seed maphash.Seed, req *Request) uint64 {
	h := maphash.String(seed, req.Identity.ID)
	h = mix(h, maphash.String(seed, req.Target.URL))
	if req.Target.Name != "" {
		h = mix(h, maphash.String(seed, req.Target.Name))
	}
	if req.Target.Resource != "" {
		h = mix(h, ^maphash.String(seed, req.Target.Resource))
	}
	for _, s := range req.Scopes {
		h = mix(h, maphash.String(seed, s))
	}
	var attrs uint64 // a sum, because the order of a map is random
	for k, v := range req.Identity.Attrs {
		attrs += mix(maphash.String(seed, k), maphash.String(seed, v))
	}
	return mix(h, attrs)
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^0x9e3779b97f4a7c15, b^0xbf58476d1ce4e5b9)
	return hi ^ lo
}
