package mcpool

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

const goodEvents = ": hello\n\n" +
	"event: message\nid: 1\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n" +
	"event: ping\ndata: anything\n\n" +
	"retry: 100\nid: 2\ndata:\n\n" +
	"event: message\r\ndata: {\"jsonrpc\":\"2.0\",\r\ndata: \"id\":1,\r\ndata: \"result\":{}}\r\n\r\n"

// guarded reads a stream through a guard and returns what came out of it.
func guardedStream(r io.Reader, limit int) (out []byte, failed, err error) {
	g := &eventGuard{body: io.NopCloser(r), limit: limit, fail: func(err error) { failed = err }}
	out, err = io.ReadAll(g)
	return out, failed, err
}

func TestAStreamInOrderComesThroughTheGuardAsItIs(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"whole":      func(r io.Reader) io.Reader { return r },
		"by bytes":   iotest.OneByteReader,
		"by halves":  iotest.HalfReader,
		"EOF beside": iotest.DataErrReader,
	} {
		windows := strings.ReplaceAll(strings.ReplaceAll(goodEvents, "\r\n", "\n"), "\n", "\r\n")
		for _, in := range []string{"", goodEvents, windows, strings.TrimSuffix(goodEvents, "\r\n"), strings.TrimSuffix(goodEvents, "\r\n\r\n")} {
			out, failed, err := guardedStream(wrap(strings.NewReader(in)), 200)
			if string(out) != in || failed != nil || err != nil {
				t.Errorf("%s: %v, %v\n got %q\nwant %q", name, failed, err, out, in)
			}
		}
	}
	large := "data: {\"jsonrpc\":\"2.0\",\"result\":\"" + strings.Repeat("x", 1<<20) + "\"}\n\n"
	if out, failed, err := guardedStream(strings.NewReader(large+goodEvents), 2<<20); string(out) != large+goodEvents || failed != nil || err != nil {
		t.Errorf("a large event: %v, %v", failed, err)
	}
	if _, failed, err := guardedStream(strings.NewReader(goodEvents+large), 1<<20); failed == nil || err == nil {
		t.Error("an oversized event came through")
	}
}

// endless is an event that goes on and on.
type endless struct{ read int }

func (e *endless) Read(b []byte) (int, error) {
	if e.read > 1<<24 {
		return 0, io.EOF // enough to know
	}
	for i := range b {
		b[i] = 'x'
	}
	e.read += len(b)
	return len(b), nil
}

func TestAnEventThatNeverEndsIsGivenUpAtTheLimit(t *testing.T) {
	t.Parallel()
	e := &endless{}
	_, failed, err := guardedStream(io.MultiReader(strings.NewReader("data: "), e), 1000)
	if failed == nil || !errors.Is(err, failed) || e.read > 1<<16 {
		t.Errorf("after %d bytes: %v, %v", e.read, failed, err)
	}
}

func TestAStreamThatIsCutOffEndsWithItsLastWholeEvent(t *testing.T) {
	t.Parallel()
	events := strings.SplitAfter(goodEvents, "\n\n")
	for cut := range len(goodEvents) {
		whole := 0
		for _, e := range events {
			if whole+len(e) > cut {
				break
			}
			whole += len(e)
		}
		out, failed, err := guardedStream(strings.NewReader(goodEvents[:cut]), 200)
		if err != nil || failed != nil {
			if !errors.Is(err, failed) || string(out) != goodEvents[:whole] {
				t.Errorf("cut at %d: %v, %v, got %q", cut, failed, err, out)
			}
		} else if string(out) != goodEvents[:cut] {
			t.Errorf("cut at %d: got %q", cut, out)
		}
		// A connection that breaks says so itself, whatever came last.
		out, failed, err = guardedStream(io.MultiReader(strings.NewReader(goodEvents[:cut]), iotest.ErrReader(io.ErrUnexpectedEOF)), 200)
		if !errors.Is(err, io.ErrUnexpectedEOF) || failed != nil || len(out) > cut || len(out) < whole {
			t.Errorf("torn at %d: %v, %v, got %q", cut, failed, err, out)
		}
	}
}

func FuzzTheEventGuard(f *testing.F) {
	f.Add([]byte(goodEvents), 200)
	f.Add([]byte("data: ]]]\n\n"), 10)
	f.Add([]byte("<html>\n\n\n"), 0)
	f.Fuzz(func(t *testing.T, in []byte, limit int) {
		limit = max(limit%1000, 1)
		out, failed, err := guardedStream(bytes.NewReader(in), limit)
		slow, failedToo, errToo := guardedStream(iotest.OneByteReader(bytes.NewReader(in)), limit)
		if !bytes.Equal(out, slow) || (failed == nil) != (failedToo == nil) || (err == nil) != (errToo == nil) {
			t.Errorf("%q and %q, %v and %v", out, slow, failed, failedToo)
		}
		if !bytes.HasPrefix(in, out) || failed == nil && len(out) != len(in) || (failed == nil) != (err == nil) {
			t.Errorf("%q came out of %q: %v, %v", out, in, failed, err)
		}
	})
}
