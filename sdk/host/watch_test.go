package host

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	basev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/base/v1"
)

// states is a connection that says what it is told to.
type states struct {
	mu      sync.Mutex
	now     connectivity.State // guarded by mu
	changed chan struct{}      // guarded by mu
}

func (s *states) set(now connectivity.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = now
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *states) GetState() connectivity.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *states) WaitForStateChange(ctx context.Context, last connectivity.State) bool {
	s.mu.Lock()
	now, changed := s.now, s.changed
	s.mu.Unlock()
	if now != last {
		return true
	}
	select {
	case <-changed:
		return true
	case <-ctx.Done():
		return false
	}
}

// gRPC hands the first call a connection before it calls it Ready: a plugin that had
// described itself in between was ended as if it had hung up.
func TestAConnectionIsNotBrokenBeforeItIsReady(t *testing.T) {
	t.Parallel()
	for _, end := range []connectivity.State{connectivity.Idle, connectivity.TransientFailure, connectivity.Shutdown, connectivity.Connecting} {
		t.Run(end.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &states{now: connectivity.Connecting, changed: make(chan struct{})}
				over := make(chan bool, 1)
				go func() { over <- broken(t.Context(), s) }()
				for _, next := range []connectivity.State{connectivity.Ready, end} {
					synctest.Wait()
					if len(over) > 0 {
						t.Fatalf("broken before it is %v", next)
					}
					s.set(next)
				}
				synctest.Wait()
				if len(over) == 0 || !<-over {
					t.Errorf("not broken when it is %v after Ready", end)
				}
			})
		})
	}
}

func TestAConnectionThatNeverGetsReadyIsBroken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &states{now: connectivity.Connecting, changed: make(chan struct{})}
		over := make(chan bool, 1)
		go func() { over <- broken(t.Context(), s) }()
		synctest.Wait()
		s.set(connectivity.TransientFailure)
		synctest.Wait()
		if len(over) == 0 || !<-over {
			t.Error("it is not broken")
		}
		s.set(connectivity.Idle) // it was there, and is no more, before anybody looks
		if !broken(t.Context(), s) {
			t.Error("an idle one is not broken")
		}
	})
}

func TestWatchingAConnectionEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for _, now := range []connectivity.State{connectivity.Connecting, connectivity.Ready} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if broken(ctx, &states{now: now, changed: make(chan struct{})}) {
			t.Errorf("%v: broken, and nothing has happened", now)
		}
	}
}

// gRPC hangs up after half an hour without a call unless it is told not to. The plugin's
// socket has no name by then, so that only another process could be called.
func TestAConnectionThatNobodyUsesStaysThere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := bufconn.Listen(1 << 10)
		srv := grpc.NewServer()
		basev1.RegisterPluginServiceServer(srv, basev1.UnimplementedPluginServiceServer{})
		served := make(chan error, 1)
		go func() { served <- srv.Serve(l) }()
		defer func() {
			srv.Stop()
			<-served
		}()
		options := append(dialOptions(&Limits{Call: time.Minute, MessageBytes: 1 << 20}, &connection{}),
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
		conn, err := grpc.NewClient("passthrough:///unused", options...)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = basev1.NewPluginServiceClient(conn).Health(t.Context(), &basev1.HealthRequest{}) // Unimplemented, which is an answer
		synctest.Wait()
		if s := conn.GetState(); s != connectivity.Ready {
			t.Fatalf("after a call the connection is %v", s)
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if s := conn.GetState(); s != connectivity.Ready {
			t.Errorf("a day later the connection is %v", s)
		}
	})
}

// pulse is a plugin that answers to Health as it is told to.
type pulse struct {
	basev1.PluginServiceClient

	beats []bool // what it answers, and at the end that it is well
	asked int
}

func (p *pulse) Health(ctx context.Context, _ *basev1.HealthRequest, _ ...grpc.CallOption) (*basev1.HealthResponse, error) {
	p.asked++
	if p.asked <= len(p.beats) && !p.beats[p.asked-1] {
		<-ctx.Done() // never, if nothing bounds it
		return nil, ctx.Err()
	}
	return &basev1.HealthResponse{}, nil
}

// checked is a process that nothing runs for.
func checked(limits Limits, base basev1.PluginServiceClient) *process {
	p := &Plugin{Limits: limits}
	return &process{plugin: p, child: &child{pid: 1 << 30}, base: base, condemned: make(chan struct{})}
}

func TestTheSecondAnswerInARowThatDoesNotComeEndsAPlugin(t *testing.T) {
	t.Parallel()
	for name, kase := range map[string]struct {
		beats []bool
		asked int // when it is condemned; 0 for never
	}{
		"well":               {nil, 0},
		"one":                {[]bool{false}, 0},
		"every other":        {[]bool{false, true, false, true, false}, 0},
		"two":                {[]bool{false, false}, 2},
		"two after a while":  {[]bool{false, true, true, false, false}, 5},
		"none but the first": {[]bool{true, false, false, false}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				base := &pulse{beats: kase.beats}
				p := checked(Limits{Health: time.Minute, HealthTimeout: time.Second, HardMemoryBytes: -1}, base)
				over := make(chan struct{})
				go func() { defer close(over); p.check(ctx) }()
				time.Sleep(time.Hour + time.Minute)
				synctest.Wait()
				switch {
				case kase.asked == 0 && p.why() != "", kase.asked != 0 && p.why() != "it does not answer: the plugin did not answer in time":
					t.Errorf("after %d questions it is condemned because %q", base.asked, p.why())
				case kase.asked == 0 && base.asked != 61, kase.asked != 0 && base.asked != kase.asked:
					t.Errorf("it was asked %d times", base.asked)
				}
				cancel()
				<-over
			})
		})
	}
}

// Nobody answers to a call on a process that is no good any more.
func TestADrainEndsWithTheCallsOrWithTheProcess(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*process){
		"calls": func(p *process) { p.end() }, "process": func(p *process) { p.condemn("it is tired"); p.condemn("later") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := checked(Limits{}, nil)
				if err := p.drain(t.Context()); err != nil {
					t.Errorf("with no call: %v", err)
				}
				if !p.begin() {
					t.Fatal("no call can begin")
				}
				drained := make(chan error, 1)
				go func() {
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					drained <- p.drain(ctx)
				}()
				synctest.Wait()
				if len(drained) > 0 {
					t.Fatalf("it is drained, %v, under a call", <-drained)
				}
				end(p)
				synctest.Wait()
				if len(drained) == 0 {
					t.Error("it is not drained")
				}
				if err := <-drained; err != nil {
					t.Error(err)
				}
				if name == "process" && (p.begin() || p.why() != "it is tired") {
					t.Errorf("a call can begin on it, or it is condemned because %q", p.why())
				}
			})
		})
	}
	p := checked(Limits{}, nil)
	p.begin()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a drain that is cut short: %v", err)
	}
}
