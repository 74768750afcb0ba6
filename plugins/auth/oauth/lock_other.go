//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package oauth

// systemLocker has no flock here.
func systemLocker(path string) (func(), bool, error) { return lockByExistence(path) }
