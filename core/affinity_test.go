package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// config is a pool of things without a clock, as keyedConfig.
func (w *workshop) config(size int) Config[*thing] {
	return Config[*thing]{
		Open: func(ctx context.Context) (*thing, error) { return w.open(ctx, "") },
		Max:  size, MaxIdleTime: Off, MaxLifetime: Off, OpenRetries: Off,
	}
}

func newThings(t testing.TB, cfg Config[*thing]) *Pool[*thing] {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Error("Close:", err)
		}
	})
	return p
}

// with acquires with options and must succeed.
func with(t testing.TB, p *Pool[*thing], o AcquireOptions) Lease[*thing] {
	t.Helper()
	l, err := p.AcquireWith(t.Context(), o)
	if err != nil {
		t.Fatalf("AcquireWith(%+v): %v", o, err)
	}
	return l
}

// promise is a lease that somebody waits for.
type promise struct {
	lease Lease[*thing]
	err   error
	done  bool
}

// ask acquires on another goroutine, and returns when that waits or is done.
func ask(ctx context.Context, p *Pool[*thing], o AcquireOptions) *promise {
	pr := &promise{}
	go func() {
		pr.lease, pr.err = p.AcquireWith(ctx, o)
		pr.done = true
	}()
	synctest.Wait()
	return pr
}

func (pr *promise) check(t *testing.T, who string, done bool) {
	t.Helper()
	synctest.Wait()
	if pr.err != nil {
		t.Errorf("%s: %v", who, pr.err)
	}
	if pr.done != done {
		t.Errorf("%s: served %v, want %v", who, pr.done, done)
	}
}

// lost checks that the promise ended because its resource is gone.
func (pr *promise) lost(t *testing.T, key string, id uint64) {
	t.Helper()
	synctest.Wait()
	var e *PinLostError
	if !errors.As(pr.err, &e) || e.Key != key || e.ID != id || e.Pool != "pool" {
		t.Errorf("a pin on resource %d by key %q ended with %v, want a *PinLostError that says so", id, key, pr.err)
	}
	if pr.lease.Value() != nil {
		t.Error("a lost pin got a resource")
	}
}

// fill opens n resources and returns the leases on them.
func fill(t testing.TB, p *Pool[*thing], n int) []Lease[*thing] {
	t.Helper()
	leases := make([]Lease[*thing], n)
	for i := range leases {
		leases[i] = with(t, p, AcquireOptions{})
	}
	return leases
}

func releaseAll(leases []Lease[*thing]) {
	for _, l := range leases {
		l.Release()
	}
}

func TestAffinityFindsTheResourceLastUsedUnderAKey(t *testing.T) {
	t.Parallel()
	for _, how := range []Affinity{Prefer, Pin, PinOrRebind} {
		p := newThings(t, (&workshop{}).config(5))
		leases := fill(t, p, 5)
		ids := make(map[string]uint64)
		for i, l := range leases {
			key := fmt.Sprint("key of ", l.ID())
			l.Release() // the only free one
			leases[i] = with(t, p, AcquireOptions{Key: key, Affinity: how})
			ids[key] = leases[i].ID()
		}
		releaseAll(leases)
		for key, id := range ids {
			l := with(t, p, AcquireOptions{Key: key, Affinity: how})
			if l.ID() != id {
				t.Errorf("affinity %d: key %q got resource %d, want %d", how, key, l.ID(), id)
			}
			l.Release()
		}
	}
}

func TestPreferTakesAnotherWhenBusyAndRebinds(t *testing.T) {
	t.Parallel()
	p := newThings(t, (&workshop{}).config(2))
	one := with(t, p, AcquireOptions{Key: "k"})
	two := with(t, p, AcquireOptions{Key: "k"})
	if one.ID() == two.ID() {
		t.Fatal("two exclusive leases on one resource")
	}
	id := two.ID()
	one.Release()
	two.Release()
	three := with(t, p, AcquireOptions{Key: "k"})
	defer three.Release()
	if three.ID() != id {
		t.Errorf("the key is bound to resource %d, want the one used last, %d", three.ID(), id)
	}
}

func TestPinWaitsForItsOwnResourceOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, how := range []Affinity{Pin, PinOrRebind} {
			p := newThings(t, (&workshop{}).config(2))
			pinned := with(t, p, AcquireOptions{Key: "k", Affinity: how})
			id := pinned.ID()
			other := with(t, p, AcquireOptions{})
			w := ask(t.Context(), p, AcquireOptions{Key: "k", Affinity: how})
			other.Release()
			w.check(t, "the pin, while another resource is free", false)
			if s := p.Stats(); s.Waiting != 1 || s.Idle != 1 {
				t.Errorf("%d waiting and %d idle, want 1 and 1", s.Waiting, s.Idle)
			}
			pinned.Release()
			w.check(t, "the pin, when its resource is free", true)
			if w.lease.ID() != id {
				t.Errorf("got resource %d, want %d", w.lease.ID(), id)
			}
			w.lease.Release()
		}
	})
}

