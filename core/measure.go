package core

import (
	"encoding/json"
	"math"
	"strconv"
	"time"
)

// Measure is one number of a Stats under a name that stays the same from release
// to release. Everything that shows statistics takes the names from here: JSON,
// and the packages that feed Prometheus and others. S is Stats, or a struct that
// has one in it.
type Measure[S any] struct {
	// Name is in snake case and ends in the unit, if there is one.
	Name string
	// Key is the name in JSON, where that is not Name.
	Key string
	// Help is what it means, in a few words.
	Help string
	// Kind tells how to read Of.
	Kind MeasureKind
	// Of returns it.
	Of func(*S) float64
}

// MeasureKind says what the number of a Measure means.
type MeasureKind uint8

// The kinds of measures.
const (
	Gauge   MeasureKind = iota // a number that goes up and down
	Counter                    // a count that never goes down
	Limit                      // a gauge of which -1 means no limit
	Flag                       // 1 for yes and 0 for no
	State                      // a CircuitState
)

// JSONKey is the name in JSON.
func (m *Measure[S]) JSONKey() string {
	if m.Key != "" {
		return m.Key
	}
	return m.Name
}

// measure is a line of the table of Measures.
func measure(kind MeasureKind, name, help string, of func(*Stats) float64) Measure[Stats] {
	return Measure[Stats]{Name: name, Help: help, Kind: kind, Of: of}
}

