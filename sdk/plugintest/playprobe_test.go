package plugintest

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/go-mcpool/mcpool/sdk"
	"github.com/go-mcpool/mcpool/sdk/probe"
)

// playEye is the prober of these tests as a program.
func playEye(flaw string) bool {
	factory := newEye
	switch flaw {
	case "":
	case "-brittle": // dies of a large answer, or of its refusal
		factory = watching(func(ctx context.Context, t probe.Target) {
			if t.Describe().ID == "large" {
				os.Exit(3)
			}
		})
	case "-forges":
		factory = watching(func(_ context.Context, t probe.Target) { fmt.Fprintln(os.Stderr, "looking at", t.Describe().ID) })
	case "-forgets":
		factory = func(ctx context.Context, cfg eyeConfig) (probe.Prober, error) {
			if in, ok := sdk.InstanceOf(ctx); ok && os.Mkdir(in.StateDir+"/mark", 0o700) != nil {
				return nil, errors.New("I have seen this one")
			}
			return newEye(ctx, cfg)
		}
	default:
		return false
	}
	sdk.Main(sdk.Info{Name: "eye", Version: "1.0.0"}, sdk.Probe(factory))
	return true
}

// watching makes eyes that do something before each probe.
func watching(do func(context.Context, probe.Target)) func(context.Context, eyeConfig) (probe.Prober, error) {
	return func(ctx context.Context, cfg eyeConfig) (probe.Prober, error) {
		p, err := newEye(ctx, cfg)
		return &watch{p, do}, err
	}
}

type watch struct {
	probe.Prober
	do func(context.Context, probe.Target)
}

func (w *watch) Probe(ctx context.Context, t probe.Target) (probe.Verdict, error) {
	w.do(ctx, t)
	return w.Prober.Probe(ctx, t)
}
