//go:build !unix

package host

import "os"

const exeSuffix = ".exe"

// writableByOthers knows no access control lists.
func writableByOthers(string, os.FileInfo) string { return "" }

func readableByOthers(os.FileInfo) string { return "" }
