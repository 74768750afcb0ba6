package host

import (
	"context"
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
