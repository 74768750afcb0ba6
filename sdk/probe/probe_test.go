package probe

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// target is a resource that answers what it lists.
type target struct {
	id    string
	pool  string // empty for p
	calls []string
}

func (t *target) Describe() Description {
	return Description{Kind: "test", Pool: cmp.Or(t.pool, "p"), ID: t.id, Methods: []string{"ping"}}
}

func (t *target) Call(ctx context.Context, method string, _ json.RawMessage) (json.RawMessage, error) {
	t.calls = append(t.calls, method)
	return json.RawMessage(`{}`), ctx.Err()
}

type proberFunc func(ctx context.Context, t Target) (Verdict, error)

func (f proberFunc) Probe(ctx context.Context, t Target) (Verdict, error) { return f(ctx, t) }

func self(t *target) Target { return t }

func TestForTellsCoreWhatTheVerdictMeans(t *testing.T) {
	t.Parallel()
	sick := errors.New("sick prober")
	for _, c := range []struct {
		name              string
		prober            Prober
		nothing           bool
		degraded, unknown bool
	}{
		{"healthy", proberFunc(func(context.Context, Target) (Verdict, error) { return Verdict{Status: Healthy}, nil }), true, false, false},
		{"degraded", proberFunc(func(context.Context, Target) (Verdict, error) { return Verdict{Status: Degraded}, nil }), false, true, false},
		{"unhealthy", proberFunc(func(context.Context, Target) (Verdict, error) { return Verdict{Status: Unhealthy}, nil }), false, false, false},
		{"unknown", proberFunc(func(context.Context, Target) (Verdict, error) { return Verdict{}, nil }), false, false, true},
		{"no verdict at all", proberFunc(func(context.Context, Target) (Verdict, error) { return Verdict{Status: 77}, nil }), false, false, true},
		{"failed", proberFunc(func(context.Context, Target) (Verdict, error) { return Verdict{Status: Unhealthy}, sick }), false, false, true},
		{"panicked", proberFunc(func(context.Context, Target) (Verdict, error) { panic("at the disco") }), false, false, true},
		{"nil", nil, false, false, true},
	} {
		err := For(c.prober, self)(t.Context(), &target{})
		var v *VerdictError
		switch {
		case c.nothing != (err == nil):
			t.Errorf("%s: %v", c.name, err)
		case err != nil && (!errors.As(err, &v) || v.Degraded() != c.degraded || v.Unknown() != c.unknown):
			t.Errorf("%s: %v: degraded %v, unknown %v", c.name, err, v.Degraded(), v.Unknown())
		}
		if err != nil && strings.Contains(err.Error(), "disco") {
			t.Errorf("the panic's value is shown: %v", err)
		}
	}
	if err := For(proberFunc(nil), func(*target) Target { return nil })(t.Context(), nil); !errors.Is(err, ErrNil) {
		t.Errorf("without a target: %v", err)
	}
}

func TestAProbeCallsOnlyWhatTheTargetLists(t *testing.T) {
	t.Parallel()
	var kept Target
	res := &target{}
	err := For(proberFunc(func(ctx context.Context, target Target) (Verdict, error) {
		kept = target
		if _, err := target.Call(ctx, "drop_everything", nil); !errors.Is(err, ErrNotListed) {
			t.Errorf("a call that is not listed: %v", err)
		}
		_, err := target.Call(ctx, "ping", nil)
		return Verdict{Status: Healthy}, err
	}), self)(t.Context(), res)
	if err != nil || len(res.calls) != 1 || res.calls[0] != "ping" {
		t.Errorf("called %q, %v", res.calls, err)
	}
	if _, err := kept.Call(t.Context(), "ping", nil); err == nil || len(res.calls) != 1 {
		t.Errorf("after the probe: %v, called %q", err, res.calls)
	}
}

// script answers with one letter after another: h, d, u, ?, e for an error, or E for one
// beside a verdict.
func script(letters string) Prober {
	return proberFunc(func(context.Context, Target) (Verdict, error) {
		l := letters[0]
		letters = letters[1:]
		switch l {
		case 'e':
			return Verdict{}, errors.New("failed")
		case 'E':
			return Verdict{Status: Unhealthy}, errors.New("failed")
		}
		return Verdict{Status: map[byte]Status{'h': Healthy, 'd': Degraded, 'u': Unhealthy, '?': Unknown}[l]}, nil
	})
}

func TestDampingNeedsSeveralAnswersToChangeItsMind(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		d           Damping
		found, said string
	}{
		{Damping{}, "hhh", "hhh"},
		{Damping{}, "huhh", "hddh"},
		{Damping{}, "huuu", "hduu"},
		{Damping{}, "hu?u", "hd?u"}, // not knowing changes nothing
		{Damping{}, "hueu", "hd?u"}, // nor does failing
		{Damping{}, "huEu", "hd?u"}, // whatever verdict stands beside it
		{Damping{}, "hEEu", "h??d"},
		{Damping{}, "huhuh", "hdddd"}, // flapping
		{Damping{}, "hdhh", "hddh"},
		{Damping{}, "hudu", "hddd"}, // not in a row
		{Damping{}, "hdu", "hdd"},
		{Damping{UnhealthyAfter: 1, HealthyAfter: 1}, "huhdh", "huhdh"},
		{Damping{UnhealthyAfter: 3}, "uuuu", "dduu"},
	} {
		p, err := Damp(script(c.found), c.d)
		if err != nil {
			t.Fatal(err)
		}
		var said strings.Builder
		for range c.found {
			v, err := p.Probe(t.Context(), &target{id: "1"})
			if err != nil {
				v.Status = Unknown
			}
			said.WriteString(string("?hdu"[v.Status]))
		}
		if said.String() != c.said {
			t.Errorf("%+v: %s became %s, want %s", c.d, c.found, said.String(), c.said)
		}
	}
}

