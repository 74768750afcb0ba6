package core

import (
	"runtime"
	"sync/atomic"
	"time"
)

// tally is what Stats reads. The counts of resources change together, between
// begin and end, under the lock; a reader that saw such a change tries again.
// The other counters stand alone.
type tally struct {
	waitTime [waitShards]struct {
		nanos atomic.Int64
		_     [56]byte
	}

	changes                          atomic.Uint64 // odd while counts of resources change
	min, max, live, opening, closing atomic.Int64
	opened, detached                 atomic.Uint64
	closed                           [reasonCount]atomic.Uint64

	stale, leaks, revoked, panics, dropped       atomic.Uint64
	sideWaiting, abandoned                       atomic.Int64
	openFailures, retries, probes, probeFailures atomic.Uint64
	resets, closeFailures                        atomic.Uint64
	degradedProbes, unknownProbes, sparedProbes  atomic.Uint64
}

// waitShards is over how many counters the time waited is spread, so that two
// processors seldom add to the same.
const waitShards = 8

// begin opens the tally. REQUIRES: the lock.
func (t *tally) begin() { t.changes.Add(1) }

// end closes it again. REQUIRES: the lock.
func (t *tally) end() { t.changes.Add(1) }

// ByReason holds a count for each CloseReason, which is its index.
type ByReason [reasonCount]uint64

// Stats is what a pool is doing and has done. Its counts agree with each other:
// Opened − Closed − Detached = Live, and Acquired − Released = Leased. Counters
// never go backwards.
type Stats struct {
	Name     string
	Uptime   time.Duration // since the pool was made
	Min, Max int           // -1 stands for no limit

	Live    int // resources alive, leased or not
	Idle    int // of those, how many could be leased and carry no lease
	Opening int
	Closing int
	Leased  int // leases out
	Waiting int // callers waiting

	Acquired uint64
	Released uint64 // discarded, detached and revoked leases included
	Waits    uint64 // acquires that waited, whatever came of it
	WaitTime time.Duration

	Opened       uint64
	OpenFailures uint64 // attempts
	Retries      uint64
	Closed       uint64
	ClosedBy     ByReason
	CloseErrors  uint64
	Detached     uint64
	Revoked      uint64

	Weak                  int // of those alive, how many are leased only where nothing better is free
	Probes, ProbeFailures uint64
	ProbesDegraded        uint64 // verdicts of ErrDegraded
	ProbesUnknown         uint64 // verdicts of ErrUnknown
	ProbesSpared          uint64 // failures that condemned nothing, for MaxCondemnedShare
	Resets                uint64
	StaleReleases         uint64
	Leaks                 uint64
	Panics                uint64
	DroppedEvents         uint64
	Abandoned             int // callbacks still running although their deadline is over

	Circuit      CircuitState // of a Keyed, the worst of the shared one and the keys' own
	CircuitOpens uint64       // of a key, the openings of the shared circuit included
	Ready        bool
	Degraded     bool
}

// Stats returns the counts of now. It takes no lock: leases are summed from the
// words of the slots, so nothing is counted on the way of an Acquire or Release.
func (p *Pool[T]) Stats() Stats {
	s := Stats{Name: p.cfg.Name, Uptime: time.Duration(p.hub.now() - p.began)}
	t := &p.tally
	for {
		before := t.changes.Load()
		if before&1 == 0 {
			s.Min, s.Max = int(t.min.Load()), shownLimit(int(t.max.Load()))
			s.Live, s.Opening, s.Closing = int(t.live.Load()), int(t.opening.Load()), int(t.closing.Load())
			s.Opened, s.Detached, s.Closed = t.opened.Load(), t.detached.Load(), 0
			for i := range t.closed {
				s.ClosedBy[i] = t.closed[i].Load()
				s.Closed += s.ClosedBy[i]
			}
			if t.changes.Load() == before {
				break
			}
		}
		runtime.Gosched() // whoever changes them holds the lock, and is quick
	}
	table := p.table.Load()
	acquired, leased, idle := table.acquired, uint64(0), 0 // in registers: there may be many slots
	for _, slot := range table.slots {
		w := slot.word.Load()
		acquired += w >> countShift
		leased += w & leaseMask
		if w&(flagLive|flagRetiring|flagBusy|leaseMask) == flagLive {
			idle++
		}
	}
	s.Acquired, s.Leased, s.Idle = acquired, int(leased), idle
	s.Released = s.Acquired - uint64(s.Leased)
	s.Waiting = int(p.queued.Load()) + int(t.sideWaiting.Load())
	s.Waits = p.waits.Load()
	for i := range t.waitTime {
		s.WaitTime += time.Duration(t.waitTime[i].nanos.Load())
	}
	s.OpenFailures, s.Retries, s.CloseErrors = t.openFailures.Load(), t.retries.Load(), t.closeFailures.Load()
	s.Probes, s.ProbeFailures, s.Resets = t.probes.Load(), t.probeFailures.Load(), t.resets.Load()
	s.ProbesDegraded, s.ProbesUnknown, s.ProbesSpared = t.degradedProbes.Load(), t.unknownProbes.Load(), t.sparedProbes.Load()
	s.Weak = int(p.weak.Load())
	s.StaleReleases, s.Leaks, s.Revoked = t.stale.Load(), t.leaks.Load(), t.revoked.Load()
	s.Panics, s.DroppedEvents, s.Abandoned = t.panics.Load(), t.dropped.Load(), int(t.abandoned.Load())
	s.Circuit = max(p.circuit.shown(), p.hub.circuit.shown())
	s.CircuitOpens = p.circuit.opened.Load() + p.hub.circuit.opened.Load() // the hub's is shared between keys
	s.Ready, s.Degraded = p.ready.Load(), p.degraded.Load()
	return s
}