// Measures returns the numbers of Stats by name. ClosedBy is not among them,
// because it is one number for each reason.
func Measures() []Measure[Stats] {
	ms := []Measure[Stats]{
		measure(Gauge, "active_sessions", "Resources that are leased, probed, reset or retiring.", func(s *Stats) float64 { return float64(s.Live - s.Idle) }),
		measure(Gauge, "idle_sessions", "Resources that could be leased and carry no lease.", func(s *Stats) float64 { return float64(s.Idle) }),
		measure(Gauge, "total_sessions", "Resources alive.", func(s *Stats) float64 { return float64(s.Live) }),
		measure(Gauge, "avg_borrow_wait_seconds", "Time waited for a lease since the start, divided by the leases.", (*Stats).averageWait),
		measure(Gauge, "uptime_seconds", "Time since the pool was made.", func(s *Stats) float64 { return s.Uptime.Seconds() }),
		measure(Limit, "min_sessions", "Resources to be kept alive.", func(s *Stats) float64 { return float64(s.Min) }),
		measure(Limit, "max_sessions", "The limit on resources.", func(s *Stats) float64 { return float64(s.Max) }),
		measure(Gauge, "weak_sessions", "Resources that their last probe found degraded.", func(s *Stats) float64 { return float64(s.Weak) }),
		measure(Gauge, "opening", "Resources being opened.", func(s *Stats) float64 { return float64(s.Opening) }),
		measure(Gauge, "closing", "Resources being closed.", func(s *Stats) float64 { return float64(s.Closing) }),
		measure(Gauge, "leases", "Leases out.", func(s *Stats) float64 { return float64(s.Leased) }),
		measure(Gauge, "waiting", "Callers waiting for a lease.", func(s *Stats) float64 { return float64(s.Waiting) }),
		measure(Gauge, "abandoned_callbacks", "Callbacks still running after their deadline.", func(s *Stats) float64 { return float64(s.Abandoned) }),
		measure(Counter, "borrow", "Leases given.", func(s *Stats) float64 { return float64(s.Acquired) }),
		measure(Counter, "return", "Leases ended, those discarded, detached and revoked included.", func(s *Stats) float64 { return float64(s.Released) }),
		measure(Counter, "waits", "Acquires that waited, whatever came of it.", func(s *Stats) float64 { return float64(s.Waits) }),
		measure(Counter, "wait_seconds", "Time waited for leases, all callers together.", func(s *Stats) float64 { return s.WaitTime.Seconds() }),
		measure(Counter, "sessions_created", "Resources opened.", func(s *Stats) float64 { return float64(s.Opened) }),
		measure(Counter, "sessions_destroyed", "Resources closed.", func(s *Stats) float64 { return float64(s.Closed) }),
		measure(Counter, "sessions_detached", "Resources taken out of the pool by their holder.", func(s *Stats) float64 { return float64(s.Detached) }),
		measure(Counter, "recycled", "Resources closed because of age, a failed probe or reset, or eviction.", func(s *Stats) float64 { return float64(s.Recycled()) }),
		measure(Counter, "open_failures", "Attempts to open a resource that failed.", func(s *Stats) float64 { return float64(s.OpenFailures) }),
		measure(Counter, "retry_attempts", "Attempts beyond the first.", func(s *Stats) float64 { return float64(s.Retries) }),
		measure(Counter, "close_errors", "Resources that failed to close.", func(s *Stats) float64 { return float64(s.CloseErrors) }),
		measure(Counter, "health_check", "Probes made.", func(s *Stats) float64 { return float64(s.Probes) }),
		measure(Counter, "health_check_failures", "Probes that failed.", func(s *Stats) float64 { return float64(s.ProbeFailures) }),
		measure(Counter, "health_check_degraded", "Probes that found a resource degraded.", func(s *Stats) float64 { return float64(s.ProbesDegraded) }),
		measure(Counter, "health_check_unknown", "Probes that could not tell.", func(s *Stats) float64 { return float64(s.ProbesUnknown) }),
		measure(Counter, "health_check_spared", "Probes that failed and condemned nothing, because too many did.", func(s *Stats) float64 { return float64(s.ProbesSpared) }),
		measure(Counter, "resets", "Resets made.", func(s *Stats) float64 { return float64(s.Resets) }),
		measure(Counter, "revoked", "Leases that Close took back.", func(s *Stats) float64 { return float64(s.Revoked) }),
		measure(Counter, "stale_releases", "Releases of leases that were over.", func(s *Stats) float64 { return float64(s.StaleReleases) }),
		measure(Counter, "leaks", "Leases held longer than LeakAfter.", func(s *Stats) float64 { return float64(s.Leaks) }),
		measure(Counter, "panics", "Panics of callbacks and hooks.", func(s *Stats) float64 { return float64(s.Panics) }),
		measure(Counter, "dropped_events", "Events that no hook was told of, because hooks were slow.", func(s *Stats) float64 { return float64(s.DroppedEvents) }),
		measure(Counter, "circuit_opens", "Times that the circuit breaker opened.", func(s *Stats) float64 { return float64(s.CircuitOpens) }),
		measure(Counter, "errors", "Opens and closes that failed, and panics.", func(s *Stats) float64 { return float64(s.OpenFailures + s.CloseErrors + s.Panics) }),
		measure(State, "circuit_state", "State of the circuit breaker: 0 closed, 1 half-open, 2 open.", func(s *Stats) float64 { return float64(s.Circuit) }),
		measure(Flag, "ready", "Whether the pool is ready.", func(s *Stats) float64 { return flag(s.Ready) }),
		measure(Flag, "degraded", "Whether one-off resources are handed out, because warming up failed.", func(s *Stats) float64 { return flag(s.Degraded) }),
	}
	for i := range ms {
		switch m := &ms[i]; m.Name {
		case "borrow", "return", "recycled", "health_check":
			m.Key = m.Name + "_count"
		}
	}
	return ms
}

