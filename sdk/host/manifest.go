package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Manifest is what is published with a release of plugin binaries, so that they can be
// judged and verified before they run. Unknown members are ignored: a manifest may be
// newer than its reader.
type Manifest struct {
	// Plugins are those of the release.
	Plugins []Release `json:"plugins"`
}

// Release is one plugin in a Manifest.
type Release struct {
	// Description is what the plugin says about itself: kinds, majors, capabilities and
	// the environment that it wants.
	Description Description `json:"description"`
	// Binaries are its builds.
	Binaries []Binary `json:"binaries"`
}

// Binary is a build of a plugin.
type Binary struct {
	// Platform is what it is for, such as "linux/amd64".
	Platform string `json:"platform"`
	// File is its name, beside the manifest.
	File string `json:"file"`
	// SHA256 is its digest in hexadecimal.
	SHA256 string `json:"sha256"`
}

// LoadManifest reads a manifest. Nobody but its owner may be able to write to the file.
func LoadManifest(path string) (*Manifest, error) {
	data, err := readTrusted(path)
	var m Manifest
	if err == nil {
		if fault := json.Unmarshal(data, &m); fault != nil || len(m.Plugins) == 0 {
			err = errors.New(`it is no manifest, which is {"plugins": [...]} and comes with the binaries`)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("host: the manifest %s: %w", path, err)
	}
	return &m, nil
}

// release finds a plugin: by its name if it was asked for, else by the name it has in
// the configuration, or because there is no other.
func (m *Manifest) release(asked, name string) *Release {
	for i := range m.Plugins {
		if n := m.Plugins[i].Description.Name; n == asked || asked == "" && n == name {
			return &m.Plugins[i]
		}
	}
	if asked == "" && len(m.Plugins) == 1 {
		return &m.Plugins[0]
	}
	return nil
}

// fromManifest completes a plugin.
func (c *Config) fromManifest(f *faults, name string, p *Plugin, manifests map[string]*Manifest) *Description {
	cp := c.Plugins[name]
	where := func(field string) string { return at("plugins", name, field) }
	path := c.abs(cp.Manifest)
	m, ok := manifests[path]
	if !ok {
		var err error
		if m, err = LoadManifest(path); err != nil {
			f.addf(where("manifest"), "cannot be used: %v", err)
			return nil
		}
		manifests[path] = m
	}
	r := m.release(cp.Release, name)
	if r == nil {
		var names []string
		for i := range m.Plugins {
			names = append(names, m.Plugins[i].Description.Name)
		}
		if cp.Release != "" {
			f.addf(where("release"), "names %q, which is not in the manifest: there are %q", cp.Release, names)
			return nil
		}
		f.addf(where("release"), "is needed: the manifest has %q", names)
		return nil
	}
	here := runtime.GOOS + "/" + runtime.GOARCH
	i := slices.IndexFunc(r.Binaries, func(b Binary) bool { return b.Platform == here })
	if i < 0 {
		var platforms []string
		for _, b := range r.Binaries {
			platforms = append(platforms, b.Platform)
		}
		f.addf(where("manifest"), "has no %s for %s, only for %q", r.Description.Name, here, platforms)
		return nil
	}
	b := r.Binaries[i]
	switch {
	case b.SHA256 == "":
		if p.SHA256 == "" && !p.AllowUnverified {
			f.addf(where("manifest"), "has no SHA-256 of %s for %s", r.Description.Name, here)
		}
	case p.SHA256 == "":
		p.SHA256 = b.SHA256
	case !strings.EqualFold(p.SHA256, b.SHA256):
		f.addf(where("sha256"), "is not that of the manifest: remove one of them")
	}
	if p.Path == "" {
		if !filepath.IsLocal(b.File) {
			f.addf(where("manifest"), "has the file %q for %s, which is not beside it: set path", b.File, here)
			return nil
		}
		p.Path = filepath.Join(filepath.Dir(path), b.File)
	}
	for _, want := range r.Description.Environment {
		if !slices.Contains(p.Env, want) {
			c.wanted[name] = append(c.wanted[name], want)
		}
	}
	return &r.Description
}

// cannot says why a plugin cannot be opened as a kind, or nothing.
func cannot(d *Description, kind string) string {
	for _, k := range d.Kinds {
		if k.Name != kind {
			continue
		}
		for _, major := range k.Majors {
			if slices.Contains(spoken(kind), major) {
				return ""
			}
		}
	}
	return offers(*d)
}
