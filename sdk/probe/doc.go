// Package probe is the contract between something that owns live resources and
// something that knows how to tell whether they are still good.
//
// A [Prober] is the whole obligation of a vendor: it looks at one [Target] and gives
// a [Verdict]. The target says what it is and which calls it takes, so one prober
// serves resources of many kinds, and a prober that lives in a plugin binary needs
// no connection of its own. [For] turns a prober into the function that core's
// Config.Probe takes, for any type of resource.
//
// The types of this package are its own: the contracts of other kinds of plugins do
// not know it and it does not know them.
//
// # Verdicts
//
//   - [Healthy]: keep it.
//   - [Degraded]: keep it, but prefer others.
//   - [Unhealthy]: replace it.
//   - [Unknown]: nothing was found out. Keep it, and say so.
//
// An error from Probe means that the prober itself failed: a plugin that crashed, a
// health URL that cannot be resolved. It says nothing of the resource and is taken
// as Unknown, whatever verdict comes with it. A resource that fails is not an error
// but an Unhealthy verdict, with the reason in it.
//
// # Damping
//
// [Damp] wraps a prober so that one bad answer does not condemn a resource and one
// good answer does not acquit it. Whatever damping says, core condemns at most a
// share of its live resources at a time (core.Config.MaxCondemnedShare), so that a
// prober which lies, hangs or crashes never drains a pool.
//
// # Who calls what
//
// A pool calls Probe from goroutines of its own, at most once at a time for one
// resource and from several goroutines for several, with a deadline. The resource is
// leased by nobody meanwhile. The prober calls Describe and Call on the target from
// any goroutine until it returns, and not afterwards: calls then fail.
//
// # Errors
//
// [ErrNotListed] from Call for a method that Describe does not name: nothing was
// sent. [*CallError] where the resource answered with an error, which proves that
// it is there. Everything else, the context's error included, means no answer.
package probe
