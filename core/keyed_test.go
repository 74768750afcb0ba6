package core

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// thing is a resource that knows whose it is.
type thing struct {
	shop   *workshop
	key    string
	serial int64
	users  atomic.Int32
	closed atomic.Bool
}

func (t *thing) Close() error {
	if t.closed.Swap(true) {
		return errors.New("closed twice")
	}
	t.shop.alive.Add(-1)
	t.shop.note("close " + t.key)
	return nil
}

// workshop makes things and keeps the books on them.
type workshop struct {
	made, calls, alive, peak, making, peakMaking atomic.Int64

	mu    sync.Mutex
	log   []string         // "open key" and "close key", in order
	fail  map[string]error // by key
	delay time.Duration    // of an open
}

func (w *workshop) note(what string) {
	w.mu.Lock()
	w.log = append(w.log, what)
	w.mu.Unlock()
}

// history returns the log and begins a new one.
func (w *workshop) history() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	log := w.log
	w.log = nil
	return log
}

// refuse has opens for key fail with err; with nil they succeed again.
func (w *workshop) refuse(key string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail == nil {
		w.fail = make(map[string]error)
	}
	w.fail[key] = err
}

func raise(peak *atomic.Int64, now int64) {
	for was := peak.Load(); now > was && !peak.CompareAndSwap(was, now); was = peak.Load() {
		continue
	}
}

func (w *workshop) open(ctx context.Context, key string) (*thing, error) {
	raise(&w.peakMaking, w.making.Add(1))
	defer w.making.Add(-1)
	w.calls.Add(1)
	w.mu.Lock()
	delay, err := w.delay, w.fail[key]
	w.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err != nil {
		return nil, err
	}
	w.note("open " + key)
	raise(&w.peak, w.alive.Add(1))
	return &thing{shop: w, key: key, serial: w.made.Add(1)}, nil
}

// keyedConfig is a Keyed of things without a clock: no sweeps, no idle times, so
// that nothing heals behind a test's back.
func (w *workshop) keyedConfig() KeyedConfig[string, *thing] {
	return KeyedConfig[string, *thing]{
		Open:        w.open,
		KeyIdleTime: Off,
		Pool:        Config[*thing]{MaxIdleTime: Off, MaxLifetime: Off, OpenRetries: Off},
		KeyName:     func(key string) string { return "pool of " + key },
	}
}

func newKeyed(t testing.TB, cfg KeyedConfig[string, *thing]) *Keyed[string, *thing] {
	t.Helper()
	k, err := NewKeyed(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := k.Close(ctx); err != nil {
			t.Error("Close:", err)
		}
	})
	return k
}

// get acquires for key and checks whose thing it got.
func get(t testing.TB, k *Keyed[string, *thing], key string) Lease[*thing] {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	l, err := k.Acquire(ctx, key)
	if err != nil {
		t.Fatalf("Acquire(%q): %v", key, err)
	}
	if got := l.Value(); got == nil || got.key != key {
		t.Fatalf("Acquire(%q) leased the resource %+v", key, got)
	}
	return l
}

// use is a short visit.
func use(t testing.TB, k *Keyed[string, *thing], keys ...string) {
	t.Helper()
	for _, key := range keys {
		get(t, k, key).Release()
	}
}

