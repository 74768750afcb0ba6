package mcpool

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTheZeroConfigMeansItsDocumentedDefaults(t *testing.T) {
	t.Parallel()
	c, _, _, err := Config{Endpoint: "http://localhost/"}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []struct {
		field     string
		got, want any
	}{
		{"Min", c.Min, 2},
		{"Max", c.Max, 10},
		{"MaxSessions", c.MaxSessions, 100},
		{"MaxIdentities", c.MaxIdentities, 1000},
		{"MaxOpening", c.MaxOpening, 4},
		{"IdentityIdleTime", c.IdentityIdleTime, 5 * time.Minute},
		{"ConnectTimeout", c.ConnectTimeout, 10 * time.Second},
		{"AcquireTimeout", c.AcquireTimeout, 10 * time.Second},
		{"CallTimeout", c.CallTimeout, never},
		{"DrainTimeout", c.DrainTimeout, 30 * time.Second},
		{"RestartGrace", c.RestartGrace, 30 * time.Second},
		{"ToolsTTL", c.ToolsTTL, 5 * time.Minute},
		{"Command.StopTimeout", c.Command.StopTimeout, 500 * time.Millisecond},
		{"HTTP.MaxBodyBytes", c.HTTP.MaxBodyBytes, int64(16 << 20)},
		{"Replay", c.Replay, ReplaySafe},
		{"Name", c.Name, "localhost"},
		{"CredentialHeaders", strings.Join(c.CredentialHeaders, " "), "Authorization Proxy-Authorization Cookie X-Api-Key X-Access-Token"},
	} {
		if d.got != d.want {
			t.Errorf("%s is %v, want %v", d.field, d.got, d.want)
		}
	}
	// What is core's to know is left to core, whose defaults are the documented ones.
	zero := []time.Duration{
		c.RetryMin, c.RetryMax, c.CircuitMin, c.CircuitMax, c.MaxLifetime, c.RecycleWindow, c.MaxIdleTime, c.ProbeInterval, c.LeakAfter,
	}
	if slices.ContainsFunc(zero, func(d time.Duration) bool { return d != 0 }) || c.ConnectRetries != 0 || c.CircuitFailures != 0 {
		t.Errorf("core is told %v, %d, %d", zero, c.ConnectRetries, c.CircuitFailures)
	}
	// The time to wait for a session follows that to open one.
	if c, _, _, _ = (Config{Endpoint: "http://localhost/", ConnectTimeout: time.Minute, Max: 80}).withDefaults(); c.AcquireTimeout != time.Minute || c.MaxSessions != 160 {
		t.Errorf("AcquireTimeout is %v, MaxSessions %d", c.AcquireTimeout, c.MaxSessions)
	}
}

func TestHowManyCallsShareASessionDependsOnItsKind(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		cfg        Config
		modern     bool
		share, max int
	}{
		{"command", Config{Command: Command{Path: "x"}}, false, 1, 10},
		{"old HTTP", Config{Endpoint: "http://localhost/"}, false, 8, 10},
		{"modern HTTP", Config{Endpoint: "http://localhost/"}, true, 500, 2}, // 10 × 100 calls
		{"given", Config{Endpoint: "http://localhost/", CallsPerSession: 3}, false, 3, 10},
		{"given and modern", Config{Endpoint: "http://localhost/", CallsPerSession: 3}, true, 15, 2},
	} {
		cfg, kind, _, err := c.cfg.withDefaults()
		if err != nil {
			t.Fatal(err)
		}
		p := &Pool{cfg: cfg, kind: kind, journal: newJournal(cfg.Logger, "")}
		p.min.Store(int64(cfg.Min))
		p.max.Store(int64(cfg.Max))
		got := p.coreConfig(&backend{pool: p, modern: c.modern})
		if got.ShareLimit != c.share || got.Max != c.max {
			t.Errorf("%s: %d sessions of %d calls, want %d of %d", c.name, got.Max, got.ShareLimit, c.max, c.share)
		}
	}
}

func TestAnHTTPClientWithATimeoutOrAJarIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		client *http.Client
		says   string
	}{
		{&http.Client{Timeout: time.Minute}, "has a Timeout, which would end the streams"},
		{&http.Client{Jar: emptyJar{}}, "has a cookie jar"},
	} {
		_, err := Open(t.Context(), Config{Endpoint: "http://localhost/", HTTP: HTTP{Client: c.client}})
		if err == nil || !strings.Contains(err.Error(), "HTTP.Client") || !strings.Contains(err.Error(), c.says) {
			t.Errorf("got %v, want that it %s", err, c.says)
		}
	}
}

type emptyJar struct{ http.CookieJar }
