package host

import (
	"bytes"
	"context"
	"os/exec"
	"strconv"
	"time"
)

// residentBytes is how much memory a process occupies, 0 if that is not known.
func residentBytes(pid int) int64 {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "/bin/ps", "-o", "rss=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return 0
	}
	kib, err := strconv.ParseInt(string(bytes.TrimSpace(out)), 10, 64)
	if err != nil {
		return 0
	}
	return kib << 10
}
