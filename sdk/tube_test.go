package sdk

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	transportv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/transport/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// tube is a connection whose medium is the test. Its methods do what its fields say, or
// what is usual.
type tube struct {
	dial    func(ctx context.Context, open transport.Open) (transport.Conn, error)
	send    func(ctx context.Context, m []byte) error
	receive func(ctx context.Context) ([]byte, error)
	close   func(ctx context.Context, reason transport.Reason) error

	peer chan []byte // what the peer sends
	over chan struct{}

	mu   sync.Mutex
	log  []string // guarded by mu; what was called
	once sync.Once
}

func newTube() *tube { return &tube{peer: make(chan []byte), over: make(chan struct{})} }

func (c *tube) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log = append(c.log, fmt.Sprintf(format, args...))
}

func (c *tube) noted() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.log, ", ")
}

func (c *tube) Dial(ctx context.Context, open transport.Open) (transport.Conn, error) {
	if c.dial != nil {
		return c.dial(ctx, open)
	}
	return c, nil
}

func (c *tube) Send(ctx context.Context, m []byte) error {
	c.note("send %.20s", m)
	if c.send != nil {
		return c.send(ctx, m)
	}
	return nil
}

func (c *tube) Receive(ctx context.Context) ([]byte, error) {
	if c.receive != nil {
		return c.receive(ctx)
	}
	select {
	case m := <-c.peer:
		return m, nil
	case <-c.over:
		return nil, &transport.CloseError{}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *tube) Close(ctx context.Context, reason transport.Reason) error {
	c.note("close %v", reason)
	c.once.Do(func() { close(c.over) })
	if c.close != nil {
		return c.close(ctx, reason)
	}
	return nil
}

// stuck is a Send that waits for its context or the end of the connection.
func (c *tube) stuck(ctx context.Context, _ []byte) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-c.over:
		return &transport.CloseError{NotSent: true}
	}
}

// sitting is a session whose host and whose peer are the test.
type sitting struct {
	*line[transportv1.SessionRequest, transportv1.SessionResponse]

	tube   *tube
	ending chan struct{} // closed when the instance begins to close
}

// sit begins a session in a bubble, and waits until it is open if it gets there.
func sit(t *testing.T, c *tube, open *transportv1.Open) *sitting {
	t.Helper()
	s := &sitting{newLine[transportv1.SessionRequest, transportv1.SessionResponse](t), c, make(chan struct{})}
	s.serve(func() error { return serveSession(s.line, c, open, s.ending) })
	synctest.Wait()
	return s
}

func (s *sitting) part(id uint64, data string, more bool) {
	s.t.Helper()
	s.tell(&transportv1.SessionRequest{Message: &transportv1.SessionRequest_Part{
		Part: &transportv1.Part{Id: id, Data: []byte(data), More: more},
	}})
}

func (s *sitting) cancel(id uint64) {
	s.t.Helper()
	s.tell(&transportv1.SessionRequest{Message: &transportv1.SessionRequest_Cancel{Cancel: &transportv1.Cancel{Id: id}}})
}

func (s *sitting) taken(n uint32) {
	s.t.Helper()
	s.tell(&transportv1.SessionRequest{Message: &transportv1.SessionRequest_Taken{Taken: &transportv1.Taken{Count: n}}})
}

func (s *sitting) close(m *transportv1.Close) {
	s.t.Helper()
	s.tell(&transportv1.SessionRequest{Message: &transportv1.SessionRequest_Close{Close: m}})
}

// inShort is what the plugin said, one word for each message.
func inShort(said []*transportv1.SessionResponse) string {
	var words []string
	for _, m := range said {
		switch m := m.GetMessage().(type) {
		case *transportv1.SessionResponse_Opened:
			words = append(words, "opened")
		case *transportv1.SessionResponse_Part:
			word := fmt.Sprintf("part%d:%.20s", m.Part.GetId(), m.Part.GetData())
			if m.Part.GetMore() {
				word += "+"
			}
			words = append(words, word)
		case *transportv1.SessionResponse_Sent:
			word := fmt.Sprint("sent", m.Sent.GetId())
			if m.Sent.GetFault() != nil {
				word += "!"
			}
			words = append(words, word)
		case *transportv1.SessionResponse_Ended:
			words = append(words, "ended")
		case *transportv1.SessionResponse_Closed:
			word := "closed"
			if m.Closed.GetFailure() != nil {
				word += "!"
			}
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

func (s *sitting) want(said []*transportv1.SessionResponse, want string) {
	s.t.Helper()
	if got := inShort(said); got != want {
		s.t.Errorf("the plugin said %q, want %q", got, want)
	}
}

// fault is why a session ended.
func fault(said []*transportv1.SessionResponse) error {
	for _, m := range said {
		if e := m.GetEnded(); e != nil {
			return wire.FaultFrom(e, func(*wire.Error) {})
		}
	}
	return nil
}
