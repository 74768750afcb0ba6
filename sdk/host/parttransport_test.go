//go:build unix

package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-mcpool/mcpool/sdk"
	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

type carrierConfig struct {
	Greeting string        `json:"greeting"`
	Key      auth.Secret   `json:"key"`
	Wait     time.Duration `json:"wait"`
	Refuse   string        `json:"refuse"`
}

// carrier is a dialer that does what the target's name says.
type carrier struct {
	cfg carrierConfig
	in  sdk.Instance
}

func newCarrier(ctx context.Context, cfg carrierConfig) (*carrier, error) {
	in, _ := sdk.InstanceOf(ctx)
	if cfg.Refuse != "" {
		return nil, errors.Join(
			&transport.ConfigError{Field: "refuse", Problem: "says " + cfg.Refuse}, &transport.ConfigError{Field: "key", Problem: "is no good"})
	}
	return &carrier{cfg: cfg, in: in}, nil
}

func (c *carrier) Dial(ctx context.Context, open transport.Open) (transport.Conn, error) {
	switch open.Target.Name {
	case "refuse":
		return nil, fmt.Errorf("dialling: %w", &transport.RefusedError{
			Status: 401, Header: http.Header{"Www-Authenticate": {"Bearer \xff"}}, Problem: "no token", Err: errors.New("sorry"),
		})
	case "config":
		return nil, &transport.ConfigError{Field: "command", Problem: "needs a value"}
	case "hang":
		c.mark("hanging")
		<-ctx.Done()
		c.mark("freed")
		return nil, context.Cause(ctx)
	case "exitonce": // the first process dies of it, the second dials
		if _, err := os.Stat(filepath.Join(c.in.StateDir, "died")); err != nil {
			c.mark("died")
			os.Exit(7)
		}
	}
	n := &carried{
		carrier: c, open: open, inbox: make(chan []byte), over: make(chan struct{}), forced: make(chan error, 1),
	}
	return n, nil
}

func (c *carrier) mark(name string) {
	os.WriteFile(filepath.Join(c.in.StateDir, name), nil, 0o600)
}

func (c *carrier) Close(context.Context) error {
	c.mark("dialer-closed")
	return nil
}

// carried answers each message with itself, unless it is an order.
type carried struct {
	carrier *carrier
	open    transport.Open
	inbox   chan []byte
	over    chan struct{}
	forced  chan error // what Receive is to say next
	floods  sync.WaitGroup
	once    sync.Once
}

func (n *carried) Send(ctx context.Context, message []byte) error {
	verb, arg, _ := strings.Cut(string(message[:min(len(message), 40)]), ":")
	answer := bytes.Clone(message)
	switch verb {
	case "pid":
		answer = fmt.Append(nil, os.Getpid())
	case "about":
		subject := "none"
		if n.open.Identity.Subject != nil {
			subject, _ = n.open.Identity.Subject(ctx)
		}
		answer = fmt.Appendf(nil, "%s %s %s %s %q %s %s %s %v", n.open.Target.Name, n.open.Target.URL, n.open.Identity.ID,
			n.open.Identity.Attrs["a"], n.open.Header["X-Many"], subject,
			n.carrier.cfg.Greeting, n.carrier.cfg.Key.Reveal(), n.carrier.cfg.Wait)
	case "exit":
		os.Exit(7)
	case "panic":
		panic("hush4711")
	case "stuck": // the peer reads nothing
		n.carrier.mark("stuck")
		select {
		case <-ctx.Done():
			n.carrier.mark("unstuck")
			return ctx.Err()
		case <-n.over:
			return &transport.CloseError{Reason: transport.Done, NotSent: true}
		}
	case "notsent":
		return fmt.Errorf("no: %w", transport.ErrNotSent)
	case "toolarge":
		return &transport.SizeError{Sending: true, Bytes: 77, Max: 7}
	case "sessiongone":
		n.forced <- &transport.CloseError{Reason: transport.SessionGone, Err: errors.New("404")}
		return nil
	case "oversize":
		n.forced <- &transport.SizeError{Max: 7}
		return nil
	case "refusesend":
		return &transport.CloseError{Reason: transport.ShuttingDown, NotSent: true}
	case "flood": // so many messages, as fast as they are taken
		count, _ := strconv.Atoi(arg)
		n.floods.Go(func() {
			for i := range count {
				select {
				case n.inbox <- fmt.Append(nil, i):
					file := filepath.Join(n.carrier.in.StateDir, "flooded") // never seen half written
					os.WriteFile(file+".new", fmt.Append(nil, i+1), 0o600)
					os.Rename(file+".new", file)
				case <-n.over:
					return
				}
			}
		})
		return nil
	case "big": // messages of so many bytes without end
		size, _ := strconv.Atoi(arg)
		n.floods.Go(func() {
			for i := byte('a'); ; i = 'a' + (i-'a'+1)%26 {
				select {
				case n.inbox <- bytes.Repeat([]byte{i}, size):
				case <-n.over:
					return
				}
			}
		})
		return nil
	}
	n.floods.Go(func() {
		select {
		case n.inbox <- answer:
		case <-n.over:
		}
	})
	return nil
}

func (n *carried) Receive(ctx context.Context) ([]byte, error) {
	select {
	case err := <-n.forced:
		return nil, err
	case m := <-n.inbox:
		return m, nil
	case <-n.over:
		return nil, &transport.CloseError{}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *carried) Close(_ context.Context, reason transport.Reason) error {
	n.once.Do(func() {
		close(n.over)
		n.floods.Wait()
		n.carrier.mark("closed-" + strings.ReplaceAll(reason.String(), " ", "-"))
	})
	if n.open.Target.Name == "closefails" {
		return errors.New("something is left")
	}
	return nil
}
