package mcpool

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// hearing is what a session needs that is there to hear the server outside of
// calls. Up to 2025-11-25 there is one standing stream for everything; from
// 2026-07-28 on one stream for the lists and one for each resource, which the SDK
// opens without waiting for an answer, and whose end it tells nobody.
type hearing struct {
	notices *notices      // nil if lists are of no interest
	ended   chan struct{} // closed when a stream of the session has ended
	once    sync.Once

	opening  atomic.Pointer[connContext]          // that of Connect, as long as it runs
	standing atomic.Int32                         // standing streams opened so far
	update   atomic.Pointer[func(ResourceUpdate)] // nil if resources are of no interest

	mu      sync.Mutex
	listens map[string]*listening // guarded by mu; by resource, empty for lists
}

func newHearing(n *notices) *hearing {
	return &hearing{notices: n, ended: make(chan struct{}), listens: make(map[string]*listening)}
}

// end says that something is not heard any more.
func (h *hearing) end() { h.once.Do(func() { close(h.ended) }) }

// missed says that something may have been missed on a session that goes on.
func (h *hearing) missed() {
	if h.notices != nil {
		h.notices.all()
	}
	h.updated(ResourceUpdate{Missed: true})
}

func (h *hearing) updated(u ResourceUpdate) {
	if f := h.update.Load(); f != nil {
		(*f)(u)
	}
}

// gotStream is told of each standing stream. The SDK opens a second one when the
// first breaks; unless the server numbers its events, what it said in between is lost.
func (h *hearing) gotStream(req *http.Request) {
	if h.standing.Add(1) > 1 && req.Header.Get("Last-Event-ID") == "" {
		h.missed()
	}
}

// openingOf returns the context of the Connect that a request for a stream is part
// of, or nil. The SDK has Connect wait until the stream begins, whatever becomes of
// Connect's own context, and there is no session yet that could be closed.
func openingOf(req *http.Request) *connContext {
	if req.Method != http.MethodGet && listenOf(req) == nil {
		return nil
	}
	if s := connOf(req.Context()); s != nil && s.hears != nil {
		return s.hears.opening.Load()
	}
	return nil
}

// listening is one stream from 2026-07-28 on.
type listening struct {
	hearing *hearing
	answer  chan error // of the server: nil when it acknowledged; holds one
	once    sync.Once
	unasked atomic.Bool // nobody wants it any more, so that its end is none
}

// expect returns the stream that is going to be opened for a resource.
func (h *hearing) expect(uri string) *listening {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.listens[uri]
	if l == nil {
		l = &listening{hearing: h, answer: make(chan error, 1)}
		h.listens[uri] = l
	}
	return l
}

// forget has the end of the stream for a resource mean nothing.
func (h *hearing) forget(uri string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.listens[uri]; l != nil {
		l.unasked.Store(true)
		delete(h.listens, uri)
	}
}

func (l *listening) answered(err error) { l.once.Do(func() { l.answer <- err }) }

var errStreamEnded = errors.New("the stream ended before the server had acknowledged it")

// end says that the stream is over, or never was.
func (l *listening) end(err error) {
	l.answered(err)
	if !l.unasked.Load() {
		l.hearing.end()
	}
}

// answeredBy looks at what the request for the stream came to.
func (l *listening) answeredBy(resp *http.Response, err error) (*http.Response, error) {
	switch {
	case err != nil:
		l.end(err)
	case resp.StatusCode/100 == 3:
		// http.Client follows it, and comes by again.
	case mediaType(resp) != "text/event-stream":
		// The SDK takes it for the answer to a call that nobody waits for.
		body, readErr := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
		_ = resp.Body.Close() // read, or of no use
		resp.Body = io.NopCloser(strings.NewReader(string(body)))
		if rpc := rpcError(body); rpc != nil {
			l.end(rpc)
		} else {
			l.end(errors.Join(errStreamEnded, readErr))
		}
	default:
		resp.Body = &watchedBody{ReadCloser: resp.Body, listening: l}
	}
	return resp, err
}

// watchedBody tells when the body of a stream ends: with the first error of a Read,
// io.EOF included, or when it is closed.
type watchedBody struct {
	io.ReadCloser
	listening *listening

	// The beginning is kept, because a server that refuses does it in the stream.
	head []byte
}