func TestDampingKeepsTargetsApartAndForgetsTheOldest(t *testing.T) {
	t.Parallel()
	p, err := Damp(proberFunc(func(context.Context, Target) (Verdict, error) { return Verdict{Status: Unhealthy}, nil }), Damping{MaxTargets: 100})
	if err != nil {
		t.Fatal(err)
	}
	first := func(id int) Status {
		v, err := p.Probe(t.Context(), &target{id: fmt.Sprint(id)})
		if err != nil {
			t.Fatal(err)
		}
		return v.Status
	}
	for i := range 100 {
		if s := first(i); s != Degraded {
			t.Fatalf("target %d inherits: %v", i, s)
		}
	}
	first(100)
	if n := len(p.(*damper).known); n > 100 || n < 90 {
		t.Errorf("%d are remembered", n)
	}
	if s := first(99); s != Unhealthy {
		t.Errorf("a recent one was forgotten: %v", s)
	}
	if s := first(0); s != Degraded {
		t.Errorf("the oldest was kept: %v", s)
	}
}

func TestDampingTellsPoolsApart(t *testing.T) {
	t.Parallel()
	p, err := Damp(script("uuu"), Damping{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		pool string
		want Status
	}{{"a", Degraded}, {"b", Degraded}, {"a", Unhealthy}} {
		if v, err := p.Probe(t.Context(), &target{pool: c.pool, id: "1"}); err != nil || v.Status != c.want {
			t.Errorf("pool %s: %v, %v, want %v", c.pool, v, err, c.want)
		}
	}
}

// What nothing is known of takes nobody's place.
func TestDampingKeepsNothingOfWhatIsUnknown(t *testing.T) {
	t.Parallel()
	p, err := Damp(script("u?eEu"), Damping{MaxTargets: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = p.Probe(t.Context(), &target{id: "known"})
	for i := range 3 {
		_, _ = p.Probe(t.Context(), &target{id: fmt.Sprint(i)})
	}
	if v, err := p.Probe(t.Context(), &target{id: "known"}); err != nil || v.Status != Unhealthy {
		t.Errorf("the second failure: %v, %v", v, err)
	}
}

func TestDampingSaysWhyItDoubts(t *testing.T) {
	t.Parallel()
	verdicts := []Verdict{{Status: Unhealthy, Reason: "no tool"}, {Status: Unhealthy, Reason: "no tool still"}, {Status: Healthy}}
	n := 0
	p, err := Damp(proberFunc(func(context.Context, Target) (Verdict, error) { n++; return verdicts[n-1], nil }), Damping{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"degraded: 1 of 2 failures: no tool", "unhealthy: no tool still", "degraded: healthy again, 1 of 2 times"} {
		if v, err := p.Probe(t.Context(), &target{id: "1"}); err != nil || v.String() != want {
			t.Errorf("%v, %v, want %s", v, err, want)
		}
	}
}

func TestDampingHasDefaults(t *testing.T) {
	t.Parallel()
	p, err := Damp(script(""), Damping{})
	if want := (Damping{UnhealthyAfter: 2, HealthyAfter: 2, MaxTargets: 10_000}); err != nil || p.(*damper).cfg != want {
		t.Errorf("%+v, %v", p, err)
	}
}

// Of all that fail at the same time exactly one is the second.
func TestDampingConcurrentSafe(t *testing.T) {
	t.Parallel()
	p, err := Damp(proberFunc(func(context.Context, Target) (Verdict, error) { return Verdict{Status: Unhealthy}, nil }), Damping{UnhealthyAfter: 50, MaxTargets: 10})
	if err != nil {
		t.Fatal(err)
	}
	var believed atomic.Int32
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			for range 10 {
				if v, err := p.Probe(t.Context(), &target{id: "shared"}); err == nil && v.Status == Unhealthy {
					believed.Add(1)
				}
				_, _ = p.Probe(t.Context(), &target{id: fmt.Sprint(n)}) // and the map changes
			}
		})
	}
	wg.Wait()
	if n := believed.Load(); n != 31 {
		t.Errorf("of 80 failures %d were believed, want all from the 50th on", n)
	}
}

func TestDampNamesEveryFaultAtOnce(t *testing.T) {
	t.Parallel()
	_, err := Damp(nil, Damping{UnhealthyAfter: -1, HealthyAfter: -2, MaxTargets: -3})
	if !errors.Is(err, ErrNil) {
		t.Errorf("got %v", err)
	}
	for _, field := range []string{"UnhealthyAfter", "HealthyAfter", "MaxTargets"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not named in %v", field, err)
		}
	}
}

func TestAStatusSurvivesJSON(t *testing.T) {
	t.Parallel()
	for s := Unknown; s <= Unhealthy; s++ {
		b, err := json.Marshal(Verdict{Status: s, Reason: "r"})
		if err != nil {
			t.Fatal(err)
		}
		var back Verdict
		if err := json.Unmarshal(b, &back); err != nil || back.Status != s {
			t.Errorf("%s: %v, %v", b, back, err)
		}
	}
	var s Status
	if err := s.UnmarshalText([]byte("fine")); err == nil {
		t.Error("a status that is none was taken")
	}
}
