package plugintest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/transport"
)

// Transport checks that the dialers of a factory keep the contract of package
// transport. It is in process: the factory is what sdk.Transport takes. The connections
// lead to a Peer, which the test puts behind the transport's medium.
func Transport[C any, D transport.Dialer](
	t *testing.T, open func(ctx context.Context, cfg C) (D, error), opts TransportOptions[C],
) {
	t.Helper()
	runAll(t, transportInProcess(open, opts))
}

// transportInProcess lists the checks of Transport.
func transportInProcess[C any, D transport.Dialer](
	open func(ctx context.Context, cfg C) (D, error), opts TransportOptions[C],
) []check {
	s := newTransportSuite(opts)
	s.open = factoryOf[transport.Dialer](open)
	return append(s.contract(), s.check("Printing", s.printing), s.check("Goroutines", s.goroutines))
}

// transportSuite checks dialers, wherever they run.
type transportSuite[C any] struct {
	suite

	opts TransportOptions[C]
	open factory[C, transport.Dialer]
}

func newTransportSuite[C any](opts TransportOptions[C]) *transportSuite[C] {
	opts = opts.withDefaults()
	return &transportSuite[C]{suite: suite{opts.Patience, opts.lull, newSecrets(opts.Secrets)}, opts: opts}
}

// contract lists the checks that hold in process and through a host.
func (s *transportSuite[C]) contract() []check {
	return []check{
		s.check("Echo", s.echo),
		s.check("Sizes", s.sizes),
		s.check("Order", s.order),
		s.check("Pressure", s.pressure),
		s.check("Once", s.once),
		s.check("Torn", s.torn),
		s.check("Left", s.left),
		s.check("Failures", s.failures),
		s.check("Cancellation", func(r *report) { s.ending(r, context.Canceled) }),
		s.check("Deadline", func(r *report) { s.ending(r, context.DeadlineExceeded) }),
		s.check("Alone", s.alone),
		s.check("Concurrent", s.concurrent),
		s.check("Close", s.closing),
		s.check("CloseBeside", s.closingBeside),
	}
}

// use makes a dialer that is closed at the end of the check, if it can be.
func (s *transportSuite[C]) use(r *report, cfg C) *dialer {
	r.Helper()
	p, err := s.open.make(r, cfg)
	if err != nil {
		r.Fatalf("the factory: %v", err)
	}
	return s.dialer(r, p)
}

// dialer looks at each call of a dialer.
func (s *transportSuite[C]) dialer(r *report, p transport.Dialer) *dialer {
	u := &dialer{r: r, p: p, open: s.opts.Open}
	if c, ok := p.(closer); ok {
		r.Cleanup(func() {
			ctx, cancel := short()
			defer cancel()
			r.within("Close of the dialer", func() { _ = c.Close(ctx) })
		})
	}
	return u
}

// dialer is a dialer, each call of which is looked at.
type dialer struct {
	r    *report
	p    transport.Dialer
	open transport.Open
}

// Dial dials, and checks the answer.
func (u *dialer) Dial(ctx context.Context) (*line, error) {
	lent := u.open.Clone()
	c, err := u.p.Dial(ctx, lent)
	if !reflect.DeepEqual(lent.Header, u.open.Header) || !reflect.DeepEqual(lent.Identity.Attrs, u.open.Identity.Attrs) {
		u.r.faultf("Dial changed what it was given, which is read-only")
	}
	u.r.inspectError("Dial", err)
	switch v := reflect.ValueOf(c); {
	case err != nil:
		return nil, err
	case !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil():
		u.r.faultf("Dial returned neither a connection nor an error")
		return nil, errNothing
	}
	return &line{r: u.r, c: c, name: fmt.Sprintf("c%d", connections.Add(1))}, nil
}

var connections atomic.Int64 //nolint:gochecknoglobals // tells the connections of a process apart

// must dials for the length of the check.
func (u *dialer) must() *line {
	u.r.Helper()
	var l *line
	var err error
	ok := u.r.within("Dial", func() {
		ctx, cancel := context.WithTimeout(context.Background(), u.r.patience)
		defer cancel()
		l, err = u.Dial(ctx)
	})
	if !ok || err != nil || l == nil {
		u.r.Fatalf("Dial: %v", err)
	}
	u.r.Cleanup(func() {
		ctx, cancel := short()
		defer cancel()
		_ = l.Close(ctx, transport.Done)
	})
	return l
}

// line is a connection, each call of which is looked at.
type line struct {
	r    *report
	c    transport.Conn
	name string
	ids  atomic.Int64
}

// Send sends, and checks the answer.
func (l *line) Send(ctx context.Context, message []byte) error {
	lent := bytes.Clone(message)
	err := l.c.Send(ctx, lent)
	if !bytes.Equal(lent, message) {
		l.r.faultf("Send changed the message, which is lent")
	}
	clear(lent) // who keeps it sees that
	l.classified(ctx, "Send", err)
	return err
}

