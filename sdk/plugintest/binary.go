package plugintest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/jsonschema-go/jsonschema"

	"github.com/go-mcpool/mcpool/sdk/config"
	"github.com/go-mcpool/mcpool/sdk/host"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// Binary checks a plugin binary from outside, whatever it is written in: what it says
// about itself, the contract of its kind through a host, and how it stands what
// happens to it: garbage for a configuration, messages that are large, signals, kill -9
// under load, and the end of its host. Path is absolute; Build makes one of a package.
//
// Signals and the end of the host are checked on Unix only.
func Binary(t *testing.T, path string, opts BinaryOptions) {
	t.Helper()
	runAll(t, binaryChecks(path, opts))
}

// Build builds a main package, named as "go build" names it, and returns the path of
// the binary. It is removed at the end of the test.
func Build(t testing.TB, pkg string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plugin")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", path, pkg).CombinedOutput() //nolint:gosec // the test says what
	if err != nil {
		t.Fatalf("plugintest: building %s: %v\n%s", pkg, err, out)
	}
	return path
}

// binarySuite checks one binary.
type binarySuite struct {
	suite

	path  string
	env   []string
	kinds []binaryKind
}

// binaryChecks lists the checks of Binary.
func binaryChecks(path string, opts BinaryOptions) []check {
	b := &binarySuite{path: path, env: opts.Env, kinds: opts.kinds()}
	b.patience, b.secrets = defaultPatience, newSecrets(nil)
	for i, k := range b.kinds {
		if c := k.common(); i == 0 || c.patience > b.patience {
			b.patience = c.patience
		}
		b.secrets.add(k.common().secrets)
	}
	checks := []check{b.check("Describe", b.describe), b.check("ByHand", b.byHand), b.check("Start", b.start)}
	for _, k := range b.kinds {
		k.common().secrets = b.secrets // what one kind is given, no other may show
		checks = append(checks, b.kindChecks(k)...)
	}
	return append(checks, b.unixChecks()...)
}

// launch runs the binary for the length of a check, and sees that nothing is left.
func (b *binarySuite) launch(r *report, adjust ...func(*host.Plugin)) *host.Running {
	r.Helper()
	p := host.Plugin{
		Path: b.path, AllowUnverified: true, Env: b.env, Logger: slog.New(&watcher{r: r}),
		Limits: host.Limits{
			Start: b.patience, Call: b.patience, CircuitAfter: -1,
			RestartMin: time.Millisecond, RestartMax: 100 * time.Millisecond,
			HealthTimeout: b.patience, // who is slow is not ill
		},
	}
	for _, f := range adjust {
		f(&p)
	}
	run, err := host.Launch(context.Background(), p)
	if err != nil {
		r.Fatalf("the host does not take it: %v", err)
	}
	r.Cleanup(func() {
		left := remainders(run.Stats().PID)
		r.within("closing the plugin", func() {
			if err := run.Close(context.Background()); err != nil {
				r.faultf("closing the plugin: %v", err)
			}
		})
		if !r.poll(func() bool { return left() == "" }) {
			r.faultf("after the plugin was closed, %s is left", left())
		}
	})
	return run
}

// kindOf finds what a plugin says about a kind.
func kindOf(d host.Description, name string) host.KindDescription {
	for _, k := range d.Kinds {
		if k.Name == name {
			return k
		}
	}
	return host.KindDescription{}
}

// run runs the binary as a person does, and returns what it said.
func (b *binarySuite) run(r *report, args ...string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), b.patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.path, args...) //nolint:gosec // the binary under test
	cmd.Env = slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, wire.CookieKey+"=") })
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &errOut, time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		r.Fatalf("%s %s did not end within %v", b.path, strings.Join(args, " "), b.patience)
	}
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		r.Fatalf("%s cannot be run: %v", b.path, err)
	}
	return out.String(), errOut.String(), err
}

// described is what --describe prints.
func (b *binarySuite) described(r *report) host.Description {
	out, said, err := b.run(r, "--describe")
	if err != nil {
		r.Fatalf("--describe failed: %v\n%s", err, said)
	}
	var d host.Description
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		r.Fatalf("--describe printed no description: %v\n%s", err, out)
	}
	if again, _, _ := b.run(r, "--describe"); again != out {
		r.faultf("--describe printed something else the second time:\n%s", cmp.Diff(out, again))
	}
	return d
}

