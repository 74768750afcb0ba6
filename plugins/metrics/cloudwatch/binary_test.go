//go:build unix

package poolcloudwatch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/core"
	"github.com/go-mcpool/mcpool/plugins/metrics/export"
	"github.com/go-mcpool/mcpool/sdk/host"
	"github.com/go-mcpool/mcpool/sdk/metrics"
	"github.com/go-mcpool/mcpool/sdk/plugintest"
)

// nothing is what the pools here pool.
type nothing struct{}

func (nothing) Close() error { return nil }

// program is one that has a pool in use, and tells CloudWatch through the binary.
type program struct {
	pool     *core.Pool[nothing]
	running  *host.Running
	periodic *metrics.Periodic
	log      *syncBuffer
	uses     atomic.Int64 // of the pool

	stop  chan struct{}
	users sync.WaitGroup
}

// syncBuffer is a log.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}
func (s *syncBuffer) String() string { s.mu.Lock(); defer s.mu.Unlock(); return s.b.String() }

// binarySetup has what the programs of a test share.
type binarySetup struct{ path, stateDir string }

func TestTheBinary(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", keyID)
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	t.Setenv("AWS_REGION", region)
	t.Setenv("AWS_SESSION_TOKEN", "")
	b := binarySetup{path: plugintest.Build(t, "./cmd/mcpool-metrics-cloudwatch")}
	for name, test := range map[string]func(*testing.T, binarySetup){
		"is loaded as the docs have it":                              isLoadedAsInTheDocs,
		"tells CloudWatch of every lease":                            tellsOfEveryLease,
		"when it is killed loses nothing and repeats one request":    survivesItsDeath,
		"when it is stopped stops neither the pool nor the counting": survivesAStop,
		"refuses a wrong configuration":                              refusesAWrongConfiguration,
		"says what it is":                                            saysWhatItIs,
	} {
		t.Run(name, func(t *testing.T) {
			b.stateDir = filepath.Join(t.TempDir(), "state")
			test(t, b)
		})
	}
}

