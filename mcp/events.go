package mcpool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// eventGuard is the stream that answers one call. It hands out whole events, and
// only such as the SDK can take: over one that is malformed, cut off or too large the
// SDK would end the session, and with it the calls beside this one.
type eventGuard struct {
	body  io.ReadCloser
	limit int         // bytes of an event
	fail  func(error) // ends the call

	buf     []byte // what was read and not handed out
	handed  int    // of buf, so much was handed out
	checked int    // so much may be
	seen    int    // so much was searched for the end of an event
	err     error  // what follows buf[:checked]
}

// guardEvents has c fail over what is wrong with the stream of its answer.
func (t *chain) guardEvents(c *call, body io.ReadCloser) io.ReadCloser {
	cfg := &t.id.pool.cfg
	limit := cfg.HTTP.MaxEventBytes
	if limit == 0 {
		limit = mcp.DefaultMaxEventSize
	}
	return &eventGuard{body: body, limit: limit, fail: func(err error) {
		c.fail(&SessionError{Pool: cfg.Name, MayRun: true, Err: err})
	}}
}

func (g *eventGuard) Close() error { return g.body.Close() } //nolint:wrapcheck // it is the body's

func (g *eventGuard) Read(p []byte) (int, error) {
	for g.handed == g.checked {
		if g.err != nil {
			return 0, g.err
		}
		g.fill()
	}
	n := copy(p, g.buf[g.handed:g.checked])
	g.handed += n
	return n, nil
}

// fill reads once and checks the events that are whole by then.
func (g *eventGuard) fill() {
	if g.handed > 0 {
		g.seen -= g.handed
		g.buf = g.buf[:copy(g.buf, g.buf[g.handed:])]
		g.handed, g.checked = 0, 0
	}
	rest := len(g.buf)
	g.buf = slices.Grow(g.buf, max(4096, rest)) // an event that is large is not copied often
	n, err := g.body.Read(g.buf[rest:cap(g.buf)])
	g.buf = g.buf[:rest+n]
	for {
		end := g.eventEnd()
		if end < 0 && errors.Is(err, io.EOF) && g.checked < len(g.buf) {
			end = len(g.buf) // the blank line may be missing after the last
		}
		var bad error
		switch {
		case end < 0 && len(g.buf)-g.checked <= g.limit:
			g.err = err
			return
		case end < 0 || end-g.checked > g.limit:
			bad = fmt.Errorf("an event has more than %d bytes: raise HTTP.MaxEventBytes", g.limit)
		default:
			bad = checkEvent(g.buf[g.checked:end])
		}
		if bad != nil {
			g.fail(bad)
			g.err = bad
			return
		}
		g.checked = end
	}
}

// eventEnd returns where the first unchecked event ends, or -1 if it is not whole.
func (g *eventGuard) eventEnd() int {
	for {
		i := bytes.IndexByte(g.buf[g.seen:], '\n')
		if i < 0 {
			return -1
		}
		line := g.buf[g.seen : g.seen+i]
		g.seen += i + 1
		if len(line) == 0 || len(line) == 1 && line[0] == '\r' {
			return g.seen
		}
	}
}

var (
	eventField = []byte("event")
	dataField  = []byte("data")
)

// checkEvent tells what is wrong with an event: a line without a field, or data
// that is not one message.
func checkEvent(event []byte) error {
	var name, data []byte
	several := false
	for line := range bytes.Lines(event) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			continue
		}
		field, value, ok := bytes.Cut(line, []byte{':'})
		switch {
		case !ok:
			return errors.New("the stream has a line that is no field")
		case bytes.Equal(field, eventField):
			name = bytes.TrimSpace(value)
		case !bytes.Equal(field, dataField):
		case data == nil:
			data = bytes.TrimSpace(value)
		default:
			if !several {
				data, several = slices.Clone(data), true // it is part of event
			}
			data = append(append(data, '\n'), bytes.TrimSpace(value)...)
		}
	}
	if len(data) == 0 || len(name) > 0 && string(name) != "message" || oneMessage(data) {
		return nil
	}
	return errors.New("an event of the stream is not a JSON-RPC message")
}
