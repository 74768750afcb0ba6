//go:build unix

package plugintest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/go-mcpool/mcpool/sdk/host"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// unixChecks are those that need signals, or to be the host oneself.
func (b *binarySuite) unixChecks() []check {
	checks := []check{b.check("Signals", b.signals), b.check("HostGone", b.hostGone)}
	if b.auth != nil {
		checks = append(checks, b.check("Stop", b.stop))
	}
	return checks
}

// stop: while the process is stopped, calls end with their deadline; then it is
// replaced.
func (b *binarySuite) stop(r *report) {
	run := b.launch(r, func(p *host.Plugin) { p.Limits.Health, p.Limits.HealthTimeout = 500*time.Millisecond, time.Second })
	u := b.through(run).use(r, b.auth.opts.Config)
	stopped := run.Stats().PID
	if err := syscall.Kill(stopped, syscall.SIGSTOP); err != nil {
		r.Fatalf("SIGSTOP: %v", err)
	}
	r.within("Credentials of a stopped plugin", func() {
		ctx, cancel := context.WithTimeout(context.Background(), moments[1])
		defer cancel()
		if _, _, err := u.send(ctx, b.auth.opts.Request); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			r.faultf("Credentials of a stopped plugin: %v", err)
		}
	})
	var err error
	answered := r.poll(func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), b.patience)
		defer cancel()
		_, _, err = u.send(ctx, b.auth.opts.Request)
		return err == nil && run.Stats().PID != stopped
	})
	if !answered {
		r.faultf("a stopped plugin was not replaced within %v: %v", b.patience, err)
	}
}

// remainders looks for what a process leaves behind: itself, its group, its folder.
func remainders(pid int) func() string {
	if pid <= 1 {
		return func() string { return "" }
	}
	var dir string
	if env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); err == nil {
		for kv := range bytes.SplitSeq(env, []byte{0}) {
			if v, ok := strings.CutPrefix(string(kv), wire.EnvRunDir+"="); ok {
				dir = v
			}
		}
	}
	return func() string {
		if syscall.Kill(pid, 0) == nil {
			return fmt.Sprintf("its process %d", pid)
		}
		if syscall.Kill(-pid, 0) == nil {
			return fmt.Sprintf("something of its process group %d", pid)
		}
		if _, err := os.Lstat(dir); dir != "" && err == nil {
			return "its folder " + dir
		}
		return ""
	}
}
