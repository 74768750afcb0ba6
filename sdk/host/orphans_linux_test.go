package host

import (
	"os/exec"
	"syscall"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// The plugin exits while it closes, because its host was killed, and sees to nothing.
func TestALaunchEndsWhatAPluginOfADeadHostLeft(t *testing.T) {
	t.Parallel()
	tmp := shortTemp(t)
	cmd, rep := startHost(t, tmp, part(t, "ender").Path, "TEST_GREETING=exits")
	t.Cleanup(func() {
		if alive(rep.Grandchild) {
			syscall.Kill(rep.Grandchild, syscall.SIGKILL)
		}
	})
	leader := exec.CommandContext(t.Context(), "sleep", "3600") // a plugin that is about to end itself
	leader.Env = []string{wire.EnvRunDir + "=" + rep.RunDir}
	leader.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := leader.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		leader.Process.Kill()
		leader.Wait()
	}()
	sweepRunDirs(tmp)
	if !alive(rep.Grandchild) {
		t.Error("what a living host's plugin started was ended")
	}
	cmd.Process.Kill()
	cmd.Wait()
	eventually(t, "the plugin ends", func() bool { return !alive(rep.PID) })
	if !alive(rep.Grandchild) || !exists(rep.RunDir) {
		t.Error("nothing is left")
	}
	sweepRunDirs(tmp)
	eventually(t, "what it left ends", func() bool { return !alive(rep.Grandchild) })
	if exists(rep.RunDir) {
		t.Error("its folder is left")
	}
	if !alive(leader.Process.Pid) {
		t.Error("a process that leads its group was ended")
	}
}
