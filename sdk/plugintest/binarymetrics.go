package plugintest

import (
	"context"
	"errors"
	"strings"

	"github.com/go-mcpool/mcpool/sdk/host"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
	"github.com/go-mcpool/mcpool/sdk/metrics"
)

var _ binaryKind = (*metricsBinary)(nil)

// metricsBinary is the kind metrics of a binary.
type metricsBinary struct{ *metricsSuite[host.Instance] }

func (k *metricsBinary) kind() string              { return wire.KindMetrics }
func (k *metricsBinary) common() *suite            { return &k.suite }
func (k *metricsBinary) works() host.Instance      { return k.opts.Config }
func (k *metricsBinary) stalls() *host.Instance    { return k.opts.Stalled }
func (k *metricsBinary) faulty(err error) []string { return faulty(err, metricsField) }

// through makes a suite whose sinks are instances of a running plugin.
func (k *metricsBinary) through(run *host.Running) *metricsSuite[host.Instance] {
	s := *k.metricsSuite
	s.open = func(ctx context.Context, in host.Instance) (metrics.Sink, error) { return run.Metrics(ctx, named(in)) }
	return &s
}

func (k *metricsBinary) contract(run *host.Running) []check { return k.through(run).contract() }

func (k *metricsBinary) open(ctx context.Context, run *host.Running, in host.Instance) (closer, error) {
	return k.through(run).open(ctx, in)
}

func (k *metricsBinary) shared() bool { return false }

func (k *metricsBinary) use(r *report, p closer) call {
	return k.exports(k.sink(r, p.(metrics.Sink))) //nolint:forcetypeassert,errcheck // open returned it
}

func (k *metricsBinary) extra(b *binarySuite) []check {
	return []check{b.check("metrics/Large", func(r *report) { k.large(b, r) })}
}

// large: a batch that is too large is not tried again and again, and costs nobody the
// plugin.
func (k *metricsBinary) large(b *binarySuite, r *report) {
	run := b.launch(r, func(p *host.Plugin) { p.Limits.MessageBytes = 128 << 10 })
	u := k.through(run).use(r, k.opts.Config)
	r.within("Export", func() {
		large := gauge(k.fresh())
		large.Scopes[0].Version = strings.Repeat("v", 1<<20)
		if _, err := u.Export(context.Background(), large); !errors.Is(err, metrics.ErrPermanent) {
			r.faultf("an Export of 1 MiB, with MessageBytes = 128 KiB: %v", err)
		}
		k.took(r, u, k.fresh())
	})
	b.unharmed(r, run, k)
}
