// Package metrics is the root of the module for places where the numbers of a pool
// can go. Each is a library package in a folder of its own: prometheus and otel run
// in the process of the pool.
package metrics
