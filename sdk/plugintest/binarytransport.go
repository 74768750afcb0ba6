package plugintest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/go-mcpool/mcpool/sdk/host"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

var _ binaryKind = (*transportBinary)(nil)

// transportBinary is the kind transport of a binary.
type transportBinary struct{ *transportSuite[host.Instance] }

func (k *transportBinary) kind() string              { return wire.KindTransport }
func (k *transportBinary) common() *suite            { return &k.suite }
func (k *transportBinary) works() host.Instance      { return k.opts.Config }
func (k *transportBinary) stalls() *host.Instance    { return k.opts.Stalled }
func (k *transportBinary) faulty(err error) []string { return faulty(err, transportField) }

// dialerOf is an instance of a running plugin.
type dialerOf struct {
	*host.Dialer
	run *host.Running
}

// through makes a suite whose dialers are instances of a running plugin.
func (k *transportBinary) through(run *host.Running) *transportSuite[host.Instance] {
	s := *k.transportSuite
	s.open = func(ctx context.Context, in host.Instance) (transport.Dialer, error) {
		d, err := run.Transport(ctx, named(in))
		if err != nil {
			return nil, err
		}
		return &dialerOf{d, run}, nil
	}
	return &s
}

func (k *transportBinary) contract(run *host.Running) []check { return k.through(run).contract() }

func (k *transportBinary) open(ctx context.Context, run *host.Running, in host.Instance) (closer, error) {
	d, err := k.through(run).open(ctx, in)
	if err != nil {
		return nil, err
	}
	return d.(closer), nil //nolint:forcetypeassert,errcheck // dialerOf is one
}

func (k *transportBinary) shared() bool { return true }

// use opens a connection, exchanges a few messages and closes it. One whose process
// died meanwhile has ended, which nobody can help; Dial has no such excuse.
func (k *transportBinary) use(r *report, p closer) call {
	d := p.(*dialerOf) //nolint:forcetypeassert,errcheck // open returned it
	u := &dialer{r: r, p: d.Dialer, open: k.opts.Open}
	return func(ctx context.Context) error {
		starts := d.run.Stats().Starts
		l, err := u.Dial(ctx)
		if err != nil {
			return err
		}
		for range 3 {
			_, m := l.message("with others")
			if err = l.exchange(ctx, m); err != nil {
				break
			}
		}
		within, cancel := context.WithTimeout(context.Background(), r.patience)
		defer cancel()
		if closeErr := l.Close(within, transport.Done); err == nil {
			err = closeErr
		}
		if lost(err) && r.poll(func() bool { return d.run.Stats().Starts > starts }) {
			return nil
		}
		return err
	}
}

// lost tells whether an error is the end of a session that a pool opens again.
func lost(err error) bool {
	end, ok := errors.AsType[*transport.CloseError](err)
	return ok && (end.Reason == transport.PeerGone || end.Reason == transport.ShuttingDown)
}

func (k *transportBinary) extra(b *binarySuite) []check {
	checks := []check{
		b.check("transport/Pieces", func(r *report) { k.pieces(b, r) }),
		b.check("transport/Sessions", func(r *report) { k.sessions(b, r) }),
	}
	return append(checks, k.unixExtra(b)...)
}

// pieces: messages that are larger than what the wire takes at once come through whole.
func (k *transportBinary) pieces(b *binarySuite, r *report) {
	run := b.launch(r, func(p *host.Plugin) { p.Limits.MessageBytes = 128 << 10 })
	l := k.through(run).use(r, k.opts.Config).must()
	r.within("a message of 1 MiB, with MessageBytes = 128 KiB", func() {
		for range 3 {
			_, m := l.message(strings.Repeat("p", limit-100))
			sending := r.start("Send", func() {
				if err := l.Send(context.Background(), m); err != nil {
					r.faultf("Send: %v", err)
				}
			})
			if got, err := l.next(); err != nil || string(got) != string(m) {
				r.faultf("a message of 1 MiB came back with %d bytes: %v", len(got), err)
			}
			r.wait("Send", sending)
		}
	})
	b.unharmed(r, run, k)
}

// sessions: kill -9 at any moment ends sessions with an error that a pool knows what to
// do with; no message is sent again, and what is said not to have been sent was not.
func (k *transportBinary) sessions(b *binarySuite, r *report) {
	run := b.launch(r)
	u := k.through(run).use(r, k.opts.Config)
	ledger := newBook(r)
	var mu sync.Mutex
	notSent := make(map[string]bool)
	stop := make(chan struct{})
	var ended, exchanged atomic.Int64
	live := func(n int) error { // one session
		ctx, cancel := context.WithTimeout(context.Background(), b.patience)
		defer cancel()
		l, err := u.Dial(ctx)
		if err != nil {
			return fmt.Errorf("dialling: %w", err)
		}
		defer func() { _ = l.Close(ctx, transport.Done) }()
		if err := ledger.open(l); err != nil {
			return fmt.Errorf("the first message: %w", err)
		}
		for i := 0; ; i++ {
			select {
			case <-stop:
				return nil
			default:
			}
			id, m := l.message(strings.Repeat("k", i*n*100%200_000))
			if err := l.Send(ctx, m); err != nil {
				if errors.Is(err, transport.ErrNotSent) {
					mu.Lock()
					notSent[id] = true
					mu.Unlock()
				}
				return fmt.Errorf("sending: %w", err)
			}
			if got, err := l.Receive(ctx); err != nil {
				return fmt.Errorf("receiving: %w", err)
			} else if string(got) != string(m) {
				r.faultf("a message came back as another: %.100q", got)
			}
			exchanged.Add(1)
		}
	}
	var running []<-chan struct{}
	for n := range callers {
		running = append(running, r.start("a session", func() {
			for {
				err := live(n)
				switch {
				case err == nil:
					return
				case !lost(err):
					r.faultf("kill -9 ended a session with an error that is no *transport.CloseError for %v or %v: %v",
						transport.PeerGone, transport.ShuttingDown, err)
					return
				}
				ended.Add(1)
			}
		}))
	}
	for range 4 {
		before := exchanged.Load()
		if !r.poll(func() bool { return exchanged.Load() > before+3*callers || r.Failed() }) {
			r.faultf("sessions were not open again within %v after kill -9", b.patience)
		}
		b.killOnce(r, run)
	}
	close(stop)
	for _, done := range running {
		r.wait("a session", done)
	}
	if ended.Load() == 0 {
		r.faultf("kill -9 ended no session: they did not see that their process was gone")
	}
	ledger.audit(notSent)
}
