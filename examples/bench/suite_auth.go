package main

import "runtime"

// authSuite is what credentials cost a request, beside doing without the machinery.
func authSuite() suite {
	procs := runtime.GOMAXPROCS(0)
	bare, cached := sender{"static", 300, newStatic}, sender{"cached", 300, newCached}
	s := suite{
		name: "auth",
		cases: []benchCase{
			requestCase("request", "a POST of 300 bytes, nothing on the wire, with a credential that is there", 1, bare, cached),
			requestCase("requests", "the same from a goroutine for each processor", procs, bare, cached),
			requestCase("signed", "the same, signed with AWS SigV4", 1, sender{"aws signer", 300, newBareSigner}, sender{"sigv4", 300, newSigV4}),
			requestCase("signed64k", "the same with 64 KiB", 1, sender{"aws signer", 64 << 10, newBareSigner}, sender{"sigv4", 64 << 10, newSigV4}),
			{
				name: "identities", about: "a cache with a credential for each of them", goroutines: 1, rounds: 10,
				impls: []impl{{name: "of 1000", once: identities(1000)}, {name: "of 4000", once: identities(4000)}},
			},
		},
	}
	for _, kase := range []string{"request", "requests"} {
		s.targets = append(s.targets,
			target{kase: kase, impl: "cached", versus: "static", metric: moreTime, max: 200},
			target{kase: kase, impl: "cached", versus: "static", metric: moreAllocations, max: noAllocation})
	}
	for _, kase := range []string{"signed", "signed64k"} {
		s.targets = append(s.targets, target{kase: kase, impl: "sigv4", versus: "aws signer", max: 1.2})
	}
	for _, im := range []string{"of 1000", "of 4000"} {
		s.targets = append(s.targets,
			target{kase: "identities", impl: im, metric: value, valueName: bytesEach, max: 2000},
			target{kase: "identities", impl: im, metric: value, valueName: goroutinesEach, max: 0.01})
	}
	return s
}
