//go:build unix

package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheStateFolderIsMadePrivateAndOutlivesTheRunning(t *testing.T) {
	t.Parallel()
	p := part(t, "good")
	p.StateDir = filepath.Join(t.TempDir(), "not", "there")
	r := launch(t, p)
	for _, dir := range []string{p.StateDir, filepath.Join(p.StateDir, "home"), filepath.Join(p.StateDir, "instances")} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", dir, info, err)
		}
	}
	dir := value(t, open(t, r, Instance{Name: "a"}), "state")
	writeFile(t, filepath.Join(dir, "kept"), "", 0o600)
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if dir != filepath.Join(p.StateDir, "instances", "i-a") || !exists(filepath.Join(dir, "kept")) {
		t.Errorf("the state was in %s, and is gone", dir)
	}
}

func TestAStateFolderThatOthersCanLookIntoIsRefused(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, "", 0o600)
	shared, group := filepath.Join(t.TempDir(), "shared"), filepath.Join(t.TempDir(), "group")
	for dir, mode := range map[string]os.FileMode{shared: 0o701, group: 0o740} {
		if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, mode)); err != nil {
			t.Fatal(err)
		}
	}
	for dir, want := range map[string]string{shared: "is open to others (mode -rwx-----x)", group: "is open to others (mode -rwxr-----)", file: "not a directory"} {
		p := part(t, "good")
		p.StateDir = dir
		r, err := Launch(t.Context(), p)
		if err == nil {
			t.Fatal("it was launched", r.Close(t.Context()))
		}
		le, ok := errors.AsType[*LaunchError](err)
		if !ok || le.Path != p.Path || le.Remedy != "Check StateDir." || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want a LaunchError with %q", err, want)
		}
	}
	p := part(t, "good")
	p.StateDir = filepath.Join(t.TempDir(), "state")
	r := launch(t, p)
	dir := filepath.Join(p.StateDir, "instances", "i-a")
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o711)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Auth(t.Context(), Instance{Name: "a"}); err == nil || !strings.Contains(err.Error(), "the state of instance a: ") {
		t.Errorf("the folder of an instance: %v", err)
	}
}

// What instances keep there, a rotated token for example, has to be there for the next
// build, whatever its Plugin says.
func TestReplaceKeepsTheStateFolder(t *testing.T) {
	t.Parallel()
	for name, launched := range map[string]bool{"a named one": true, "a temporary one": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, other := part(t, "good"), filepath.Join(t.TempDir(), "other")
			if launched {
				p.StateDir = filepath.Join(t.TempDir(), "state")
			}
			r := launch(t, p)
			root := p.StateDir
			if !launched {
				root = filepath.Join(r.run.path, "state")
			}
			a := open(t, r, Instance{Name: "a"})
			writeFile(t, filepath.Join(value(t, a, "state"), "kept"), "", 0o600)
			check := func(when, instance string) {
				t.Helper()
				b := open(t, r, Instance{Name: instance})
				for what, got := range map[string][2]string{
					"home":                             {value(t, a, "env:HOME"), filepath.Join(root, "home")},
					"state":                            {value(t, a, "state"), filepath.Join(root, "instances", "i-a")},
					"state of an instance that is new": {value(t, b, "state"), filepath.Join(root, "instances", "i-"+instance)},
				} {
					if got[0] != got[1] || !exists(got[0]) {
						t.Errorf("%s, the %s is in %s, want %s", when, what, got[0], got[1])
					}
				}
				if !exists(filepath.Join(root, "instances", "i-a", "kept")) {
					t.Errorf("%s, what was kept is gone", when)
				}
			}
			for _, dir := range []string{other, "relative", ""} {
				next := part(t, "next")
				next.StateDir = dir
				if err := r.Replace(t.Context(), next); err != nil {
					t.Fatal(err)
				}
				check("after a Replace with "+dir, "b"+filepath.Base(dir))
			}
			starts := r.Stats().Starts
			kill(r)
			eventually(t, "it is started again", func() bool { return r.Stats().Starts > starts })
			check("after a restart", "c")
			if err := r.Close(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
			if exists(other) || exists("relative") || exists(root) != launched {
				t.Errorf("the other is there: %v; the first: %v", exists(other), exists(root))
			}
		})
	}
}
