package main

import "time"

const (
	compiledIn = "in process"
	byBinary   = "binary"
	byUnary    = "unary RPC"
	hostUnary  = "binary, unary RPC"
	byPlain    = "go-plugin"
	verified   = "go-plugin, verified"

	hostBytesEach  = "bytes in the host"
	hostGoroutines = "goroutines in the host"
	residentBytes  = "resident bytes of the plugin"
)

// pluginSuite is what it costs to have credentials in a binary, beside having them in
// process, and beside go-plugin used as it comes.
func pluginSuite() suite {
	const leased, sign, sign64, start, each = "leased", "sign", "sign64", "start", "idle"
	lease := requestCase(leased, "a POST of 300 bytes with a credential that is there, from a binary or not", 1, sender{"cached", 300, newCached}, sender{"leased", 300, newLeased})
	lease.turns = true // the difference is small
	return suite{
		name: "plugin",
		cases: []benchCase{
			lease,
			{name: sign, about: "sign a request with AWS SigV4", goroutines: 1, turns: true, impls: signers()},
			{name: sign64, about: "the same from 64 goroutines", goroutines: 64, stepwise: true, duration: 500 * time.Millisecond, impls: signers()},
			{name: start, about: "from nothing to the first signature", goroutines: 1, rounds: 20, impls: []impl{
				{name: compiledIn, once: startLocal}, {name: byBinary, once: startHosted}, {name: byPlain, once: startBare},
				{name: verified, once: startVerified},
			}},
			{name: each, about: "what is there when nothing happens", goroutines: 1, rounds: 5, impls: []impl{
				{name: "of 4 plugins", once: idlePlugins}, {name: "of 200 instances", once: idleInstances},
				{name: "of 200 in process", once: idleLocal},
			}},
		},
		targets: []target{
			{kase: leased, impl: "leased", versus: "cached", metric: moreTime, max: 200},
			{kase: leased, impl: "leased", versus: "cached", metric: moreAllocations, max: noAllocation},
			{kase: sign, impl: byBinary, versus: byUnary, max: 0.8},
			{kase: sign64, impl: byBinary, versus: byUnary}, // put together by hand, without a host's checks
			{kase: sign, impl: byBinary, versus: hostUnary, max: 0.8},
			{kase: sign64, impl: byBinary, versus: hostUnary, max: 1 / 1.5},
			{kase: start, impl: byBinary, versus: byPlain}, // which runs whatever is there
			{kase: start, impl: byBinary, versus: verified, max: 2},
			{kase: each, impl: "of 200 instances", metric: value, valueName: hostGoroutines, max: 0.01},
			{kase: each, impl: "of 200 instances", metric: value, valueName: hostBytesEach, max: 4000},
			{kase: each, impl: "of 4 plugins", metric: value, valueName: hostGoroutines, max: 30},
		},
	}
}
