package websocket

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/go-mcpool/mcpool/sdk/transport"
)

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// inMemory opens a connection over a pipe, for bubbles, and returns the peer's end.
func inMemory(t *testing.T, change func(*Config)) (*conn, net.Conn) {
	t.Helper()
	cfg := Config{URL: "ws://peer.test", PingInterval: -1}
	if change != nil {
		change(&cfg)
	}
	d := mustNew(t, cfg)
	here, there := net.Pipe()
	line := &cutter{line: here}
	ws, _, err := websocket.Dial(t.Context(), "ws://peer.test", &websocket.DialOptions{ //nolint:bodyclose // it is the pipe
		Subprotocols: []string{"mcp"},
		HTTPClient: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusSwitchingProtocols, Body: watched{here, line}, Header: http.Header{
				"Upgrade": {"websocket"}, "Connection": {"Upgrade"},
				"Sec-Websocket-Protocol": {"mcp"}, "Sec-Websocket-Accept": {accepted(r)},
			}}, nil
		})},
	})
	if err != nil {
		t.Fatal(err)
	}
	return newConn(ws, line, 1<<20, &d.cfg), there
}

// frame reads a short frame of the client, and returns its first byte and what it has.
func frame(r io.Reader) (first byte, data []byte, err error) {
	head := make([]byte, 6) // the second byte is the length, the others are the mask
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, nil, err
	}
	data = make([]byte, head[1]&0x7f)
	_, err = io.ReadFull(r, data)
	for i := range data {
		data[i] ^= head[2+i%4]
	}
	return head[0], data, err
}

func TestAPeerIsPingedAgainAndAgainAndItsSilenceNoticed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, there := inMemory(t, func(c *Config) { c.PingInterval, c.PingTimeout = time.Minute, 10*time.Second })
		var pings, silent atomic.Int32
		go func() {
			for {
				first, data, err := frame(there)
				if err != nil {
					return
				}
				if first == 0x89 && silent.Load() == 0 {
					pings.Add(1)
					_, _ = there.Write(append([]byte{0x8a, byte(len(data))}, data...))
				}
			}
		}()
		received := make(chan error, 1)
		go func() {
			_, err := c.Receive(context.Background())
			received <- err
		}()
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		if pings.Load() != 10 || len(received) > 0 {
			t.Errorf("in ten minutes the peer got %d pings", pings.Load())
		}
		silent.Store(1)
		before := time.Now()
		err := <-received
		var closed *transport.CloseError
		if took := time.Since(before); took > time.Minute+20*time.Second || !errors.As(err, &closed) || closed.Reason != transport.PeerGone ||
			!strings.Contains(err.Error(), "no answer to a ping") {
			t.Errorf("after %v: %v", took, err)
		}
		_ = c.Close(t.Context(), transport.Done)
		there.Close()
	})
}

// What proves nothing against a peer does not end its connection.
func TestOnlySilenceThatSomebodyHearsIsHeldAgainstAPeer(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]struct {
		begin func(c *conn) // how it is for an hour
		often func(c *conn) // what happens every nine seconds of it
		end   func(c *conn) // and then it is silence
	}{
		"nobody listens": {begin: func(*conn) {}, end: func(c *conn) { c.receiving.Store(true) }},
		"a message is being sent": {
			begin: func(c *conn) { c.receiving.Store(true); c.sending.Store(1) }, end: func(c *conn) { c.sending.Store(0) },
		},
		"something comes": {begin: func(c *conn) { c.receiving.Store(true) }, often: func(c *conn) { c.line.heard.Add(1) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := &conn{cfg: &Config{PingTimeout: 10 * time.Second}, line: &cutter{}}
				if f.begin != nil {
					f.begin(c)
				}
				over := make(chan bool, 1)
				go func() { over <- c.answered(t.Context(), nil) }()
				for range 400 {
					time.Sleep(9 * time.Second)
					if f.often != nil {
						f.often(c)
					}
				}
				synctest.Wait()
				if len(over) > 0 {
					t.Fatal("it was given up")
				}
				if f.end != nil {
					f.end(c)
				}
				before := time.Now()
				if <-over {
					t.Error("it seems to have answered")
				}
				if took := time.Since(before); took > 20*time.Second {
					t.Errorf("its silence was noticed after %v", took)
				}
			})
		})
	}
}

func TestAPongOrTheEndIsAnAnswer(t *testing.T) {
	t.Parallel()
	c := &conn{cfg: &Config{PingTimeout: time.Hour}, line: &cutter{}}
	pong := make(chan struct{})
	close(pong)
	if !c.answered(t.Context(), pong) {
		t.Error("a pong is none")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if !c.answered(ctx, nil) {
		t.Error("the end is silence")
	}
}

// Each byte is a sign of life, also where the library waits for more of them.
func TestAMessageThatComesSlowlyIsHeard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, there := inMemory(t, nil)
		received := make(chan []byte, 1)
		go func() {
			m, _ := c.Receive(context.Background())
			received <- m
		}()
		synctest.Wait()
		if !c.receiving.Load() {
			t.Error("nobody seems to listen")
		}
		for _, piece := range []string{"\x01\x04", "a", "b", "cd", "\x80", "\x02", "ef"} {
			before := c.line.heard.Load()
			_, _ = io.WriteString(there, piece)
			synctest.Wait()
			if c.line.heard.Load() == before {
				t.Errorf("%q is not heard", piece)
			}
		}
		if m := <-received; string(m) != "abcdef" || c.receiving.Load() {
			t.Errorf("%q, somebody still listens: %v", m, c.receiving.Load())
		}
		go func() { _, _ = io.Copy(io.Discard, there); there.Close() }()
		_ = c.Close(t.Context(), transport.Done)
	})
}

