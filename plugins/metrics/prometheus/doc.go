// Package poolprom shows pools to Prometheus: it is a collector, for the registry of
// the program, of the statistics and the times of any number of pools.
//
//	metrics, err := poolprom.New(poolprom.Config{})
//	…
//	pool, err := core.New(core.Config[*conn]{Name: "db", Open: dial, Hooks: metrics.Hooks("db")})
//	…
//	err = metrics.Add("db", pool)
//	prometheus.MustRegister(metrics)
//
// Add shows the numbers of the pool's Stats, which cost the pool nothing: they are
// read when Prometheus asks. Hooks is for times (wait, hold, open) and may be left
// out. A Keyed is added in the same way, and shown as the sum of its keys; a pool of
// MCP sessions with AddMCP and MCPHooks. docs/metrics.md lists all names.
//
// # Labels
//
// The label pool is the name given to Add and Hooks, never that of a key or an identity, so that
// the number of series is known beforehand. The tool of a call is a label if the
// server's list of tools has it, and else "_other".
//
// # Histograms
//
// They are native histograms, with classic buckets besides for servers and
// formats that have no native ones.
//
// # Concurrency
//
// Everything may be called from any goroutine at any time.
package poolprom
