//go:build unix

package host

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	probev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/probe/v1"
	"github.com/go-mcpool/mcpool/sdk/metrics"
	"github.com/go-mcpool/mcpool/sdk/probe"
)

// resource is a target that counts what it does not list.
type resource struct {
	id       string
	unlisted atomic.Int32
	freed    chan struct{}
}

func (r *resource) Describe() probe.Description {
	return probe.Description{
		Kind: "k", Pool: "p", ID: r.id, Attrs: map[string]string{"x": "y"},
		Methods: []string{"ping", "fails", "breaks", "hang", "large", "panics"},
	}
}

func (r *resource) Call(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
	switch method {
	case "ping":
		return append(json.RawMessage("pong"), params...), nil
	case "fails":
		return nil, &probe.CallError{Method: method, Code: -32000, Message: "not today"}
	case "breaks":
		return nil, errors.New("the line is dead")
	case "large":
		return make(json.RawMessage, 1<<20), nil
	case "panics":
		panic("4711")
	case "hang":
		<-ctx.Done()
		close(r.freed)
		return nil, ctx.Err()
	}
	r.unlisted.Add(1)
	return nil, nil
}

func launchLooker(t *testing.T) *Running {
	t.Helper()
	p := part(t, "looker")
	p.Limits.MessageBytes = 1 << 20
	p.Limits.RestartMin, p.Limits.RestartMax, p.Limits.CircuitAfter = time.Millisecond, time.Millisecond, -1
	return launch(t, p)
}

func TestAProbeCallsWhatItsTargetListsAndNothingElse(t *testing.T) {
	t.Parallel()
	r := launchLooker(t)
	p, err := r.Probe(t.Context(), Instance{Name: "p"})
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]struct{ verdict, err string }{
		"call:ping":   {verdict: `healthy: pong{"a":1} of kpy`},
		"call:fails":  {verdict: "unhealthy: fails -32000 not today"},
		"call:breaks": {err: "the line is dead"},
		"call:panics": {err: "the target panicked with a string"},
		"call:drop":   {verdict: "degraded: not listed"},
		"size:large":  {err: "Limits.MessageBytes"},
		"early":       {verdict: "healthy: truepong"},
		"lines":       {verdict: "unknown: one two [2J"},
		"panic":       {err: "panicked"},
		"exit":        {err: "went away"},
		"exitonce":    {verdict: "healthy"},
	} {
		target := &resource{id: id, freed: make(chan struct{})}
		v, err := p.Probe(t.Context(), target)
		switch {
		case want.err != "" && (err == nil || !strings.Contains(err.Error(), want.err) || v.Status != probe.Unknown):
			t.Errorf("%s: %v, %v, want the error %q", id, v, err, want.err)
		case want.err == "" && (err != nil || v.String() != want.verdict):
			t.Errorf("%s: %v, %v, want %q", id, v, err, want.verdict)
		}
		if err != nil && strings.Contains(err.Error(), "4711") {
			t.Errorf("%s: a panic's value is shown: %v", id, err)
		}
		if target.unlisted.Load() > 0 {
			t.Errorf("%s: a method was called that the target does not list", id)
		}
		if id == "early" {
			<-target.freed
		}
	}
	if err := p.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	_, err = r.Probe(t.Context(), Instance{Name: "q", Config: map[string]any{"refuse": "no"}})
	if e, ok := errors.AsType[*probe.ConfigError](err); !ok || e.Field != "refuse" {
		t.Errorf("a refused instance: %v", err)
	}
}

func callOf(method string) *probev1.Call { return &probev1.Call{Id: 1, Method: method} }

// The plugin's side refuses such calls too, so this one speaks to the host directly.
func TestTheHostItselfRefusesCallsThatATargetDoesNotList(t *testing.T) {
	t.Parallel()
	target := &resource{id: "x"}
	x := &probeStream{target: target, about: target.Describe(), limit: 1 << 20}
	if m := x.ask(t.Context(), callOf("drop")); m.GetNotListed() == nil || target.unlisted.Load() != 0 {
		t.Errorf("answered %v", m)
	}
	if m := x.ask(t.Context(), callOf("ping")); string(m.GetValue()) != "pong" {
		t.Errorf("answered %v", m)
	}
}

func TestAProbeEndsWithItsContext(t *testing.T) {
	t.Parallel()
	p, err := launchLooker(t).Probe(t.Context(), Instance{Name: "p"})
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"hang", "call:hang"} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		target := &resource{id: id, freed: make(chan struct{})}
		if _, err := p.Probe(ctx, target); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestASinkTakesBatchesAndSaysWhatBecameOfThem(t *testing.T) {
	t.Parallel()
	r := launchLooker(t)
	s, err := r.Metrics(t.Context(), Instance{Name: "m"})
	if err != nil {
		t.Fatal(err)
	}
	if res, err := s.Export(t.Context(), batch("whole")); err != nil || res.Rejected != 1 || res.Reason != "one is enough" {
		t.Errorf("%+v, %v", res, err)
	}
	if res, err := s.Export(t.Context(), batch("lies")); err != nil || res.Rejected != 3 {
		t.Errorf("more rejected than sent: %+v, %v", res, err)
	}
	if _, err := s.Export(t.Context(), batch("permanent")); !errors.Is(err, metrics.ErrPermanent) || !strings.Contains(err.Error(), "never") {
		t.Errorf("permanent: %v", err)
	}
	_, err = s.Export(t.Context(), batch("later"))
	if e, ok := errors.AsType[*metrics.RetryError](err); !ok || e.After != 7*time.Second {
		t.Errorf("later: %v", err)
	}
	if _, err := s.Export(t.Context(), batch("panic")); err == nil || errors.Is(err, metrics.ErrPermanent) || strings.Contains(err.Error(), "4711") {
		t.Errorf("panic: %v", err)
	}
	if _, err := s.Export(t.Context(), batch("exitonce")); err != nil {
		t.Errorf("an export is repeated in the next process: %v", err)
	}
	if _, err := s.Export(t.Context(), batch(strings.Repeat("x", 1<<20))); !errors.Is(err, metrics.ErrPermanent) {
		t.Errorf("too large: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Export(ctx, batch("hang")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hang: %v", err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	if !exists(filepath.Join(r.run.path, "state", "instances", "i-m", "closed")) {
		t.Error("the sink was not closed")
	}
}
