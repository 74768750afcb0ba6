// Package pluginbuild builds the plugin binaries that the examples launch.
package pluginbuild

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Binary is a plugin as its vendor would publish it: a file and its checksum.
type Binary struct{ Path, SHA256 string }

// Build builds a command below plugins from the workspace, such as
// auth/sigv4/cmd/mcpool-auth-sigv4, into dir. Another stamp gives another binary that
// does the same.
func Build(ctx context.Context, dir, command, stamp string) (Binary, error) {
	name := stamp + "-" + filepath.Base(command)
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	b := Binary{Path: filepath.Join(dir, name)}
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-buildid=" + stamp, "-o", b.Path}
	cmd := exec.CommandContext(ctx, "go", append(args, "github.com/go-mcpool/mcpool/plugins/"+command)...) //nolint:gosec // our own
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return Binary{}, fmt.Errorf("go build %s: %w\n%s", command, err, out)
	}
	data, err := os.ReadFile(b.Path)
	if err != nil {
		return Binary{}, err
	}
	sum := sha256.Sum256(data)
	b.SHA256 = hex.EncodeToString(sum[:])
	return b, nil
}
