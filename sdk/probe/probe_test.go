package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// target is a resource that answers what it lists.
type target struct {
	id    string
	calls []string
}

func (t *target) Describe() Description {
	return Description{Kind: "test", Pool: "p", ID: t.id, Methods: []string{"ping"}}
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

// script answers with one letter after another: h, d, u, ? or e for an error.
func script(letters string) Prober {
	return proberFunc(func(context.Context, Target) (Verdict, error) {
		l := letters[0]
		letters = letters[1:]
		if l == 'e' {
			return Verdict{}, errors.New("failed")
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
		{Damping{}, "hu?u", "hd?u"},   // not knowing changes nothing
		{Damping{}, "hueu", "hd?u"},   // nor does failing
		{Damping{}, "huhuh", "hdddd"}, // flapping
		{Damping{}, "hdhh", "hddh"},
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
	if n := len(p.(*damper).known); n > 100 {
		t.Errorf("%d are remembered", n)
	}
	if s := first(99); s != Unhealthy {
		t.Errorf("a recent one was forgotten: %v", s)
	}
	if s := first(0); s != Degraded {
		t.Errorf("the oldest was kept: %v", s)
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
