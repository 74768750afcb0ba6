package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"

	basev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/base/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// process is one run of a plugin, from its handshake to its end.
type process struct {
	// Immutable after creation.
	plugin      *Plugin
	client      *plugin.Client
	child       *child
	conns       *connection
	conn        *grpc.ClientConn
	base        basev1.PluginServiceClient
	description wire.Description
	majors      map[string]uint32
	began       time.Time
	signing     *signMux
	stopWatch   context.CancelFunc
	watchers    sync.WaitGroup
	condemned   chan struct{} // closed when the process is not to be used any more

	mu     sync.Mutex
	reason string        // guarded by mu; why it is condemned
	calls  int           // guarded by mu
	idle   chan struct{} // guarded by mu; who waits for calls to become 0
}

// startProcess starts the image and learns what it is. Whatever goes wrong, nothing
// of it is left when the error is returned.
func startProcess(ctx context.Context, p *Plugin, img *image, run *runDir) (*process, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Limits.Start)
	defer cancel()
	proc := &process{
		plugin: p, child: newChild(p), conns: &connection{}, condemned: make(chan struct{}),
		began: time.Now(), stopWatch: func() {},
	}
	proc.client = proc.newClient(img, run)
	done := make(chan error, 1)
	go func() { done <- proc.connect() }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done(): // go-plugin's Start takes no context: it returns when the process is gone
		err = ctx.Err()
		proc.child.kill()
		proc.conns.close() // which another process may hold open
		<-done             //nolint:errcheck // the context's error says more
	}
	if err == nil {
		err = proc.meet(ctx)
	}
	if err != nil {
		proc.child.kill()
		err = proc.explain(ctx, err)
		proc.destroy()
		return nil, err
	}
	proc.child.forgetSockets()
	proc.signing = newSignMux(proc.conn, p.Limits.MessageBytes)
	proc.watch()
	return proc, nil
}

// newClient makes go-plugin's side. All that it would do badly is done by child.
func (p *process) newClient(img *image, run *runDir) *plugin.Client {
	limits := &p.plugin.Limits
	sink := p.child.sink
	return plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: plugin.HandshakeConfig{
			ProtocolVersion: wire.ProtoVersion, MagicCookieKey: wire.CookieKey, MagicCookieValue: wire.CookieValue,
		},
		Plugins:          plugin.PluginSet{wire.PluginName: &connPlugin{}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, sockets string) (runner.Runner, error) {
			err := p.child.prepare(p.plugin, img, run, childEnv(p.plugin, run, cmd.Env), sockets)
			if err != nil {
				_ = os.RemoveAll(sockets)
				return nil, err
			}
			return p.child, nil
		},
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Off, Output: io.Discard}),
		StartTimeout:     max(limits.Start, limits.Start+time.Minute), // ours ends it first; the sum may be too large
		SkipHostEnv:      true,
		AutoMTLS:         p.plugin.MutualTLS,
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: run.path},
		SyncStdout:       &lines{each: sink.raw("stdout")},
		SyncStderr:       &lines{each: sink.structured},
		GRPCDialOptions:  dialOptions(limits, p.conns),
	})
}

// pluginGOGC lets the heap of a plugin, which is small, become five times what is alive
// before it is collected; with Go's own two times, a third of the processor time of a
// signature went into that. The memory limit bounds it where the heap is large.
const pluginGOGC = "400"

// childEnv is the plugin's whole environment: what was named, what the handshake
// needs, and a place to call home.
func childEnv(p *Plugin, run *runDir, handshake []string) []string {
	env := pickEnv(hostEnv(), p.Env)
	env = setEnv(env, "HOME", stateHome(p, run))
	env = setEnv(env, "TMPDIR", filepath.Join(run.path, "tmp"))
	if runtime.GOOS == "windows" {
		env = setEnv(env, "USERPROFILE", stateHome(p, run))
		env = setEnv(env, "APPDATA", stateHome(p, run))
	}
	if p.Limits.MemoryBytes > 0 {
		env = setEnv(env, "GOMEMLIMIT", strconv.FormatInt(p.Limits.MemoryBytes, 10))
		env = setEnv(env, "GOGC", pluginGOGC)
	}
	env = append(env,
		wire.EnvRunDir+"="+run.path,
		wire.EnvMaxMessage+"="+strconv.Itoa(p.Limits.MessageBytes),
		wire.EnvLogLevel+"="+logLevel(p.Logger).String(),
	)
	return append(env, handshake...)
}

