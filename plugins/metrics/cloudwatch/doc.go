// Package poolcloudwatch sends the statistics of pools to Amazon CloudWatch: once, by
// Publish, or from time to time, as a sink of metrics.Periodic:
//
//	pools := export.New(export.Config{})
//	err := pools.AddMCP("tools", pool)
//	…
//	sink, err := poolcloudwatch.New(ctx, poolcloudwatch.Config{Namespace: "Agents", Region: "eu-central-1"})
//	…
//	periodic, err := metrics.NewPeriodic(metrics.Config{Collect: pools.Collect, Sink: sink})
//	…
//	defer periodic.Close(ctx) // sends what there is
//
// Each pool is told from the others by the dimension Pool. CloudWatch bills each
// combination of a name and dimensions as a metric of its own, so only the sixteen of
// Names are sent unless Config.All is set.
//
// # Counters
//
// They are sent as what was added since the last export that arrived, so that the
// statistic Sum is the number of events in a period. What did not arrive is in
// the next difference: nothing is lost with a batch that is dropped. CloudWatch
// cannot tell a request from its repetition, so one whose answer was lost counts twice.
//
// Without Config.StateFile a new sink sends each counter from the start of its pool, or,
// with Resume, from the first total it sees. With it, and in the binary, it goes on
// where the one before ended, however that ended: kill -9 costs nothing, and repeats at
// most the request that was on its way.
//
// # As a binary
//
// cmd/mcpool-metrics-cloudwatch is this package as a plugin, for host.Running.Metrics: its sink
// stands where New's does. The queue is in the program that has the pools, so that
// it is not the plugin's to lose, and neither waits for the other.
//
// # Errors
//
// An export whose requests CloudWatch will never take (no permission, a bad name) fails
// with metrics.ErrPermanent, every other with an error that a later attempt may
// not have.
package poolcloudwatch