func flag(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func (s *Stats) averageWait() float64 {
	if s.Acquired == 0 {
		return 0
	}
	return s.WaitTime.Seconds() / float64(s.Acquired)
}

// Recycled is how many resources were closed because they were no longer fit:
// too old, evicted, or found so by a probe or a reset.
func (s *Stats) Recycled() uint64 {
	return s.ClosedBy[ReasonExpired] + s.ClosedBy[ReasonEvicted] + s.ClosedBy[ReasonProbe] + s.ClosedBy[ReasonReset]
}

// AppendJSON appends the members of a JSON object for measures of s, each after a
// comma: the object has to have another member before. It is for those who have
// measures of their own.
func AppendJSON[S any](b []byte, s *S, measures []Measure[S]) []byte {
	for i := range measures {
		m := &measures[i]
		b = append(b, ',', '"')
		b = append(b, m.JSONKey()...)
		b = append(b, '"', ':')
		switch v := m.Of(s); {
		case m.Kind == Flag:
			b = strconv.AppendBool(b, v != 0)
		case m.Kind == State:
			b = append(b, '"')
			b = append(b, CircuitState(v).String()...)
			b = append(b, '"')
		case math.IsNaN(v) || math.IsInf(v, 0): // JSON has neither
			b = append(b, "null"...)
		default:
			b = strconv.AppendFloat(b, v, 'f', -1, 64)
		}
	}
	return b
}

// MarshalJSON returns the numbers under the names that Measures has, with times
// in seconds, and the closed resources by reason.
func (s Stats) MarshalJSON() ([]byte, error) {
	name, err := json.Marshal(s.Name)
	if err != nil {
		return nil, err //nolint:wrapcheck // a string marshals
	}
	b := append(make([]byte, 0, 1500), `{"name":`...)
	b = append(b, name...)
	b = AppendJSON(b, &s, Measures())
	b = append(b, ',')
	b = s.ClosedBy.appendJSON(b)
	return append(b, '}'), nil
}

// appendJSON appends the member closed_by.
func (r *ByReason) appendJSON(b []byte) []byte {
	b = append(b, `"closed_by":{`...)
	for i, reason := range CloseReasons() {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = append(b, reason.String()...)
		b = append(b, '"', ':')
		b = strconv.AppendUint(b, r[reason], 10)
	}
	return append(b, '}')
}

// MarshalJSON returns an object with a member for each reason.
func (r ByReason) MarshalJSON() ([]byte, error) {
	b := r.appendJSON(nil)
	return b[len(`"closed_by":`):], nil
}

// String returns the JSON.
func (s Stats) String() string {
	b, err := s.MarshalJSON()
	if err != nil {
		return "{}"
	}
	return string(b)
}

// Var is a function that returns statistics, as something that expvar publishes:
//
//	expvar.Publish("database", core.Var[core.Stats](pool.Stats))
//
// Its String calls the function each time. This package does not import expvar,
// which would serve /debug/vars on the default mux of every program.
type Var[S json.Marshaler] func() S

// String returns the JSON of now.
func (v Var[S]) String() string {
	b, err := v().MarshalJSON()
	if err != nil {
		return "{}"
	}
	return string(b)
}

// shownLimit is how a limit is shown: -1 for none.
func shownLimit(n int) int {
	if n >= unlimited {
		return -1
	}
	return n
}

// sumLimits adds limits up: with none in one place there is none at all.
func sumLimits(a, b int) int {
	if a < 0 || b < 0 {
		return -1
	}
	return a + b
}

// MarshalJSON returns the resource with times in seconds.
func (r ResourceInfo) MarshalJSON() ([]byte, error) {
	reason := ""
	if r.Reason != ReasonNone {
		reason = r.Reason.String()
	}
	return json.Marshal(struct { //nolint:wrapcheck // nothing in it can fail
		ID     uint64        `json:"id"`
		State  ResourceState `json:"state"`
		Age    float64       `json:"age_seconds"`
		Idle   float64       `json:"idle_seconds"`
		Leases int           `json:"leases"`
		Served uint64        `json:"served"`
		Keys   []string      `json:"affinity_keys,omitempty"`
		Reason string        `json:"reason,omitempty"`
	}{r.ID, r.State, seconds(r.Age), seconds(r.Idle), r.Leases, r.Served, r.Keys, reason})
}

// seconds is d to the millisecond.
func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }
