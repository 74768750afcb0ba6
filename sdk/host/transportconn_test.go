package host

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"

	transportv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/transport/v1"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// puppet is a stream on which a plugin says what the test has it say.
type puppet struct {
	sessionStream

	says chan *transportv1.SessionResponse // closed at the end of the stream
	told chan *transportv1.SessionRequest
	once sync.Once
}

func (s *puppet) end() { s.once.Do(func() { close(s.says) }) }

func (s *puppet) Send(m *transportv1.SessionRequest) error {
	s.told <- m
	return nil
}

func (s *puppet) Recv() (*transportv1.SessionResponse, error) {
	m, ok := <-s.says
	if !ok {
		return nil, io.EOF
	}
	return m, nil
}

func (s *puppet) part(data string) {
	s.says <- &transportv1.SessionResponse{Message: &transportv1.SessionResponse_Part{Part: &transportv1.Part{Data: []byte(data)}}}
}

func (s *puppet) sent(id uint64) {
	s.says <- &transportv1.SessionResponse{Message: &transportv1.SessionResponse_Sent{Sent: &transportv1.Sent{Id: id}}}
}

func (s *puppet) closed() {
	s.says <- &transportv1.SessionResponse{Message: &transportv1.SessionResponse_Closed{Closed: &transportv1.Closed{}}}
}

// scripted runs a test with a session on a stream. It is over at the end.
func scripted(t *testing.T, test func(t *testing.T, c *conn, s *puppet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &puppet{says: make(chan *transportv1.SessionResponse, 100), told: make(chan *transportv1.SessionRequest, 100)}
		r := &Running{name: "p", plugin: &Plugin{Limits: Limits{Call: 1}}}
		d := &Dialer{running: r, instance: &instance{name: "i"}, conns: make(map[*conn]struct{})}
		p := checked(Limits{}, nil)
		p.begin()
		c := newConn(d, p, s, func() {}, 10, 4)
		if !d.keep(c) {
			t.Fatal("a dialer that is open keeps no connection")
		}
		c.start()
		test(t, c, s)
		s.end()
		c.workers.Wait()
		if len(d.conns) != 0 || p.calls != 0 {
			t.Errorf("the dialer remembers %d connections, and the process %d calls", len(d.conns), p.calls)
		}
	})
}

func TestAPluginThatSendsMoreThanThereIsRoomForEndsItsSession(t *testing.T) {
	t.Parallel()
	scripted(t, func(t *testing.T, c *conn, s *puppet) {
		for range window + 1 {
			s.part("x")
		}
		synctest.Wait()
		for range window { // what was there before the end
			if m, err := c.Receive(t.Context()); string(m) != "x" || err != nil {
				t.Fatalf("got %q, %v", m, err)
			}
		}
		_, err := c.Receive(t.Context())
		if e, ok := errors.AsType[*transport.CloseError](err); !ok || e.Reason != transport.ProtocolError {
			t.Errorf("got %v", err)
		}
	})
}

func TestAnAnswerIsThatOfItsMessage(t *testing.T) {
	t.Parallel()
	scripted(t, func(t *testing.T, c *conn, s *puppet) {
		ctx, cancel := context.WithCancel(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- c.Send(ctx, []byte("one")) }()
		synctest.Wait()
		cancel() // the plugin is told, and its answer comes late
		if err := <-first; !errors.Is(err, context.Canceled) || errors.Is(err, transport.ErrNotSent) {
			t.Errorf("the first: %v", err)
		}
		go func() { second <- c.Send(t.Context(), []byte("two")) }()
		synctest.Wait()
		if len(second) != 0 {
			t.Fatalf("the second does not wait for the first: %v", <-second)
		}
		s.sent(1)
		synctest.Wait()
		s.sent(1) // again
		synctest.Wait()
		if len(second) != 0 {
			t.Fatalf("the second has the first's answer: %v", <-second)
		}
		s.sent(2)
		if err := <-second; err != nil {
			t.Errorf("the second: %v", err)
		}
	})
}

func TestAMessageThatAPluginClosedOverWasNotSent(t *testing.T) {
	t.Parallel()
	for name, says := range map[string]func(*puppet){"its last word": (*puppet).closed, "nothing": func(*puppet) {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scripted(t, func(t *testing.T, c *conn, s *puppet) {
				sent := make(chan error, 1)
				go func() { sent <- c.Send(t.Context(), []byte("one")) }()
				synctest.Wait()
				says(s)
				s.end()
				err := <-sent
				if e, ok := errors.AsType[*transport.CloseError](err); !ok || e.NotSent != (name != "nothing") {
					t.Errorf("Send: %v", err)
				}
			})
		})
	}
}

func TestASendThatWaitedTooLongLeavesTheConnectionToOthers(t *testing.T) {
	t.Parallel()
	scripted(t, func(t *testing.T, c *conn, s *puppet) {
		c.turn <- struct{}{} // something else is being sent
		ctx, cancel := context.WithTimeout(t.Context(), 1)
		defer cancel()
		if err := c.Send(ctx, []byte("one")); !errors.Is(err, transport.ErrNotSent) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Send: %v", err)
		}
		<-c.turn
		sent := make(chan error, 1)
		go func() { sent <- c.Send(t.Context(), []byte("two")) }()
		synctest.Wait()
		s.sent(1)
		synctest.Wait()
		if len(sent) == 0 {
			t.Fatal("the next is not sent")
		}
		if err := <-sent; err != nil {
			t.Errorf("the next: %v", err)
		}
	})
}

func TestADialerThatIsClosedKeepsNoConnection(t *testing.T) {
	t.Parallel()
	d := &Dialer{closed: true, conns: make(map[*conn]struct{})}
	if d.keep(&conn{}) || len(d.conns) != 0 {
		t.Error("it does")
	}
}

// The plugin's side refuses such messages too, if it is made with the SDK.
func TestTheHostItselfTakesNoMessageThatIsTooLarge(t *testing.T) {
	t.Parallel()
	for name, pieces := range map[string][]string{"whole": {"12345678901"}, "in pieces": {"123456", "78901"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scripted(t, func(t *testing.T, c *conn, s *puppet) {
				s.part("1234567890") // just so
				for i, piece := range pieces {
					s.says <- &transportv1.SessionResponse{Message: &transportv1.SessionResponse_Part{
						Part: &transportv1.Part{Data: []byte(piece), More: i < len(pieces)-1},
					}}
				}
				synctest.Wait()
				if m, err := c.Receive(t.Context()); string(m) != "1234567890" || err != nil {
					t.Errorf("got %q, %v", m, err)
				}
				_, err := c.Receive(t.Context())
				if e, ok := errors.AsType[*transport.CloseError](err); !ok || e.Reason != transport.ProtocolError || !errors.Is(err, transport.ErrTooLarge) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}
