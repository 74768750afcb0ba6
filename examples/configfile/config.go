package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// binaries are where the sources of the plugins are.
func binaries() map[string]string {
	return map[string]string{ //nolint:gosec // paths, and no credentials
		"websocket": "transport/websocket/cmd/mcpool-transport-websocket",
		"bearer":    "auth/bearer/cmd/mcpool-auth-bearer",
		"toolcall":  "probe/toolcall/cmd/mcpool-probe-toolcall",
	}
}

// build builds the plugins into a folder. "make plugins" does it for all there are, and
// writes a manifest with their checksums.
func build(ctx context.Context, dir string) error {
	args := []string{"build", "-trimpath", "-buildvcs=false", "-o", dir + string(filepath.Separator)}
	for _, pkg := range binaries() {
		args = append(args, "github.com/go-mcpool/mcpool/plugins/"+pkg)
	}
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // our own
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

type object = map[string]any

// writeConfig writes what an operator would, beside the binaries, and returns its path.
func writeConfig(dir, url string) (string, error) {
	verified := object{}
	for name, pkg := range binaries() {
		file := filepath.Base(pkg)
		if runtime.GOOS == "windows" {
			file += ".exe"
		}
		data, err := os.ReadFile(filepath.Join(dir, file)) //nolint:gosec // our own
		if err != nil {
			return "", err
		}
		sum := sha256.Sum256(data)
		verified[name] = object{"path": file, "sha256": hex.EncodeToString(sum[:])}
	}
	// snippet:begin file
	doc, err := json.MarshalIndent(object{
		"plugins": verified,
		"instances": object{
			"road": object{"plugin": "websocket", "kind": "transport", "config": object{"proxy": "-"}},
			"us":   object{"plugin": "bearer", "kind": "auth", "secrets": object{"token": object{"from": "env:" + tokenVariable}}},
			"ready": object{"plugin": "toolcall", "kind": "probe", "config": object{
				"tool": "status", "expect": object{"path": "structuredContent.ready", "value": true},
			}},
		},
		"endpoints": object{"tools": object{"url": url, "auth": "us", "transport": "road", "probe": "ready"}},
	}, "", "  ")
	// snippet:end file
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "plugins.json")
	return path, os.WriteFile(path, doc, 0o600)
}
