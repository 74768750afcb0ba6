//go:build unix

package host

import (
	"encoding/json"
	"flag"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var releaseFolder = flag.String("release", "", "the folder that .ci/plugins has filled")

// "make binaries" builds the plugins that are released, and names their folder.
func TestAReleaseIsWhatItsManifestSays(t *testing.T) {
	t.Parallel()
	dir := *releaseFolder
	if dir == "" {
		t.Skip(`no -release: "make binaries" has one`)
	}
	path := filepath.Join(dir, "manifest.json")
	m, err := LoadManifest(path)
	if err != nil {
		t.Fatal(err)
	}
	there, err := filepath.Glob(filepath.Join(dir, "mcpool-*"))
	if err != nil || len(there) != len(m.Plugins) || len(there) == 0 {
		t.Errorf("%d binaries and %d plugins in the manifest, %v", len(there), len(m.Plugins), err)
	}
	for _, release := range m.Plugins {
		t.Run(release.Description.Name, func(t *testing.T) {
			t.Parallel()
			name := release.Description.Name
			c, err := loadText(t, t.TempDir(), fmt.Sprintf(`{"plugins": {%q: {"manifest": %q}}}`, name, path))
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range release.Description.Kinds {
				if problem := cannot(&release.Description, k.Name); problem != "" {
					t.Errorf("this host cannot open it as %s: %s", k.Name, problem)
				}
			}
			p := c.launch[name]
			p.Logger = testLogger(t)
			said, err := exec.CommandContext(t.Context(), p.Path, "--describe").Output()
			var printed Description
			if err == nil {
				err = json.Unmarshal(said, &printed)
			}
			if err != nil {
				t.Fatalf("--describe: %v", err)
			}
			if diff := cmp.Diff(asJSON(t, release.Description), asJSON(t, printed)); diff != "" {
				t.Errorf("the manifest, and what it prints:\n%s", diff)
			}
			if diff := cmp.Diff(asJSON(t, release.Description), asJSON(t, launch(t, p).Describe())); diff != "" {
				t.Errorf("the manifest, and what it tells a host:\n%s", diff)
			}
		})
	}
}

// asJSON is the value as JSON has it, where there is one way to say nothing.
func asJSON(t *testing.T, v any) any {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var plain any
	if err := json.Unmarshal(raw, &plain); err != nil {
		t.Fatal(err)
	}
	return plain
}
