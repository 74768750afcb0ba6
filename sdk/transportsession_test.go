package sdk

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	transportv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/transport/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

func TestMessagesGoInPiecesThatTheHostTakesUnderOneNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTube()
		s := sit(t, c, &transportv1.Open{PartBytes: 4, Window: 9})
		for _, m := range []string{"abcdefghij", "", "abcdefgh"} {
			c.peer <- []byte(m)
		}
		synctest.Wait()
		s.want(s.all(), "opened part1:abcd+ part1:efgh+ part1:ij part2: part3:abcd+ part3:efgh")
		if got := s.all()[0].GetOpened().GetPartBytes(); got != wire.MaxPart {
			t.Errorf("the host may send pieces of %d bytes, want %d", got, wire.MaxPart)
		}
		s.close(&transportv1.Close{})
		s.ends()
	})
}

func TestThePluginSendsNoMoreAheadThanTheHostHasRoomFor(t *testing.T) {
	for _, tt := range []struct {
		window, taken uint32
		first, then   int
	}{{0, 1, 1, 1}, {2, 3, 2, 3}, {1000, 1 << 31, maxWindow, maxWindow}} {
		synctest.Test(t, func(t *testing.T) {
			c := newTube()
			c.receive = func(ctx context.Context) ([]byte, error) { return []byte("m"), ctx.Err() }
			s := sit(t, c, &transportv1.Open{Window: tt.window})
			if got := len(s.all()) - 1; got != tt.first {
				t.Errorf("a window of %d: %d messages", tt.window, got)
			}
			s.taken(tt.taken)
			synctest.Wait()
			if got := len(s.all()) - 1; got != tt.first+tt.then {
				t.Errorf("a window of %d and %d taken: %d messages", tt.window, tt.taken, got)
			}
			s.close(&transportv1.Close{}) // while it waits for room
			if said := s.ends(); said[len(said)-1].GetClosed() == nil {
				t.Errorf("the last word is %v", said[len(said)-1])
			}
		})
	}
}

// A host that gives room for more than was ever sent is heard all the same.
func TestRoomThatNobodyNeedsIsInNobodysWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sit(t, newTube(), &transportv1.Open{Window: maxWindow})
		s.taken(maxWindow)
		s.part(1, "heard", false)
		s.close(&transportv1.Close{})
		s.ends()
		if got := s.tube.noted(); got != "send heard, close peer gone" {
			t.Errorf("called: %s", got)
		}
	})
}

func TestAConnectionIsClosedForTheReasonAndInTheTimeThatTheHostSays(t *testing.T) {
	for _, tt := range []struct {
		close  *transportv1.Close
		reason transport.Reason
		within time.Duration
	}{
		{&transportv1.Close{Reason: transportv1.Reason_REASON_DONE}, transport.Done, sessionGrace},
		{&transportv1.Close{Reason: transportv1.Reason_REASON_PROTOCOL_ERROR, Timeout: durationpb.New(time.Hour)}, transport.ProtocolError, time.Hour},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newTube()
			c.close = func(ctx context.Context, reason transport.Reason) error {
				if at, ok := ctx.Deadline(); reason != tt.reason || !ok || !at.Equal(time.Now().Add(tt.within)) {
					t.Errorf("Close until %v, %v for %v", at, ok, reason)
				}
				time.Sleep(time.Second)
				return ctx.Err()
			}
			s := sit(t, c, &transportv1.Open{})
			s.close(tt.close)
			synctest.Wait()
			for range 3 {
				s.close(tt.close) // says nothing new, and is in nobody's way
			}
			s.want(s.ends(), "opened ended closed")
		})
	}
}

// The host is told at once, and what belongs to the connection is closed without its help.
func TestAConnectionThatEndsByItselfIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTube()
		c.receive = func(context.Context) ([]byte, error) {
			return nil, &transport.CloseError{Reason: transport.SessionGone, Err: errors.New("404")}
		}
		s := sit(t, c, &transportv1.Open{})
		s.want(s.ends(), "opened ended closed")
		if e, ok := errors.AsType[*transport.CloseError](fault(s.all())); !ok || e.Reason != transport.SessionGone {
			t.Errorf("it ended with %v", fault(s.all()))
		}
		if got := c.noted(); got != "close done" {
			t.Errorf("called: %s", got)
		}
		c.receive = func(context.Context) ([]byte, error) { panic("hush4711") }
		s = sit(t, c, &transportv1.Open{})
		s.want(s.ends(), "opened ended closed")
		if err := fault(s.all()); !errors.Is(err, wire.ErrPanic) || strings.Contains(err.Error(), "hush4711") {
			t.Errorf("a panic: %v", err)
		}
	})
}

func TestTheHostLearnsThatAMessageWasTooLargeHoweverItIsSaid(t *testing.T) {
	for name, received := range map[string]func() ([]byte, error){
		"by the error": func() ([]byte, error) { return nil, &transport.SizeError{Bytes: 9, Max: 8} },
		"by what closed": func() ([]byte, error) {
			return nil, &transport.CloseError{Reason: transport.ProtocolError, Err: &transport.SizeError{Bytes: 9, Max: 8}}
		},
		"by its bytes": func() ([]byte, error) { return []byte("123456789"), nil },
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newTube()
			first := true
			c.receive = func(context.Context) ([]byte, error) {
				if first {
					first = false
					return []byte("12345678"), nil
				}
				return received()
			}
			s := sit(t, c, &transportv1.Open{MaxBytes: 8, Window: 8})
			s.want(s.ends(), "opened part1:12345678 ended closed")
			if e, ok := errors.AsType[*transport.SizeError](fault(s.all())); !ok || *e != (transport.SizeError{Bytes: 9, Max: 8}) {
				t.Errorf("%s: it ended with %v", name, fault(s.all()))
			}
		})
	}
}

// A host that does not keep to the rules loses its session, and the peer gets nothing of it.
func TestAHostThatBreaksTheRulesLosesItsSession(t *testing.T) {
	for name, tt := range map[string]struct {
		breaks func(*sitting)
		want   string
	}{
		"a message too large": {func(s *sitting) { s.part(1, "123456789", false) }, "close shutting down"},
		"one too large in pieces": {func(s *sitting) {
			s.part(1, "12345", true)
			s.part(1, "6789", false)
		}, "close shutting down"},
		"two at the same time": {func(s *sitting) {
			s.part(1, "first", false)
			s.part(2, "second", false)
		}, "send first, close shutting down"},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newTube()
			s := sit(t, c, &transportv1.Open{MaxBytes: 8})
			s.part(1, "1234", true)
			s.part(1, "5678", false)
			synctest.Wait()
			s.want(s.all(), "opened sent1")
			c.send = c.stuck
			tt.breaks(s)
			if said := s.ends(); said[len(said)-1].GetClosed() == nil {
				t.Errorf("%s: the last word is %v", name, said[len(said)-1])
			}
			if got := c.noted(); got != "send 12345678, "+tt.want {
				t.Errorf("%s: called: %s", name, got)
			}
		})
	}
}

func TestAConnectionIsClosedInTimeOfItsOwnWhenTheHostIsGone(t *testing.T) {
	for name, goes := range map[string]func(*sitting){
		"the stream broke":      func(s *sitting) { s.drop() },
		"the host says no more": func(s *sitting) { close(s.in) },
		"it does while there is no room": func(s *sitting) {
			s.tube.peer <- []byte("m")
			synctest.Wait()
			close(s.in)
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newTube()
			c.close = func(ctx context.Context, _ transport.Reason) error {
				if at, ok := ctx.Deadline(); ctx.Err() != nil || !ok || !at.Equal(time.Now().Add(sessionGrace)) {
					t.Errorf("%s: Close until %v, %v: %v", name, at, ok, ctx.Err())
				}
				return nil
			}
			s := sit(t, c, &transportv1.Open{})
			goes(s)
			s.ends()
			if got := c.noted(); !strings.HasPrefix(got, "close ") {
				t.Errorf("%s: called: %s", name, got)
			}
		})
	}
}

func TestACloseThatPanicsHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTube()
		c.close = func(context.Context, transport.Reason) error { panic("hush4711") }
		s := sit(t, c, &transportv1.Open{})
		s.close(&transportv1.Close{})
		said := s.ends()
		s.want(said, "opened ended closed!")
		failure := wire.FromFailure(said[len(said)-1].GetClosed().GetFailure())
		if !errors.Is(failure, wire.ErrPanic) || strings.Contains(failure.Error(), "hush4711") {
			t.Errorf("it failed with %v", failure)
		}
	})
}

// Closed is the last word, also where Receive ends late, or only with its context.
func TestNothingIsSaidAfterClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTube()
		c.receive = func(ctx context.Context) ([]byte, error) {
			<-ctx.Done()
			time.Sleep(time.Second)
			return []byte("late"), nil
		}
		s := sit(t, c, &transportv1.Open{})
		sends := make(chan struct{})
		c.send = func(context.Context, []byte) error { close(sends); return nil }
		s.on = func(m *transportv1.SessionResponse) {
			if m.GetClosed() == nil {
				return
			}
			s.in <- &transportv1.SessionRequest{Message: &transportv1.SessionRequest_Part{Part: &transportv1.Part{Id: 1, Data: []byte("too late")}}}
			select {
			case s.in <- &transportv1.SessionRequest{}: // so that the one before has come to its end
			case <-sends:
				t.Error("a connection that is closed was given a message")
			}
		}
		s.close(&transportv1.Close{Reason: transportv1.Reason_REASON_DONE})
		s.want(s.ends(), "opened part1:late closed")
		if got := c.noted(); got != "close done" {
			t.Errorf("called: %s", got)
		}
	})
}

func TestAMessageIsCancelledByItsNumberAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTube()
		s := sit(t, c, &transportv1.Open{})
		s.cancel(0) // of nothing at all
		var ctx context.Context
		c.send = func(x context.Context, _ []byte) error { ctx = x; return nil } //nolint:fatcontext // to be looked at
		s.part(1, "quick", false)
		synctest.Wait()
		if ctx.Err() == nil {
			t.Error("the context of a message goes on after its answer")
		}
		c.send = c.stuck
		s.part(2, "slow", false)
		s.cancel(1) // comes late
		time.Sleep(time.Minute)
		s.want(s.all(), "opened sent1")
		s.cancel(2)
		synctest.Wait()
		s.want(s.all(), "opened sent1 sent2!")
		if f := s.all()[2].GetSent().GetFault(); f.GetNotSent() || !errors.Is(wire.FaultFrom(f, func(*wire.Error) {}), context.Canceled) {
			t.Errorf("a cancelled message: %v", f)
		}
		s.cancel(2) // again
		s.close(&transportv1.Close{})
		s.ends()
	})
}

// The host may send the next message as soon as it has the answer.
func TestTheNextMessageMayComeWithTheAnswer(t *testing.T) {
	t.Parallel()
	l := newLine[transportv1.SessionRequest, transportv1.SessionResponse](t)
	defer l.drop()
	x := &session{stream: l, conn: newTube()}
	l.on = func(m *transportv1.SessionResponse) {
		if m.GetSent() == nil {
			return
		}
		if _, ok := x.take(l.ctx, 2); !ok {
			t.Error("it came too early")
		}
	}
	ctx, _ := x.take(l.ctx, 1)
	x.send(ctx, 1, nil)
	if got := inShort(l.all()); got != "sent1" {
		t.Errorf("the plugin said %q", got)
	}
	if x.cancel == nil {
		t.Error("what belongs to the next message was taken away")
	}
	x.cancel()
}

