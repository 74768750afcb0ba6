package main

// results holds every sample of a run, in the order of the suite.
type results struct {
	suite  string
	rounds int
	series []*series
}

// A series is what one implementation did in one case, a sample for each round.
type series struct {
	kase, about, impl                 string
	fair                              bool
	ns, allocs, bytes, fairness, cpus []float64
	turns                             [][]float64 // of each round, where there were some
	values                            map[string][]float64
}

func newResults(name string, rounds int, cases []benchCase) *results {
	r := &results{suite: name, rounds: rounds}
	for _, c := range cases {
		for _, im := range c.impls {
			r.series = append(r.series, &series{kase: c.name, about: c.about, impl: im.name, fair: c.fair})
		}
	}
	return r
}

func (r *results) find(kase, impl string) *series {
	for _, s := range r.series {
		if s.kase == kase && s.impl == impl {
			return s
		}
	}
	return nil
}

func (r *results) add(kase, impl string, smp sample) {
	s := r.find(kase, impl)
	s.ns = append(s.ns, smp.ns)
	s.allocs = append(s.allocs, smp.allocs)
	s.bytes = append(s.bytes, smp.bytes)
	s.cpus = append(s.cpus, smp.cpus)
	if smp.turns != nil {
		s.turns = append(s.turns, smp.turns)
	}
	for name, v := range smp.values {
		if s.values == nil {
			s.values = make(map[string][]float64)
		}
		s.values[name] = append(s.values[name], v)
	}
	if s.fair {
		s.fairness = append(s.fairness, smp.fairness)
	}
}
