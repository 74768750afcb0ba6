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
// # Errors
//
// An export whose requests CloudWatch will never take (no permission, a bad name) fails
// with metrics.ErrPermanent, every other with an error that a later attempt may
// not have.
package poolcloudwatch
