package sdk

import (
	"context"
	"errors"
	"io"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// line is the plugin's end of a stream whose other end is the test.
type line[Req, Res any] struct {
	grpc.ServerStream

	t    *testing.T
	ctx  context.Context
	drop context.CancelFunc // the host is gone
	in   chan *Req          // what the host says; closed, it says no more
	on   func(*Res)         // is told of each message before it counts as sent; may be nil
	torn atomic.Bool        // nothing can be sent any more
	busy atomic.Bool
	done chan struct{} // closed when the stream is over
	err  error         // of the stream, once it is over

	mu   sync.Mutex
	said []*Res // guarded by mu
}

func newLine[Req, Res any](t *testing.T) *line[Req, Res] {
	t.Helper()
	l := &line[Req, Res]{t: t, in: make(chan *Req), done: make(chan struct{})}
	l.ctx, l.drop = context.WithCancel(metadata.NewIncomingContext(context.Background(), metadata.Pairs(wire.TraceparentKey, traceparent)))
	return l
}

// serve runs a stream, as gRPC does.
func (l *line[Req, Res]) serve(stream func() error) {
	go func() {
		l.err = streaming(nil, l, &grpc.StreamServerInfo{}, func(any, grpc.ServerStream) error { return stream() })
		l.drop()
		close(l.done)
	}()
}

func (l *line[Req, Res]) Context() context.Context { return l.ctx }

func (l *line[Req, Res]) Recv() (*Req, error) {
	select {
	case m, ok := <-l.in:
		if !ok {
			return nil, io.EOF
		}
		return m, nil
	case <-l.ctx.Done():
		return nil, l.ctx.Err()
	}
}

// Send is not for two at the same time, as gRPC's. It takes what comes after the end too, so
// that somebody notices.
func (l *line[Req, Res]) Send(m *Res) error {
	if !l.busy.CompareAndSwap(false, true) {
		l.t.Error("two messages are sent at the same time")
	}
	defer l.busy.Store(false)
	runtime.Gosched()
	if l.torn.Load() {
		return errors.New("the line is torn")
	}
	if l.on != nil {
		l.on(m)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, m)
	return nil
}

// tell has the host say something, and returns when the plugin has it.
func (l *line[Req, Res]) tell(m *Req) {
	l.t.Helper()
	select {
	case l.in <- m:
	case <-time.After(time.Hour):
		l.t.Fatal("the plugin does not listen")
	case <-l.done:
		l.t.Fatalf("the stream is over: %v", l.err)
	}
}

// failed is what the host makes of the stream's error.
func (l *line[Req, Res]) failed() error {
	if e, ok := wire.FromStatus(l.err); ok {
		return e
	}
	return l.err
}

// all is what the plugin has said so far.
func (l *line[Req, Res]) all() []*Res {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.said)
}

// ends waits for the end of the stream and returns all that the plugin said.
func (l *line[Req, Res]) ends() []*Res {
	l.t.Helper()
	select {
	case <-l.done:
	case <-time.After(time.Hour): // of a bubble
		l.t.Error("the stream does not end")
		l.drop()
		<-l.done
	}
	return l.all()
}

// with is a set with one instance.
func with(t *testing.T, kind string, value any, closes func()) *instances {
	t.Helper()
	set := newInstances()
	_, err := set.open(context.Background(), "i", kind, digestOf(nil, nil), func() (opened, error) {
		return opened{value: value, close: func(context.Context) error { closes(); return nil }}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return set
}
