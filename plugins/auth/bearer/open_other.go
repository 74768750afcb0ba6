//go:build !unix

package bearer

import "os"

func openFile(path string) (*os.File, error) { return os.Open(path) }
