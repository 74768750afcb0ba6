package plugintest

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/go-mcpool/mcpool/sdk"
	"github.com/go-mcpool/mcpool/sdk/metrics"
)

// playVat is the sink of these tests as a program.
func playVat(flaw string) bool {
	factory := newVat
	switch flaw {
	case "":
	case "-forges": // prints what it is given
		factory = talkative(func(b metrics.Batch) {
			for _, s := range b.Scopes {
				for _, m := range s.Metrics {
					fmt.Fprintln(os.Stderr, "sending", m.Name)
				}
			}
		})
	case "-floods":
		factory = talkative(func(metrics.Batch) { // at once, so that no machine is too slow
			_, _ = os.Stderr.WriteString(strings.Repeat("sending a point\n", 20_000))
		})
	case "-brittle":
		factory = talkative(func(b metrics.Batch) {
			if b.Points() > 100 {
				os.Exit(3)
			}
		})
	case "-once":
		factory = func(ctx context.Context, cfg vatConfig) (metrics.Sink, error) {
			if in, ok := sdk.InstanceOf(ctx); ok && !strings.HasPrefix(in.Name, "garbage") {
				if os.Mkdir(in.StateDir+"/mark", 0o700) != nil {
					return nil, os.ErrExist
				}
			}
			return newVat(ctx, cfg)
		}
	default:
		return false
	}
	sdk.Main(sdk.Info{Name: "vat", Version: "1.0.0"}, sdk.Metrics(factory))
	return true
}

// talkative makes vats that say something about each batch.
func talkative(say func(metrics.Batch)) func(context.Context, vatConfig) (metrics.Sink, error) {
	return func(ctx context.Context, cfg vatConfig) (metrics.Sink, error) {
		s, err := newVat(ctx, cfg)
		return &talker{s, say}, err
	}
}

type talker struct {
	metrics.Sink
	say func(metrics.Batch)
}

func (t *talker) Export(ctx context.Context, b metrics.Batch) (metrics.Result, error) {
	t.say(b)
	return t.Sink.Export(ctx, b)
}
