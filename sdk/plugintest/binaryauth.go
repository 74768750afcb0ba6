package plugintest

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/host"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

var _ binaryKind = (*authBinary)(nil)

// authBinary is the kind auth of a binary.
type authBinary struct{ *authSuite[host.Instance] }

func (k *authBinary) kind() string              { return wire.KindAuth }
func (k *authBinary) common() *suite            { return &k.suite }
func (k *authBinary) works() host.Instance      { return k.opts.Config }
func (k *authBinary) stalls() *host.Instance    { return k.opts.Stalled }
func (k *authBinary) faulty(err error) []string { return faulty(err, authField) }

// through makes a suite whose providers are instances of a running plugin.
func (k *authBinary) through(run *host.Running) *authSuite[host.Instance] {
	s := *k.authSuite
	if run == nil {
		return &s
	}
	s.headers = kindOf(run.Describe(), wire.KindAuth).Headers
	s.open = func(ctx context.Context, in host.Instance) (auth.Provider, error) {
		return run.Auth(ctx, named(in))
	}
	return &s
}

func (k *authBinary) contract(run *host.Running) []check { return k.through(run).contract() }

func (k *authBinary) open(ctx context.Context, run *host.Running, in host.Instance) (closer, error) {
	return k.through(run).open(ctx, in)
}

func (k *authBinary) shared() bool { return true }

func (k *authBinary) use(r *report, p closer) call {
	return k.sends(k.subject(r, p.(auth.Provider))) //nolint:forcetypeassert,errcheck // open returned it
}

func (k *authBinary) extra(b *binarySuite) []check {
	return []check{
		b.check("auth/Large", func(r *report) { k.large(b, r) }), b.check("auth/Leased", func(r *report) { k.leased(b, r) }),
	}
}

// large: a message that is large is taken, and one that is too large costs nobody the
// plugin.
func (k *authBinary) large(b *binarySuite, r *report) {
	realm := `Bearer realm="` + strings.Repeat("a", 1<<20) + `"`
	for limit, refused := range map[int]bool{16 << 20: false, 128 << 10: true} {
		run := b.launch(r, func(p *host.Plugin) { p.Limits.MessageBytes = limit })
		u := k.through(run).use(r, k.opts.Config)
		r.within("Challenge", func() {
			ctx := context.Background()
			sent, generation, err := u.send(ctx, k.opts.Request)
			if err != nil {
				r.faultf("Credentials of %v: %v", k.opts.Request, err)
				return
			}
			ch := k.opts.Challenge(sent, generation)
			ch.Header = http.Header{"Www-Authenticate": {realm}}
			_, err = u.Challenge(ctx, k.opts.Request, ch)
			if e, ok := errors.AsType[*host.Error](err); refused && (!ok || !strings.Contains(e.Message, "MessageBytes")) {
				r.faultf("a Challenge of 1 MiB, with MessageBytes = %d: %v", limit, err)
			}
			if _, _, err := u.send(ctx, k.opts.Request); err != nil {
				r.faultf("Credentials after a Challenge of 1 MiB: %v", err)
			}
		})
		b.unharmed(r, run, k)
	}
}

// leased: who holds credentials goes on while the plugin is gone.
func (k *authBinary) leased(b *binarySuite, r *report) {
	run := b.launch(r)
	p, err := k.through(run).open(context.Background(), k.opts.Config)
	if err != nil {
		r.Fatalf("opening an instance: %v", err)
	}
	cache, err := auth.NewCache(p, auth.CacheConfig{})
	if err != nil {
		r.Fatalf("a cache: %v", err)
	}
	defer func() { _ = cache.Close(context.Background()) }()
	first, err := cache.Credentials(context.Background(), k.opts.Request)
	if err != nil {
		r.faultf("Credentials through a cache: %v", err)
		return
	}
	if !first.Expires.IsZero() && time.Until(first.Expires) < time.Minute {
		r.Log("credentials that last less than a minute: that they stay in use is not checked")
		return
	}
	starts := run.Stats().Starts
	killProcess(run.Stats().PID)
	ended, cancel := context.WithCancel(context.Background())
	cancel() // nobody waits for anything
	again, err := cache.Credentials(ended, k.opts.Request)
	if err != nil || again.Expired(time.Now()) {
		r.faultf("after kill -9, credentials that are valid were not in use any more: %v", err)
	}
	if !r.poll(func() bool { return run.Stats().Starts > starts }) {
		r.faultf("after kill -9, the plugin was not started again within %v", b.patience)
	}
}