// A large message in one frame, over a slow line, is no silence: no pong can come while
// it does.
func TestAMessageMayTakeLongerThanPingTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, there := inMemory(t, func(c *Config) { c.PingInterval, c.PingTimeout = time.Second, 10*time.Second })
		var reading sync.WaitGroup
		reading.Go(func() { _, _ = io.Copy(io.Discard, there) })
		go func() {
			for _, kilobytes := range []int{60, 60} { // the second one is expected to be like the first
				_, _ = there.Write([]byte{0x81, 126, byte(kilobytes << 10 >> 8), 0})
				for range kilobytes {
					time.Sleep(5 * time.Second)
					_, _ = there.Write(make([]byte, 1<<10))
				}
			}
		}()
		for range 2 {
			if m, err := c.Receive(t.Context()); len(m) != 60<<10 || err != nil {
				t.Errorf("%d bytes, %v", len(m), err)
			}
		}
		_ = c.Close(t.Context(), transport.Done)
		reading.Wait()
	})
}

func TestAMessageIsStuckForSendTimeoutAndNotLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, there := inMemory(t, func(c *Config) { c.SendTimeout = time.Minute })
		r := bufio.NewReader(there)
		sent := make(chan error, 1)
		send := func() { sent <- c.Send(context.Background(), []byte("hello")) }
		go send()
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if len(sent) > 0 || c.sending.Load() != 1 {
			t.Errorf("nobody reads: %d messages are being sent", c.sending.Load())
		}
		if _, m, err := frame(r); err != nil || string(m) != "hello" {
			t.Errorf("%q, %v", m, err)
		}
		if err := <-sent; err != nil || c.sending.Load() != 0 {
			t.Errorf("sent: %v, %d messages are being sent", err, c.sending.Load())
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if end := c.end.Load(); end != nil {
			t.Errorf("after it was sent: %v", end)
		}
		go send()
		before := time.Now()
		err := <-sent
		if took := time.Since(before); took != time.Minute || !errors.Is(err, transport.ErrNotSent) || !strings.Contains(err.Error(), "stuck for 1m0s") {
			t.Errorf("after %v: %v", took, err)
		}
		_ = c.Close(t.Context(), transport.Done)
		there.Close()
	})
}

func TestWithoutSendTimeoutAMessageMayBeStuckForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c, there := inMemory(t, func(c *Config) { c.SendTimeout = -1 })
		sent := make(chan error, 1)
		go func() { sent <- c.Send(context.Background(), []byte("hello")) }()
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if len(sent) > 0 {
			t.Errorf("after a day: %v", <-sent)
		}
		before := time.Now()
		_ = c.Close(t.Context(), transport.Done)
		if took := time.Since(before); took != 0 {
			t.Errorf("Close waited %v for a message that is stuck", took)
		}
		if err := <-sent; !errors.Is(err, transport.ErrNotSent) {
			t.Errorf("closed under the sender: %v", err)
		}
		there.Close()
	})
}

func TestCloseWaitsForThePeerAsLongAsItMay(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]struct {
		timeout time.Duration
		ctx     time.Duration
		reason  transport.Reason
		want    time.Duration
		told    bool
	}{
		"CloseTimeout":            {time.Second, time.Hour, transport.Done, time.Second, true},
		"the context":             {time.Hour, time.Second, transport.Done, time.Second, true},
		"who is gone is not told": {time.Hour, time.Hour, transport.PeerGone, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, there := inMemory(t, func(c *Config) { c.CloseTimeout = f.timeout })
				told := make(chan bool, 1)
				go func() {
					b, _ := io.ReadAll(there) // and says nothing
					told <- len(b) > 0
				}()
				ctx, cancel := context.WithTimeout(t.Context(), f.ctx)
				defer cancel()
				before := time.Now()
				if err := c.Close(ctx, f.reason); err != nil || time.Since(before) != f.want {
					t.Errorf("it took %v: %v", time.Since(before), err)
				}
				if got := <-told; got != f.told {
					t.Errorf("the peer was told: %v", got)
				}
			})
		})
	}
}

// What comes after is not received, and nothing is sent, though the line is there.
func TestABinaryMessageBreaksTheRules(t *testing.T) {
	t.Parallel()
	url := accept(t, func(ctx context.Context, ws *websocket.Conn) {
		_ = ws.Write(ctx, websocket.MessageBinary, []byte("{}"))
		_ = ws.Write(ctx, websocket.MessageText, []byte("{}"))
		_, _, _ = ws.Read(ctx)
	})
	c := mustDial(t, url, transport.Open{}, nil)
	var closed *transport.CloseError
	for range 2 {
		if m, err := c.Receive(t.Context()); !errors.As(err, &closed) || closed.Reason != transport.ProtocolError || m != nil {
			t.Errorf("%q, %v", m, err)
		}
	}
	if err := c.Send(t.Context(), []byte("{}")); !errors.As(err, &closed) || closed.Reason != transport.ProtocolError || !closed.NotSent {
		t.Errorf("Send: %v", err)
	}
}

func TestACallThatIsGivenUpSaysWhy(t *testing.T) {
	t.Parallel()
	why := errors.New("nobody waits any more")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	url := accept(t, func(ctx context.Context, ws *websocket.Conn) { _, _, _ = ws.Read(ctx) })
	c := mustDial(t, url, transport.Open{}, nil)
	if err := c.Send(ctx, []byte("{}")); !errors.Is(err, why) || !errors.Is(err, transport.ErrNotSent) {
		t.Errorf("Send: %v", err)
	}
	if _, err := c.Receive(ctx); !errors.Is(err, why) {
		t.Errorf("Receive: %v", err)
	}
}
