//go:build !unix

package sdk

func keepFromChildren(int) {}
func killGroup()           {}