func TestPinsAndOthersAreServedInTheOrderOfTheirArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newThings(t, (&workshop{}).config(1))
		l := with(t, p, AcquireOptions{Key: "k"})
		pin := AcquireOptions{Key: "k", Affinity: Pin}
		var line []*promise
		for _, o := range []AcquireOptions{pin, {}, pin, pin, {}, {Key: "k"}, pin} {
			line = append(line, ask(t.Context(), p, o))
		}
		for i, w := range line {
			l.Release()
			w.check(t, fmt.Sprint("number ", i), true)
			for _, later := range line[i+1:] {
				if later.done {
					t.Fatalf("number %d was overtaken", i+1)
				}
			}
			l = w.lease
		}
		l.Release()
	})
}

func TestNoWaitNeverWaitsForAPin(t *testing.T) {
	t.Parallel()
	p := newThings(t, (&workshop{}).config(2))
	l := with(t, p, AcquireOptions{Key: "k"})
	defer l.Release()
	_, err := p.AcquireWith(t.Context(), AcquireOptions{Key: "k", Affinity: Pin, NoWait: true})
	if !errors.Is(err, ErrExhausted) {
		t.Errorf("a pin on a busy resource that must not wait: %v, want ErrExhausted", err)
	}
	if s := p.Stats(); s.Waiting != 0 {
		t.Errorf("%d still waiting", s.Waiting)
	}
}

func TestPinOfADeadResourceIsLostUntilItRebinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newThings(t, (&workshop{}).config(2))
		spare := with(t, p, AcquireOptions{})
		l := with(t, p, AcquireOptions{Key: "k"})
		id := l.ID()
		l.Discard(nil)
		spare.Release()
		pin := AcquireOptions{Key: "k", Affinity: Pin}
		for range 2 { // it stays lost, also when there is a new resource in its slot
			ask(t.Context(), p, pin).lost(t, "k", id)
			releaseAll(fill(t, p, 2))
		}
		l = with(t, p, AcquireOptions{Key: "k", Affinity: PinOrRebind})
		id = l.ID()
		l.Release()
		l = with(t, p, pin)
		if l.ID() != id {
			t.Errorf("after rebinding to resource %d the pin got %d", id, l.ID())
		}
		l.Discard(nil)
		ask(t.Context(), p, pin).lost(t, "k", id)
		with(t, p, AcquireOptions{Key: "k"}).Release() // Prefer rebinds as well
		with(t, p, pin).Release()
	})
}

// However a resource dies, who waits for it learns it at once.
func TestPinIsLostWhenItsResourceDiesWhileItWaits(t *testing.T) {
	for name, kill := range map[string]func(p *Pool[*thing], l Lease[*thing]){
		"discard": func(_ *Pool[*thing], l Lease[*thing]) { l.Discard(nil) },
		"detach":  func(_ *Pool[*thing], l Lease[*thing]) { l.Detach() },
		"evict":   func(p *Pool[*thing], _ Lease[*thing]) { p.Evict() },
		"shrink": func(p *Pool[*thing], l Lease[*thing]) {
			p.Resize(context.Background(), 0, 1)
		},
		"reset": func(_ *Pool[*thing], l Lease[*thing]) { l.Release() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg := (&workshop{}).config(2)
				if name == "reset" {
					cfg.Reset = func(context.Context, *thing) error { return errors.New("worn out") }
				}
				p := newThings(t, cfg)
				keep := with(t, p, AcquireOptions{})
				l := with(t, p, AcquireOptions{Key: "k"})
				id := l.ID()
				pin := ask(t.Context(), p, AcquireOptions{Key: "k", Affinity: Pin})
				rebind := ask(t.Context(), p, AcquireOptions{Key: "k", Affinity: PinOrRebind})
				kill(p, l)
				pin.lost(t, "k", id)
				l.Release() // where that has not happened yet
				keep.Release()
				rebind.check(t, "the pin that may rebind", true)
				if rebind.lease.ID() == id {
					t.Error("it got the dead resource")
				}
				rebind.lease.Release()
			})
		})
	}
}

func TestPinThatIsCancelledLeavesNoTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newThings(t, (&workshop{}).config(1))
		l := with(t, p, AcquireOptions{Key: "k"})
		ctx, cancel := context.WithCancel(t.Context())
		pin := ask(ctx, p, AcquireOptions{Key: "k", Affinity: Pin})
		cancel()
		synctest.Wait()
		if !errors.Is(pin.err, context.Canceled) || !errors.Is(pin.err, ErrExhausted) {
			t.Errorf("a cancelled pin: %v", pin.err)
		}
		l.Release()
		if w := p.slots()[0].word.Load(); w&flagMask != flagLive || p.Stats().Waiting != 0 {
			t.Errorf("flags of the slot are %#x, %d waiting", w&flagMask, p.Stats().Waiting)
		}
	})
}

