package main

import (
	"context"
	"time"

	mcpool "github.com/go-mcpool/mcpool/mcp"
)

// The load of the cases with many callers.
const (
	mcpCallers  = 64
	mcpSessions = 8
)

// mcpSuite is package mcpool beside the official SDK used directly.
func mcpSuite() suite {
	s := suite{name: "mcp"}
	for _, era := range []struct{ name, version string }{{"old", versionOld}, {"2026", version2026}} {
		sized := pooled(func(c *mcpool.Config) { c.Max, c.Min = mcpSessions, mcpSessions })
		exclusive := pooled(func(c *mcpool.Config) { c.Max, c.Min = mcpSessions, mcpSessions }, mcpool.WithExclusive())
		for _, where := range []string{inProcess, sdkServer, overHTTP} {
			warm := benchCase{
				name: where + "_" + era.name, about: "one caller, a tool that does nothing, warm sessions",
				goroutines: 1, turns: true, quiet: where != overHTTP, duration: 200 * time.Millisecond,
				rounds: map[string]int{sdkServer: 5, overHTTP: 20}[where], // 0 is as many as are asked for: the least difference
				impls: callers(where, era.version, "echo", context.Background,
					way{"direct_warm", direct}, way{"direct_again", direct}, way{"pool_warm", pooled(nil)}),
			}
			warm.impls = append(warm.impls, callers(where, era.version, "echo", nil,
				way{"direct_timeout", direct}, way{"pool_timeout", pooled(nil)})...)
			s.cases = append(s.cases, warm)
		}
		s.cases = append(s.cases, benchCase{
			name: "percall_" + era.name, about: "64 callers, a tool that does nothing: a session for each call, and 8 shared ones",
			goroutines: mcpCallers, stepwise: true, rounds: 10, duration: 500 * time.Millisecond,
			impls: callers(overHTTP, era.version, "echo", nil,
				way{"per_call", perCall(true)}, way{"per_call_unlisted", perCall(false)}, way{"pool_warm", sized}),
		})
		slow := benchCase{
			name: "slow64_" + era.name, about: "64 callers, a tool that takes 50 ms, 8 sessions",
			goroutines: mcpCallers, stepwise: true, rounds: 5, duration: time.Second,
			impls: callers(overHTTP, era.version, "slow", nil, way{"direct_exclusive", directEach(mcpSessions)}, way{"shared", sized}),
		}
		if era.version == versionOld { // from 2026-07-28 on there is nothing to have alone
			slow.impls = append(slow.impls, callers(overHTTP, era.version, "slow", nil, way{"exclusive", exclusive})...)
		}
		s.cases = append(s.cases, slow, idleCase("idle1000_"+era.name, era.version))
	}
	s.cases = append(s.cases, stormCase())
	s.targets = mcpTargets()
	return s
}

func mcpTargets() []target {
	var ts []target
	for _, era := range []string{"old", "2026"} {
		ts = append(ts,
			target{kase: "memory_" + era, impl: "direct_again", metric: moreTime, versus: "direct_warm"},
			target{kase: "memory_" + era, impl: "pool_warm", metric: moreTime, versus: "direct_warm", max: 1000},
			target{kase: "memory_" + era, impl: "pool_warm", metric: moreAllocations, versus: "direct_warm", max: 8},
			target{kase: "memory_" + era, impl: "pool_timeout", metric: moreTime, versus: "direct_timeout"},
			target{kase: "memory_sdk_" + era, impl: "direct_again", metric: moreTime, versus: "direct_warm"},
			target{kase: "memory_sdk_" + era, impl: "pool_warm", metric: moreTime, versus: "direct_warm"},
			target{kase: "memory_sdk_" + era, impl: "pool_warm", metric: moreAllocations, versus: "direct_warm", max: 8},
			target{kase: "http_" + era, impl: "direct_again", versus: "direct_warm"},
			target{kase: "http_" + era, impl: "pool_warm", versus: "direct_warm", max: 1.05},
			target{kase: "http_" + era, impl: "pool_warm", metric: moreAllocations, versus: "direct_warm", max: 20},
			target{kase: "http_" + era, impl: "pool_timeout", versus: "direct_timeout"},
			target{kase: "percall_" + era, impl: "pool_warm", versus: "per_call", max: map[string]float64{"old": 1 / 5.0, "2026": 1 / 2.5}[era]},
			target{kase: "percall_" + era, impl: "pool_warm", versus: "per_call_unlisted"},
			target{kase: "slow64_" + era, impl: "shared", versus: "direct_exclusive", max: 1 / 6.0},
			target{kase: "idle1000_" + era, impl: "pool", metric: moreValue, valueName: heapBytes, versus: "direct", max: 1024},
			target{kase: "idle1000_" + era, impl: "pool", metric: moreValue, valueName: stackBytes, versus: "direct"},
			target{kase: "idle1000_" + era, impl: "pool", metric: moreValue, valueName: goroutines, versus: "direct", max: 0.05},
			target{kase: "idle1000_" + era, impl: "pool", metric: moreValue, valueName: descriptors, versus: "direct", max: 0.05},
		)
	}
	return append(ts,
		target{kase: "slow64_old", impl: "shared", versus: "exclusive", max: 1 / 6.0},
		target{kase: "restart_storm", impl: "pool", metric: value, valueName: failedCalls, max: 0.5},
		target{kase: "restart_storm", impl: "pool", metric: value, valueName: initializes, max: stormSessions},
		target{kase: "restart_storm", impl: "pool", metric: value, valueName: recoveredMs, max: 5000},
		target{kase: "restart_storm", impl: "pool", metric: moreValue, valueName: recoveredMs, versus: "direct"},
	)
}

// A way is a way to call tools.
type way struct {
	name string
	open func(*mcpServer) (*caller, error)
}

// callers makes implementations of ways, each with a server of its own. background
// returns the context of a call; if it is nil calls have a context with a deadline,
// which is cancelled after the call, as those of most callers are.
func callers(where, version, tool string, background func() context.Context, ways ...way) []impl {
	var ims []impl
	for _, w := range ways {
		ims = append(ims, impl{name: w.name, open: func() (*fixture, error) {
			s, err := openServer(where, version)
			if err != nil {
				return nil, err
			}
			c, err := w.open(s)
			if err != nil {
				_ = s.close() // err says more
				return nil, err
			}
			once := func() error {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				return c.call(ctx, tool)
			}
			if background != nil {
				once = func() error { return c.call(background(), tool) }
			}
			return &fixture{
				worker: func(int) func(int) error {
					return func(n int) error {
						for range n {
							if err := once(); err != nil {
								return err
							}
						}
						return nil
					}
				},
				close: closeAll(c.close, s.close),
			}, nil
		}})
	}
	return ims
}
