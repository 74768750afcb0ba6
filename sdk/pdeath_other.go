//go:build !linux

package sdk

func preferLifeline() {}