// logLevel is the least level that the logger wants: the rest need not cross.
func logLevel(log *slog.Logger) slog.Level {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn} {
		if log.Enabled(context.Background(), level) {
			return level
		}
	}
	return slog.LevelError
}

// connect starts the process and connects to it.
func (p *process) connect() error {
	client, err := p.client.Client()
	if err != nil {
		return err
	}
	raw, err := client.Dispense(wire.PluginName)
	if err != nil {
		return err
	}
	conn, ok := raw.(*grpc.ClientConn)
	if !ok {
		return errors.New("go-plugin returned no connection")
	}
	p.conn, p.base = conn, basev1.NewPluginServiceClient(conn)
	return nil
}

// meet asks the plugin what it is.
func (p *process) meet(ctx context.Context) error {
	m, err := p.base.Describe(ctx, &basev1.DescribeRequest{HostVersion: "1"})
	if err != nil {
		return err
	}
	p.description, p.majors = wire.DescriptionFrom(m), make(map[string]uint32)
	for _, k := range p.description.Kinds {
		var best uint32
		for _, major := range k.Majors {
			if slices.Contains(spoken(k.Name), major) {
				best = max(best, major)
			}
		}
		if best > 0 {
			p.majors[k.Name] = best
		}
	}
	if len(p.majors) == 0 {
		return &LaunchError{
			Path: p.plugin.Path, Reason: "speaks no protocol that this host does: " + offers(p.description),
			Remedy: "Install a build of the plugin, or of this program, that speaks the other's.",
		}
	}
	return nil
}

// spoken lists the majors of a kind that this host speaks.
func spoken(kind string) []uint32 {
	if slices.Contains(wire.Kinds(), kind) {
		return []uint32{1}
	}
	return nil
}

func offers(d wire.Description) string {
	var b strings.Builder
	for i, k := range d.Kinds {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %d", k.Name, k.Majors)
	}
	if b.Len() == 0 {
		return "it offers none"
	}
	return "it offers " + b.String()
}

// explain says why a start failed, in words for who has to mend it.
func (p *process) explain(ctx context.Context, err error) error {
	if _, ok := errors.AsType[*LaunchError](err); ok {
		return err
	}
	le := &LaunchError{Path: p.plugin.Path}
	if p.child.number() != 0 {
		select {
		case <-p.child.exited:
		case <-time.After(stuck):
		}
	}
	state, failed := p.child.ending()
	said := p.child.head.String()
	problem, handshaken := p.child.stdout.verdict()
	switch {
	case problem != "":
		le.Reason = problem
		le.Remedy = "Is it a plugin for mcpool? Nothing may be printed to stdout before sdk.Main."
	case errors.Is(failed, syscall.ENOEXEC):
		le.Reason, le.Err = "cannot be executed here", failed
		le.Remedy = "Install the build for this platform, " + runtime.GOOS + "/" + runtime.GOARCH + "."
	case failed != nil:
		le.Reason, le.Err = "cannot be executed", failed
		le.Remedy = "Check that it is a program, and that this user may run it."
	case errors.Is(context.Cause(ctx), context.Canceled):
		le.Reason, le.Err, le.Remedy = "was given up while it started", context.Canceled, "Launch it with a context that lasts."
	case ctx.Err() != nil && !handshaken:
		le.Reason = fmt.Sprintf("did not say a word within Limits.Start = %v", p.plugin.Limits.Start)
		le.Err, le.Remedy = context.DeadlineExceeded, "Is it a plugin for mcpool? It has to call sdk.Main first."
	case ctx.Err() != nil:
		le.Reason = fmt.Sprintf("did not describe itself within Limits.Start = %v", p.plugin.Limits.Start)
		le.Err, le.Remedy = context.DeadlineExceeded, "See its log."
	case !handshaken:
		le.Reason = "ended at once (" + state + ")"
		le.Remedy = "Is it a plugin for mcpool? Run it by hand to see what it says."
	default:
		e := fromRPC(err)
		le.Reason, le.Err = "failed while it started", errors.New(e.Message)
		le.Remedy = "See its log."
	}
	if said != "" && ctx.Err() == nil {
		le.Reason += fmt.Sprintf("; it said %q", said)
	}
	return le
}

// connPlugin hands out go-plugin's connection as it is.
type connPlugin struct{ plugin.NetRPCUnsupportedPlugin }

func (*connPlugin) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error {
	return errors.New("host: this is the host's side")
}

func (*connPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}
