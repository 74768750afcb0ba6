//go:build unix

package host

import (
	"runtime"
	"testing"
)

// That it gets all of them when one is not enough is tested in package sdk, with clocks: a
// busy machine would not let it become busy.
func TestAPluginStaysOnOneProcessorWhileItDoesNothing(t *testing.T) {
	t.Parallel()
	if runtime.NumCPU() == 1 {
		t.Skip("needs two processors")
	}
	a := open(t, launch(t, part(t, "good")), Instance{Name: "a"})
	eventually(t, "it has one processor", func() bool { return value(t, a, "processors") == "1" })
}
