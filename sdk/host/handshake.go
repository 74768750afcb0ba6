package host

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"sync"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// handshake stands at the plugin's standard output. Its first line goes to go-plugin
// if it is a handshake; everything after it is log. Whatever is printed there, it is
// taken, so that the plugin never waits.
type handshake struct {
	lines *lines
	r     *io.PipeReader // go-plugin reads the handshake here
	w     *io.PipeWriter

	mu      sync.Mutex
	seen    bool   // guarded by mu
	refusal string // guarded by mu; what is wrong with the first line
}

func newHandshake(log func([]byte, bool)) *handshake {
	h := &handshake{}
	h.r, h.w = io.Pipe()
	h.lines = &lines{each: func(line []byte, cut bool) {
		h.mu.Lock()
		first := !h.seen
		h.seen = true
		h.mu.Unlock()
		if !first {
			log(line, cut)
			return
		}
		if problem := checkHandshake(line, cut); problem != "" {
			h.mu.Lock()
			h.refusal = problem
			h.mu.Unlock()
		} else {
			_, _ = h.w.Write(append(bytes.Clone(line), '\n')) // unblocked by close
		}
		_ = h.w.Close()
	}}
	return h
}

func (h *handshake) Write(p []byte) (int, error) { return h.lines.Write(p) }

// close lets go-plugin see the end.
func (h *handshake) close() {
	h.lines.end()
	_, _ = h.w.Close(), h.r.Close()
}

// verdict says what is wrong with the first line, and whether there was a good one.
func (h *handshake) verdict() (problem string, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refusal, h.seen && h.refusal == ""
}

// maxHandshake bounds a handshake, of which a certificate is the largest part. go-plugin
// reads no line of 64 KiB, nor anything after it, and would leave us waiting to write.
const maxHandshake = 16 << 10

// checkHandshake looks at "1|1|unix|/path|grpc|…".
func checkHandshake(line []byte, cut bool) string {
	parts := bytes.Split(line, []byte("|"))
	core, err := strconv.Atoi(string(parts[0]))
	if cut || len(line) > maxHandshake || len(parts) < 5 || err != nil || string(parts[4]) != "grpc" {
		return fmt.Sprintf("printed %q where the handshake was due", wire.Clean(string(line[:min(len(line), 200)]), 200))
	}
	if core != 1 {
		return fmt.Sprintf("speaks version %d of the handshake, not 1", core)
	}
	if v, err := strconv.Atoi(string(parts[1])); err != nil || v != wire.ProtoVersion {
		return fmt.Sprintf("speaks version %s of the base protocol, not %d",
			wire.Clean(string(parts[1][:min(len(parts[1]), 20)]), 20), wire.ProtoVersion)
	}
	return ""
}
