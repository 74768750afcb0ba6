package mcpool

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/core"
)

func TestStatsAsJSONHasTheNamesOfTheSeed(t *testing.T) {
	t.Parallel()
	s := Stats{
		Name: "m", Transport: "http", Protocol: "2025-11-25", SchemaHash: "abc", Uptime: 90 * time.Second, Ready: true, Degraded: true,
		Sessions: core.Stats{
			Live: 5, Idle: 2, Acquired: 10, Released: 9, WaitTime: 5 * time.Second, Opened: 7, Closed: 2, Retries: 3,
			OpenFailures: 4, Probes: 6, ProbeFailures: 1, Circuit: core.BreakerOpen,
		},
		CallErrors: 8, Replays: 2, Losses: 3, ListHits: 3, ListMisses: 1, ListFetches: 11, ListWaiters: 12, Identities: 13,
		Calls: 14, Throttled: 15, SchemaChanges: 16, ListenerReopens: 17,
	}
	s.Sessions.ClosedBy[core.ReasonExpired] = 2
	var got map[string]any
	if err := json.Unmarshal([]byte(s.String()), &got); err != nil {
		t.Fatalf("%v in %s", err, s)
	}
	for name, want := range map[string]any{
		"name": "m", "transport": "http", "protocol": "2025-11-25", "schema_hash": "abc",
		"active_sessions": 3.0, "idle_sessions": 2.0, "total_sessions": 5.0, "avg_borrow_wait_seconds": 0.5,
		"cache_hit_rate": 0.75, "uptime_seconds": 90.0, "borrow_count": 10.0, "return_count": 9.0,
		"cache_hits": 3.0, "cache_misses": 1.0, "cache_refresh_count": 11.0, "cache_waiters": 12.0, "reconnect_count": 3.0,
		"retry_attempts": 5.0, "health_check_count": 6.0, "health_check_failures": 1.0, "recycled_count": 2.0,
		"sessions_created": 7.0, "sessions_destroyed": 2.0, "errors": 12.0, "circuit_state": "open", "degraded": true, "ready": true,
		"identities": 13.0, "calls": 14.0, "call_errors": 8.0, "replays": 2.0, "throttled": 15.0, "schema_changes": 16.0, "listener_reopens": 17.0,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if by, _ := got["closed_by"].(map[string]any); by["expired"] != 2.0 {
		t.Errorf("closed_by is %v", got["closed_by"])
	}
	if len(Measures())+5 != len(got) {
		t.Errorf("%d measures and %d members: a name is there twice", len(Measures()), len(got))
	}
}

// What an operator sees of a session never says whose it is, nor which session
// the server knows it as.
func TestSnapshotAsJSONNamesNeitherServerSessionNorIdentity(t *testing.T) {
	t.Parallel()
	p := newServer(t, oldEra).open(nil)
	l, err := p.Acquire(t.Context(), WithHeader("Authorization", "Bearer very-secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	if l.ID() == "" {
		t.Fatal("the server gave no session id: this proves nothing")
	}
	b, err := json.Marshal(p.Snapshot())
	if err != nil {
		t.Fatal(err)
	}
	if s := string(b); strings.Contains(s, "very-secret") || strings.Contains(s, l.ID()) {
		t.Errorf("the snapshot tells a secret: %s", s)
	}
	var infos []map[string]any
	if err := json.Unmarshal(b, &infos); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, i := range infos {
		if i["identity"] != "default" && i["state"] == "leased" && i["leases"] == 1.0 && i["protocol"] == "2025-11-25" && i["id"] != nil {
			found = true
		}
	}
	if !found {
		t.Errorf("no leased session of the identity in %s", b)
	}
}
