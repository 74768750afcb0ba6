package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"time"

	coder "github.com/coder/websocket"

	"github.com/go-mcpool/mcpool/plugins/transport/websocket"
	"github.com/go-mcpool/mcpool/sdk/host"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// The sizes of messages: a usual call, and one with a document in it.
const (
	smallMessage = 512
	largeMessage = 256 << 10

	bytesAllocated = "bytes allocated per message"
	echoedMessages = 400 // over which they are counted
)

// transportSuite is what plugins/transport costs a message, beside the library it is
// made of, used directly, and what it costs more from a plugin binary. The peer echoes,
// in another process.
func transportSuite() suite {
	bare, ours, hop := echoer{"coder/websocket", dialBare}, echoer{"websocket", dialOurs}, echoer{byBinary, dialHosted}
	s := suite{
		name: "transport",
		cases: []benchCase{
			echoCase("echo512", "a message of 512 bytes there and back", smallMessage, bare, ours, hop),
			echoCase("echo256k", "the same with 256 KiB", largeMessage, bare, ours, hop),
			{
				name: "memory256k", about: "the same, the heap alone: 262144 bytes are what is received", goroutines: 1, rounds: 5,
				impls: []impl{{name: bare.name, once: bare.memory}, {name: ours.name, once: ours.memory}, {name: hop.name, once: hop.memory}},
			},
		},
	}
	s.targets = []target{
		{kase: "echo512", impl: ours.name, versus: bare.name, max: 1.3},
		{kase: "echo256k", impl: ours.name, versus: bare.name, max: 1.3},
		{kase: "echo512", impl: hop.name, versus: ours.name, metric: moreTime, max: float64(70 * time.Microsecond)},
		{kase: "echo256k", impl: hop.name, versus: ours.name}, // two sockets more for every byte
		// One copy, which the receiver keeps: the allocator rounds it up to the next page.
		{kase: "memory256k", impl: ours.name, metric: value, valueName: bytesAllocated, max: largeMessage + 16<<10},
		{kase: "memory256k", impl: hop.name, metric: value, valueName: bytesAllocated},
		{kase: "memory256k", impl: bare.name, metric: value, valueName: bytesAllocated},
	}
	return s
}

// An echoer dials the peer; what it returns sends a message and receives it back.
type echoer struct {
	name string
	dial func(ctx context.Context, url string) (echo func(message []byte) ([]byte, error), done func() error, err error)
}

func echoCase(name, about string, size int, echoers ...echoer) benchCase {
	c := benchCase{name: name, about: about, goroutines: 1, turns: true, duration: 200 * time.Millisecond}
	for _, e := range echoers {
		c.impls = append(c.impls, impl{name: e.name, open: func() (*fixture, error) { return e.open(size) }})
	}
	return c
}

func (e echoer) open(size int) (*fixture, error) {
	peer, err := startRemote("127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	echo, done, err := e.dial(context.Background(), "ws://"+peer.addr+echoPath)
	if err != nil {
		return nil, errors.Join(err, peer.kill())
	}
	message := bytes.Repeat([]byte("x"), size)
	return &fixture{close: closeAll(done, peer.kill), worker: func(int) func(int) error {
		return func(n int) error {
			for range n {
				switch back, err := echo(message); {
				case err != nil:
					return err
				case len(back) != size:
					return fmt.Errorf("%d bytes came back as %d", size, len(back))
				}
			}
			return nil
		}
	}}, nil
}

// memory counts what large messages take of the heap.
func (e echoer) memory() (_ sample, err error) {
	fx, err := e.open(largeMessage)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, fx.close()) }()
	work := fx.worker(0)
	if err := work(10); err != nil { // the first are not as the others
		return sample{}, err
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := work(echoedMessages); err != nil {
		return sample{}, err
	}
	runtime.ReadMemStats(&after)
	return sample{values: map[string]float64{bytesAllocated: float64(after.TotalAlloc-before.TotalAlloc) / echoedMessages}}, nil
}

// dialBare is the library as its examples show it.
func dialBare(ctx context.Context, url string) (func([]byte) ([]byte, error), func() error, error) {
	ws, resp, err := coder.Dial(ctx, url, nil)
	if err != nil {
		if resp != nil && resp.Body != nil {
			_ = resp.Body.Close() // err says more
		}
		return nil, nil, err
	}
	ws.SetReadLimit(2 * largeMessage)
	echo := func(message []byte) ([]byte, error) {
		if err := ws.Write(ctx, coder.MessageText, message); err != nil {
			return nil, err
		}
		_, back, err := ws.Read(ctx)
		return back, err
	}
	return echo, func() error { return ws.Close(coder.StatusNormalClosure, "") }, nil
}

func dialOurs(ctx context.Context, url string) (func([]byte) ([]byte, error), func() error, error) {
	d, err := websocket.New(websocket.Config{Proxy: "-", Subprotocol: "-"})
	if err != nil {
		return nil, nil, err
	}
	return dialConn(ctx, d, url)
}

// dialHosted has the same in a plugin binary, this program again.
func dialHosted(ctx context.Context, url string) (func([]byte) ([]byte, error), func() error, error) {
	p, err := hosted()
	if err != nil {
		return nil, nil, err
	}
	r, err := host.Launch(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	end := func() error { return r.Close(context.Background()) }
	d, err := r.Transport(ctx, host.Instance{Name: "one", Config: map[string]any{"proxy": "-", "subprotocol": "-"}})
	if err != nil {
		return nil, nil, errors.Join(err, end())
	}
	echo, done, err := dialConn(ctx, d, url)
	if err != nil {
		return nil, nil, errors.Join(err, end())
	}
	return echo, closeAll(done, end), nil
}

// dialConn is an echo over any Dialer.
func dialConn(ctx context.Context, d transport.Dialer, url string) (func([]byte) ([]byte, error), func() error, error) {
	conn, err := d.Dial(ctx, transport.Open{Target: transport.Target{URL: url}})
	if err != nil {
		return nil, nil, err
	}
	echo := func(message []byte) ([]byte, error) {
		if err := conn.Send(ctx, message); err != nil {
			return nil, err
		}
		return conn.Receive(ctx)
	}
	return echo, func() error { return conn.Close(ctx, transport.Done) }, nil
}

// echoPath is where the other process has a WebSocket that echoes.
const echoPath = "/echo"

// serveEcho echoes out of one buffer, so that the peer costs as little as it can.
func serveEcho(w http.ResponseWriter, r *http.Request) {
	ws, err := coder.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	defer ws.CloseNow() //nolint:errcheck // it may be closed already
	ws.SetReadLimit(2 * largeMessage)
	buf := make([]byte, 2*largeMessage)
	for {
		kind, from, err := ws.Reader(r.Context())
		if err != nil {
			return
		}
		n, err := io.ReadFull(from, buf)
		if !errors.Is(err, io.ErrUnexpectedEOF) { // the buffer is larger than any message
			return
		}
		if err := ws.Write(r.Context(), kind, buf[:n]); err != nil {
			return
		}
	}
}
