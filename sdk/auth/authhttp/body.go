package authhttp

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"time"
)

// BodyTooLargeError reports a body that cannot be signed: it would have to be read
// whole first, and is larger than Config.MaxBodyBytes.
type BodyTooLargeError struct{ MaxBytes int64 }

func (e *BodyTooLargeError) Error() string {
	return fmt.Sprintf("the body is larger than the %d bytes that can be signed: raise MaxBodyBytes", e.MaxBytes)
}

// body is a request's body, as far as it may be kept.
type body struct {
	none bool
	// first is what the request came with, unread, and get makes another: where
	// nothing has to be hashed, nothing is read.
	first io.ReadCloser
	get   func() (io.ReadCloser, error)

	data []byte
	sum  [32]byte // of data; set when the provider signs
	// rest follows data and can be read once; nil if data is all.
	rest   io.ReadCloser
	length int64 // as the caller said, of first or of data and rest
}

// takeBody takes the body over from the request, closing it when it is read whole.
func (t *Transport) takeBody(req *http.Request, b *body) (err error) {
	b.none, b.length = req.Body == nil || req.Body == http.NoBody, req.ContentLength
	limit := t.cfg.MaxBodyBytes
	switch {
	case b.none:
		if t.signer != nil {
			b.sum = sha256.Sum256(nil)
		}
		return nil
	case t.signer == nil && req.GetBody != nil:
		b.first, b.get = req.Body, req.GetBody
		return nil
	case t.signer != nil && req.ContentLength > limit:
		err = &BodyTooLargeError{MaxBytes: limit}
	default:
		b.data, err = readUpTo(req.Body, limit+1, req.ContentLength)
	}
	switch {
	case err != nil:
		req.Body.Close()
		return err
	case int64(len(b.data)) > limit && t.signer != nil:
		req.Body.Close()
		return &BodyTooLargeError{MaxBytes: limit}
	case int64(len(b.data)) > limit:
		b.rest = req.Body
		return nil
	}
	if err := req.Body.Close(); err != nil {
		return err
	}
	if t.signer != nil {
		b.sum = sha256.Sum256(b.data)
	}
	return nil
}

// readUpTo reads limit bytes at most. Where the length is known, that many are
// allocated and no more, and one to see the end.
func readUpTo(r io.Reader, limit, expected int64) ([]byte, error) {
	if expected <= 0 || expected >= limit {
		return io.ReadAll(io.LimitReader(r, limit))
	}
	data := make([]byte, expected+1)
	for n := 0; ; {
		m, err := r.Read(data[n:])
		n += m
		switch {
		case err == io.EOF: // readers return it bare, and what wraps it is something else
			return data[:n], nil
		case err != nil:
			return nil, err
		case n == len(data): // the length was wrong
			rest, err := io.ReadAll(io.LimitReader(r, limit-int64(n)))
			return append(data[:n], rest...), err
		}
	}
}

func (b *body) replayable() bool { return b.rest == nil }

// attach gives an attempt its own reader.
func (b *body) attach(req *http.Request, again bool) (err error) {
	switch {
	case b.none:
		req.Body, req.GetBody, req.ContentLength = nil, nil, 0
	case b.get != nil:
		req.Body = b.first
		if again {
			req.Body, err = b.get()
		}
		b.first = nil // the base closes it
	case b.rest != nil:
		req.Body = readCloser{io.MultiReader(bytes.NewReader(b.data), b.rest), b.rest}
		req.GetBody, req.ContentLength = nil, b.length
	case len(b.data) == 0:
		req.Body, req.GetBody, req.ContentLength = http.NoBody, nil, 0
	default:
		data := b.data
		req.GetBody = func() (io.ReadCloser, error) { return newReplay(data), nil }
		req.Body, _ = req.GetBody()
		req.ContentLength = int64(len(b.data))
	}
	return err
}

// discard closes what a request that is never sent would have closed.
func (b *body) discard() {
	if b.rest != nil {
		b.rest.Close()
	}
	if b.first != nil {
		b.first.Close()
	}
}

// replay reads a body that is kept.
type replay struct{ bytes.Reader }

func newReplay(data []byte) *replay {
	r := new(replay)
	r.Reset(data)
	return r
}

func (*replay) Close() error { return nil }

type readCloser struct {
	io.Reader
	io.Closer
}

// peekTimeout bounds the wait for the body of a refusal: its status is what counts.
const peekTimeout = 5 * time.Second

// peek reads the beginning of a response's body and puts it back.
func peek(resp *http.Response, limit int64) []byte {
	if resp.Body == nil {
		return nil
	}
	slow := time.AfterFunc(peekTimeout, func() { resp.Body.Close() })
	data, _ := io.ReadAll(io.LimitReader(resp.Body, limit)) // a broken body is a short one
	slow.Stop()
	resp.Body = readCloser{io.MultiReader(bytes.NewReader(data), resp.Body), resp.Body}
	return data
}

// drain lets the connection of a response that nobody wants be used again, if
// little is left of it.
func drain(resp *http.Response) {
	slow := time.AfterFunc(peekTimeout, func() { resp.Body.Close() })
	defer slow.Stop()
	_, _ = io.CopyN(io.Discard, resp.Body, 256<<10)
	resp.Body.Close()
}
