// Package http probes a health URL beside a resource: its status, its body, how long
// it takes, and how long the server's certificate is still good for.
//
// # Verdicts
//
// Unhealthy: another status or body than expected. Degraded: a slow answer, or a
// certificate that expires within CertWarning. Unknown: no answer at all. The URL is
// not the resource: that it cannot be reached may be the fault of the way to it, and
// Config.Unreachable says otherwise where that is known to be wrong.
//
// The URL may have ${NAME} in it, which stands for an attribute of the target, its
// ${id} or its ${pool}, escaped for a path or a query.
package http