func served(k *Keyed[string, *thing]) []string {
	var keys []string
	for key := range k.All() {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func wantKeys(t testing.TB, k *Keyed[string, *thing], want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, served(k)); diff != "" {
		t.Errorf("keys served (-want +got):\n%s", diff)
	}
	if k.Len() != len(want) {
		t.Errorf("Len() = %d, want %d", k.Len(), len(want))
	}
}

func TestKeyedGivesEveryKeyItsOwnResources(t *testing.T) {
	t.Parallel()
	w := &workshop{}
	k := newKeyed(t, w.keyedConfig())
	a, b := get(t, k, "a"), get(t, k, "b")
	if a.Value() == b.Value() {
		t.Error("two keys share a resource")
	}
	a.Release()
	b.Release()
	use(t, k, "a", "b", "a", "b")
	if w.made.Load() != 2 {
		t.Errorf("%d resources were opened for two keys, want 2", w.made.Load())
	}
	wantKeys(t, k, "a", "b")
}

func TestKeyedMinAndMaxArePerKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		cfg := w.keyedConfig()
		cfg.Pool.Min, cfg.Pool.Max = 2, 3
		k := newKeyed(t, cfg)
		for _, key := range []string{"a", "b"} {
			get(t, k, key).Release()
			synctest.Wait()
			if s, _ := k.KeyStats(key); s.Live != 2 || s.Min != 2 || s.Max != 3 {
				t.Errorf("key %s has %d resources, Min %d, Max %d; want 2, 2 and 3", key, s.Live, s.Min, s.Max)
			}
		}
		for range 3 {
			defer get(t, k, "a").Release()
		}
		if _, err := k.AcquireWith(t.Context(), "a", AcquireOptions{NoWait: true}); !errors.Is(err, ErrExhausted) {
			t.Errorf("the fourth lease of a key with Max 3: error %v, want ErrExhausted", err)
		}
		use(t, k, "b") // another key is not concerned
	})
}

func TestKeyedReportsEveryFaultOfItsConfigAtOnce(t *testing.T) {
	t.Parallel()
	_, err := NewKeyed(KeyedConfig[string, *thing]{
		Pool: Config[*thing]{
			Open: func(context.Context) (*thing, error) { return nil, nil }, //nolint:nilnil // never called
			Min:  -2, GrowAt: 7,
		},
		MaxTotal: -3, MaxKeys: -4, KeyIdleTime: -5,
	})
	var fields []string
	for _, fault := range unjoin(err) {
		var e *ConfigError
		if !errors.As(fault, &e) {
			t.Fatalf("fault %v is no *ConfigError", fault)
		}
		fields = append(fields, e.Field)
	}
	want := []string{"Open", "Pool.Open", "MaxTotal", "MaxKeys", "KeyIdleTime", "Pool.Min", "Pool.GrowAt"}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Errorf("faulty fields (-want +got):\n%s\n%v", diff, err)
	}
	_, err = NewKeyed(KeyedConfig[string, *thing]{Open: new(workshop).open, MaxTotal: 2, Pool: Config[*thing]{Min: 3}})
	if err == nil || !strings.Contains(err.Error(), "Pool.Min = 3 is more than MaxTotal (2)") {
		t.Errorf("Min over MaxTotal: %v", err)
	}
}

func TestKeyedAcquireWithABadContextMakesNoKey(t *testing.T) {
	t.Parallel()
	w := &workshop{}
	cfg := w.keyedConfig()
	cfg.MaxKeys = 1
	k := newKeyed(t, cfg)
	use(t, k, "a")
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("no more"))
	var none context.Context
	for _, c := range []struct {
		name string
		ctx  context.Context
		want error
	}{{"nil", none, ErrNilContext}, {"ended", ended, context.Canceled}} {
		if _, err := k.Acquire(c.ctx, "b"); !errors.Is(err, c.want) {
			t.Errorf("Acquire with %s context: error %v, want %v", c.name, err, c.want)
		}
		if _, err := k.AcquireWith(c.ctx, "b", AcquireOptions{}); !errors.Is(err, c.want) {
			t.Errorf("AcquireWith with %s context: error %v, want %v", c.name, err, c.want)
		}
		if _, ok := k.TryAcquire(c.ctx, "b"); ok {
			t.Errorf("TryAcquire with %s context gave a lease", c.name)
		}
		if err := k.Do(c.ctx, "b", func(context.Context, *thing) error { return nil }); !errors.Is(err, c.want) {
			t.Errorf("Do with %s context: error %v, want %v", c.name, err, c.want)
		}
	}
	if err := k.Close(none); !errors.Is(err, ErrNilContext) {
		t.Errorf("Close(nil) = %v, want ErrNilContext", err)
	}
	wantKeys(t, k, "a")
}

func TestKeyedCloseEndsAllKeysAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		cfg := w.keyedConfig()
		cfg.Pool.Max = 1
		k := newKeyed(t, cfg)
		a := get(t, k, "a")
		b := get(t, k, "b")
		use(t, k, "c")
		var waits sync.WaitGroup
		for _, key := range []string{"a", "b"} {
			waits.Go(func() {
				if _, err := k.Acquire(context.Background(), key); !errors.Is(err, ErrClosed) {
					t.Errorf("a waiter of key %s got %v, want ErrClosed", key, err)
				}
			})
		}
		synctest.Wait()
		closed := make(chan error, 2)
		for range 2 {
			go func() { closed <- k.Close(context.Background()) }()
		}
		waits.Wait()
		if len(closed) != 0 {
			t.Error("Close did not wait for the leases")
		}
		a.Release()
		b.Release()
		for range 2 {
			if err := <-closed; err != nil {
				t.Error("Close:", err)
			}
		}
		if w.alive.Load() != 0 {
			t.Errorf("%d resources survived Close", w.alive.Load())
		}
		for _, key := range []string{"a", "new"} {
			if _, err := k.Acquire(t.Context(), key); err != ErrClosed { //nolint:errorlint // nothing is wrapped round it
				t.Errorf("Acquire(%q) after Close: error %v, want ErrClosed", key, err)
			}
		}
		k.Evict("a")
		if s := k.Stats(); s.Live != 0 || s.Leased != 0 || s.Ready {
			t.Errorf("Stats after Close: %+v", s)
		}
	})
}

func TestKeyedCloseRevokesLeasesOfAllKeysWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		k, err := NewKeyed(w.keyedConfig())
		if err != nil {
			t.Fatal(err)
		}
		a, b := get(t, k, "a"), get(t, k, "b")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var e *CloseError
		if err := k.Close(ctx); !errors.As(err, &e) || e.Revoked != 2 {
			t.Errorf("Close = %v, want a *CloseError that took back 2 leases", err)
		}
		if a.Value() != nil || b.ID() != 0 || w.alive.Load() != 0 {
			t.Error("a revoked lease still gives a resource")
		}
	})
}

func TestKeyedEvictAndSnapshotAreForOneKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		k := newKeyed(t, w.keyedConfig())
		use(t, k, "b")
		a := get(t, k, "a")
		k.Evict("a")
		k.Evict("unknown")
		if info := k.Snapshot("a"); len(info) != 1 || info[0].State != StateRetiring || info[0].Reason != ReasonEvicted {
			t.Errorf("Snapshot of the evicted key: %+v", info)
		}
		if info := k.Snapshot("b"); len(info) != 1 || info[0].State != StateIdle {
			t.Errorf("Snapshot of the other key: %+v", info)
		}
		if info := k.Snapshot("unknown"); info != nil {
			t.Errorf("Snapshot of an unknown key: %+v", info)
		}
		if _, ok := k.KeyStats("unknown"); ok {
			t.Error("KeyStats knows an unknown key")
		}
		a.Release()
		synctest.Wait()
		if diff := cmp.Diff([]string{"open b", "open a", "close a"}, w.history()); diff != "" {
			t.Errorf("history (-want +got):\n%s", diff)
		}
	})
}

func TestKeyedNameFunctionThatPanicsCostsNothingButTheName(t *testing.T) {
	t.Parallel()
	w := &workshop{}
	cfg := w.keyedConfig()
	cfg.Pool.Name = "things"
	cfg.KeyName = func(string) string { panic("no name") }
	k := newKeyed(t, cfg)
	use(t, k, "a")
	if s, _ := k.KeyStats("a"); s.Name != "things" {
		t.Errorf("the pool is called %q, want the common name", s.Name)
	}
	if s := k.Stats(); s.Panics != 1 {
		t.Errorf("Panics = %d, want 1", s.Panics)
	}
}
