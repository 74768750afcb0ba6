//go:build unix

// Package pluginpython tests a plugin in Python the way plugins in Go are tested.
package pluginpython

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/host"
	"github.com/go-mcpool/mcpool/sdk/plugintest"
)

// python is the interpreter that has grpcio.
func python(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../bin/python/bin/python")
	if err == nil {
		err = exec.CommandContext(t.Context(), path, "-c", "import grpc, google.protobuf").Run()
	}
	if err != nil {
		if os.Getenv("MCPOOL_REQUIRE_PYTHON") != "" {
			t.Fatalf("MCPOOL_REQUIRE_PYTHON is set: %v", err)
		}
		t.Skipf("no Python with grpcio, .ci/python/install makes one: %v", err)
	}
	return path
}

// build makes one executable of the program and the frozen descriptors.
func build(t *testing.T) string {
	t.Helper()
	interpreter, dir := python(t), t.TempDir()
	for name, source := range map[string]string{"__main__.py": "__main__.py", "v1.binpb": "../../sdk/proto/frozen/v1.binpb"} {
		data, err := os.ReadFile(source)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "python-token")
	out, err := exec.CommandContext(t.Context(), interpreter, "-m", "zipapp", "-p", interpreter, "-o", path, dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

func TestAPluginInPythonKeepsTheContract(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip(err)
	}
	in := func(command ...string) host.Instance {
		return host.Instance{Name: "a", Config: map[string][]string{"command": command}}
	}
	stalled := in(sleep, "3600")
	plugintest.Binary(t, build(t), plugintest.BinaryOptions{Auth: &plugintest.AuthOptions[host.Instance]{
		Config:  host.Instance{Name: "a", Secrets: map[string]auth.Secret{"token": auth.NewSecret("tok-4711-python")}},
		Stalled: &stalled,
		Failures: []plugintest.AuthFailure[host.Instance]{
			{Name: "nothing", Config: host.Instance{Name: "a"}, Field: "command"},
			{Name: "no token", Config: in("/bin/echo"), Is: auth.ErrCredentialsRejected},
		},
	}})
}
