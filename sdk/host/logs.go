package host

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// maxLine bounds a line of a plugin's output; the rest of a longer one is dropped.
const maxLine = 64 << 10

// lines cuts a plugin's output into lines. It takes everything that is written, so
// that the plugin never waits for a reader.
type lines struct {
	each func(line []byte, cut bool) // called with mu held

	mu   sync.Mutex
	buf  []byte // guarded by mu
	drop bool   // guarded by mu; the rest of this line is too much
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		part, rest, end := bytes.Cut(p, []byte("\n"))
		if !l.drop {
			room := maxLine - len(l.buf)
			l.buf = append(l.buf, part[:min(len(part), room)]...)
			if len(part) > room {
				l.flushLocked(true)
				l.drop = true
			}
		}
		if end {
			if !l.drop {
				l.flushLocked(false)
			}
			l.drop = false
		}
		p = rest
	}
	return n, nil
}

// REQUIRES: l.mu.
func (l *lines) flushLocked(cut bool) {
	if line := bytes.TrimSuffix(l.buf, []byte("\r")); len(line) > 0 {
		l.each(line, cut)
	}
	l.buf = l.buf[:0]
}

// end takes what has no newline.
func (l *lines) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.drop {
		l.flushLocked(false)
	}
}

// logSink turns lines into log records, and no more than so many per second.
type logSink struct {
	log   *slog.Logger
	limit int // lines per second, -1 for all

	mu      sync.Mutex
	second  int64       // guarded by mu
	taken   int         // guarded by mu; in that second
	dropped int         // guarded by mu; and not told yet
	telling *time.Timer // guarded by mu; tells of them at the end of the second
}

func (s *logSink) allow() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now().Unix(); now != s.second {
		s.second, s.taken = now, 0
	}
	if s.limit < 0 || s.taken < s.limit {
		s.taken++
		return true
	}
	if s.dropped++; s.dropped == 1 {
		s.telling = time.AfterFunc(time.Until(time.Unix(s.second+1, 0)), s.tell)
	}
	return false
}

// linesDropped is the message that counts lines which no record was made of.
const linesDropped = "lines of the plugin's output were dropped"

// tell says how many lines were dropped. It does not wait for one that is not: a plugin
// may fall silent after a flood.
func (s *logSink) tell() {
	s.mu.Lock()
	n := s.dropped
	s.dropped = 0
	if s.telling != nil {
		s.telling.Stop()
	}
	s.mu.Unlock()
	if n > 0 {
		s.log.Warn(linesDropped, "lines", n)
	}
}

// raw logs what was printed.
func (s *logSink) raw(stream string) func([]byte, bool) {
	return func(line []byte, cut bool) {
		if !s.allow() {
			return
		}
		attrs := []slog.Attr{slog.String("stream", stream)}
		if cut {
			attrs = append(attrs, slog.Bool("cut", true))
		}
		s.log.LogAttrs(context.Background(), slog.LevelInfo, wire.Clean(string(line), maxLine), attrs...)
	}
}

// structured logs what the plugin's slog wrote, and what was printed as it is.
func (s *logSink) structured(line []byte, cut bool) {
	level, msg, attrs, ok := parseRecord(line)
	if cut || !ok {
		s.raw("stderr")(line, cut)
		return
	}
	if s.allow() {
		s.log.LogAttrs(context.Background(), level, msg, attrs...)
	}
}

const maxAttrs = 64

// parseRecord reads a line as slog's JSON handler writes it. Whatever else is there
// is no record: the line is from somebody who may write anything.
func parseRecord(line []byte) (level slog.Level, msg string, attrs []slog.Attr, ok bool) {
	if len(line) == 0 || line[0] != '{' {
		return 0, "", nil, false
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(line, &fields) != nil {
		return 0, "", nil, false
	}
	var text string
	if json.Unmarshal(fields[slog.LevelKey], &text) != nil || level.UnmarshalText([]byte(text)) != nil {
		return 0, "", nil, false
	}
	if json.Unmarshal(fields[slog.MessageKey], &msg) != nil {
		return 0, "", nil, false
	}
	names := make([]string, 0, len(fields))
	for name := range fields {
		if name != slog.LevelKey && name != slog.MessageKey && name != slog.TimeKey {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names[:min(len(names), maxAttrs)] {
		var v any
		dec := json.NewDecoder(bytes.NewReader(fields[name]))
		dec.UseNumber()
		if dec.Decode(&v) != nil {
			continue
		}
		attrs = append(attrs, attrOf(wire.Clean(name, 128), v))
	}
	return level, wire.Clean(msg, maxLine), attrs, true
}

// attrOf keeps text and numbers as they are, groups as groups, and the rest as JSON.
func attrOf(name string, v any) slog.Attr {
	switch v := v.(type) {
	case string:
		return slog.String(name, wire.Clean(v, maxLine))
	case bool:
		return slog.Bool(name, v)
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return slog.Int64(name, n)
		}
		if f, err := v.Float64(); err == nil {
			return slog.Float64(name, f)
		}
		return slog.String(name, v.String())
	default:
		raw, err := json.Marshal(v)
		if err != nil {
			return slog.String(name, fmt.Sprintf("%T", v))
		}
		return slog.String(name, wire.Clean(string(raw), maxLine))
	}
}

// quiet is a handler that survives the panics of another.
type quiet struct{ slog.Handler }

func (q quiet) Handle(ctx context.Context, r slog.Record) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("host: the log handler panicked with a %T", v)
		}
	}()
	return q.Handler.Handle(ctx, r)
}

func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(attrs)} }

func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }
