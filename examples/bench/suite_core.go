package main

import "runtime"

// coreSuite is package core beside other pools.
func coreSuite() suite {
	procs := runtime.GOMAXPROCS(0)
	waiting := openersBut("cas") // it cannot wait
	return suite{
		name: "core",
		cases: []benchCase{
			// keyed100 follows serial closely, because the two are compared.
			plainCase("serial", "one goroutine acquires and releases", 1, max(procs, 16), openers()),
			keyedCase("keyed100", "one goroutine, 100 keys in turn, a pool for each", 100, 4,
				keyedOpener{"core", openCoreKeyed}, keyedOpener{"puddle", openPuddleMap}),
			plainCase("parallel", "a goroutine for each processor, 16 resources", procs, max(procs, 16), openers()),
			waitCase("wait64", "64 goroutines on 8 resources, yielding while they hold one", 64, 8, waiting),
			waitCase("wait1000", "1000 goroutines on 10 resources, yielding while they hold one", 1000, 10, waiting),
			sharedCase("shared64", "64 goroutines, 8 resources with 8 seats each, yielding while they hold one", 64, 8, 8),
			keyedCase("affinity", "one goroutine, 8 keys in turn, each with its last resource of 8", 8, 8,
				keyedOpener{"core", openCoreAffinity}, keyedOpener{"mutex+map", openMutexMap}),
			cancelCase("cancel", "as wait64, but the context of every second acquire ends soon", 64, 8, waiting),
			statsCase("stats1000", "read the statistics of 1000 resources, 100 of them leased", 1000, 100,
				openersBut("channel", "cas")),
			busyCase("busy1000", "one goroutine, 1000 resources of which 900 are leased all along", 1000, 900, openers()),
		},
		targets: coreTargets(),
	}
}

func coreTargets() []target {
	var ts []target
	for _, kase := range []string{"serial", "parallel"} {
		ts = append(ts,
			target{kase: kase, impl: "core", versus: "puddle", max: 0.2},
			target{kase: kase, impl: "core", versus: "cas", max: 6, aim: 2},
			target{kase: kase, impl: "core", versus: "channel"},
			target{kase: kase, impl: "core", metric: allocations, max: noAllocation},
		)
	}
	for _, kase := range []string{"wait64", "wait1000"} {
		ts = append(ts,
			target{kase: kase, impl: "core", versus: "puddle", max: 0.7},
			target{kase: kase, impl: "core", versus: "channel", aim: 1},
			target{kase: kase, impl: "core", metric: allocations, max: noAllocation},
			target{kase: kase, impl: "core", metric: evenness, max: 1.5},
		)
	}
	return append(ts,
		target{kase: "keyed100", impl: "core", versus: "core", versusCase: "serial", max: 2},
		target{kase: "keyed100", impl: "core", versus: "puddle"},
		target{kase: "shared64", impl: "core", versus: "cas"},
		target{kase: "affinity", impl: "core", versus: "mutex+map"},
		target{kase: "cancel", impl: "core", versus: "puddle"},
		target{kase: "cancel", impl: "core", versus: "channel"},
		target{kase: "stats1000", impl: "core", versus: "puddle", max: 1},
		target{kase: "busy1000", impl: "core", versus: "puddle"},
		target{kase: "busy1000", impl: "core", versus: "cas"},
	)
}
