// Package metrics is the root of the module for places where the numbers of a pool
// can go. Each is a library package in a folder of its own, and runs in the process
// of the pool:
//
//   - prometheus: a collector, a dashboard and alerts
//   - otel: metrics and spans of OpenTelemetry
//   - cloudwatch: a sink for AWS CloudWatch
//   - export: the statistics of pools as batches for any sdk/metrics.Sink
package metrics
