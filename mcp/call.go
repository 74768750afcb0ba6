package mcpool

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/go-mcpool/mcpool/core"
)

// request is what is asked of a server: the method, the tool if it is a call of
// one, and how to ask. send may run several times, each with a session of its own,
// and has to make its params anew each time.
type request[R any] struct {
	method string
	tool   string
	params *mcp.CallToolParams // if it is a call of one, for Config.CheckArguments
	send   func(ctx context.Context, s *mcp.ClientSession, token string) (R, error)
}

// do sends r on a shared session, and again as o allows.
func do[R any](ctx context.Context, p *Pool, o *options, r request[R]) (res R, err error) {
	if ctx == nil {
		return res, core.ErrNilContext
	}
	id, err := p.identityFor(o)
	if err != nil {
		return res, err
	}
	return doFor(ctx, p, id, o, r)
}

// doFor is do for an identity.
func doFor[R any](ctx context.Context, p *Pool, id *identity, o *options, r request[R]) (res R, err error) {
	if p.cfg.Headers != nil {
		if o, err = o.withContextHeaders(p.cfg.Headers(ctx)); err != nil {
			return res, err
		}
	}
	if o.timeout != 0 && o.timeout != never {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.timeout)
		defer cancel()
	}
	ctx, seen := p.observeCall(ctx, id, r.method, r.tool)
	attempts, uncertain, renewed := 0, 0, false
	defer func() { p.callEnded(ctx, seen, attempts, res, err) }()
	if p.cfg.CheckArguments && r.params != nil {
		if err = p.checkArguments(ctx, id, nil, r.params); err != nil {
			return res, err
		}
	}
	w := newPatience(ctx, p)
	for epoch := uint64(0); ; {
		l, s, leaseErr := p.lease(ctx, id, o, epoch)
		if leaseErr != nil {
			if err == nil || attempts == 0 {
				err = leaseErr
			} else {
				err = errors.Join(err, leaseErr)
			}
			return res, err
		}
		attempts++
		down := p.downSince.Load()
		res, err = once(ctx, s, o, r)
		if err == nil {
			l.Release()
			p.alive(down)
			return res, nil
		}
		f := s.judge(ctx, r.method, err)
		err = f.err
		switch {
		case f.gone:
			epoch = id.lost(s, l.ID(), err)
			l.Discard(err)
		case f.dated:
			epoch = id.outdated(s)
			l.Discard(nil)
		default:
			l.Release()
		}
		if f.mayRun {
			uncertain++
		}
		if f.dated && renewed {
			return res, err // and that session had just listed the tools
		}
		renewed = renewed || f.dated
		if f.final || ctx.Err() != nil || uncertain > maxUncertain || !p.mayRepeat(ctx, id, o, r.method, r.tool, f) {
			return res, err
		}
		// The first session that turns out to be gone says nothing about the next.
		if (!f.gone && !f.dated || attempts > 1) && !w.wait(err) {
			return res, err
		}
		p.counts.replays.Add(1)
	}
}

// once makes one attempt on s.
func once[R any](ctx context.Context, s *conn, o *options, r request[R]) (res R, err error) {
	c := newCall(ctx, s, o)
	defer c.end()
	token := ""
	if c.live != nil {
		token = c.token
	}
	if !s.enter(c) {
		return res, &SessionError{Pool: s.id.pool.cfg.Name, Method: r.method, Gone: true, Err: errSessionClosed}
	}
	var written uint64
	if s.process != nil {
		written = s.process.written.Load()
	}
	res, err = r.send(c, s.cs, token)
	if err == nil {
		return res, nil
	}
	if noted := c.failure(); noted != nil {
		return res, noted
	}
	if s.process != nil && connectionEnded(err) && s.process.written.Load() == written {
		err = errors.Join(errNotWritten, err) // not a message got through since we began
	}
	if s.carrier != nil {
		err = s.carrier.explain(c, err)
	}
	return res, err
}

var errNotWritten = errors.New("nothing was written")

// finding is what a failed attempt means.
type finding struct {
	err    error // for the caller
	gone   bool  // the session is of no more use
	mayRun bool
	dated  bool // the session knows the tools as they were, so it was refused
	final  bool // it was answered, or is not worth another try
}

