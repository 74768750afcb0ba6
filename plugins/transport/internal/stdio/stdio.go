// Package stdio carries messages over the stdin and stdout of a program, one on
// each line, for the transports that differ in how they start it.
package stdio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-mcpool/mcpool/sdk/transport"
)

var _ transport.Conn = (*Conn)(nil)

// Config says what a Conn is made of.
type Config struct {
	// In is the program's stdin, and Out its stdout.
	In  io.Writer
	Out io.Reader
	// MaxBytes bounds a message.
	MaxBytes int64
	// SendTimeout bounds the writing of one message; 0 is no bound.
	SendTimeout time.Duration
	// Cut makes all reading and writing return at once. It may be called more than
	// once, from any goroutine.
	Cut func()
	// Why says more about an end that was noticed, such as how the program ended; it
	// may return nil.
	Why func() error
	// Stop ends the program and returns when it is gone, or ctx ends. It is called
	// once.
	Stop func(ctx context.Context, reason transport.Reason) error
}

// Conn is a transport.Conn over stdin and stdout.
type Conn struct {
	// Immutable after creation.
	cfg Config
	in  *transport.LineReader

	end  atomic.Pointer[transport.CloseError] // why it ended; the first reason stands
	line []byte                               // to write messages from; the sender's alone

	closing  sync.Once
	gone     chan struct{} // closed when Close has its result
	closeErr error         // readable after gone
}

// New returns a Conn for a program that runs.
func New(cfg Config) *Conn {
	return &Conn{cfg: cfg, in: transport.NewLineReader(cfg.Out, cfg.MaxBytes), gone: make(chan struct{})}
}

// keepLine is how large a message may be to be joined with its newline: larger
// ones are not worth the copy.
const keepLine = 64 << 10

// Send writes one message and its newline.
func (c *Conn) Send(ctx context.Context, message []byte) error {
	if size := int64(len(message)); size > c.cfg.MaxBytes {
		return &transport.SizeError{Sending: true, Bytes: size, Max: c.cfg.MaxBytes}
	}
	if end := c.end.Load(); end != nil {
		return &transport.CloseError{Reason: end.Reason, NotSent: true, Err: end.Err}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: %w", transport.ErrNotSent, context.Cause(ctx))
	}
	if bytes.ContainsAny(message, "\r\n") { // white space between JSON's tokens: in strings it is escaped
		message = bytes.ReplaceAll(bytes.ReplaceAll(message, []byte{'\n'}, []byte{' '}), []byte{'\r'}, []byte{' '})
	}
	defer context.AfterFunc(ctx, func() { c.giveUp(context.Cause(ctx)) })()
	if c.cfg.SendTimeout > 0 {
		stuck := time.AfterFunc(c.cfg.SendTimeout, func() {
			c.giveUp(fmt.Errorf("a message was stuck for %v", c.cfg.SendTimeout))
		})
		defer stuck.Stop()
	}
	n, err := c.write(message)
	if err == nil {
		return nil
	}
	c.note(&transport.CloseError{Reason: transport.PeerGone, Err: c.why(err)})
	c.cfg.Cut() // half a message is on its way: there can be no other
	end := c.end.Load()
	// A reader may take a message for whole before its newline has come.
	return &transport.CloseError{Reason: end.Reason, NotSent: n < len(message), Err: end.Err}
}

// Receive reads one message.
func (c *Conn) Receive(ctx context.Context) ([]byte, error) {
	if end := c.end.Load(); end != nil && end.Reason != transport.PeerGone {
		return nil, end
	}
	defer context.AfterFunc(ctx, func() { c.giveUp(context.Cause(ctx)) })()
	msg, err := c.in.Next()
	switch {
	case err == nil:
		return msg, nil
	case errors.Is(err, transport.ErrTooLarge):
		c.note(&transport.CloseError{Reason: transport.ProtocolError, Err: err})
	default:
		c.note(&transport.CloseError{Reason: transport.PeerGone, Err: c.why(err)})
	}
	return nil, c.end.Load()
}

// Close ends the program.
func (c *Conn) Close(ctx context.Context, reason transport.Reason) error {
	c.closing.Do(func() {
		defer close(c.gone)
		c.note(&transport.CloseError{Reason: reason})
		c.closeErr = c.cfg.Stop(ctx, reason)
		c.cfg.Cut()
	})
	<-c.gone
	return c.closeErr
}

// write returns how much went out, the newline included.
func (c *Conn) write(message []byte) (int, error) {
	if len(message) < keepLine {
		c.line = append(append(c.line[:0], message...), '\n')
		return c.cfg.In.Write(c.line) //nolint:wrapcheck // the caller says what it was doing
	}
	n, err := c.cfg.In.Write(message)
	if err == nil {
		var m int
		m, err = c.cfg.In.Write([]byte{'\n'})
		n += m
	}
	return n, err //nolint:wrapcheck // the caller says what it was doing
}

// why prefers what the program said to what its pipes say.
func (c *Conn) why(err error) error {
	if c.end.Load() != nil {
		return err // somebody knew better
	}
	if said := c.cfg.Why(); said != nil {
		return said
	}
	return err
}

// note keeps the first reason.
func (c *Conn) note(end *transport.CloseError) { c.end.CompareAndSwap(nil, end) }

func (c *Conn) giveUp(err error) {
	c.note(&transport.CloseError{Reason: transport.PeerGone, Err: err})
	c.cfg.Cut()
}

// Tail keeps the last of what is written to it: a program's stderr.
type Tail struct {
	mu   sync.Mutex
	kept []byte // guarded by mu
	cut  bool   // guarded by mu: what came before kept is gone
}

const tailBytes = 4 << 10

func (t *Tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	if len(t.kept) > 2*tailBytes {
		t.kept, t.cut = append([]byte(nil), t.kept[len(t.kept)-tailBytes:]...), true
	}
	return len(b), nil
}

// Lines returns the end of it as text, with secrets blotted out. Short secrets are
// left: they would be found everywhere.
func (t *Tail) Lines(secrets []string) string {
	t.mu.Lock()
	text, cut := bytes.Clone(t.kept), t.cut
	t.mu.Unlock()
	if cut && len(secrets) > 0 {
		_, text, _ = bytes.Cut(text, []byte{'\n'}) // the first line may begin within a secret
	}
	for _, s := range secrets {
		if len(s) >= 8 {
			text = bytes.ReplaceAll(text, []byte(s), []byte("[redacted]"))
		}
	}
	text = text[max(0, len(text)-tailBytes):]
	return string(bytes.TrimSpace(bytes.ToValidUTF8(text, []byte("?"))))
}
