package mcpool

import (
	"bytes"
	"context"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/go-mcpool/mcpool/sdk/transport"
)

// line is both ends of a connection of messages in memory. What is sent waits until
// it is received, so that a peer which does not read is felt at once.
type line struct {
	once   sync.Once
	ended  chan struct{}
	reason transport.Reason
}

func (l *line) cut(r transport.Reason) {
	l.once.Do(func() {
		l.reason = r
		close(l.ended)
	})
}

// lineEnd is one end of a line. The hooks, if set, see each message first.
type lineEnd struct {
	line    *line
	out, in chan []byte
	// onSend may refuse a message or send another; onReceive may change one.
	onSend    func(msg []byte) ([]byte, error)
	onReceive func(msg []byte) []byte
	closed    atomic.Pointer[transport.Reason]
	closes    atomic.Int32
}

func newLine() (client, server *lineEnd) {
	l := &line{ended: make(chan struct{})}
	up, down := make(chan []byte), make(chan []byte)
	return &lineEnd{line: l, out: up, in: down}, &lineEnd{line: l, out: down, in: up}
}

func (e *lineEnd) Send(ctx context.Context, msg []byte) (err error) {
	if e.onSend != nil {
		if msg, err = e.onSend(msg); err != nil {
			return err
		}
	}
	select {
	case <-e.line.ended:
		return &transport.CloseError{Reason: e.line.reason, NotSent: true, Err: io.EOF}
	default:
	}
	select {
	case e.out <- bytes.Clone(msg):
		return nil
	case <-e.line.ended:
		return &transport.CloseError{Reason: e.line.reason, NotSent: true, Err: io.EOF}
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (e *lineEnd) Receive(ctx context.Context) ([]byte, error) {
	select {
	case msg := <-e.in:
		if e.onReceive != nil {
			msg = e.onReceive(msg)
		}
		return msg, nil
	case <-e.line.ended:
		return nil, &transport.CloseError{Reason: e.line.reason, Err: io.EOF}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (e *lineEnd) Close(_ context.Context, r transport.Reason) error {
	e.closes.Add(1)
	e.closed.CompareAndSwap(nil, &r)
	e.line.cut(transport.Done)
	return nil
}

// lineDialer reaches a real server over lines.
type lineDialer struct {
	server *mcp.Server
	// prepare, if set, may set hooks and refuse.
	prepare func(n int, open transport.Open, client *lineEnd) error

	mu    sync.Mutex
	lines []*lineEnd // the clients' ends
	opens []transport.Open
}

func (d *lineDialer) Dial(_ context.Context, open transport.Open) (transport.Conn, error) {
	client, server := newLine()
	d.mu.Lock()
	n := len(d.opens)
	d.opens = append(d.opens, open)
	d.mu.Unlock()
	if d.prepare != nil {
		if err := d.prepare(n, open, client); err != nil {
			return nil, err
		}
	}
	d.mu.Lock()
	d.lines = append(d.lines, client)
	d.mu.Unlock()
	// The server's end runs through the same adapter.
	other := DialerTransport(dialerFunc(func(context.Context, transport.Open) (transport.Conn, error) { return server, nil }), transport.Open{})
	if _, err := d.server.Connect(context.Background(), other, nil); err != nil {
		return nil, err
	}
	return client, nil
}

func (d *lineDialer) ends() []*lineEnd {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]*lineEnd(nil), d.lines...)
}

type dialerFunc func(ctx context.Context, open transport.Open) (transport.Conn, error)

func (f dialerFunc) Dial(ctx context.Context, open transport.Open) (transport.Conn, error) {
	return f(ctx, open)
}

// newLineServer is the server that other tests use over HTTP, over lines.
func newLineServer(t *testing.T) (*server, *lineDialer) {
	t.Helper()
	s := &server{t: t, counters: make(map[string]int), runs: make(map[string]int), stopped: make(chan struct{})}
	s.mcp = s.tools()
	t.Cleanup(sync.OnceFunc(func() { close(s.stopped) }))
	return s, &lineDialer{server: s.mcp}
}

// has tells whether a message is a call of the method or tool.
func has(msg []byte, what string) bool { return bytes.Contains(msg, []byte(`"`+what+`"`)) }
