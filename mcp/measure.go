package mcpool

import (
	"encoding/json"
	"slices"

	"github.com/go-mcpool/mcpool/core"
)

// Measures returns the numbers of Stats by name: those of core.Measures, of all
// sessions together, and those of calls and lists. Some of core's are wider here:
// retry_attempts counts calls sent again too, errors the calls that failed.
func Measures() []core.Measure[Stats] {
	ms := make([]core.Measure[Stats], 0, 56)
	for _, c := range core.Measures() {
		m := core.Measure[Stats]{Name: c.Name, Key: c.Key, Help: c.Help, Kind: c.Kind}
		m.Of = func(s *Stats) float64 { return c.Of(&s.Sessions) }
		switch m.Name {
		case "uptime_seconds":
			m.Of = func(s *Stats) float64 { return s.Uptime.Seconds() }
		case "retry_attempts":
			m.Help = "Attempts beyond the first, of opens and of calls."
			m.Of = func(s *Stats) float64 { return float64(s.Sessions.Retries + s.Replays) }
		case "errors":
			m.Help = "Calls, opens and closes that failed, and panics."
			m.Of = func(s *Stats) float64 { return c.Of(&s.Sessions) + float64(s.CallErrors) }
		case "ready":
			m.Of = func(s *Stats) float64 { return flag(s.Ready) }
		case "degraded":
			m.Of = func(s *Stats) float64 { return flag(s.Degraded) }
		}
		ms = append(ms, m)
	}
	return append(ms,
		measure(core.Gauge, "cache_hit_rate", "Share of lists that were given from memory.", (*Stats).hitRate),
		measure(core.Gauge, "identities", "Identities served now, the default one included.", func(s *Stats) float64 { return float64(s.Identities) }),
		measure(core.Counter, "calls", "Calls begun, those for lists included.", func(s *Stats) float64 { return float64(s.Calls) }),
		measure(core.Counter, "call_errors", "Calls that ended with an error, which a tool's own failure is not.", func(s *Stats) float64 { return float64(s.CallErrors) }),
		measure(core.Counter, "replays", "Calls sent again.", func(s *Stats) float64 { return float64(s.Replays) }),
		measure(core.Counter, "throttled", "Answers of 429 and 503.", func(s *Stats) float64 { return float64(s.Throttled) }),
		keyed(measure(core.Counter, "reconnect", "Times that the sessions of an identity were found gone.", func(s *Stats) float64 { return float64(s.Losses) })),
		measure(core.Counter, "cache_hits", "Lists given from memory.", func(s *Stats) float64 { return float64(s.ListHits) }),
		measure(core.Counter, "cache_misses", "Lists that had to be fetched or waited for.", func(s *Stats) float64 { return float64(s.ListMisses) }),
		keyed(measure(core.Counter, "cache_refresh", "Lists fetched.", func(s *Stats) float64 { return float64(s.ListFetches) })),
		measure(core.Counter, "cache_waiters", "Of the misses, those that found a fetch under way.", func(s *Stats) float64 { return float64(s.ListWaiters) }),
		measure(core.Counter, "schema_changes", "Times that the tools were found changed.", func(s *Stats) float64 { return float64(s.SchemaChanges) }),
		measure(core.Counter, "listener_reopens", "Times that the notification stream was opened again.", func(s *Stats) float64 { return float64(s.ListenerReopens) }),
	)
}

func measure(kind core.MeasureKind, name, help string, of func(*Stats) float64) core.Measure[Stats] {
	return core.Measure[Stats]{Name: name, Help: help, Kind: kind, Of: of}
}

// keyed has the name in JSON end in _count.
func keyed(m core.Measure[Stats]) core.Measure[Stats] {
	m.Key = m.Name + "_count"
	return m
}

func flag(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

func (s *Stats) hitRate() float64 {
	if s.ListHits+s.ListMisses == 0 {
		return 0
	}
	return float64(s.ListHits) / float64(s.ListHits+s.ListMisses)
}

// MarshalJSON returns the numbers under the names that Measures has, with times in
// seconds, the closed sessions by reason, and what is known of the endpoint.
func (s Stats) MarshalJSON() ([]byte, error) {
	head, err := json.Marshal(struct {
		Name       string        `json:"name"`
		Transport  string        `json:"transport"`
		Protocol   string        `json:"protocol"`
		SchemaHash string        `json:"schema_hash"`
		ClosedBy   core.ByReason `json:"closed_by"`
	}{s.Name, s.Transport, s.Protocol, s.SchemaHash, s.Sessions.ClosedBy})
	if err != nil {
		return nil, err //nolint:wrapcheck // nothing in it can fail
	}
	b := core.AppendJSON(slices.Grow(head[:len(head)-1], 1800), &s, Measures())
	return append(b, '}'), nil
}

// String returns the JSON, so that a Stats is what expvar calls a Var; core.Var
// makes one that shows the numbers of now:
//
//	expvar.Publish("mcp", core.Var[mcpool.Stats](pool.Stats))
func (s Stats) String() string {
	b, err := s.MarshalJSON()
	if err != nil {
		return "{}"
	}
	return string(b)
}

// MarshalJSON returns the session with times in seconds.
func (i SessionInfo) MarshalJSON() ([]byte, error) {
	resource, err := i.ResourceInfo.MarshalJSON()
	if err != nil {
		return nil, err //nolint:wrapcheck // nothing in it can fail
	}
	own, err := json.Marshal(struct {
		Identity    string `json:"identity"`
		Interactive bool   `json:"interactive"`
		Protocol    string `json:"protocol"`
	}{i.Identity, i.Interactive, i.Protocol})
	if err != nil {
		return nil, err //nolint:wrapcheck // nothing in it can fail
	}
	resource[len(resource)-1] = ','
	return append(resource, own[1:]...), nil
}
