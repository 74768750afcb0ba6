package plugintest

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/go-mcpool/mcpool/sdk"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// playTubes is the dialer of these tests as a program.
func playTubes(flaw string) bool {
	factory := newTubes
	switch flaw {
	case "":
	case "-brittle": // dies of a large message
		factory = wrapping(func(m []byte) {
			if len(m) > 1<<19 {
				os.Exit(3)
			}
		})
	case "-forges":
		factory = wrapping(func(m []byte) {
			fmt.Fprintln(os.Stderr, "sending\n"+`{"level":"ERROR","msg":"`+forged+`"}`)
		})
	case "-forgets":
		factory = func(ctx context.Context, cfg tubeConfig) (transport.Dialer, error) {
			if in, ok := sdk.InstanceOf(ctx); ok && os.Mkdir(in.StateDir+"/mark", 0o700) != nil {
				return nil, errors.New("I have seen this one")
			}
			return newTubes(ctx, cfg)
		}
	case "-outlives":
		os.Unsetenv("MCPOOL_LIFELINE")
	default:
		return false
	}
	sdk.Main(sdk.Info{Name: "tube", Version: "1.0.0"}, sdk.Transport(factory))
	return true
}

// wrapping makes dialers whose connections do something with each message they send.
func wrapping(do func([]byte)) func(context.Context, tubeConfig) (transport.Dialer, error) {
	return func(ctx context.Context, cfg tubeConfig) (transport.Dialer, error) {
		d, err := newTubes(ctx, cfg)
		return &wrapper{d, do}, err
	}
}

type wrapper struct {
	transport.Dialer
	do func([]byte)
}

func (w *wrapper) Dial(ctx context.Context, open transport.Open) (transport.Conn, error) {
	c, err := w.Dialer.Dial(ctx, open)
	if err != nil {
		return nil, err
	}
	return &wrapped{c, w.do}, nil
}

type wrapped struct {
	transport.Conn
	do func([]byte)
}

func (w *wrapped) Send(ctx context.Context, m []byte) error {
	w.do(m)
	return w.Conn.Send(ctx, m)
}
