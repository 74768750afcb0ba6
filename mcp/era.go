package mcpool

import (
	"context"
	"errors"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// Versions that mark the border between the eras.
const (
	firstModern = "2026-07-28"
	lastOld     = "2025-11-25"
)

// isModern tells whether a protocol version is of the era without sessions at the
// server. Versions are dates, so they compare as text.
func isModern(version string) bool { return version >= firstModern }

// eraMemory remembers which protocol version the endpoint speaks, so that only
// the first session has to find out. While one finds out, the others wait.
type eraMemory struct {
	pinned string // by Config; immutable

	mu      sync.Mutex
	version string        // guarded by mu; empty if not known
	asking  chan struct{} // guarded by mu; closed when whoever asks is done
}

// begin returns the version to connect with, empty if it has to be negotiated. In
// that case the caller must call settle, with what came of it, unless it is not for
// others to wait for: then it finds out for itself.
func (e *eraMemory) begin(ctx context.Context, forOthers bool) (version string, err error) {
	if e.pinned != "" {
		return e.pinned, nil
	}
	for {
		e.mu.Lock()
		if e.version != "" {
			defer e.mu.Unlock()
			return e.version, nil
		}
		asking := e.asking
		if asking == nil {
			if forOthers {
				e.asking = make(chan struct{})
			}
			e.mu.Unlock()
			return "", nil
		}
		e.mu.Unlock()
		select {
		case <-asking:
		case <-ctx.Done():
			return "", contextError(ctx)
		}
	}
}

// settle ends what begin began without a version. An empty version means that
// nothing certain came of it: the next session negotiates again.
func (e *eraMemory) settle(version string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.version = version
	if e.asking != nil {
		close(e.asking)
		e.asking = nil
	}
}

// forget drops a version that a server did not accept.
func (e *eraMemory) forget(version string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.version == version {
		e.version = ""
	}
}

// known returns the version remembered, or pinned, or nothing.
func (e *eraMemory) known() string {
	if e.pinned != "" {
		return e.pinned
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.version
}

// saysOld tells whether what server/discover ended with, on a session that came
// out as an old one, means that the server is of the old era: it answered, with
// versions we do not share or that it does not know the question. If something just
// went wrong, the next session asks again.
func saysOld(err error) bool {
	if err == nil {
		return true
	}
	var (
		session   *SessionError
		throttled *ThrottledError
		refusal   *AuthError
		status    *StatusError
		rpc       *jsonrpc.Error
	)
	switch {
	case errors.As(err, &session), errors.As(err, &throttled), errors.As(err, &refusal):
		return false
	case errors.As(err, &status):
		return status.Status < 500
	case errors.As(err, &rpc):
		return rpc.Code != codeRejected
	default:
		return false
	}
}

// codeRejected is the SDK's code for "this message was not sent, the connection
// is fine". It never comes from a server.
const codeRejected = -32005