// add sums up. Names and states are not sums: the worse circuit counts.
func (s *Stats) add(o Stats) {
	s.Uptime = max(s.Uptime, o.Uptime)
	s.Min, s.Max = s.Min+o.Min, sumLimits(s.Max, o.Max)
	s.Live, s.Idle, s.Opening, s.Closing = s.Live+o.Live, s.Idle+o.Idle, s.Opening+o.Opening, s.Closing+o.Closing
	s.Leased, s.Waiting = s.Leased+o.Leased, s.Waiting+o.Waiting
	s.Acquired, s.Released = s.Acquired+o.Acquired, s.Released+o.Released
	s.Waits, s.WaitTime = s.Waits+o.Waits, s.WaitTime+o.WaitTime
	s.Opened, s.OpenFailures, s.Retries = s.Opened+o.Opened, s.OpenFailures+o.OpenFailures, s.Retries+o.Retries
	s.Closed, s.CloseErrors, s.Detached = s.Closed+o.Closed, s.CloseErrors+o.CloseErrors, s.Detached+o.Detached
	for i := range s.ClosedBy {
		s.ClosedBy[i] += o.ClosedBy[i]
	}
	s.Revoked, s.Probes, s.ProbeFailures = s.Revoked+o.Revoked, s.Probes+o.Probes, s.ProbeFailures+o.ProbeFailures
	s.Weak, s.ProbesDegraded = s.Weak+o.Weak, s.ProbesDegraded+o.ProbesDegraded
	s.ProbesUnknown, s.ProbesSpared = s.ProbesUnknown+o.ProbesUnknown, s.ProbesSpared+o.ProbesSpared
	s.Resets, s.StaleReleases, s.Leaks = s.Resets+o.Resets, s.StaleReleases+o.StaleReleases, s.Leaks+o.Leaks
	s.Panics, s.DroppedEvents, s.Abandoned = s.Panics+o.Panics, s.DroppedEvents+o.DroppedEvents, s.Abandoned+o.Abandoned
	s.Circuit = max(s.Circuit, o.Circuit)
	s.Degraded = s.Degraded || o.Degraded
}

// ResourceState says what a resource in a Snapshot is doing.
type ResourceState string

// The states of a resource in a slot.
const (
	StateIdle     ResourceState = "idle"
	StateLeased   ResourceState = "leased"
	StateBusy     ResourceState = "busy" // out for a probe or a reset
	StateRetiring ResourceState = "retiring"
)

// ResourceInfo is one live resource in a Snapshot.
type ResourceInfo struct {
	ID     uint64
	State  ResourceState
	Age    time.Duration
	Idle   time.Duration // at least, exact to one sweep of the keeper; 0 unless idle
	Leases int           // out now
	Served uint64        // leases it has carried
	Keys   []string      // affinity keys bound to it
	Reason CloseReason   // why it retires
	Weak   bool          // leased only where nothing better is free
}

// Snapshot returns what is known of each live resource, in the order the slots
// are filled. It takes the lock; use Stats for frequent reading.
func (p *Pool[T]) Snapshot() []ResourceInfo {
	h := p.hub
	h.lock()
	defer h.unlock()
	now := h.now()
	var infos []ResourceInfo
	for _, s := range p.slots() {
		w := s.word.Load()
		if w&flagLive == 0 {
			continue
		}
		r := s.res.Load()
		info := ResourceInfo{
			ID: r.id, State: StateIdle, Age: time.Duration(now - r.openedAt),
			Leases: leasesOf(w), Served: w>>countShift - s.base, Keys: p.keys.of(s, r.id), Reason: s.reason, Weak: w&flagWeak != 0,
		}
		switch {
		case w&flagRetiring != 0:
			info.State = StateRetiring
		case info.Leases > 0:
			info.State = StateLeased
		case w&flagBusy != 0:
			info.State = StateBusy
		case s.keep.count == w>>countShift && !s.keep.leased:
			info.Idle = time.Duration(now - s.keep.since)
		}
		infos = append(infos, info)
	}
	return infos
}

// exhausted describes the pool to a caller that leaves without a lease.
func (p *Pool[T]) exhausted(waited time.Duration, cause error) error {
	s := p.Stats()
	e := &ExhaustedError{
		Pool: p.cfg.Name, Waited: waited, Max: s.Max, Live: s.Live, Leased: s.Leased, Waiting: s.Waiting, Cause: cause,
	}
	if last := p.lastErr.Load(); last != nil {
		e.Open = *last
	}
	return e
}

// circuitErr describes the open circuit. REQUIRES: the lock.
func (p *Pool[T]) circuitErr(c *circuit) error {
	return &CircuitOpenError{Pool: p.cfg.Name, Next: p.hub.time(c.next), Cause: c.cause}
}
