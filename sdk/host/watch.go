package host

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/connectivity"

	basev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/base/v1"
)

// watch starts what notices that a process is no good any more: it ended, its
// connection broke, it does not answer, or it has grown too fat.
func (p *process) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	p.stopWatch = cancel
	p.watchers.Go(func() {
		select {
		case <-p.child.exited:
			state, _ := p.child.ending()
			p.condemn("it ended (" + state + ")")
		case <-ctx.Done():
		}
	})
	p.watchers.Go(func() {
		if broken(ctx, p.conn) {
			p.condemn("its connection broke")
		}
	})
	if p.plugin.Limits.Health > 0 {
		p.watchers.Go(func() { p.check(ctx) })
	}
}

// connState is what a gRPC connection says about itself.
type connState interface {
	GetState() connectivity.State
	WaitForStateChange(ctx context.Context, last connectivity.State) bool
}

// broken waits until a connection that has carried a call is there no more, and reports
// false if ctx ends before. gRPC lets calls through a moment before it says Ready, and on
// a busy machine the first is answered in that moment: Connecting is no end. After Ready
// it is on the way to one, because nobody listens any more where a plugin did.
func broken(ctx context.Context, conn connState) bool {
	for {
		s := conn.GetState()
		if s != connectivity.Ready && s != connectivity.Connecting {
			return true
		}
		if !conn.WaitForStateChange(ctx, s) {
			return false
		}
		if s == connectivity.Ready {
			return true
		}
	}
}

// check asks the plugin whether it is alive, and looks at its memory.
func (p *process) check(ctx context.Context) {
	limits := &p.plugin.Limits
	tick := time.NewTicker(limits.Health)
	defer tick.Stop()
	for silent := 0; ; {
		select {
		case <-tick.C:
		case <-p.condemned:
			return
		case <-ctx.Done():
			return
		}
		if n := residentBytes(p.child.number()); limits.HardMemoryBytes > 0 && n > limits.HardMemoryBytes {
			p.condemn(fmt.Sprintf("it occupies %d bytes, and Limits.HardMemoryBytes is %d", n, limits.HardMemoryBytes))
			return
		}
		asked, cancel := context.WithTimeout(ctx, limits.HealthTimeout)
		_, err := p.base.Health(asked, &basev1.HealthRequest{})
		cancel()
		if silent++; err == nil {
			silent = 0
		}
		if silent == 2 && ctx.Err() == nil {
			p.condemn("it does not answer: " + fromRPC(err).Message)
			return
		}
	}
}

// condemn says that the process is not to be used any more; the first reason stands.
// Calls under way fail, because whoever owns the process ends it.
func (p *process) condemn(reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reason == "" {
		p.reason = reason
		close(p.condemned)
	}
}

// why is the reason.
func (p *process) why() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reason
}

// begin counts a call, unless the process is condemned.
func (p *process) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reason != "" {
		return false
	}
	p.calls++
	return true
}

func (p *process) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls--
	if p.calls == 0 && p.idle != nil {
		close(p.idle)
		p.idle = nil
	}
}

// drain waits for the calls under way. Nobody begins one any more.
func (p *process) drain(ctx context.Context) error {
	p.mu.Lock()
	if p.calls == 0 {
		p.mu.Unlock()
		return nil
	}
	if p.idle == nil {
		p.idle = make(chan struct{})
	}
	idle, calls := p.idle, p.calls
	p.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-p.condemned:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%d calls were cut short: %w", calls, ctx.Err())
	}
}

// stop ends the process in order: calls, instances, process, group. The last of a plugin
// takes its folder along.
func (p *process) stop(ctx context.Context, last bool) error {
	limits := &p.plugin.Limits
	drained, cancel := context.WithTimeout(ctx, limits.Drain)
	err := p.drain(drained)
	cancel()
	p.stopWatch()
	asked, cancel := context.WithTimeout(ctx, limits.Shutdown)
	_, rpcErr := p.base.Shutdown(asked, &basev1.ShutdownRequest{Last: last})
	cancel()
	if rpcErr != nil {
		p.plugin.Logger.Warn("the plugin's shutdown failed", "error", fromRPC(rpcErr).Message)
	} else {
		p.child.letGo()
		select {
		case <-p.child.exited:
		case <-time.After(limits.Shutdown):
			p.plugin.Logger.Warn("the plugin does not end after its shutdown, and is killed", "pid", p.child.number())
		case <-ctx.Done():
		}
	}
	p.destroy()
	return err
}

// stuck is how long SIGKILL may take.
const stuck = 10 * time.Second

// destroy ends the process at once and gives back everything. A call on it fails.
func (p *process) destroy() {
	p.condemn("it is being closed")
	p.stopWatch()
	p.child.kill()
	if p.signing != nil {
		p.signing.close()
	}
	// SIGKILL ends everything that the kernel is not stuck in. What it is stuck in is
	// left behind, reported, and given back when it ends.
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		p.client.Kill() // waits for the end, then for its own goroutines
		p.conns.close()
	}()
	select {
	case <-gone:
		p.watchers.Wait()
	case <-time.After(max(stuck, 2*p.plugin.Limits.Shutdown+stuck)): // the sum may be too large
		p.plugin.Logger.Error("the plugin's process does not end, although it was killed", "pid", p.child.number())
	}
}
