package transport

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
)

func TestErrorsSayWhetherTheMessageMayHaveBeenDelivered(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err             error
		notSent, closed bool
		tooLarge        bool
	}{
		{&SizeError{Sending: true, Bytes: 9, Max: 8}, true, false, true},
		{&SizeError{Max: 8}, false, false, true},
		{&CloseError{Reason: PeerGone, Err: io.EOF}, false, true, false},
		{&CloseError{Reason: PeerGone, NotSent: true}, true, true, false},
	} {
		wrapped := fmt.Errorf("outside: %w", c.err)
		if errors.Is(wrapped, ErrNotSent) != c.notSent || errors.Is(wrapped, ErrClosed) != c.closed || errors.Is(wrapped, ErrTooLarge) != c.tooLarge {
			t.Errorf("%v is read as not sent %v, closed %v, too large %v", c.err,
				errors.Is(wrapped, ErrNotSent), errors.Is(wrapped, ErrClosed), errors.Is(wrapped, ErrTooLarge))
		}
	}
	if err := (&CloseError{Err: io.EOF}); !errors.Is(err, io.EOF) {
		t.Error("the cause is lost")
	}
}

func TestNothingPrintsASecret(t *testing.T) {
	t.Parallel()
	const secret = "hunter2hunter2"
	o := Open{
		Target:   Target{Name: "tools", URL: "wss://user:" + secret + "@example.com/mcp?token=" + secret + "#" + secret},
		Identity: Identity{ID: "alice", Attrs: map[string]string{"tenant": secret}, Subject: func(context.Context) (string, error) { return secret, nil }},
		Header:   http.Header{"Authorization": {secret}},
	}
	for _, v := range []any{o, &o, o.Target, o.Identity, struct{ O Open }{o}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
			if s := fmt.Sprintf(verb, v); strings.Contains(s, secret) {
				t.Errorf("%s of %T shows it: %s", verb, v, s)
			}
		}
		b, err := json.Marshal(v)
		if err != nil || bytes.Contains(b, []byte(secret)) {
			t.Errorf("JSON of %T: %s, %v", v, b, err)
		}
	}
	if s := (Target{URL: "ws://exa mple/" + secret + "\x7f"}).String(); strings.Contains(s, secret) {
		t.Errorf("a URL that does not parse is shown: %s", s)
	}
}

func TestACloneSharesNothing(t *testing.T) {
	t.Parallel()
	o := Open{Identity: Identity{Attrs: map[string]string{"a": "1"}}, Header: http.Header{"A": {"1"}}}
	c := o.Clone()
	c.Identity.Attrs["a"], c.Header["A"][0] = "2", "2"
	if o.Identity.Attrs["a"] != "1" || o.Header["A"][0] != "1" {
		t.Error("the original changed")
	}
}

func TestLinesAreMessagesAndACutOneIsNone(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 100<<10)
	for _, wrap := range []func(io.Reader) io.Reader{
		func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.HalfReader, iotest.DataErrReader,
	} {
		l := NewLineReader(wrap(strings.NewReader("{}\n\r\n\n[1]\r\n"+long+"\n{\"cut")), 1<<20)
		for _, want := range []string{"{}", "[1]", long} {
			got, err := l.Next()
			if err != nil || string(got) != want {
				t.Fatalf("got %d bytes, %v; want %d", len(got), err, len(want))
			}
		}
		if got, err := l.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("of a cut message: %q, %v", got, err)
		}
	}
	if _, err := NewLineReader(strings.NewReader(""), 8).Next(); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func TestALineIsHeldToTheLimitExactly(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{1, 10, 64 << 10, 64<<10 - 1, 100 << 10} {
		for _, end := range []string{"\n", "\r\n"} {
			fits := strings.Repeat("x", limit)
			if got, err := NewLineReader(strings.NewReader(fits+end), int64(limit)).Next(); err != nil || len(got) != limit {
				t.Errorf("limit %d: %d bytes, %v", limit, len(got), err)
			}
			var size *SizeError
			if _, err := NewLineReader(strings.NewReader(fits+"x"+end), int64(limit)).Next(); !errors.As(err, &size) {
				t.Errorf("limit %d, one more: %v", limit, err)
			}
		}
		endless := io.MultiReader(strings.NewReader(strings.Repeat("x", limit+3)), iotest.ErrReader(errors.New("read on")))
		if _, err := NewLineReader(endless, int64(limit)).Next(); !errors.Is(err, ErrTooLarge) {
			t.Errorf("limit %d, without an end: %v", limit, err)
		}
	}
}

func FuzzLineReader(f *testing.F) {
	f.Add([]byte("{}\n[]\n"), 8)
	f.Add([]byte("\r\n\r\nabc"), 2)
	f.Fuzz(func(t *testing.T, data []byte, limit int) {
		limit = max(1, min(limit, 1<<16))
		l := NewLineReader(iotest.HalfReader(bytes.NewReader(data)), int64(limit))
		rest := data
		for {
			got, err := l.Next()
			if err != nil {
				return
			}
			if len(got) == 0 || len(got) > limit || bytes.ContainsRune(got, '\n') {
				t.Fatalf("message %q with a limit of %d", got, limit)
			}
			i := bytes.Index(rest, got)
			if i < 0 {
				t.Fatalf("message %q is not in what is left of the input", got)
			}
			rest = rest[i+len(got):]
		}
	})
}
