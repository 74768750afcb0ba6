// Package metrics is the root of the module for metric sinks: places where the
// numbers of a pool can go, such as Prometheus, OpenTelemetry and CloudWatch.
// Each will be a library package in a folder of its own, and have a binary below
// it in cmd where it can also run outside the host's process.
//
// Nothing is here yet.
package metrics