// judge finds out what a failed attempt on s means.
func (s *conn) judge(ctx context.Context, method string, err error) finding {
	name := s.id.pool.cfg.Name
	var (
		session   *SessionError
		throttled *ThrottledError
		refusal   *AuthError
		status    *StatusError
		rpc       *jsonrpc.Error
	)
	lost := func(mayRun bool, cause error) finding {
		return finding{
			gone: true, mayRun: mayRun,
			err: &SessionError{Pool: name, Method: method, Gone: true, MayRun: mayRun, Err: s.lastWords(cause)},
		}
	}
	switch {
	case errors.As(err, &session):
		e := *session
		e.Method, e.Pool = method, name
		return finding{err: &e, gone: e.Gone, mayRun: e.MayRun}
	case ctx.Err() != nil:
		return finding{err: contextError(ctx), final: true}
	case errors.As(err, &throttled):
		return finding{err: throttled, final: true}
	case errors.As(err, &refusal):
		return finding{err: refusal, final: true}
	case errors.As(err, &status):
		gateway := status.Status == 502 || status.Status == 504
		return finding{err: status, mayRun: true, final: !gateway}
	case errors.Is(err, ErrOrigin):
		return finding{err: ErrOrigin, final: true}
	case errors.Is(err, mcp.ErrConnectionClosed):
		return lost(false, nil) // the SDK found it closed before it sent anything
	case errors.Is(err, mcp.ErrSessionMissing):
		return lost(false, nil)
	case errors.As(err, &rpc) && rpc.Code != codeRejected:
		if isSessionNotFound(rpc) {
			return lost(false, rpc)
		}
		if rpc.Code == mcp.CodeHeaderMismatch && s.sharedByNature() {
			return finding{err: err, dated: true}
		}
		return finding{err: err, final: true}
	case errors.Is(err, errNotWritten) && connectionEnded(err):
		return lost(false, err)
	case (errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrClosed)) && s.id.pool.kind == kindCommand:
		return lost(false, err) // nobody was there to read a whole line
	case connectionEnded(err):
		return lost(true, err)
	case strings.Contains(err.Error(), "request terminated without response"):
		// The stream of this one call ended. Whether the session is there, the next
		// call finds out.
		return finding{mayRun: true, err: &SessionError{Pool: name, Method: method, MayRun: true, Err: errNoAnswer}}
	case streamBroken(err):
		return lost(true, s.scrub(err))
	}
	return finding{err: s.scrub(err), final: true}
}

var errNoAnswer = errors.New("the stream ended without an answer")

// connectionEnded recognises the end of a connection of pipes.
func connectionEnded(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrClosed)
}

// streamBroken recognises the ways in which the SDK gives up a connection. They
// have no type.
func streamBroken(err error) bool {
	text := err.Error()
	for _, part := range []string{
		"retries without progress", "failed to reconnect", "failed to decode", "failed to read body",
		"malformed", "exceeded the configured", "mismatching session IDs", "unsupported content type", "standalone SSE",
	} {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}

// lastWords prefers what a child process said to what the SDK says.
func (s *conn) lastWords(cause error) error {
	if s.process != nil {
		if err := s.process.failure(afterwards); err != nil {
			return err
		}
	}
	return s.scrub(cause)
}

// lost notes that a session is of no more use and retires its siblings that are
// not younger than that. It returns the epoch from which on sessions are good.
func (id *identity) lost(s *conn, session uint64, why error) uint64 {
	p := id.pool
	s.kill(ErrSessionGone)
	attrs := []slog.Attr{slog.Uint64("session", session), slog.String("identity", id.label), cause(why)}
	if s.process != nil || p.kind == kindCustom {
		if !s.mourned.Swap(true) {
			p.journal.write(slog.LevelWarn, "session died", "", attrs...)
		}
		return 0 // it dies alone: its siblings are other processes
	}
	if !id.epoch.CompareAndSwap(s.epoch, s.epoch+1) {
		return s.epoch + 1 // somebody else noticed, or it was an old one
	}
	id.lostAt.Store(p.now())
	p.counts.losses.Add(1)
	p.journal.write(slog.LevelWarn, "session gone, opening others", "", attrs...)
	p.backend.Load().evict(id, why)
	return s.epoch + 1
}

// outdated retires a session, and those that are not younger, because the server's
// tools have changed since they listed them: which arguments go into headers is
// known from the list. It returns the epoch from which on sessions know better.
func (id *identity) outdated(s *conn) uint64 {
	if id.epoch.CompareAndSwap(s.epoch, s.epoch+1) {
		id.pool.backend.Load().evict(id, nil)
	}
	return s.epoch + 1
}

// mayRepeat tells whether a call may be sent again.
func (p *Pool) mayRepeat(ctx context.Context, id *identity, o *options, method, tool string, f finding) bool {
	switch {
	case o.replay == ReplayNever:
		return false
	case !f.mayRun:
		return true
	case o.replay != ReplayReadOnly:
		return false
	case method != methodCallTool:
		return true // all of them only read
	}
	// What the list says now is as good as what it said then, and it may have to
	// come from the restarted server.
	ctx, cancel := context.WithTimeout(ctx, p.cfg.ConnectTimeout+10*time.Second)
	defer cancel()
	return id.lists.harmless(ctx, tool)
}

// maxUncertain is how often a call that may have run is sent again: one that
// brings the server down each time must not go on doing so.
const maxUncertain = 4

const methodCallTool = "tools/call"
