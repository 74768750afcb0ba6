package main

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

// binary is a plugin as its vendor would publish it: a file and its checksum.
type binary struct{ path, sha256 string }

// buildPlugin builds one from the workspace. Another stamp gives another binary that
// does the same.
func buildPlugin(ctx context.Context, dir, main, stamp string) (binary, error) {
	name := stamp + "-" + filepath.Base(main)
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	b := binary{path: filepath.Join(dir, name)}
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-buildid=" + stamp, "-o", b.path}
	cmd := exec.CommandContext(ctx, "go", append(args, "github.com/go-mcpool/mcpool/plugins/auth/"+main)...) //nolint:gosec // our own
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return binary{}, fmt.Errorf("go build %s: %w\n%s", main, err, out)
	}
	data, err := os.ReadFile(b.path)
	if err != nil {
		return binary{}, err
	}
	sum := sha256.Sum256(data)
	b.sha256 = hex.EncodeToString(sum[:])
	return b, nil
}

func (d *demo) build(ctx context.Context) (string, error) {
	var err error
	if d.dir, err = os.MkdirTemp("", "mcpool-plugins-"); err != nil {
		return "", err
	}
	for _, b := range []struct {
		into        *binary
		main, stamp string
	}{
		{&d.signer, "sigv4/cmd/mcpool-auth-sigv4", "one"},
		{&d.newer, "sigv4/cmd/mcpool-auth-sigv4", "two"},
		{&d.tokens, "oauth/cmd/mcpool-auth-oauth", "one"},
	} {
		if *b.into, err = buildPlugin(ctx, d.dir, b.main, b.stamp); err != nil {
			return "", err
		}
	}
	if d.signer.sha256 == d.newer.sha256 {
		return "", fmt.Errorf("two builds of SigV4 have the checksum %s", d.signer.sha256)
	}
	return fmt.Sprintf("SigV4 %.8s and %.8s, OAuth %.8s", d.signer.sha256, d.newer.sha256, d.tokens.sha256), nil
}
