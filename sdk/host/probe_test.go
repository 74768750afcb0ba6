//go:build unix

package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	probev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/probe/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
	"github.com/go-mcpool/mcpool/sdk/metrics"
	"github.com/go-mcpool/mcpool/sdk/probe"
)

// resource is a target that counts what it does not list.
type resource struct {
	id       string
	unlisted atomic.Int32
	freed    chan struct{}
	group    group
}

// group keeps calls until there are as many as a probe can have at once.
type group struct {
	mu    sync.Mutex
	here  int           // guarded by mu
	most  int           // guarded by mu
	whole chan struct{} // guarded by mu
}

func (g *group) join(ctx context.Context) {
	g.mu.Lock()
	if g.whole == nil {
		g.whole = make(chan struct{})
	}
	g.here++
	g.most = max(g.most, g.here)
	whole := g.whole
	if g.here == wire.MaxCalls {
		g.here, g.whole = 0, nil
		close(whole)
	}
	g.mu.Unlock()
	select {
	case <-whole:
	case <-ctx.Done():
	}
}

func (r *resource) Describe() probe.Description {
	return probe.Description{
		Kind: "k", Pool: "p", ID: r.id, Attrs: map[string]string{"x": "y"},
		Methods: []string{"ping", "fails", "breaks", "hang", "large", "panics", "gather"},
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
		panic("hush4711")
	case "gather":
		r.group.join(ctx)
		return json.RawMessage("{}"), ctx.Err()
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
		if err != nil && strings.Contains(err.Error(), "hush4711") {
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
	if m := x.ask(t.Context(), callOf("large")); len(m.GetValue()) != 1<<20 {
		t.Errorf("answered with %d bytes", len(m.GetValue()))
	}
	x.limit--
	if m := x.ask(t.Context(), callOf("large")); !strings.Contains(m.GetFailure().GetMessage(), "has 1048576 bytes, and Limits.MessageBytes allows 1048575") {
		t.Errorf("answered %v", m.GetFailure())
	}
}

// A prober that makes more calls than a probe can have at once waits, and loses none.
func TestCallsBeyondWhatAProbeCanHaveAtOnceWait(t *testing.T) {
	t.Parallel()
	p, err := launchLooker(t).Probe(t.Context(), Instance{Name: "p"})
	if err != nil {
		t.Fatal(err)
	}
	target := &resource{id: fmt.Sprintf("many:%d", 5*wire.MaxCalls)}
	v, err := p.Probe(t.Context(), target)
	if err != nil || v.String() != "healthy: 0 failed" {
		t.Errorf("%v, %v", v, err)
	}
	if target.group.most != wire.MaxCalls {
		t.Errorf("%d calls at once, want %d", target.group.most, wire.MaxCalls)
	}
}

// sent is a stream that keeps what is sent.
type sent struct {
	grpc.BidiStreamingClient[probev1.ProbeRequest, probev1.ProbeResponse]

	mu   sync.Mutex
	all  []*probev1.CallResult // guarded by mu
	more chan struct{}
}

func (s *sent) Send(m *probev1.ProbeRequest) error {
	s.mu.Lock()
	s.all = append(s.all, m.GetResult())
	s.mu.Unlock()
	s.more <- struct{}{}
	return nil
}

// A plugin that does not wait, which is not made with sdk, is answered nevertheless.
func TestTheHostAnswersCallsBeyondWhatAProbeCanHaveAtOnce(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	target, stream := &resource{id: "x"}, &sent{more: make(chan struct{}, 2*wire.MaxCalls)}
	x := &probeStream{
		stream: stream, target: target, about: target.Describe(), limit: 1 << 20, cancels: make(map[uint64]context.CancelFunc),
	}
	for id := range uint64(wire.MaxCalls - 1) {
		if err := x.call(ctx, &probev1.Call{Id: id, Method: "gather"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.call(ctx, &probev1.Call{Id: 3, Method: "ping"}); err == nil || !strings.Contains(err.Error(), "two calls with the id 3") {
		t.Errorf("an id that is in use: %v", err)
	}
	x.mu.Lock()
	x.cancels[99] = func() {} // a call that does not come to its end
	x.mu.Unlock()
	if err := x.call(ctx, &probev1.Call{Id: 100, Method: "ping"}); err != nil {
		t.Fatal(err)
	}
	<-stream.more
	if m := stream.all[0]; m.GetId() != 100 || m.GetFailure().GetMayHaveRun() || !strings.Contains(m.GetFailure().GetMessage(), "16 calls are under way") {
		t.Errorf("one call too many was answered with %v", m)
	}
	cancel()
	x.calls.Wait()
	late := &probev1.Call{Id: 101, Method: "hang", Timeout: durationpb.New(time.Millisecond)}
	target.freed, x.cancels = make(chan struct{}), make(map[uint64]context.CancelFunc)
	if err := x.call(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	inTime(t, "a call ends when its own time is over", func() struct{} { return <-target.freed })
	x.calls.Wait()
}

// deafStream is a stream that takes nothing until it is let go.
type deafStream struct {
	grpc.BidiStreamingClient[probev1.ProbeRequest, probev1.ProbeResponse]

	free  chan struct{}
	taken atomic.Int32
}

func (d *deafStream) Send(*probev1.ProbeRequest) error {
	<-d.free
	d.taken.Add(1)
	return nil
}

// A call whose result waits to be sent counts: nobody knows how long it will.
func TestAPluginThatReadsNoResultsMakesOnlySoManyCalls(t *testing.T) {
	t.Parallel()
	const calls = 3 * wire.MaxCalls
	target, stream := &resource{id: "x"}, &deafStream{free: make(chan struct{})}
	x := &probeStream{
		stream: stream, target: target, about: target.Describe(), limit: 1 << 20, cancels: make(map[uint64]context.CancelFunc),
	}
	flooded := make(chan struct{})
	go func() {
		defer close(flooded)
		for id := range uint64(calls) {
			if err := x.call(t.Context(), &probev1.Call{Id: id, Method: "ping"}); err != nil {
				t.Error(err)
			}
		}
	}()
	eventually(t, "there are as many as there may be", func() bool {
		x.mu.Lock()
		defer x.mu.Unlock()
		return len(x.cancels) == wire.MaxCalls
	})
	close(stream.free)
	<-flooded
	x.calls.Wait()
	if n := stream.taken.Load(); n != calls || len(x.cancels) != 0 {
		t.Errorf("%d results of %d calls, %d left", n, calls, len(x.cancels))
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
	if _, err := s.Export(t.Context(), batch("panic")); err == nil || errors.Is(err, metrics.ErrPermanent) || strings.Contains(err.Error(), "hush4711") {
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
