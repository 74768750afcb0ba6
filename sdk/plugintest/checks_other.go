//go:build !unix

package plugintest

import (
	"errors"
	"os"
)

func (b *binarySuite) unixChecks() []check { return nil }

func (k *transportBinary) unixExtra(*binarySuite) []check { return nil }

const canStop = false

func stopProcess(int) error { return errors.ErrUnsupported }

func processGone(pid int) bool {
	_, err := os.FindProcess(pid)
	return err != nil
}

// remainders cannot be looked for here.
func remainders(int) func() string { return func() string { return "" } }
