//go:build !unix

package plugintest

func (b *binarySuite) unixChecks() []check { return nil }

// remainders cannot be looked for here.
func remainders(int) func() string { return func() string { return "" } }
