package core

// checkStats looks at 8.
func (m *model) checkStats() {
	m.t.Helper()
	s := m.p.Stats()
	m.mu.Lock()
	defer m.mu.Unlock()
	if s.Opened-s.Closed-s.Detached != uint64(s.Live) || s.Acquired-s.Released != uint64(s.Leased) {
		m.bad("invariant 8: the counters do not agree: %+v", s)
	}
	if s.Leased != len(m.held)+m.doing || s.Waiting != len(m.callers) {
		m.bad("invariant 8: %d leases are held, %d callers wait: %+v", len(m.held)+m.doing, len(m.callers), s)
	}
	if s.StaleReleases != m.stale {
		m.bad("%d uses of stale leases were counted, there were %d", s.StaleReleases, m.stale)
	}
	m.compare(s, m.last)
	m.last = s
	infos := m.p.Snapshot()
	leases := 0
	for _, info := range infos {
		leases += info.Leases
	}
	if len(infos) != s.Live || leases != s.Leased {
		m.bad("the snapshot has %d resources with %d leases: %+v", len(infos), leases, s)
	}
}

// compare sees to it that no counter went backwards.
func (m *model) compare(now, before Stats) {
	count := func(s Stats) []uint64 {
		return append([]uint64{
			s.Acquired, s.Released, s.Waits, uint64(s.WaitTime), s.Opened, s.OpenFailures, s.Retries, s.Closed,
			s.CloseErrors, s.Detached, s.Revoked, s.Probes, s.ProbeFailures, s.Resets, s.StaleReleases, s.Leaks,
			s.Panics, s.DroppedEvents, s.CircuitOpens,
		}, s.ClosedBy[:]...)
	}
	a, b := count(now), count(before)
	for i := range a {
		if a[i] < b[i] {
			m.v.fault("invariant 8: counter %d went back from %d to %d", i, b[i], a[i])
		}
	}
}

// readStats reads the counters while others move them.
func (m *model) readStats() {
	var last Stats
	for range 10 {
		s := m.p.Stats()
		if s.Opened-s.Closed-s.Detached != uint64(s.Live) || s.Acquired-s.Released != uint64(s.Leased) {
			m.v.fault("invariant 8: the counters do not agree while they move: %+v", s)
		}
		m.compare(s, last)
		last = s
	}
}
