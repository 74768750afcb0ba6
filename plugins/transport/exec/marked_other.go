//go:build !linux

package exec

// marked finds nothing: there is no way to see what processes inherited.
func marked(string) []int { return nil }

func signalMarked(string, bool) {}