// describe: what --describe prints is whole.
func (b *binarySuite) describe(r *report) {
	d := b.described(r)
	if d.Name == "" || d.Version == "" {
		r.faultf("--describe names the plugin %q, version %q: neither may be empty", d.Name, d.Version)
	}
	if len(d.Kinds) == 0 {
		r.faultf("--describe lists no kind")
	}
	for _, k := range d.Kinds {
		if len(k.Majors) == 0 {
			r.faultf("--describe lists no major of the kind %s", k.Name)
		}
		schema := new(jsonschema.Schema)
		resolved, err := (*jsonschema.Resolved)(nil), json.Unmarshal(k.Config, schema)
		if err == nil {
			resolved, err = schema.Resolve(nil)
		}
		i := slices.IndexFunc(b.kinds, func(have binaryKind) bool { return have.kind() == k.Name })
		switch {
		case err != nil:
			r.faultf("the configuration of the kind %s has no valid JSON Schema: %v", k.Name, err)
		case i >= 0:
			checkConfig(r, b.kinds[i].works(), resolved)
		case option[k.Name] == "":
			r.Logf("the kind %s is not checked by Binary", k.Name)
		default:
			r.faultf("the plugin is of the kind %s, and BinaryOptions.%s does not say how to use it", k.Name, option[k.Name])
		}
	}
	for _, k := range b.kinds {
		if kindOf(d, k.kind()).Name == "" {
			r.faultf("BinaryOptions.%s is set, and the plugin is not of the kind %s", option[k.kind()], k.kind())
		}
	}
}

// checkConfig: a configuration that works is one that the schema describes.
func checkConfig(r *report, in host.Instance, schema *jsonschema.Resolved) {
	var raw json.RawMessage
	var err error
	switch cfg := in.Config.(type) {
	case nil:
		raw = json.RawMessage("{}")
	case json.RawMessage:
		raw = cfg
	default: // as the host writes it, which encoding/json does not
		if raw, err = config.Encode(cfg); err != nil {
			r.Fatalf("Config cannot be used: %v", err)
		}
	}
	var doc any
	if err := json.Unmarshal(raw, &doc); err != nil {
		r.Fatalf("Config is no JSON: %v", err)
	}
	if err := schema.Validate(doc); err != nil {
		r.faultf("the plugin's schema does not describe a configuration that works: %v", err)
	}
}

// byHand: who runs it to see what it is, learns it.
func (b *binarySuite) byHand(r *report) {
	out, said, err := b.run(r)
	if out != "" {
		r.faultf("run by hand, it prints to stdout, where a host looks for the handshake: %q", out)
	}
	if err == nil {
		r.faultf("run by hand, it exits with 0, as if it had done something")
	}
	if name := b.described(r).Name; !strings.Contains(said, name) || !strings.Contains(said, "--describe") {
		r.faultf("run by hand, it names neither itself (%s) nor --describe: %q", name, said)
	}
}

// start: a host takes it, and learns what --describe says.
func (b *binarySuite) start(r *report) {
	got := b.launch(r).Describe()
	want := b.described(r)
	for _, d := range []*host.Description{&want, &got} {
		for i := range d.Kinds {
			var compact bytes.Buffer
			if json.Compact(&compact, d.Kinds[i].Config) == nil {
				d.Kinds[i].Config = compact.Bytes()
			}
		}
	}
	if jsonOf(want) != jsonOf(got) {
		r.faultf("a host is told something else than --describe prints:\n%s", cmp.Diff(jsonOf(want), jsonOf(got)))
	}
}

// dropped is what a host says of lines that it dropped.
const dropped = "lines of the plugin's output were dropped"

// watcher reads the plugin's log for secrets. It keeps none of it.
type watcher struct {
	r     *report
	attrs string
}

func (w *watcher) Enabled(context.Context, slog.Level) bool { return true }

func (w *watcher) Handle(_ context.Context, rec slog.Record) error {
	var b strings.Builder
	b.WriteString(w.attrs + rec.Message)
	rec.Attrs(func(a slog.Attr) bool {
		b.WriteString(" " + a.String())
		return true
	})
	w.r.inspect("the plugin's log", b.String())
	switch rec.Message {
	case forged:
		w.r.faultf("a line of text from outside became a record of the plugin's log: use slog")
	case dropped:
		w.r.faultf("the plugin writes more lines to its log than a host takes: %v", b.String())
	}
	return nil
}

func (w *watcher) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &watcher{r: w.r, attrs: w.attrs + fmt.Sprint(attrs) + " "}
}

func (w *watcher) WithGroup(string) slog.Handler { return w }