// A host that does not wait for the answer is told so, or was lucky.
func TestAMessageMayComeBesideTheAnswerToTheOneBeforeConcurrentSafe(t *testing.T) {
	t.Parallel()
	l := newLine[transportv1.SessionRequest, transportv1.SessionResponse](t)
	defer l.drop()
	for range 200 {
		x := &session{stream: l, conn: newTube()}
		ctx, _ := x.take(l.ctx, 1)
		var sending sync.WaitGroup
		sending.Go(func() { x.send(ctx, 1, nil) })
		_, ok := x.take(context.Background(), 2) // no lock of a parent's puts it in order
		sending.Wait()
		if waits := x.cancel != nil; waits != ok {
			t.Fatalf("the second was taken: %v, and is under way: %v", ok, waits)
		}
		if ok {
			x.cancel()
		}
	}
}

// A message that the medium is still busy with when the connection is closed is answered
// before Closed, which says of those without an answer that they were not sent.
func TestAMessageIsAnsweredBeforeClosed(t *testing.T) {
	t.Parallel()
	c := newTube()
	s := &sitting{newLine[transportv1.SessionRequest, transportv1.SessionResponse](t), c, make(chan struct{})}
	closed := make(chan struct{})
	s.on = func(m *transportv1.SessionResponse) {
		if m.GetClosed() != nil {
			close(closed)
		}
	}
	c.send = func(ctx context.Context, _ []byte) error {
		<-ctx.Done() // the connection is closed
		for range 1000 {
			select {
			case <-closed:
				return errors.New("too late")
			default:
				runtime.Gosched()
			}
		}
		return nil
	}
	s.serve(func() error { return serveSession(s.line, c, &transportv1.Open{}, s.ending) })
	s.part(1, "slow", false)
	s.close(&transportv1.Close{})
	if got := inShort(s.ends()); !slices.Contains([]string{"opened ended sent1 closed", "opened sent1 ended closed"}, got) {
		t.Errorf("the plugin said %q", got)
	}
}

func TestBothDirectionsShareAStreamConcurrentSafe(t *testing.T) {
	t.Parallel()
	const messages = 300
	c := newTube()
	c.receive = func(ctx context.Context) ([]byte, error) { return []byte("from the peer"), ctx.Err() }
	s := &sitting{newLine[transportv1.SessionRequest, transportv1.SessionResponse](t), c, make(chan struct{})}
	answered := make(chan struct{}, 1)
	s.on = func(m *transportv1.SessionResponse) {
		if m.GetSent() != nil {
			answered <- struct{}{}
		}
	}
	s.serve(func() error {
		return serveSession(s.line, c, &transportv1.Open{PartBytes: 3, Window: maxWindow}, s.ending)
	})
	for id := range uint64(messages) {
		s.part(id+1, "from the host", false)
		<-answered
		s.taken(1)
	}
	s.close(&transportv1.Close{})
	said := s.ends()
	whole, sent := "", uint64(0)
	for _, m := range said {
		if p := m.GetPart(); p != nil {
			if whole += string(p.GetData()); !p.GetMore() {
				if whole != "from the peer" {
					t.Fatalf("a message came as %q", whole)
				}
				whole = ""
			}
		}
		if a := m.GetSent(); a != nil {
			if sent++; a.GetId() != sent || a.GetFault() != nil {
				t.Fatalf("answer %d is %v", sent, a)
			}
		}
	}
	if sent != messages || said[len(said)-1].GetClosed() == nil {
		t.Errorf("%d answers, and %v at the end", sent, said[len(said)-1])
	}
}

// The connection ends too, when it is closed for that.
func TestAnInstanceThatClosesEndsItsSessionsOnceAndForItsReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sit(t, newTube(), &transportv1.Open{})
		close(s.ending)
		s.want(s.ends(), "opened ended closed")
		if e, ok := errors.AsType[*transport.CloseError](fault(s.all())); !ok || e.Reason != transport.ShuttingDown {
			t.Errorf("it ended with %v", fault(s.all()))
		}
	})
}
