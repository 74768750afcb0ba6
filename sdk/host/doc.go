// Package host runs plugin binaries. [Launch] verifies a binary, starts it and keeps
// it running; what comes back gives out the same interfaces that a plugin compiled
// in satisfies, such as auth.Provider, so that callers cannot tell them apart.
//
//	plugin, err := host.Launch(ctx, host.Plugin{Path: path, SHA256: sum, Env: host.EnvAWS()})
//	defer plugin.Close(ctx)
//	provider, err := plugin.Auth(ctx, host.Instance{Name: "prod", Config: cfg})
//
// # What the host guarantees
//
// The bytes that were hashed are the bytes that run. The plugin gets no standard
// input, no environment but the variables that were named, a home directory of its
// own, and no socket that anybody else can connect to. It leads a process group,
// which ends when it does, and it ends when the host does, however that ends.
//
// Every call has a deadline. A plugin that crashes, hangs, loses its connection or
// outgrows its memory limit is ended and started again, with backoff; its instances
// are opened again as they were, and calls that were under way are repeated once.
// Messages of a transport never are: its sessions end and say so.
// After too many failures in a row calls fail at once with a *DownError, until a
// start succeeds.
//
// # Concurrency
//
// All methods may be called from any number of goroutines.
//
// # Errors
//
// A binary that cannot be used is a *LaunchError with path, reason and remedy. What
// a plugin answers is an *Error, in which errors.Is and errors.As find what the
// package of its kind documents; it also says who failed and whether the call may
// have run. Where there is no *Error, as with a *DownError alone or ErrClosed, nothing
// reached a plugin.
package host
