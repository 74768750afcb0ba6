package plugintest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// tubeConfig configures tubes, the dialer of these tests.
type tubeConfig struct {
	Key     auth.Secret `json:"key"`
	Address string      `json:"address"`
	Stalled bool        `json:"stalled"`
	Reject  bool        `json:"reject"`
	Flaw    string      `json:"flaw"`
	release chan struct{}
}

// tubes carries messages over TCP, a line each. It does all it should, but for its flaw.
type tubes struct {
	cfg tubeConfig

	mu   sync.Mutex
	open []*tube // guarded by mu; of the flaw "others"
}

func newTubes(_ context.Context, cfg tubeConfig) (transport.Dialer, error) {
	if cfg.Key.IsEmpty() {
		if cfg.Flaw == "untyped" {
			return nil, errors.New("there is no key")
		}
		return nil, &transport.ConfigError{Field: "key", Problem: "is missing"}
	}
	switch d := (&tubes{cfg: cfg}); cfg.Flaw {
	case "nil":
		return (*tubes)(nil), nil
	case "open":
		return &openTubes{tubes: d, Token: cfg.Key.Reveal()}, nil
	default:
		return d, nil
	}
}

type openTubes struct {
	*tubes
	Token string
}

func (d *tubes) Dial(ctx context.Context, open transport.Open) (transport.Conn, error) {
	switch {
	case d.cfg.Reject && d.cfg.Flaw == "untyped":
		return nil, errors.New("no")
	case d.cfg.Reject && d.cfg.Flaw == "shows":
		return nil, &transport.RefusedError{Problem: "the header " + open.Header.Get("X-Token"), Err: auth.ErrCredentialsRejected}
	case d.cfg.Reject:
		return nil, &transport.RefusedError{Status: 401, Err: auth.ErrCredentialsRejected}
	}
	if d.cfg.Stalled {
		switch d.cfg.Flaw {
		case "deaf":
			<-d.cfg.release
		case "own words":
			<-ctx.Done()
			return nil, errors.New("timed out")
		}
		<-ctx.Done()
		return nil, fmt.Errorf("dialling: %w", ctx.Err())
	}
	switch d.cfg.Flaw {
	case "writes header":
		open.Header.Set("X-Mine", "1")
	case "panics":
		panic("not here")
	case "no conn":
		return nil, nil //nolint:nilnil // the flaw
	case "leaks":
		go func() { <-d.cfg.release }()
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp", d.cfg.Address)
	if err != nil {
		return nil, err
	}
	t := &tube{
		cfg: d.cfg, d: d, c: c, max: open.Limit(), in: transport.NewLineReader(c, open.Limit()),
		inbox: make(chan []byte, 1000), stop: make(chan struct{}),
	}
	switch d.cfg.Flaw {
	case "boundless":
		t.max = 64 << 20
	case "boundless in":
		t.in = transport.NewLineReader(c, 64<<20)
	case "short":
		t.max--
	case "hoards":
		go t.hoard()
	}
	d.mu.Lock()
	d.open = append(d.open, t)
	d.mu.Unlock()
	return t, nil
}

// tube is a connection.
type tube struct {
	cfg   tubeConfig
	d     *tubes
	c     net.Conn
	max   int64
	in    *transport.LineReader
	inbox chan []byte // of the flaw "hoards"
	stop  chan struct{}

	end    atomic.Pointer[transport.CloseError]
	sends  atomic.Int64
	gets   atomic.Int64
	kept   []byte // of the flaw "keeps"
	queue  sync.WaitGroup
	closes atomic.Int64
	once   sync.Once
}

// hoard reads whatever comes.
func (t *tube) hoard() {
	defer close(t.inbox)
	for {
		m, err := t.in.Next()
		if err != nil {
			return
		}
		t.inbox <- m
	}
}

func (t *tube) finish(reason transport.Reason, err error) *transport.CloseError {
	t.end.CompareAndSwap(nil, &transport.CloseError{Reason: reason, Err: err})
	return t.end.Load()
}

// cutAt ends the connection with a context, unless the call ends before.
func (t *tube) cutAt(ctx context.Context) func() bool {
	return context.AfterFunc(ctx, func() {
		t.finish(transport.PeerGone, context.Cause(ctx))
		_ = t.c.Close()
		if t.cfg.Flaw == "others" {
			t.d.mu.Lock()
			defer t.d.mu.Unlock()
			for _, o := range t.d.open {
				_ = o.c.Close()
			}
		}
	})
}

func (t *tube) Send(ctx context.Context, message []byte) error {
	n := t.sends.Add(1)
	if size := int64(len(message)); size > t.max {
		switch t.cfg.Flaw {
		case "too large untyped":
			return transport.ErrTooLarge
		case "breaks":
			_ = t.c.Close()
		}
		return &transport.SizeError{Sending: true, Bytes: size, Max: t.max}
	}
	switch t.cfg.Flaw {
	case "mumbles":
		return errors.New("it did not work")
	case "scribbles":
		message[0] = ' '
	case "deaf beside close":
		if len(message) > 1<<19 {
			<-t.cfg.release
		}
	case "deaf send":
		if ctx.Err() != nil || len(message) > 1<<19 {
			<-t.cfg.release
		}
	}
	if end := t.end.Load(); end != nil {
		return &transport.CloseError{Reason: end.Reason, NotSent: true, Err: end.Err}
	}
	if ctx.Err() != nil {
		if t.cfg.Flaw == "own words sending" {
			return fmt.Errorf("timed out: %w", transport.ErrNotSent)
		}
		return fmt.Errorf("%w: %w", transport.ErrNotSent, ctx.Err())
	}
	out := append(bytes.ReplaceAll(bytes.ReplaceAll(message, []byte("\n"), []byte(" ")), []byte("\r"), []byte(" ")), '\n')
	switch t.cfg.Flaw {
	case "keeps lines":
		out = append(bytes.Clone(message), '\n')
	case "resends":
		if n%7 == 0 {
			out = bytes.Repeat(out, 2)
		}
	case "keeps":
		if t.kept != nil {
			defer func(late []byte) { _, _ = t.c.Write(append(late, '\n')) }(t.kept)
		}
		t.kept = message
		return nil
	case "queues":
		t.queue.Go(func() { _, _ = t.c.Write(out) })
		return nil
	}
	stop := t.cutAt(ctx)
	_, err := t.c.Write(out)
	if stop(); t.cfg.Flaw == "lies" && n%5 == 0 && err == nil {
		err = errors.New("cut")
	}
	if err != nil {
		end := t.finish(transport.PeerGone, err)
		return &transport.CloseError{Reason: end.Reason, NotSent: t.cfg.Flaw == "lies", Err: end.Err}
	}
	return nil
}

func (t *tube) Receive(ctx context.Context) ([]byte, error) {
	if end := t.end.Load(); end != nil && end.Reason != transport.PeerGone {
		return nil, t.ending(end)
	}
	switch t.cfg.Flaw {
	case "deaf receive":
		if ctx.Done() != nil && ctx.Err() != nil {
			<-t.cfg.release
		}
	case "hoards":
		select {
		case m, ok := <-t.inbox:
			if ok {
				return m, nil
			}
			return nil, t.finish(transport.PeerGone, io.EOF)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	defer t.cutAt(ctx)()
	m, err := t.in.Next()
	n := t.gets.Add(1)
	switch {
	case err == nil && t.cfg.Flaw == "drops" && n%50 == 0:
		return t.Receive(ctx)
	case err == nil && t.cfg.Flaw == "drops all" && n%3 == 0:
		return t.Receive(ctx)
	case err != nil && t.cfg.Flaw == "forgets" && t.closes.Load() > 0:
		return nil, io.EOF
	case err == nil && t.cfg.Flaw == "swaps" && n%50 == 0:
		if t.kept, err = t.in.Next(); err == nil {
			m, t.kept = t.kept, m
			return m, nil
		}
	case err == nil && t.cfg.Flaw == "mangles":
		return bytes.ToUpper(m), nil
	case err == nil:
		return m, nil
	}
	switch {
	case errors.Is(err, transport.ErrTooLarge) && t.cfg.Flaw == "says closed":
		return nil, t.finish(transport.ProtocolError, errors.New("it was large"))
	case errors.Is(err, transport.ErrTooLarge) && t.cfg.Flaw == "goes on":
		_ = t.c.Close()
		t.in = transport.NewLineReader(strings.NewReader("{}\n{}\n"), 1000)
		return nil, err
	case errors.Is(err, transport.ErrTooLarge):
		return nil, t.ending(t.finish(transport.ProtocolError, err))
	case t.cfg.Flaw == "half" && errors.Is(err, io.ErrUnexpectedEOF):
		return []byte(`{"half":`), nil
	case t.cfg.Flaw == "done" && errors.Is(err, io.ErrUnexpectedEOF):
		return nil, t.finish(transport.Done, nil)
	case t.cfg.Flaw == "session gone":
		return nil, t.finish(transport.SessionGone, err)
	case t.cfg.Flaw == "bare EOF":
		return nil, io.EOF
	}
	return nil, t.ending(t.finish(transport.PeerGone, err))
}

func (t *tube) ending(end *transport.CloseError) error {
	switch t.cfg.Flaw {
	case "untyped end":
		return transport.ErrClosed
	case "reasonless":
		return &transport.CloseError{Reason: 77}
	case "shows end":
		return &transport.CloseError{Reason: end.Reason, Err: errors.New(t.cfg.Key.Reveal())}
	}
	return end
}

func (t *tube) Close(ctx context.Context, reason transport.Reason) error {
	again := t.closes.Add(1) > 1
	switch t.cfg.Flaw {
	case "never ends":
		<-t.cfg.release
	case "once only":
		if again {
			panic("closed already")
		}
	case "other result":
		if again {
			return errors.New("it is closed already")
		}
	case "lingers": // until the program ends
		t.finish(reason, nil)
		go func() { <-t.cfg.release; _ = t.c.Close() }()
		return nil
	case "only marks":
		if t.sends.Load() > 2 {
			t.finish(reason, nil)
			return nil
		}
	case "forgets":
		_ = t.c.Close()
		return nil
	case "no goodbye":
		if reason == transport.SessionGone {
			return errors.New("no such reason")
		}
	}
	t.once.Do(func() {
		t.finish(reason, nil)
		_ = t.c.Close()
		t.queue.Wait()
	})
	return nil
}

// tubePeer is a peer on TCP, for as long as the test runs.
func tubePeer(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var peers sync.WaitGroup
	peers.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			peers.Go(func() {
				defer c.Close()
				lines := transport.NewLineReader(c, 64<<20)
				Peer{
					Read:  lines.Next,
					Write: func(m []byte) error { _, err := c.Write(append(m, '\n')); return err },
					Tear:  func() { _, _ = io.WriteString(c, `{"half":`) },
					Done:  done,
				}.Serve()
			})
			peers.Go(func() { // whoever writes to nobody
				<-done
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		close(done)
		peers.Wait()
	})
	return listener.Addr().String()
}

const headerToken = "header-4711-secret"

func tubeOpen() transport.Open {
	return transport.Open{
		Target: transport.Target{Name: "tube"}, Header: http.Header{"X-Token": {headerToken}},
		Identity: transport.Identity{ID: "a", Attrs: map[string]string{"team": "red"}},
	}
}

func tubeOptions(t *testing.T, flaw string) TransportOptions[tubeConfig] {
	release := make(chan struct{})
	cfg := tubeConfig{Key: auth.NewSecret(token), Address: tubePeer(t), Flaw: flaw, release: release}
	t.Cleanup(func() { close(release) })
	stalled, reject, none := cfg, cfg, cfg
	stalled.Stalled, reject.Reject, none.Key = true, true, auth.Secret{}
	return TransportOptions[tubeConfig]{
		Config: cfg, Stalled: &stalled, Open: tubeOpen(),
		Failures: []TransportFailure[tubeConfig]{
			{Name: "no key", Config: none, Field: "key"},
			{Name: "rejected", Config: reject, Refused: true, Is: auth.ErrCredentialsRejected},
		},
	}
}