func (b *watchedBody) Read(buf []byte) (int, error) {
	n, err := b.ReadCloser.Read(buf)
	if room := maxHead - len(b.head); room > 0 {
		b.head = append(b.head, buf[:min(n, room)]...)
	}
	if err != nil {
		b.listening.end(b.refusal())
	}
	return n, err //nolint:wrapcheck // a reader returns io.EOF as it is
}

func (b *watchedBody) Close() error {
	err := b.ReadCloser.Close()
	b.listening.end(errStreamEnded)
	return err //nolint:wrapcheck // it is the body's own
}

// maxHead is how much of a stream is looked at for a refusal.
const maxHead = 4 << 10

// refusal returns the JSON-RPC error that the stream began with, if it did.
func (b *watchedBody) refusal() error {
	for line := range strings.Lines(string(b.head)) {
		if data, ok := strings.CutPrefix(line, "data:"); ok {
			if rpc := rpcError([]byte(strings.TrimSpace(data))); rpc != nil {
				return rpc
			}
		}
	}
	return errStreamEnded
}

type listenKey struct{}

// listenContext adds the stream to the context of the request that opens it.
type listenContext struct {
	context.Context
	conn   *conn
	listen *listening
}

func (c listenContext) Value(key any) any {
	switch key {
	case listenKey{}:
		return c.listen
	case connKey{}:
		return c.conn
	}
	return c.Context.Value(key)
}

// listenOf returns the stream that a request opens, or nil. Other requests, such as
// the one that cancels it, may have its context too.
func listenOf(req *http.Request) *listening {
	if req.Method != http.MethodPost || req.Header.Get("Mcp-Method") != methodListen {
		return nil
	}
	l, _ := req.Context().Value(listenKey{}).(*listening)
	return l
}

const (
	methodListen   = "subscriptions/listen"
	methodListened = "notifications/subscriptions/acknowledged"
)

// hear adds to a client what its session needs for h.
func (s *conn) hear(client *mcp.Client, h *hearing) {
	client.AddSendingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			params, ok := req.GetParams().(*mcp.SubscriptionsListenParams)
			if method != methodListen || !ok || params.Notifications == nil {
				return next(ctx, method, req)
			}
			uri := ""
			if list := params.Notifications.ResourceSubscriptions; len(list) > 0 {
				uri = list[0] // the SDK asks for one at a time
			}
			return next(listenContext{ctx, s, h.expect(uri)}, method, req)
		}
	})
	client.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			if params, ok := req.GetParams().(*mcp.SubscriptionsAcknowledgedParams); ok && method == methodListened && params != nil {
				for _, uri := range params.Notifications.ResourceSubscriptions {
					h.expect(uri).answered(nil)
				}
			}
			return next(ctx, method, req)
		}
	})
}

// subscribe asks the server for updates of a resource and waits for its answer.
func (s *conn) subscribe(ctx context.Context, h *hearing, uri string) error {
	params := &mcp.SubscribeParams{URI: uri}
	if !s.modern() {
		return s.cs.Subscribe(ctx, params)
	}
	l := h.expect(uri)
	failed := make(chan error, 1)
	go func() { // it knows no context; when the session is closed it ends
		if err := s.cs.Subscribe(ctx, params); err != nil {
			failed <- err
		}
	}()
	var err error
	select {
	case err = <-l.answer:
	case err = <-failed:
	case <-ctx.Done():
		err = contextError(ctx)
	}
	if err != nil {
		_ = s.unsubscribe(ctx, h, uri) // or the SDK would think it is there
	}
	return err
}

// unsubscribe undoes subscribe.
func (s *conn) unsubscribe(ctx context.Context, h *hearing, uri string) error {
	h.forget(uri)
	return s.cs.Unsubscribe(ctx, &mcp.UnsubscribeParams{URI: uri})
}

// offersUpdates tells whether the server lets resources be subscribed to, and
// there is a stream for it to tell of them.
func (s *conn) offersUpdates() bool {
	c := s.cs.InitializeResult().Capabilities
	return c != nil && c.Resources != nil && c.Resources.Subscribe && !s.deaf.Load() && !s.gone.Load()
}
