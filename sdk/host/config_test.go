//go:build unix

package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/config"
)

// configDir has the good plugin in it, with its manifest, and those of other kinds.
func configDir(t *testing.T) string {
	t.Helper()
	p := part(t, "good")
	dir := filepath.Dir(p.Path)
	writeJSON(t, filepath.Join(dir, "manifest.json"), goodManifest(p.SHA256))
	for _, name := range []string{"carrier", "looker"} {
		if err := os.Symlink(filepath.Base(p.Path), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func goodManifest(sum string) *Manifest {
	return &Manifest{Plugins: []Release{
		{
			Description: Description{
				Name: "good", Environment: []string{"GOOD_*", "HOME"}, Kinds: []KindDescription{{Name: "auth", Majors: []uint32{1, 2}}},
			},
			Binaries: []Binary{{Platform: runtime.GOOS + "/" + runtime.GOARCH, File: "good", SHA256: sum}},
		},
		{
			Description: Description{Name: "future", Kinds: []KindDescription{{Name: "auth", Majors: []uint32{9}}}},
			Binaries:    []Binary{{Platform: runtime.GOOS + "/" + runtime.GOARCH, File: "../good", SHA256: sum}},
		},
		{
			Description: Description{Name: "elsewhere"},
			Binaries:    []Binary{{Platform: "plan9/mips", File: "elsewhere", SHA256: sum}},
		},
		{
			Description: Description{Name: "unsigned"},
			Binaries:    []Binary{{Platform: runtime.GOOS + "/" + runtime.GOARCH, File: "good"}},
		},
	}}
}

func writeJSON(t *testing.T, path string, v any) {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, string(raw), 0o600)
}

func writeFile(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

// loadText loads a configuration from the folder.
func loadText(t *testing.T, dir, text string) (*Config, error) {
	t.Helper()
	path := filepath.Join(dir, "plugins.json")
	writeFile(t, path, text, 0o600)
	return LoadConfig(path)
}

func launchConfig(t *testing.T, c *Config) *Group {
	t.Helper()
	g, err := c.Launch(t.Context(), testLogger(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return g
}

func TestAConfigurationFileBindsPluginsToEndpoints(t *testing.T) {
	t.Setenv("GOOD_KEY", "hush\n")
	c, err := loadText(t, configDir(t), wholeConfig)
	if err != nil {
		t.Fatal(err)
	}
	g := launchConfig(t, c)
	left, err := g.Endpoint("left")
	if err != nil {
		t.Fatal(err)
	}
	if left.URL != "https://left.example/mcp" || left.Name != "left" {
		t.Errorf("got %q %q", left.Name, left.URL)
	}
	ask := func(p auth.Provider, id string) string {
		t.Helper()
		creds, err := p.Credentials(t.Context(), auth.Request{
			Identity: auth.Identity{ID: id}, Target: auth.Target{URL: left.URL},
		})
		if err != nil {
			t.Fatal(err)
		}
		return creds.Header.Get("Authorization")
	}
	if got := ask(left.Auth, "key"); got != "hello hush" {
		t.Errorf("the instance has %q, want its greeting and its secret, without the line break", got)
	}
	// Both endpoints have the instance, and who is done with one of them closes nothing
	// for the other.
	if err := left.Auth.Close(t.Context()); err != nil {
		t.Error(err)
	}
	right, err := g.Endpoint("right")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := ask(right.Auth, "pid"), fmt.Sprint(g.Plugin("good").Stats().PID); got != want {
		t.Errorf("the process is %s, want %s", got, want)
	}
	if open, err := g.Endpoint("open"); err != nil || open != (Endpoint{Name: "open", URL: "http://open.example/mcp"}) {
		t.Errorf("an endpoint without bindings is %+v, %v", open, err)
	}
	if _, err := g.Endpoint("nowhere"); err == nil || !strings.Contains(err.Error(), `["all" "left" "open" "right" "road"]`) {
		t.Errorf("an endpoint that is not there: %v", err)
	}
	if g.Plugin("other") != nil {
		t.Error("a plugin that is not there")
	}
	want := Limits{
		Health: -1, MemoryBytes: -1, HardMemoryBytes: -1, MessageBytes: 1 << 20, CircuitAfter: 7, LogLines: 100,
	}
	got := g.Plugin("good").limits()
	if got.Health != want.Health || got.MemoryBytes != want.MemoryBytes || got.HardMemoryBytes != want.HardMemoryBytes ||
		got.MessageBytes != want.MessageBytes || got.CircuitAfter != want.CircuitAfter || got.LogLines != want.LogLines {
		t.Errorf("limits are %+v", got)
	}
}

func TestEveryFaultOfAConfigurationFileIsNamedByItsPath(t *testing.T) {
	dir := configDir(t)
	for name, kase := range map[string]struct {
		doc  string
		want []string
	}{
		"no JSON":       {`{`, []string{"plugins.json: config: the document is not JSON, line 1"}},
		"unknown names": {`{"plugin":{},"plugins":{"a":{"sha":"x"}}}`, []string{"config: plugin is not known", "config: plugins.a.sha is not known"}},
		"a secret in the file": {
			`{"instances":{"a":{"plugin":"p","kind":"auth","secrets":{"client.secret":"hush"}}}}`,
			[]string{`config: instances.a.secrets."client.secret" is not an object: secrets do not stand in this file`},
		},
		"no source": {
			`{"plugins":{"p":{"path":"good","allow_unverified":true}},"instances":{"a":{"plugin":"p","kind":"auth","secrets":{"s":{"from":"hush"},"t":{"from":"env:"},"x":{"from":"env:hush=hush"},"u":{"from":"file:hush"},"v":{"from":"command:hush now"},"w":{}}}}}`,
			[]string{
				"instances.a.secrets.s.from is not a source", "instances.a.secrets.t.from does not name a variable",
				"instances.a.secrets.u.from does not name a file", "instances.a.secrets.v.from does not name a program",
				"instances.a.secrets.w.from is not a source", "instances.a.secrets.x.from does not name a variable",
			},
		},
		"no checksum": {
			`{"plugins":{"a":{"path":"good"},"b":{"path":"good","allow_unverified":true,"limits":{"restart_min":"2s","restart_max":"1s"}}}}`,
			[]string{
				"config: plugins.a.sha256 is missing: give the digest that was published with the binary, or set allow_unverified",
				"config: plugins.b.limits.restart_min = 2s is more than restart_max = 1s",
			},
		},
		"a manifest that is none": {
			`{"plugins":{"a":{"manifest":"plugins.json"}}}`, []string{"plugins.a.manifest cannot be used", `it is no manifest, which is {"plugins": [...]}`},
		},
		"many": {
			`{"plugins":{"a":{"path":"good","sha256":"xyz","release":"x"},"b":{"sha256":"xyz","env":["*"],"limits":{"start":"-3s"}}},
			"instances":{"i":{},"j":{"plugin":"c","kind":"telepathy","config":[]}},
			"endpoints":{"e":{"auth":"k"},"f":{"url":"ftp://x","auth":"j"},"g":{"url":"https://user:pass@x"}}}`,
			[]string{
				"plugins.a.release is of no use", "plugins.b.path is missing: name the binary, or a manifest", "plugins.b.sha256 is not 64", "plugins.b.env has", "plugins.b.limits.start = -3s",
				"instances.i.plugin is missing", "instances.i.kind is missing", `instances.j.plugin names "c"`, `instances.j.kind = "telepathy" is not a kind of plugin: there are ["auth" "transport" "probe" "metrics"]`,
				"instances.j.config is not an object", "endpoints.e.url is missing", `endpoints.e.auth names "k"`, "endpoints.f.url is not",
				`endpoints.f.auth names "j", which is of the kind`, "endpoints.g.url holds a user",
			},
		},
		"bindings of the wrong kind": {
			`{"plugins":{"p":{"path":"good","allow_unverified":true}},
			"instances":{"a":{"plugin":"p","kind":"auth"},"t":{"plugin":"p","kind":"transport"},"p":{"plugin":"p","kind":"probe"},"m":{"plugin":"p","kind":"metrics"}},
			"endpoints":{"e":{"url":"https://x","auth":"t","transport":"p","probe":"m","metrics":"a"},"f":{"url":"https://x","transport":"u","probe":"u","metrics":"u"}}}`,
			[]string{
				`endpoints.e.auth names "t", which is of the kind "transport"`, `endpoints.e.transport names "p", which is of the kind "probe"`,
				`endpoints.e.probe names "m", which is of the kind "metrics"`, `endpoints.e.metrics names "a", which is of the kind "auth"`,
				`endpoints.f.transport names "u", which is not among the instances: there are ["a" "m" "p" "t"]`,
				`endpoints.f.probe names "u"`, `endpoints.f.metrics names "u"`,
			},
		},
		"URLs that do not fit": {
			`{"plugins":{"p":{"path":"good","allow_unverified":true}},"instances":{"a":{"plugin":"p","kind":"auth"},"t":{"plugin":"p","kind":"transport"}},
			"endpoints":{"e":{"transport":"t","auth":"a"},"f":{"url":"wss://x"},"g":{"url":"not one","transport":"t"},"h":{"url":"wss://user:pass@x","transport":"t"}}}`,
			[]string{
				"endpoints.e.url is missing: credentials are for a server", "endpoints.f.url is not the URL",
				"endpoints.g.url is not a URL with a host", "endpoints.h.url holds a user",
			},
		},
		"the same name twice": {
			`{"plugins":{"p":{"path":"good","allow_unverified":true}},"instances":{"a":{"plugin":"p","kind":"auth"},"a":{"plugin":"p","kind":"probe"}},
			"endpoints":{"e":{"url":"https://x","auth":"a","auth":"a"}}}`,
			[]string{"config: instances.a is there twice", "config: endpoints.e.auth is there twice"},
		},
		"a kind that the plugin does not have": {
			`{"plugins":{"good":{"manifest":"manifest.json"}},"instances":{"i":{"plugin":"good","kind":"transport"}}}`,
			[]string{`instances.i.kind = "transport", and the manifest of plugins.good says that it offers auth [1 2]`},
		},
		"no manifest":                    {`{"plugins":{"a":{"manifest":"none.json"}}}`, []string{"plugins.a.manifest cannot be used"}},
		"the manifest has others":        {`{"plugins":{"a":{"manifest":"manifest.json"}}}`, []string{`plugins.a.release is needed: the manifest has ["good" "future" "elsewhere" "unsigned"]`}},
		"the manifest has not that one":  {`{"plugins":{"a":{"manifest":"manifest.json","release":"goood"}}}`, []string{`plugins.a.release names "goood", which is not in the manifest: there are ["good" "future" "elsewhere" "unsigned"]`}},
		"the manifest is for others":     {`{"plugins":{"elsewhere":{"manifest":"manifest.json"}}}`, []string{"plugins.elsewhere.manifest has no elsewhere for "}},
		"the manifest has no checksum":   {`{"plugins":{"unsigned":{"manifest":"manifest.json"}}}`, []string{"plugins.unsigned.manifest has no SHA-256"}},
		"the manifest says another":      {`{"plugins":{"good":{"manifest":"manifest.json","sha256":"` + strings.Repeat("0", 64) + `"}}}`, []string{"plugins.good.sha256 is not that of the manifest"}},
		"the manifest names a file away": {`{"plugins":{"future":{"manifest":"manifest.json"}}}`, []string{"plugins.future.manifest has the file"}},
		"a major that nobody speaks": {
			`{"plugins":{"future":{"manifest":"manifest.json","path":"good"}},"instances":{"i":{"plugin":"future","kind":"auth"}}}`,
			[]string{"instances.i.kind = \"auth\", and the manifest of plugins.future says that it offers auth [9]"},
		},
		"names that are too long, and none": {
			`{"plugins":{"":{"path":"good","allow_unverified":true}},"instances":{"":{"plugin":"","kind":"auth"},"` + strings.Repeat("n", 101) + `":{"plugin":"","kind":"auth"}}}`,
			[]string{`plugins."" has no name`, `instances."" needs a name of 1 to 100 bytes`, `n" needs a name of 1 to 100 bytes`},
		},
		"one state for two": {
			`{"plugins":{"a":{"path":"good","allow_unverified":true,"state_dir":"s"},"b":{"path":"good","allow_unverified":true,"state_dir":"s"}}}`,
			[]string{"plugins.b.state_dir is that of plugins.a too"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := loadText(t, dir, kase.doc)
			if err == nil {
				t.Fatal("it was taken")
			}
			for _, want := range kase.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q:\n%v", want, err)
				}
			}
			if _, ok := errors.AsType[*config.FieldError](err); !ok {
				t.Errorf("no *config.FieldError in %v", err)
			}
			if strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "user:pass") {
				t.Errorf("the error shows a secret: %v", err)
			}
		})
	}
}

func TestAFileThatOthersCanWriteToIsRefused(t *testing.T) {
	dir := configDir(t)
	if _, err := loadText(t, dir, wholeConfig); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"manifest.json", "plugins.json"} {
		path := filepath.Join(dir, name)
		if err := os.Chmod(path, 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := LoadConfig(filepath.Join(dir, "plugins.json"))
		if err == nil || !strings.Contains(err.Error(), "chmod go-w") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// They decide which programs run, and are read whole.
func TestAFileThatIsTooLargeIsRefused(t *testing.T) {
	dir := configDir(t)
	if _, err := loadText(t, dir, `{"plugins":{"good":{"manifest":"manifest.json"}}}`); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"manifest.json", "plugins.json"} {
		if err := os.Truncate(filepath.Join(dir, name), maxConfig+1); err != nil {
			t.Fatal(err)
		}
		_, err := LoadConfig(filepath.Join(dir, "plugins.json"))
		if err == nil || !strings.Contains(err.Error(), "it is larger than 16 MiB") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestALaunchThatFailsNamesThePathAndLeavesNothing(t *testing.T) {
	t.Setenv("GOOD_KEY", "hush")
	dir := configDir(t)
	good := `"good":{"manifest":"manifest.json"}`
	for name, kase := range map[string]struct{ doc, want string }{
		"a secret that is not there": {
			`{"plugins":{` + good + `},"instances":{"i":{"plugin":"good","kind":"auth","secrets":{"key":{"from":"env:MCPOOL_NOT_SET"}}}}}`,
			"config: instances.i.secrets.key.from names the variable MCPOOL_NOT_SET, which is not set",
		},
		"a secret where the name of a variable was due": {
			`{"plugins":{` + good + `},"instances":{"i":{"plugin":"good","kind":"auth","secrets":{"key":{"from":"env:hush"}}}}}`,
			"config: instances.i.secrets.key.from names a variable, which is not set",
		},
		"a secret that the plugin does not have": {
			`{"plugins":{` + good + `},"instances":{"i":{"plugin":"good","kind":"auth","secrets":{"other":{"from":"env:GOOD_KEY"}}}}}`,
			"instances.i: ",
		},
		"a configuration that the plugin refuses": {
			`{"plugins":{` + good + `},"instances":{"i":{"plugin":"good","kind":"auth","config":{"greetings":1}}}}`,
			"greetings",
		},
		"a binary that was changed": {
			`{"plugins":{` + good + `,"bad":{"path":"good","sha256":"` + strings.Repeat("0", 64) + `"}}}`,
			"plugins.bad: ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := loadText(t, dir, kase.doc)
			if err != nil {
				t.Fatal(err)
			}
			log := &records{}
			g, err := c.Launch(t.Context(), slog.New(log))
			if err == nil {
				t.Fatal("it was launched", g.Close(t.Context()))
			}
			for _, rec := range log.all() {
				if pid, ok := attrsOf(rec)["pid"].(int64); ok && alive(int(pid)) {
					t.Errorf("process %d is left", pid)
				}
			}
			if !strings.Contains(err.Error(), kase.want) || !strings.Contains(err.Error(), "plugins.json") || strings.Contains(err.Error(), "hush") {
				t.Errorf("got %v, want the file and %q", err, kase.want)
			}
		})
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadConfig(pipe); err == nil || !strings.Contains(err.Error(), "it is not a file") {
		t.Errorf("a pipe: %v", err) // nobody writes to it
	}
	c, err := loadText(t, dir, `{"plugins":{`+good+`}}`)
	if err == nil {
		err = os.Remove(filepath.Join(dir, "good"))
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Launch(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "plugins.good: ") { // with the default logger
		t.Errorf("a binary that was removed: %v", err)
	}
	if _, err := (&Config{}).Launch(t.Context(), nil); err == nil {
		t.Error("a Config that was not loaded is launched")
	}
}

func TestAGroupSaysWhatItsPluginsWouldUseAndWhatWasCutShort(t *testing.T) {
	t.Setenv("GOOD_KEY", "hush")
	c, err := loadText(t, configDir(t), `{"plugins":{"good":{"manifest":"manifest.json","env":["GORACE"],"limits":{"memory_bytes":-1,"drain":"1ms","shutdown":"100ms"}}},
		"instances":{"i":{"plugin":"good","kind":"auth"}},"endpoints":{"e":{"url":"https://api.example/mcp","auth":"i"}}}`)
	if err != nil {
		t.Fatal(err)
	}
	log := &records{}
	g, err := c.Launch(t.Context(), slog.New(log))
	if err != nil {
		t.Fatal(err)
	}
	rec, _ := log.find("a plugin would use variables that its env does not name")
	if got := attrsOf(rec); rec.Level != slog.LevelDebug || got["plugin"] != "good" || fmt.Sprint(got["variables"]) != "[GOOD_* HOME]" {
		t.Errorf("the log says %v %v", rec.Level, got)
	}
	ep, err := g.Endpoint("e")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := auth.AsSigner(ep.Auth); !ok {
		t.Error("it does not sign")
	}
	if _, ok := auth.AsInteractive(ep.Auth); !ok {
		t.Error("it has no login")
	}
	if _, ok := auth.AsObserver(ep.Auth); ok {
		t.Error("it observes, which the instance does not")
	}
	result := make(chan error, 1)
	go func() {
		_, err := ep.Auth.Credentials(context.Background(), request("hang"))
		result <- err
	}()
	eventually(t, "the call is under way", func() bool { _, ok := log.find("hanging"); return ok })
	if err := g.Close(t.Context()); err == nil || !strings.Contains(err.Error(), "closing plugin good: 1 calls were cut short") {
		t.Errorf("Close: %v", err)
	}
	if err := <-result; err == nil {
		t.Error("a call that was cut short succeeded")
	}
}

func TestAManifestsOnlyPluginNeedsNoNameAndAnotherNameIsNone(t *testing.T) {
	t.Parallel()
	m := &Manifest{Plugins: []Release{{Description: Description{Name: "only"}}}}
	if m.release("", "mine") == nil || m.release("only", "mine") == nil || m.release("other", "only") != nil {
		t.Error("the only one is not found, or as what it is not")
	}
	m.Plugins = append(m.Plugins, Release{Description: Description{Name: "second"}})
	if r := m.release("", "second"); r == nil || r.Description.Name != "second" || m.release("", "mine") != nil {
		t.Error("of two, the one of that name is not found, or one of none")
	}
}

func TestASecretThatCannotBeFetchedHasItsCause(t *testing.T) {
	c, err := loadText(t, configDir(t), `{"plugins":{"good":{"manifest":"manifest.json"}},
		"instances":{"i":{"plugin":"good","kind":"auth","secrets":{"key":{"from":"file:/not/there"}}}}}`)
	if err != nil {
		t.Fatal(err)
	}
	g, err := c.Launch(t.Context(), testLogger(t))
	if err == nil {
		t.Fatal("it was launched", g.Close(t.Context()))
	}
	fe, ok := errors.AsType[*config.FieldError](err)
	if !ok || fe.Field != "instances.i.secrets.key.from" || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