func (b binarySetup) launch(t *testing.T, log *syncBuffer) *host.Running {
	t.Helper()
	r, err := host.Launch(t.Context(), host.Plugin{
		Name: "cloudwatch", Path: b.path, AllowUnverified: true, Env: host.EnvAWS(), StateDir: b.stateDir,
		Limits: host.Limits{RestartMin: time.Millisecond, RestartMax: 50 * time.Millisecond, Health: -1},
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return r
}

// start runs a program whose pool is used until end.
func (b binarySetup) start(t *testing.T, e *endpoint, change func(*metrics.Config)) *program {
	t.Helper()
	p := &program{log: new(syncBuffer), stop: make(chan struct{})}
	var err error
	p.pool, err = core.New(core.Config[nothing]{Max: 4, Open: func(context.Context) (nothing, error) { return nothing{}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.pool.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	p.running = b.launch(t, p.log)
	p.report(t, e, change)
	for range 2 {
		p.users.Go(func() {
			for ctx := context.WithoutCancel(t.Context()); ; runtime.Gosched() {
				select {
				case <-p.stop:
					return
				default:
				}
				lease, err := p.pool.Acquire(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				lease.Release()
				p.uses.Add(1)
			}
		})
	}
	t.Cleanup(p.users.Wait)
	t.Cleanup(sync.OnceFunc(func() {
		select {
		case <-p.stop:
		default:
			close(p.stop)
		}
	}))
	return p
}

// report begins to send.
func (p *program) report(t *testing.T, e *endpoint, change func(*metrics.Config)) {
	t.Helper()
	sink, err := p.running.Metrics(t.Context(), host.Instance{Name: "prod", Config: map[string]any{
		"namespace": "Agents", "endpoint": e.http.URL, "dimensions": map[string]string{"Stage": "prod"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	pools := export.New(export.Config{})
	if err := pools.Add("tools", p.pool); err != nil {
		t.Fatal(err)
	}
	// On the wire times are to the millisecond: no two batches are of the same one, however
	// late the goroutine is that measures.
	var last time.Time
	collect := func(now time.Time) metrics.Batch {
		if next := last.Add(time.Millisecond); now.Before(next) {
			now = next
		}
		last = now.Truncate(time.Millisecond)
		return pools.Collect(last)
	}
	cfg := metrics.Config{
		Collect: collect, Sink: sink, Interval: 20 * time.Millisecond, Timeout: time.Minute, Queue: 1 << 20,
		RetryMin: time.Millisecond, RetryMax: 10 * time.Millisecond,
	}
	if change != nil {
		change(&cfg)
	}
	if p.periodic, err = metrics.NewPeriodic(cfg); err != nil {
		t.Fatal(err)
	}
}

// end stops the use of the pool and sends the rest.
func (p *program) end(t *testing.T) {
	t.Helper()
	close(p.stop)
	p.users.Wait()
	if err := p.periodic.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if strings.Contains(p.log.String(), secret) {
		t.Error("the log has the secret key")
	}
}

// until polls, and fails the test while there is time left to say what it waited for.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	var late <-chan time.Time
	if end, limited := t.Deadline(); limited {
		late = time.After(time.Until(end) * 3 / 4)
	}
	for !done() {
		select {
		case <-late:
			t.Fatal("it did not happen that " + what)
		case <-time.After(time.Millisecond):
		}
	}
}

// uncertain is a sink that knows which batches were given up at least once. What was given
// up may have arrived, and then counts twice.
type uncertain struct {
	metrics.Sink

	mu      sync.Mutex
	givenUp map[int64]bool // guarded by mu; by the time of the batch in milliseconds
}

func (s *uncertain) Export(ctx context.Context, b metrics.Batch) (metrics.Result, error) {
	res, err := s.Sink.Export(ctx, b)
	if err == nil {
		return res, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, scope := range b.Scopes {
		for _, m := range scope.Metrics {
			for _, n := range m.Numbers {
				s.givenUp[n.Time.UnixMilli()] = true
			}
		}
	}
	return res, err
}

// leases are those that have arrived with the batches that were given up.
func (s *uncertain) leases(e *endpoint) (sum float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range e.requests {
		for _, d := range r.data {
			if d.name == "BorrowCount" && s.givenUp[d.at.UnixMilli()] {
				sum += d.value
			}
		}
	}
	return sum
}

// borrows are the leases that have arrived, the points of one time once and in all.
func (e *endpoint) borrows() (once, all float64, repeated int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	times := make(map[time.Time]bool)
	for _, r := range e.requests {
		for _, d := range r.data {
			if d.name != "BorrowCount" {
				continue
			}
			if all += d.value; times[d.at] {
				repeated++
				continue
			}
			times[d.at] = true
			once += d.value
		}
	}
	return once, all, repeated
}

func (p *program) acquired() float64 { return float64(p.pool.Stats().Acquired) }

// load is for the docs.
func load(ctx context.Context, path, sha256, stateDir string, pools *export.Pools) (*host.Running, *metrics.Periodic, error) {
	// snippet:begin load
	plugin, err := host.Launch(ctx, host.Plugin{
		Path: path, SHA256: sha256, Env: append(host.EnvAWS(), "HOME"), // keys, region, profile
		StateDir: stateDir, // what was sent, for after a restart of this program
	})
	if err != nil {
		return nil, nil, err
	}
	sink, err := plugin.Metrics(ctx, host.Instance{Name: "prod", Config: map[string]any{
		"namespace": "Agents", "dimensions": map[string]string{"Stage": "prod"},
	}})
	if err != nil {
		_ = plugin.Close(ctx)
		return nil, nil, err
	}
	periodic, err := metrics.NewPeriodic(metrics.Config{Collect: pools.Collect, Sink: sink})
	if err != nil {
		_ = plugin.Close(ctx)
		return nil, nil, err
	}
	return plugin, periodic, nil // in the end close periodic first: it sends what waits
	// snippet:end load
}

func isLoadedAsInTheDocs(t *testing.T, b binarySetup) {
	e := newEndpoint(t)
	t.Setenv("AWS_ENDPOINT_URL_CLOUDWATCH", e.http.URL)
	raw, err := os.ReadFile(b.path)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := core.New(core.Config[nothing]{Open: func(context.Context) (nothing, error) { return nothing{}, nil }})
	if err != nil {
		t.Fatal(err)
	}
	pools := export.New(export.Config{})
	if err := pools.Add("tools", pool); err != nil {
		t.Fatal(err)
	}
	plugin, periodic, err := load(t.Context(), b.path, fmt.Sprintf("%x", sha256.Sum256(raw)), b.stateDir, pools)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []func(context.Context) error{periodic.Close, plugin.Close, pool.Close} {
		if err := c(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if got := e.take(); len(got) != 1 || got[0].namespace != "Agents" {
		t.Errorf("requests %+v", got)
	}
}

func tellsOfEveryLease(t *testing.T, b binarySetup) {
	e := newEndpoint(t) // which checks every signature
	p := b.start(t, e, nil)
	until(t, "three batches had arrived", func() bool { return p.periodic.Counts().Exported >= 3 })
	p.end(t)
	once, all, _ := e.borrows()
	if want := p.acquired(); once != want || all != want || want == 0 {
		t.Errorf("%v leases arrived (%v with repetitions), the pool gave %v", once, all, want)
	}
	for _, r := range e.take() {
		if r.namespace != "Agents" || len(r.data) == 0 {
			t.Fatalf("a request %+v", r)
		}
		for _, d := range r.data {
			if d.dimensions["Stage"] != "prod" || d.dimensions["Pool"] != "tools" || len(d.dimensions) != 2 {
				t.Fatalf("%s has the dimensions %v", d.name, d.dimensions)
			}
		}
	}
	if c := p.periodic.Counts(); c.Exported != c.Collected || c.Dropped != 0 || c.Rejected != 0 {
		t.Errorf("%+v", c)
	}

	// The next instance of that name knows what was sent, though plugin and host are new.
	if err := p.running.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.running = b.launch(t, p.log)
	lease, err := p.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lease.Release()
	p.report(t, e, nil)
	if err := p.periodic.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, all, _ := e.borrows(); all != 1 {
		t.Errorf("after a restart of the host %v leases arrived, want the one that there was", all)
	}
}

// What the process has been told and has not written down when it dies is sent again
// by the next one: of each death one request at most, with the same time.
func survivesItsDeath(t *testing.T, b binarySetup) {
	t.Helper()
	e := newEndpoint(t)
	p := b.start(t, e, nil)
	const deaths = 4
	for i := range deaths {
		before := p.periodic.Counts().Exported
		until(t, "a batch arrived", func() bool { return p.periodic.Counts().Exported > before })
		uses := p.uses.Load()
		pid := p.running.Stats().PID
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatalf("death %d: %v", i, err)
		}
		until(t, "the pool was used further", func() bool { return p.uses.Load() > uses+100 })
		until(t, "the plugin was back", func() bool { now := p.running.Stats().PID; return now != 0 && now != pid })
	}
	p.end(t)
	once, all, repeated := e.borrows()
	if want := p.acquired(); once != want {
		t.Errorf("%v leases arrived, the pool gave %v", once, want)
	}
	if repeated > deaths || all > once && repeated == 0 {
		t.Errorf("%d points were repeated, %v leases arrived twice, by %d deaths", repeated, all-once, deaths)
	}
	if c := p.periodic.Counts(); c.Dropped != 0 || c.Exported != c.Collected {
		t.Errorf("%+v", c)
	}
}

// A plugin that hangs costs the oldest batches, which is counted, and neither leases
// nor what is summed up: the next batch that arrives has all of it.
func survivesAStop(t *testing.T, b binarySetup) {
	t.Helper()
	e := newEndpoint(t)
	u := &uncertain{givenUp: make(map[int64]bool)}
	p := b.start(t, e, func(c *metrics.Config) {
		u.Sink, c.Sink = c.Sink, u
		c.Queue, c.Timeout = 3, 200*time.Millisecond
	})
	until(t, "a batch arrived", func() bool { return p.periodic.Counts().Exported > 0 })
	pid := p.running.Stats().PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGCONT) })
	uses, exported := p.uses.Load(), p.periodic.Counts().Exported
	until(t, "batches were dropped", func() bool { return p.periodic.Counts().Dropped >= 5 && p.periodic.Err() != nil })
	until(t, "the pool was used", func() bool { return p.uses.Load() > uses+1000 })
	// Three wait, one is on its way, and one may just be counted.
	if c := p.periodic.Counts(); int(c.Collected)-int(c.Exported)-int(c.Dropped) > 5 {
		t.Errorf("%+v", c)
	}
	_, before, _ := e.borrows()
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	until(t, "batches arrived again", func() bool { return p.periodic.Counts().Exported > exported+1 })
	p.end(t)
	_, all, _ := e.borrows()
	if want, twice := p.acquired(), u.leases(e); all < want || all > want+twice || all <= before {
		t.Errorf("%v leases arrived, the pool gave %v; %v may count twice", all, want, twice)
	}
}

func refusesAWrongConfiguration(t *testing.T, b binarySetup) {
	t.Helper()
	log := new(syncBuffer)
	r := b.launch(t, log)
	for _, config := range []struct {
		json   string
		fields []string
	}{
		{`{"namespace": "AWS/Lambda", "dimensions": {"Pool": "x"}, "endpoint": "monitoring.example"}`, []string{"Namespace", "Dimensions", "Endpoint"}},
		{`{"name_space": "x"}`, []string{"name_space"}},
		{`{"state_file": "/etc/passwd"}`, []string{"state_file"}},
		{`{"region": 1}`, []string{"region"}},
	} {
		_, err := r.Metrics(t.Context(), host.Instance{Name: "x", Config: json.RawMessage(config.json)})
		if err == nil {
			t.Errorf("%s is taken", config.json)
			continue
		}
		if _, ok := errors.AsType[*metrics.ConfigError](err); !ok {
			t.Errorf("%s: %T %[2]v", config.json, err)
		}
		for _, f := range config.fields {
			if !strings.Contains(err.Error(), f) {
				t.Errorf("%s: %v does not name %s", config.json, err, f)
			}
		}
	}
}

func saysWhatItIs(t *testing.T, b binarySetup) {
	t.Helper()
	d := b.launch(t, new(syncBuffer)).Describe()
	if d.Name != "mcpool-metrics-cloudwatch" || len(d.Kinds) != 1 || d.Kinds[0].Name != "metrics" {
		t.Fatalf("%+v", d)
	}
	schema := string(d.Kinds[0].Config)
	for _, name := range []string{"namespace", "dimensions", "region", "endpoint", "prefix", "all", "resume"} {
		if !strings.Contains(schema, `"`+name+`"`) {
			t.Errorf("the schema lacks %s", name)
		}
	}
	if strings.Contains(schema, "AWS") || strings.Contains(schema, "StateFile") || strings.Contains(schema, "Logger") {
		t.Errorf("the schema has what only a program can give: %s", schema)
	}
}
