//go:build unix

package host

import (
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/go-mcpool/mcpool/sdk/transport"
)

// chatty connects to a server that sends a thousand messages on every stream.
func chatty(t *testing.T) *grpc.ClientConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		for range 1000 {
			if err := stream.SendMsg(&emptypb.Empty{}); err != nil {
				return err
			}
		}
		return nil
	}))
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	var limits Limits
	limits.setDefaults(func(string, string, ...any) {})
	conn, err := grpc.NewClient("unix:"+path, append(dialOptions(&limits, &connection{}), grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		srv.Stop()
		<-served
	})
	return conn
}

// go-plugin would keep each, and a goroutine for it.
func TestNobodyIsToldOfThePluginsFurtherSockets(t *testing.T) {
	t.Parallel()
	conn := chatty(t)
	for method, want := range map[string]int{"/plugin.GRPCBroker/StartStream": 0, "/plugin.GRPCStdio/StreamStdio": 1000} {
		stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, method)
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for err = stream.RecvMsg(&emptypb.Empty{}); err == nil; err = stream.RecvMsg(&emptypb.Empty{}) {
			got++
		}
		if got != want || !errors.Is(err, io.EOF) {
			t.Errorf("%s: %d messages, then %v", method, got, err)
		}
	}
}

func TestWhatBecameOfACallIsSaid(t *testing.T) {
	t.Parallel()
	for code, want := range map[codes.Code]struct {
		is  error
		say string
		ran bool
	}{
		codes.Canceled:          {context.Canceled, "the call was given up", true},
		codes.DeadlineExceeded:  {context.DeadlineExceeded, "the plugin did not answer in time", true},
		codes.Unavailable:       {errLost, "the plugin went away during the call", true},
		codes.ResourceExhausted: {nil, "a message was larger than Limits.MessageBytes: x", true},
		codes.Unimplemented:     {nil, "x", false},
		codes.Unknown:           {nil, "x", true},
	} {
		e := fromRPC(status.Error(code, "x\x1b"))
		if want.is != nil && !errors.Is(e, want.is) || e.Ran != want.ran || strings.TrimSpace(e.Message) != want.say || e.Downstream {
			t.Errorf("%v: %q, ran %v, %v", code, e.Message, e.Ran, e.Causes)
		}
	}
	for cause, want := range map[error]string{
		context.Canceled: "the call was given up", context.DeadlineExceeded: "the plugin did not answer in time", errLost: "the plugin went away during the call",
	} {
		if e := fromRPC(cause); e.Message != want || !errors.Is(e, cause) {
			t.Errorf("%v: %q", cause, e.Message)
		}
	}
}

func TestAConnectionThatComesAfterTheEndIsClosed(t *testing.T) {
	t.Parallel()
	cc, err := grpc.NewClient("passthrough:///nowhere", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	var c connection
	c.close()
	c.set(cc)
	if s := cc.GetState(); s != connectivity.Shutdown {
		t.Errorf("it is %v", s)
	}
}

// It has none of its instances open any more, and is not to be used.
func TestAProcessThatIsLostAnswersToNoClosing(t *testing.T) {
	t.Parallel()
	r := launch(t, part(t, "good"))
	r.mu.Lock()
	plugin, img := r.plugin, r.image
	r.mu.Unlock()
	p, err := startProcess(t.Context(), plugin, img, r.run) // that nobody buries
	if err != nil {
		t.Fatal(err)
	}
	defer p.destroy()
	syscall.Kill(p.child.number(), syscall.SIGKILL)
	eventually(t, "its connection breaks", func() bool { return p.conn.GetState() != connectivity.Ready })
	if err := (&instance{name: "a"}).close(t.Context(), p); !errors.Is(err, errLost) {
		t.Errorf("got %v", err)
	}
}

func TestTheDefaultDeadlineIsForCallsThatHaveNone(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	want, _ := ctx.Deadline()
	bounded, done := withDefaultDeadline(ctx, time.Minute)
	defer done()
	if got, ok := bounded.Deadline(); !ok || !got.Equal(want) {
		t.Errorf("a call has until %v, want %v", got, want)
	}
}

// gRPC's interceptors do not bound streams.
func TestTheDefaultDeadlineEndsAProbeAndADialThatHaveNone(t *testing.T) {
	t.Parallel()
	r := launchLooker(t)
	p, err := r.Probe(t.Context(), Instance{Name: "p"})
	if err != nil {
		t.Fatal(err)
	}
	c := launchCarrier(t, nil)
	for _, r := range []*Running{r, c.Running} {
		r.mu.Lock()
		r.plugin.Limits.Call = 50 * time.Millisecond
		r.mu.Unlock()
	}
	err = inTime(t, "the probe ends", func() error {
		_, err := p.Probe(context.Background(), &resource{id: "hang"})
		return err
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Probe: %v", err)
	}
	err = inTime(t, "the dial ends", func() error {
		_, err := c.dialer.Dial(context.Background(), transport.Open{Target: transport.Target{Name: "hang"}})
		return err
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Dial: %v", err)
	}
}

// gRPC has one word for a call that was given up and for one under whose connection it was
// closed, which destroy does.
func TestACallIsRepeatedOnlyIfItsConnectionIsGone(t *testing.T) {
	t.Parallel()
	r := launch(t, part(t, "good"))
	for gone, want := range map[bool]int{true: 2, false: 1} {
		tries := 0
		err := r.call(t.Context(), "M", "", func(_ context.Context, p *process) error {
			if tries++; tries == 2 {
				return nil
			}
			if gone {
				p.conn.Close()
			}
			return status.Error(codes.Canceled, "grpc: the client connection is closing")
		})
		if tries != want || gone == errors.Is(err, context.Canceled) {
			t.Errorf("gone %v: tried %d times, %v", gone, tries, err)
		}
	}
}
