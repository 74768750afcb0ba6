package core

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The names that dashboards are built on.
var measureNames = []string{
	"active_sessions", "idle_sessions", "total_sessions", "avg_borrow_wait_seconds", "uptime_seconds",
	"min_sessions", "max_sessions", "opening", "closing", "leases", "waiting", "abandoned_callbacks",
	"borrow_count", "return_count", "waits", "wait_seconds", "sessions_created", "sessions_destroyed",
	"sessions_detached", "recycled_count", "open_failures", "retry_attempts", "close_errors",
	"health_check_count", "health_check_failures", "health_check_degraded", "health_check_unknown", "health_check_spared",
	"weak_sessions", "resets", "revoked", "stale_releases", "leaks", "panics",
	"dropped_events", "circuit_opens", "errors", "circuit_state", "ready", "degraded",
}

func TestStatsAsJSONHasEveryNameAndEveryNumber(t *testing.T) {
	t.Parallel()
	s := Stats{Name: `the "things"`, Circuit: BreakerHalfOpen, Ready: true}
	next := 0
	for _, f := range reflect.ValueOf(&s).Elem().Fields() {
		next++
		switch {
		case f.Type() == reflect.TypeFor[time.Duration]():
			f.SetInt(int64(time.Duration(next) * time.Second))
		case f.CanInt():
			f.SetInt(int64(next))
		case f.CanUint() && f.Kind() != reflect.Uint8:
			f.SetUint(uint64(next))
		}
	}
	s.Idle, s.Live = 2, 9
	for i := range s.ClosedBy {
		s.ClosedBy[i] = uint64(100 + i)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(s.String()), &got); err != nil {
		t.Fatalf("String is not JSON: %v\n%s", err, s)
	}
	want := map[string]any{
		"name": `the "things"`, "circuit_state": "half-open", "ready": true, "degraded": false,
		"active_sessions": 7.0, "idle_sessions": 2.0, "total_sessions": 9.0,
		"uptime_seconds": s.Uptime.Seconds(), "min_sessions": float64(s.Min), "max_sessions": float64(s.Max),
		"opening": float64(s.Opening), "closing": float64(s.Closing), "leases": float64(s.Leased), "waiting": float64(s.Waiting),
		"abandoned_callbacks": float64(s.Abandoned), "borrow_count": float64(s.Acquired), "return_count": float64(s.Released),
		"waits": float64(s.Waits), "wait_seconds": s.WaitTime.Seconds(),
		"avg_borrow_wait_seconds": s.WaitTime.Seconds() / float64(s.Acquired),
		"sessions_created":        float64(s.Opened), "sessions_destroyed": float64(s.Closed), "sessions_detached": float64(s.Detached),
		"recycled_count": float64(103 + 105 + 106 + 108), "open_failures": float64(s.OpenFailures), "retry_attempts": float64(s.Retries),
		"close_errors": float64(s.CloseErrors), "health_check_count": float64(s.Probes), "health_check_failures": float64(s.ProbeFailures),
		"health_check_degraded": float64(s.ProbesDegraded), "health_check_unknown": float64(s.ProbesUnknown),
		"health_check_spared": float64(s.ProbesSpared), "weak_sessions": float64(s.Weak),
		"resets": float64(s.Resets), "revoked": float64(s.Revoked), "stale_releases": float64(s.StaleReleases), "leaks": float64(s.Leaks),
		"panics": float64(s.Panics), "dropped_events": float64(s.DroppedEvents), "circuit_opens": float64(s.CircuitOpens),
		"errors": float64(s.OpenFailures + s.CloseErrors + s.Panics),
		"closed_by": map[string]any{
			"discarded": 101.0, "broken": 102.0, "expired": 103.0, "idle": 104.0, "probe_failed": 105.0, "reset_failed": 106.0,
			"shrunk": 107.0, "evicted": 108.0, "one_off": 109.0, "reassigned": 110.0, "key_closed": 111.0, "closed": 112.0, "revoked": 113.0,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
	names := slices.Sorted(maps.Keys(got))
	expected := slices.Sorted(slices.Values(append(slices.Clone(measureNames), "name", "closed_by")))
	if diff := cmp.Diff(expected, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if again, err := json.Marshal(s.ClosedBy); err != nil || !strings.Contains(s.String(), string(again)) {
		t.Errorf("ClosedBy alone: %s, %v", again, err)
	}
}

func TestVarShowsTheStatsOfNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newThings(t, (&workshop{}).config(2))
		k := newKeyed(t, (&workshop{}).keyedConfig())
		l := with(t, p, AcquireOptions{})
		get(t, k, "a").Release()
		for name, v := range map[string]interface{ String() string }{"pool": Var[Stats](p.Stats), "keyed": Var[Stats](k.Stats)} {
			time.Sleep(time.Second)
			var got struct {
				Borrowed int     `json:"borrow_count"`
				Uptime   float64 `json:"uptime_seconds"`
			}
			if err := json.Unmarshal([]byte(v.String()), &got); err != nil || got.Borrowed != 1 || got.Uptime < 1 {
				t.Errorf("%s: %+v, %v in %s", name, got, err, v)
			}
		}
		l.Release()
	})
}

func TestNoLimitIsShownAsMinusOne(t *testing.T) {
	t.Parallel()
	cfg := (&workshop{}).config(1)
	cfg.Max = -1
	p := newThings(t, cfg)
	if s := p.Stats(); s.Max != -1 {
		t.Errorf("Max is %d, want -1", s.Max)
	}
	a, b := Stats{Max: 3}, Stats{Max: -1}
	a.add(b)
	if a.add(Stats{Max: 2}); a.Max != -1 {
		t.Errorf("3 and no limit and 2 are %d, want -1", a.Max)
	}
}

func TestResourceInfoAsJSONIsInSeconds(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal([]ResourceInfo{
		{ID: 1, State: StateIdle, Age: 1500 * time.Millisecond, Idle: time.Second, Served: 3, Keys: []string{"k"}},
		{ID: 2, State: StateRetiring, Leases: 1, Reason: ReasonExpired},
	})
	want := `[{"id":1,"state":"idle","age_seconds":1.5,"idle_seconds":1,"leases":0,"served":3,"affinity_keys":["k"]},` +
		`{"id":2,"state":"retiring","age_seconds":0,"idle_seconds":0,"leases":1,"served":0,"reason":"expired"}]`
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
}
