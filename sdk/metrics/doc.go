// Package metrics is the contract between something that has numbers and something
// that knows where they go.
//
// A [Sink] is the whole obligation of a vendor: it takes a [Batch] and says what
// became of it. Batches follow the data model of OpenTelemetry's protocol (OTLP): a
// resource, scopes, metrics with a unit and a type, points with the time they are
// about. A sink that sends OTLP translates field by field; one that sends something
// else needs nothing of OpenTelemetry. [Periodic] collects, queues and retries, so
// that a sink does none of it.
//
// The types of this package are its own: the contracts of other kinds of plugins do
// not know it and it does not know them.
//
// # Who calls what
//
// Whoever has numbers (a [Periodic], a host) calls Export with one batch at a time,
// in the order the batches were made, from one goroutine, with a deadline. After an error or a
// rejection it may call Export again with the same batch, or with a later one.
// Nothing is called after Close, which is called once.
//
// A Batch is read-only for everybody who did not make it, and may be kept.
//
// # Writing a sink
//
// Send what you are given and return. Return an error if nothing of the batch
// arrived; wrap it in [Permanent] if trying again cannot help (credentials that are
// wrong, a batch that is too large whatever is done), or in a [*RetryError] if the
// other side said when to come back. Where a part arrived, return no error and say in Result
// how many points did not and why: they are counted, and not sent again.
//
// Sums are cumulative: each point is the total since Start, and a total that is lower than
// the one before, with a later Start, belongs to a process that has begun anew. A sink that needs
// differences makes them itself.
//
// # Errors
//
// [Permanent] and [*RetryError] as above; the context's error, when the context
// ended; anything else: did not work this time, may work the next. The text of an
// error never holds a credential.
package metrics