func TestAffinityRemembersTheKeysUsedLast(t *testing.T) {
	t.Parallel()
	cfg := (&workshop{}).config(2)
	cfg.MaxAffinityKeys = 3
	p := newThings(t, cfg)
	one, two := with(t, p, AcquireOptions{}), with(t, p, AcquireOptions{})
	one.Release()
	for _, key := range []string{"a", "b", "c", "a", "d"} { // b gives way
		with(t, p, AcquireOptions{Key: key}).Release()
	}
	two.Release()
	info := p.Snapshot()
	slices.Sort(info[0].Keys)
	if diff := cmp.Diff([]string{"a", "c", "d"}, info[0].Keys); diff != "" || info[1].Keys != nil {
		t.Errorf("keys remembered (-want +got):\n%s\nand %v", diff, info[1].Keys)
	}
	if n := len(p.keys.keys); n != 3 {
		t.Errorf("%d keys are in memory, want 3", n)
	}
	one = with(t, p, AcquireOptions{})
	l := with(t, p, AcquireOptions{Key: "b", Affinity: Pin}) // new again: takes any
	if l.ID() != info[1].ID {
		t.Errorf("a forgotten key got resource %d", l.ID())
	}
	one.Release()
	l.Release()
}

func TestAffinityOffRemembersNothing(t *testing.T) {
	t.Parallel()
	cfg := (&workshop{}).config(2)
	cfg.MaxAffinityKeys = Off
	p := newThings(t, cfg)
	with(t, p, AcquireOptions{Key: "k"}).Release()
	with(t, p, AcquireOptions{Key: "k", Affinity: Pin}).Release()
	if p.keys.keys != nil || p.Snapshot()[0].Keys != nil {
		t.Error("a key was remembered")
	}
}

func TestAffinityForgetsKeysWithTheirSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newThings(t, (&workshop{}).config(3))
		leases := fill(t, p, 3)
		for i, l := range leases {
			l.Release()
			with(t, p, AcquireOptions{Key: fmt.Sprint(i)}).Release()
			leases[i] = with(t, p, AcquireOptions{Key: fmt.Sprint(i)})
		}
		releaseAll(leases)
		if err := p.Resize(t.Context(), 0, 1); err != nil {
			t.Fatal(err)
		}
		if n := len(p.keys.keys); n != 1 {
			t.Errorf("%d keys are remembered for one slot, want 1", n)
		}
		with(t, p, AcquireOptions{Key: "2", Affinity: Pin}).Release() // unknown, not lost
	})
}

func TestAffinityMovesAKeyBetweenSlotsWithoutLosingOthers(t *testing.T) {
	t.Parallel()
	p := newThings(t, (&workshop{}).config(2))
	one, two := with(t, p, AcquireOptions{}), with(t, p, AcquireOptions{})
	one.Release()
	for _, key := range []string{"a", "b", "c"} {
		with(t, p, AcquireOptions{Key: key}).Release()
	}
	one = with(t, p, AcquireOptions{})
	two.Release()
	with(t, p, AcquireOptions{Key: "b"}).Release() // its resource is busy: it moves
	one.Release()
	var got [][]string
	for _, info := range p.Snapshot() {
		slices.Sort(info.Keys)
		got = append(got, info.Keys)
	}
	if diff := cmp.Diff([][]string{{"a", "c"}, {"b"}}, got); diff != "" {
		t.Errorf("keys by slot (-want +got):\n%s", diff)
	}
}

// The time of a lookup does not grow with the number of keys or slots: nothing is
// searched. It is told by what is touched: with the scan of the slots cut off, a
// key is still found.
func TestAffinityLooksAtOneSlotOnly(t *testing.T) {
	t.Parallel()
	cfg := (&workshop{}).config(64)
	cfg.Min = 64
	p := newThings(t, cfg)
	if err := p.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	leases := fill(t, p, 64)
	leases[63].Release()
	with(t, p, AcquireOptions{Key: "last"}).Release()
	id := leases[63].slot.res.Load().id
	full := p.table.Load()
	p.table.Store(&table[*thing]{})
	l, _, ok := p.takeFor(AcquireOptions{Key: "last", Affinity: Pin})
	p.table.Store(full)
	if !ok || l.ID() != id {
		t.Errorf("got resource %d (%v), want %d", l.ID(), ok, id)
	}
	l.Release()
	releaseAll(leases[:63])
}
