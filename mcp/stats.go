package mcpool

import (
	"sync/atomic"
	"time"

	"github.com/go-mcpool/mcpool/core"
)

// counts are what the pool counts beside core.
type counts struct {
	calls, callErrors, replays, losses, throttled, schemaChanges, listenerReopens atomic.Uint64
	listHits, listMisses, listFetches, listWaiters                                atomic.Uint64

	subscriptions atomic.Int64
}

// Stats is what a pool is doing and has done. Counters never go backwards.
type Stats struct {
	Name      string
	Transport string // http, sse, stdio or custom
	Protocol  string // the version the endpoint speaks, empty if not known yet
	Uptime    time.Duration
	Ready     bool
	Degraded  bool

	// Sessions are those of all identities together. Min and Max in it are sums
	// over the identities served now.
	Sessions   core.Stats
	Identities int // served now, the default one included

	Calls      uint64 // begun; those for lists included
	CallErrors uint64 // ended with an error, which a tool's own failure is not
	Replays    uint64 // attempts beyond the first
	Throttled  uint64 // answers of 429 and 503
	Losses     uint64 // times that the sessions of an identity were found gone

	ListHits      uint64 // lists given from memory
	ListMisses    uint64 // lists that had to be fetched or waited for
	ListFetches   uint64
	ListWaiters   uint64 // of the misses, those that found a fetch under way
	SchemaChanges uint64
	SchemaHash    string // of the default identity's tools, empty before the first list

	Subscriptions   int    // to resources, by Pool.Subscribe, open now
	ListenerReopens uint64 // of sessions that hear of lists or resources
}

// Stats returns the counts of now.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	sessions := p.past
	for _, b := range p.leaving {
		sessions = addStats(sessions, b.stats())
	}
	current := p.backend.Load()
	identities := p.identityCount + 1
	p.mu.Unlock()
	now := current.stats()
	sessions = addStats(sessions, now)
	sessions.Name, sessions.Min, sessions.Max = p.cfg.Name, now.Min, now.Max
	sessions.Circuit, sessions.Ready, sessions.Degraded = now.Circuit, now.Ready, now.Degraded
	c := &p.counts
	return Stats{
		Name: p.cfg.Name, Transport: p.kind.String(), Protocol: p.era.known(), Uptime: time.Since(p.began),
		Ready: p.Ready(), Degraded: p.Degraded(), Sessions: sessions, Identities: identities,
		Calls: c.calls.Load(), CallErrors: c.callErrors.Load(), Replays: c.replays.Load(),
		Throttled: c.throttled.Load(), Losses: c.losses.Load(),
		ListHits: c.listHits.Load(), ListMisses: c.listMisses.Load(), ListFetches: c.listFetches.Load(), ListWaiters: c.listWaiters.Load(),
		SchemaChanges: c.schemaChanges.Load(), SchemaHash: p.def.lists.schema.current(),
		Subscriptions: int(c.subscriptions.Load()), ListenerReopens: c.listenerReopens.Load(),
	}
}

// SessionInfo is one session in a Snapshot.
type SessionInfo struct {
	core.ResourceInfo

	// Identity is a label, not the identity: "default", or a keyed hash under a key
	// of this pool alone. ID is unique for each label.
	Identity string
	// Interactive says that the server was told it may ask for elicitation or sampling.
	Interactive bool
	Protocol    string
}

// Snapshot returns what is known of each session. It takes locks; use Stats for
// frequent reading.
func (p *Pool) Snapshot() []SessionInfo {
	b := p.backend.Load()
	protocol := p.era.known()
	var infos []SessionInfo
	for _, r := range b.def.Snapshot() {
		infos = append(infos, SessionInfo{ResourceInfo: r, Identity: p.def.label, Protocol: protocol})
	}
	for k := range b.others.All() {
		for _, r := range b.others.Snapshot(k) {
			infos = append(infos, SessionInfo{ResourceInfo: r, Identity: k.id.label, Interactive: k.ability&(canElicit|canSample) != 0, Protocol: protocol})
		}
	}
	return infos
}

// stats are those of both core pools.
func (b *backend) stats() core.Stats {
	s := addStats(b.def.Stats(), b.others.Stats())
	s.Ready = b.def.Ready()
	return s
}

// addStats sums up. Names and states are not sums: the worse circuit counts.
func addStats(a, o core.Stats) core.Stats {
	a.Uptime = max(a.Uptime, o.Uptime)
	a.Min += o.Min
	if a.Max < 0 || o.Max < 0 {
		a.Max = -1 // no limit
	} else {
		a.Max += o.Max
	}
	a.Live, a.Idle, a.Opening, a.Closing = a.Live+o.Live, a.Idle+o.Idle, a.Opening+o.Opening, a.Closing+o.Closing
	a.Leased, a.Waiting = a.Leased+o.Leased, a.Waiting+o.Waiting
	a.Acquired, a.Released = a.Acquired+o.Acquired, a.Released+o.Released
	a.Waits, a.WaitTime = a.Waits+o.Waits, a.WaitTime+o.WaitTime
	a.Opened, a.OpenFailures, a.Retries = a.Opened+o.Opened, a.OpenFailures+o.OpenFailures, a.Retries+o.Retries
	a.Closed, a.CloseErrors, a.Detached = a.Closed+o.Closed, a.CloseErrors+o.CloseErrors, a.Detached+o.Detached
	for i := range a.ClosedBy {
		a.ClosedBy[i] += o.ClosedBy[i]
	}
	a.Weak, a.ProbesDegraded = a.Weak+o.Weak, a.ProbesDegraded+o.ProbesDegraded
	a.ProbesUnknown, a.ProbesSpared = a.ProbesUnknown+o.ProbesUnknown, a.ProbesSpared+o.ProbesSpared
	a.Revoked, a.Probes, a.ProbeFailures = a.Revoked+o.Revoked, a.Probes+o.Probes, a.ProbeFailures+o.ProbeFailures
	a.Resets, a.StaleReleases, a.Leaks = a.Resets+o.Resets, a.StaleReleases+o.StaleReleases, a.Leaks+o.Leaks
	a.Panics, a.DroppedEvents, a.Abandoned = a.Panics+o.Panics, a.DroppedEvents+o.DroppedEvents, a.Abandoned+o.Abandoned
	a.Circuit, a.CircuitOpens = max(a.Circuit, o.Circuit), a.CircuitOpens+o.CircuitOpens
	a.Degraded = a.Degraded || o.Degraded
	return a
}
