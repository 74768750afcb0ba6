package host

import (
	"slices"

	"github.com/go-mcpool/mcpool/sdk/auth"
	authv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/auth/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

var _ auth.Observer = (*authObserver)(nil)

// authObserver is an instance that learns from answers.
type authObserver authProvider

// ObservedHeaders returns what the instance said when it was opened.
func (a *authObserver) ObservedHeaders() []string {
	a.instance.mu.Lock()
	defer a.instance.mu.Unlock()
	return slices.Clone(a.instance.observed)
}

// Observe passes an answer on, if the plugin is there and takes it without a wait: it
// is on the path of every request, and what is lost costs one repetition.
func (a *authObserver) Observe(req auth.Request, o auth.Observation) {
	if checkOrigin(req.Target, o.URL) != nil {
		return
	}
	r := a.running
	r.mu.Lock()
	p := r.proc
	r.mu.Unlock()
	if p == nil || !p.begin() {
		return
	}
	defer p.end()
	p.signing.observe(&authv1.Observation{
		Instance: a.instance.name, Request: wire.RequestTo(req), Url: o.URL,
		Status: int32(min(max(o.Status, 0), 999)), Headers: wire.HeaderTo(o.Header),
	})
}
