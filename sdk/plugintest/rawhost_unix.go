//go:build unix

package plugintest

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	basev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/base/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// rawHost is the kit in the place of a host, as far as the page of the protocol goes.
type rawHost struct {
	r        *report
	cmd      *exec.Cmd
	lifeline *os.File
	runDir   string
	conn     *grpc.ClientConn
	base     basev1.PluginServiceClient
	exited   chan struct{}
}

// host starts the binary.
func (b *binarySuite) host(r *report) *rawHost {
	dir, err := os.MkdirTemp("/tmp", "pt-") // the names of sockets are short
	if err != nil {
		r.Fatalf("no folder: %v", err)
	}
	r.Cleanup(func() { _ = os.RemoveAll(dir) })
	h := &rawHost{r: r, runDir: filepath.Join(dir, wire.RunDirPrefix+"run"), exited: make(chan struct{})}
	sockets := filepath.Join(h.runDir, "s")
	if err := os.MkdirAll(sockets, 0o700); err != nil {
		r.Fatalf("no folder: %v", err)
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		r.Fatalf("no pipe: %v", err)
	}
	defer func() { _ = theirs.Close() }()
	h.lifeline = ours
	h.cmd = exec.CommandContext(context.Background(), b.path) //nolint:gosec // the binary under test
	h.cmd.Env = []string{
		wire.CookieKey + "=" + wire.CookieValue, "PLUGIN_PROTOCOL_VERSIONS=1", wire.SocketDirEnv + "=" + sockets,
		wire.EnvLifeline + "=3", wire.EnvRunDir + "=" + h.runDir, wire.EnvMaxMessage + "=1048576",
		wire.EnvLogLevel + "=INFO", "HOME=" + h.runDir, "TMPDIR=" + h.runDir, "PATH=" + os.Getenv("PATH"),
	}
	h.cmd.ExtraFiles = []*os.File{theirs}
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := h.cmd.StdoutPipe()
	if err == nil {
		err = h.cmd.Start()
	}
	if err != nil {
		_ = ours.Close()
		r.Fatalf("%s cannot be started: %v", b.path, err)
	}
	line := make(chan string, 1)
	go func() {
		defer close(h.exited)
		out := bufio.NewReader(stdout)
		first, _ := out.ReadString('\n') // what there is of it is judged
		line <- first
		_, _ = io.Copy(io.Discard, out)
		_ = h.cmd.Wait()
	}()
	r.Cleanup(func() {
		_ = syscall.Kill(-h.cmd.Process.Pid, syscall.SIGKILL)
		_ = ours.Close()
		<-h.exited
	})
	h.meet(line, sockets)
	return h
}

// meet reads the handshake and connects.
func (h *rawHost) meet(line <-chan string, sockets string) {
	var said string
	h.r.within("the handshake", func() { said = <-line })
	f := strings.Split(strings.TrimSpace(said), "|")
	if len(f) < 5 || f[0] != "1" || f[1] != "1" || f[2] != "unix" || f[4] != "grpc" ||
		filepath.Dir(f[3]) != sockets {
		h.r.Fatalf("the first line on stdout is no handshake with a socket in %s: %q", sockets, said)
	}
	conn, err := grpc.NewClient("unix:"+f[3], grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	if err != nil {
		h.r.Fatalf("the socket %s: %v", f[3], err)
	}
	h.r.Cleanup(func() { _ = conn.Close() })
	h.conn, h.base = conn, basev1.NewPluginServiceClient(conn)
	ctx, cancel := context.WithTimeout(context.Background(), h.r.patience)
	defer cancel()
	if _, err := h.base.Describe(ctx, &basev1.DescribeRequest{HostVersion: "1"}); err != nil {
		h.r.Fatalf("Describe: %v", err)
	}
}

// alive: it answers.
func (h *rawHost) alive() error {
	ctx, cancel := context.WithTimeout(context.Background(), h.r.patience)
	defer cancel()
	_, err := h.base.Health(ctx, &basev1.HealthRequest{})
	return err
}

// signals: those that a host's whole group gets are not for the plugin. It is the host
// that ends it.
func (b *binarySuite) signals(r *report) {
	h := b.host(r)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		for range 20 { // a signal comes when it comes
			_ = syscall.Kill(h.cmd.Process.Pid, sig)
			if err := h.alive(); err != nil {
				r.faultf("%v ended the plugin, and is for its host to handle: %v", sig, err)
				return
			}
		}
	}
	h.shutdown()
}

// shutdown: after Shutdown, the end of the lifeline ends it. It may remove the folder then,
// if it knows that the Shutdown is the last: plugins of the first days do not.
func (h *rawHost) shutdown() {
	h.askToEnd(true)
	_ = h.lifeline.Close()
	h.gone("after the last Shutdown and the end of its lifeline")
}

func (h *rawHost) askToEnd(last bool) {
	ctx, cancel := context.WithTimeout(context.Background(), h.r.patience)
	defer cancel()
	if _, err := h.base.Shutdown(ctx, &basev1.ShutdownRequest{Last: last}); err != nil {
		h.r.faultf("Shutdown: %v", err)
	}
}

// gone checks that the plugin ends, with all of its group.
func (h *rawHost) gone(when string) bool {
	if !h.r.wait("the plugin, "+when, h.exited) {
		return false
	}
	if syscall.Kill(-h.cmd.Process.Pid, 0) == nil {
		h.r.faultf("%s, something of the plugin's process group is left: %d", when, h.cmd.Process.Pid)
	}
	return true
}

// swept reports whether the folder is gone.
func (h *rawHost) swept() bool {
	_, err := os.Lstat(h.runDir)
	return err != nil
}

// hostGone: when the host dies, the kernel closes its end of the lifeline. The plugin
// ends, and removes what the host cannot any more.
func (b *binarySuite) hostGone(r *report) {
	h := b.host(r)
	_ = h.lifeline.Close()
	if h.gone("after the end of its host") && !h.swept() {
		r.faultf("after the end of its host, the plugin left the folder that %s names", wire.EnvRunDir)
	}
}

// replaced: a Shutdown that is not the last says that another process takes the place of the
// plugin, and its folder.
func (b *binarySuite) replaced(r *report) {
	h := b.host(r)
	h.askToEnd(false)
	_ = h.lifeline.Close()
	if h.gone("after a Shutdown that is not the last and the end of its lifeline") && h.swept() {
		r.faultf("after a Shutdown that is not the last, the plugin took the folder along that %s names: "+
			"another process uses it", wire.EnvRunDir)
	}
}