// Receive receives, and checks the answer.
func (l *line) Receive(ctx context.Context) ([]byte, error) {
	m, err := l.c.Receive(ctx)
	l.classified(ctx, "Receive", err)
	if err != nil && m != nil {
		l.r.faultf("Receive returned a message and an error")
	}
	return m, err
}

// Close closes the connection.
func (l *line) Close(ctx context.Context, reason transport.Reason) error {
	var err error
	if !l.r.within("Close", func() { err = l.c.Close(ctx, reason) }) {
		return nil // reported
	}
	l.r.inspectError("Close", err)
	return err
}

// classified reports an error that tells a caller nothing.
func (l *line) classified(ctx context.Context, method string, err error) {
	if err == nil {
		return
	}
	l.r.inspectError(method, err)
	closed, isClosed := errors.AsType[*transport.CloseError](err)
	switch {
	case isClosed && closed.Reason > transport.ProtocolError:
		l.r.faultf("%s returned a *transport.CloseError with %v", method, closed.Reason)
	case errors.Is(err, transport.ErrClosed) && !isClosed:
		l.r.faultf("%s returned transport.ErrClosed without a *transport.CloseError, which has the reason: %v", method, err)
	case isClosed, errors.Is(err, transport.ErrTooLarge), errors.Is(err, transport.ErrNotSent) && method == "Send":
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
	default:
		l.r.faultf("%s returned an error that tells a caller nothing: it is no CloseError, not ErrTooLarge, ErrNotSent nor that of its context: %v", method, err)
	}
}

// message makes a message with an id, and text of any kind in it.
func (l *line) message(text string) (id string, m []byte) {
	id = fmt.Sprintf("%s-%d", l.name, l.ids.Add(1))
	m, _ = json.Marshal(map[string]string{"id": id, "text": text}) //nolint:errchkjson // a map of strings
	return id, m
}

// tell gives the peer an order.
func (l *line) tell(o order) error {
	m, err := json.Marshal(o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), l.r.patience)
	defer cancel()
	return l.Send(ctx, m)
}

// next is what comes, in time.
func (l *line) next() ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), l.r.patience)
	defer cancel()
	return l.Receive(ctx)
}

// exchange sends a message and expects it back.
func (l *line) exchange(ctx context.Context, m []byte) error {
	if err := l.Send(ctx, m); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	got, err := l.Receive(ctx)
	if err != nil {
		return fmt.Errorf("receiving: %w", err)
	}
	if !bytes.Equal(got, m) {
		l.r.faultf("a message came back as another: %.100q (%d bytes), want %.100q (%d bytes)", got, len(got), m, len(m))
	}
	return nil
}

// book is the ledger that the peers of a check write.
type book struct {
	r    *report
	path string
}

func newBook(r *report) *book {
	b := &book{r: r, path: filepath.Join(r.TempDir(), "ledger")}
	if err := os.WriteFile(b.path, nil, 0o600); err != nil {
		r.Fatalf("no ledger: %v", err)
	}
	return b
}

// open has the peer of a connection write down what happens.
func (b *book) open(l *line) error {
	m, err := json.Marshal(order{Order: orderLedger, Path: b.path, Conn: l.name})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), b.r.patience)
	defer cancel()
	return l.exchange(ctx, m)
}

// lines are those of one sort, by connection: the ids of what it got, or of what it
// wrote, or its end.
func (b *book) lines(what string) map[string][]string {
	text, err := os.ReadFile(b.path)
	if err != nil {
		b.r.faultf("the ledger: %v", err)
	}
	all := make(map[string][]string)
	for entry := range strings.Lines(string(text)) {
		if f := strings.Fields(entry); len(f) == 3 && f[1] == what {
			all[f[0]] = append(all[f[0]], f[2])
		}
	}
	return all
}

// ended waits for the peer to see the end of its connection, or to be gone: a program
// that is slow to end may be killed.
func (b *book) ended(l *line) {
	b.r.Helper()
	over := func() bool {
		if len(b.lines("end")[l.name]) > 0 {
			return true
		}
		pids := b.lines("pid")[l.name]
		if len(pids) == 0 {
			return false
		}
		pid, err := strconv.Atoi(pids[0])
		return err == nil && pid != os.Getpid() && processGone(pid)
	}
	if !b.r.poll(over) {
		b.r.faultf("the connection was closed, and its peer did not see its end within %v", b.r.patience)
	}
}

// transportField is the field that a configuration error of this kind names.
func transportField(err error) (string, bool) {
	e, ok := err.(*transport.ConfigError) //nolint:errorlint // faulty unwraps
	if !ok {
		return "", false
	}
	return e.Field, true
}
