package transport

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// LineReader reads messages that end with a newline each, as MCP has them on
// stdio. What is cut off before its newline is no message. Give it to a Conn of
// pipes; it is for one goroutine at a time.
//
// A message that is to be sent may hold line breaks between its tokens. Take them out
// before it is written with a newline behind it, with json.Compact for instance: the peer
// would read several messages, none of them whole.
type LineReader struct {
	r   *bufio.Reader
	max int64
}

// NewLineReader returns a LineReader that allows messages of maxBytes.
func NewLineReader(r io.Reader, maxBytes int64) *LineReader {
	return &LineReader{r: bufio.NewReaderSize(r, 64<<10), max: maxBytes}
}

// Next returns the next message that is not empty, without its newline. It fails
// with a *SizeError, with io.ErrUnexpectedEOF in the middle of a message, or with
// the reader's error.
func (l *LineReader) Next() ([]byte, error) {
	for {
		line, err := l.line()
		if err != nil {
			return nil, err
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case int64(len(line)) > l.max:
			return nil, &SizeError{Max: l.max}
		case len(line) > 0:
			return line, nil
		}
	}
}

// line returns the next line, newline included, in memory of its own.
func (l *LineReader) line() ([]byte, error) {
	var whole []byte
	for {
		part, err := l.r.ReadSlice('\n')
		if int64(len(whole)+len(part)) > l.max+2 { // with what ends a line
			return nil, &SizeError{Max: l.max}
		}
		if whole == nil && err == nil {
			return bytes.Clone(part), nil
		}
		if grown := len(whole) + len(part); grown > cap(whole) {
			whole = append(make([]byte, 0, max(2*grown, 1<<10)), whole...) // copied as seldom as doubling allows
		}
		whole = append(whole, part...)
		switch {
		case err == nil:
			return whole, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(whole) > 0:
			return nil, io.ErrUnexpectedEOF
		default:
			return nil, err //nolint:wrapcheck // a reader returns what it wraps
		}
	}
}
