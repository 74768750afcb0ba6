//go:build !unix

package main

import "os"

// stopSignal is nil where there is none.
func stopSignal() os.Signal { return nil }

// alive reports whether there is such a process.
func alive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err == nil {
		_ = p.Release() // it was only looked for
	}
	return err == nil
}
