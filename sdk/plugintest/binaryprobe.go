package plugintest

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/go-mcpool/mcpool/sdk/host"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
	"github.com/go-mcpool/mcpool/sdk/probe"
)

var _ binaryKind = (*probeBinary)(nil)

// probeBinary is the kind probe of a binary.
type probeBinary struct{ *probeSuite[host.Instance] }

func (k *probeBinary) kind() string              { return wire.KindProbe }
func (k *probeBinary) common() *suite            { return &k.suite }
func (k *probeBinary) works() host.Instance      { return k.opts.Config }
func (k *probeBinary) stalls() *host.Instance    { return k.opts.Stalled }
func (k *probeBinary) faulty(err error) []string { return faulty(err, probeField) }

// through makes a suite whose probers are instances of a running plugin.
func (k *probeBinary) through(run *host.Running) *probeSuite[host.Instance] {
	s := *k.probeSuite
	s.open = func(ctx context.Context, in host.Instance) (probe.Prober, error) {
		p, err := run.Probe(ctx, named(in))
		if err != nil {
			return nil, err
		}
		return p, nil
	}
	return &s
}

func (k *probeBinary) contract(run *host.Running) []check { return k.through(run).contract() }

func (k *probeBinary) open(ctx context.Context, run *host.Running, in host.Instance) (closer, error) {
	p, err := k.through(run).open(ctx, in)
	if err != nil {
		return nil, err
	}
	return p.(closer), nil //nolint:forcetypeassert,errcheck // a host's
}

func (k *probeBinary) shared() bool { return true }

func (k *probeBinary) use(r *report, p closer) call {
	u := k.prober(r, p.(probe.Prober)) //nolint:forcetypeassert,errcheck // open returned it
	return func(ctx context.Context) error {
		v, err := u.Probe(ctx, newTarget(r, k.opts.Target))
		if err == nil && v.Status != probe.Healthy {
			err = fmt.Errorf("a healthy target was found %v", v)
		}
		return err
	}
}

func (k *probeBinary) extra(b *binarySuite) []check {
	return []check{
		b.check("probe/Large", func(r *report) { k.large(b, r) }),
		b.check("probe/Hanging", func(r *report) { k.killHanging(b, r) }),
	}
}

// large: an answer that is too large costs nobody the plugin.
func (k *probeBinary) large(b *binarySuite, r *report) {
	run := b.launch(r, func(p *host.Plugin) { p.Limits.MessageBytes = 128 << 10 })
	s := k.through(run)
	u := s.use(r, k.opts.Config)
	t := k.opts.Target
	t.About.ID = "large"
	t.Answer = func(context.Context, string, json.RawMessage) (json.RawMessage, error) {
		return make(json.RawMessage, 1<<20), nil
	}
	r.within("Probe of a target that answers 1 MiB, with MessageBytes = 128 KiB", func() {
		_, _ = u.Probe(context.Background(), newTarget(r, t))
	})
	s.healthy(r, u, k.opts.Target, " after a large answer")
	b.unharmed(r, run, k)
}

// killHanging: a probe whose target hangs when the process dies is made again by the
// next one, and ends with its context.
func (k *probeBinary) killHanging(b *binarySuite, r *report) {
	run := b.launch(r)
	s := k.through(run)
	if !s.waits(r) {
		r.Skip("it does not wait for its target")
	}
	u := s.use(r, k.opts.Config)
	t := newTarget(r, s.hanging())
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := r.start("Probe", func() { _, _ = u.Probe(ctx, t) })
	called := func(what string) {
		if !r.poll(func() bool {
			select {
			case <-t.called:
				return true
			default:
				return false
			}
		}) {
			r.faultf("%s: it did not come within %v", what, r.patience)
		}
	}
	called("the call of a hanging target")
	b.killOnce(r, run)
	called("the call of a hanging target, again after kill -9")
	cancel()
	r.wait("Probe whose context was cancelled after kill -9", done)
}
