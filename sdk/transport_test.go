package sdk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	transportv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/transport/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

func TestAStreamBeginsWithWhatItIsAbout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newLine[transportv1.SessionRequest, transportv1.SessionResponse](t)
		s.serve(func() error { return (&transportServer{set: newInstances()}).Session(s) })
		s.tell(&transportv1.SessionRequest{Message: &transportv1.SessionRequest_Part{Part: &transportv1.Part{}}})
		if said := s.ends(); !strings.Contains(fmt.Sprint(s.failed()), errFirstMessage.Error()) || len(said) != 0 {
			t.Errorf("a session: %v, %v", s.failed(), said)
		}
		s = newLine[transportv1.SessionRequest, transportv1.SessionResponse](t)
		s.serve(func() error { return (&transportServer{set: newInstances()}).Session(s) })
		s.tell(&transportv1.SessionRequest{Message: &transportv1.SessionRequest_Open{Open: &transportv1.Open{Instance: "i"}}})
		if s.ends(); !errors.Is(s.failed(), wire.ErrNoInstance) {
			t.Errorf("a session of no instance: %v", s.failed())
		}
	})
}

func TestADialerIsClosedAfterItsConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTube()
		c.close = func(context.Context, transport.Reason) error {
			time.Sleep(time.Second)
			c.note("closed")
			return nil
		}
		set := with(t, wire.KindTransport, c, func() { c.note("dialer closed") })
		s := newLine[transportv1.SessionRequest, transportv1.SessionResponse](t)
		s.serve(func() error { return (&transportServer{set: set}).Session(s) })
		s.tell(&transportv1.SessionRequest{Message: &transportv1.SessionRequest_Open{Open: &transportv1.Open{Instance: "i"}}})
		synctest.Wait()
		if err := set.close(t.Context(), "i"); err != nil {
			t.Error(err)
		}
		if said := s.ends(); inShort(said) != "opened ended closed" {
			t.Errorf("the plugin said %q", inShort(said))
		}
		if e, ok := errors.AsType[*transport.CloseError](fault(s.all())); !ok || e.Reason != transport.ShuttingDown {
			t.Errorf("it ended with %v", fault(s.all()))
		}
		if got := c.noted(); got != "close shutting down, closed, dialer closed" {
			t.Errorf("called: %s", got)
		}
	})
}

func TestDiallingMayTakeAWhileWhenItsInstanceEndsAndNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTube()
		c.dial = func(ctx context.Context, _ transport.Open) (transport.Conn, error) {
			select {
			case <-time.After(sessionGrace - 1):
				return c, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		s := sit(t, c, &transportv1.Open{})
		close(s.ending)
		s.want(s.ends(), "opened ended closed")

		c.dial = func(ctx context.Context, _ transport.Open) (transport.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		s = sit(t, c, &transportv1.Open{})
		close(s.ending)
		s.want(s.ends(), "ended")
	})
}

func TestTheTimeForDiallingBoundsNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTube()
		var dialled, received context.Context
		c.dial = func(ctx context.Context, _ transport.Open) (transport.Conn, error) {
			dialled = ctx //nolint:fatcontext // to be looked at afterwards
			return c, nil
		}
		c.receive = func(ctx context.Context) ([]byte, error) {
			received = ctx //nolint:fatcontext // the same
			<-ctx.Done()
			return nil, ctx.Err()
		}
		s := sit(t, c, &transportv1.Open{Timeout: durationpb.New(time.Second)})
		if at, ok := dialled.Deadline(); !ok || !at.Equal(time.Now().Add(time.Second)) {
			t.Errorf("dialling had until %v, %v", at, ok)
		}
		for what, ctx := range map[string]context.Context{"Dial": dialled, "Receive": received} {
			if ctx == nil || Traceparent(ctx) != traceparent {
				t.Errorf("%s: the trace is not that of the stream", what)
			}
		}
		time.Sleep(time.Minute)
		s.close(&transportv1.Close{})
		s.want(s.ends(), "opened ended closed")

		c.dial = func(ctx context.Context, _ transport.Open) (transport.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		s = sit(t, c, &transportv1.Open{Timeout: durationpb.New(time.Second)})
		s.want(s.ends(), "ended")
		if err := fault(s.all()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dialling for ever: %v", err)
		}
	})
}

func TestADialerThatPanicsOrReturnsNothingHasDialledNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTube()
		c.dial = func(context.Context, transport.Open) (transport.Conn, error) { panic("hush4711") }
		s := sit(t, c, &transportv1.Open{})
		s.want(s.ends(), "ended")
		if err := fault(s.all()); !errors.Is(err, wire.ErrPanic) || strings.Contains(err.Error(), "hush4711") {
			t.Errorf("a panic: %v", err)
		}
		c.dial = func(context.Context, transport.Open) (transport.Conn, error) { return nil, nil } //nolint:nilnil // the author's mistake
		s = sit(t, c, &transportv1.Open{})
		s.want(s.ends(), "ended")
		if err := fault(s.all()); !strings.Contains(fmt.Sprint(err), "neither a connection nor an error") {
			t.Errorf("nothing: %v", err)
		}
	})
}
