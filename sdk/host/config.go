package host

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/go-mcpool/mcpool/sdk/config"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// Config is a configuration file: which plugins there are, which instances they have,
// and for which endpoints those are. LoadConfig makes one. Paths in it that are not
// absolute begin at the folder that the file stands in.
type Config struct {
	// Schema may name the JSON Schema of this file, for editors; it is not looked at.
	Schema string `json:"$schema,omitempty" jsonschema:"The JSON Schema of this file, for editors."`
	// Plugins are the binaries, by names of your choice, which logs and errors show.
	Plugins map[string]ConfigPlugin `json:"plugins,omitempty" jsonschema:"The binaries, by names of your choice."`
	// Instances are the uses of a plugin, by names of your choice. A plugin keeps the
	// state of an instance under its name.
	Instances map[string]ConfigInstance `json:"instances,omitempty" jsonschema:"The uses of the plugins, by names of your choice."`
	// Endpoints are the servers, by names of your choice, and what is used for them.
	Endpoints map[string]ConfigEndpoint `json:"endpoints,omitempty" jsonschema:"The servers, by names of your choice."`

	path   string            // of the file
	launch map[string]Plugin // what becomes of Plugins; nil but for LoadConfig
	wanted map[string][]string
}

// ConfigPlugin is a Plugin in a configuration file.
type ConfigPlugin struct {
	// Manifest is the file that was published with the binaries. It has their checksums,
	// and says what they can do before they run.
	Manifest string `json:"manifest,omitempty" jsonschema:"The file that was published with the binaries."`
	// Release is the plugin's name in the manifest. Default: its name here, or the only
	// one that the manifest has.
	Release string `json:"release,omitempty" jsonschema:"The plugin's name in the manifest, if it is another one."`
	// Path is the binary. Default: the manifest's file for this platform, beside the
	// manifest.
	Path string `json:"path,omitempty" jsonschema:"The binary, if it is not beside the manifest."`
	// SHA256 is the binary's digest in hexadecimal. Default: the manifest's. There has
	// to be one, unless AllowUnverified.
	SHA256 string `json:"sha256,omitempty" jsonschema:"The binary's SHA-256 in hexadecimal, if there is no manifest."`
	// AllowUnverified runs whatever is at Path, as long as nobody but its owner can
	// write to it. For development.
	AllowUnverified bool `json:"allow_unverified,omitempty" jsonschema:"Run whatever is at the path. For development."`
	// Env names the variables of the host's environment that the plugin gets, as names
	// and PREFIX_*. Default none.
	Env []string `json:"env,omitempty" jsonschema:"The environment variables that the plugin gets, as names and PREFIX_*."`
	// StateDir is where its instances keep their state. Default: a temporary folder.
	StateDir string `json:"state_dir,omitempty" jsonschema:"Where its instances keep their state."`
	// MutualTLS encrypts the connection, with certificates made for each start.
	MutualTLS bool `json:"mutual_tls,omitempty" jsonschema:"Encrypt the connection to the plugin."`
	// Limits bound the plugin.
	Limits Limits `json:"limits,omitzero" jsonschema:"Bounds in time and space."`
}

// ConfigInstance is an Instance in a configuration file.
type ConfigInstance struct {
	// Plugin is the name of one of Plugins. Required.
	Plugin string `json:"plugin" jsonschema:"The name of one of the plugins."`
	// Kind is what it is opened as: "auth", "transport", "probe" or "metrics". Required.
	Kind string `json:"kind" jsonschema:"What it is opened as."`
	// Config is the instance's configuration; the plugin's schema says what may be in it.
	Config json.RawMessage `json:"config,omitempty" jsonschema:"Its configuration, as the plugin's own schema has it."`
	// Secrets are where the secrets come from, by the path of their field in Config.
	Secrets map[string]SecretSource `json:"secrets,omitempty" jsonschema:"Where its secrets come from, by the path of their field."`
}

// ConfigEndpoint is a server in a configuration file, and which instances are used for
// it. Several endpoints may name the same instance.
type ConfigEndpoint struct {
	// URL is the server's. Required, unless Transport knows by itself where to go and
	// there is no Auth.
	URL string `json:"url,omitempty" jsonschema:"The server's URL."`
	// Auth is the name of the instance that has the credentials for it; default none.
	Auth string `json:"auth,omitempty" jsonschema:"The instance that has the credentials for it."`
	// Transport is the name of the instance that opens connections to it; default HTTP.
	Transport string `json:"transport,omitempty" jsonschema:"The instance that opens connections to it, if that is not done over HTTP."`
	// Probe is the name of the instance that tells whether its sessions are good;
	// default the pool's own way.
	Probe string `json:"probe,omitempty" jsonschema:"The instance that tells whether its sessions are good."`
	// Metrics is the name of the instance that takes what is measured; default none.
	Metrics string `json:"metrics,omitempty" jsonschema:"The instance that takes what is measured."`
}

// bindings are the members that name an instance, each of the kind of its name.
func (ep *ConfigEndpoint) bindings() map[string]string {
	return map[string]string{
		wire.KindAuth: ep.Auth, wire.KindTransport: ep.Transport, wire.KindProbe: ep.Probe, wire.KindMetrics: ep.Metrics,
	}
}

// maxConfig bounds a configuration file and a manifest.
const maxConfig = 16 << 20

// LoadConfig reads a configuration file: one JSON object, strictly, whose form
// ConfigSchema publishes. Manifests are read too. Nothing is started and no secret is
// fetched before Config.Launch. The error names the file, and joins a
// *config.FieldError with the path in it for each fault.
func LoadConfig(path string) (*Config, error) {
	c := &Config{}
	data, err := readTrusted(path)
	if err == nil {
		c.path, err = filepath.Abs(path)
	}
	if err != nil {
		return nil, fmt.Errorf("host: the configuration %s: %w", path, err)
	}
	if err := config.Decode(data, c); err != nil {
		return nil, fmt.Errorf("host: %s: %w", path, explainSecrets(err))
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("host: %s: %w", path, err)
	}
	return c, nil
}

// readTrusted reads a file that decides which programs run: nobody else may be able to
// write to it.
func readTrusted(path string) ([]byte, error) {
	f, err := openFile(path)
	if errors.Is(err, errNoFile) {
		return nil, fmt.Errorf("it %w", err)
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case info.Size() > maxConfig:
		return nil, errors.New("it is larger than 16 MiB")
	}
	if problem := writableByOthers(path, info); problem != "" {
		return nil, errors.New("it " + problem + ", and says which programs run: take that permission away (chmod go-w)")
	}
	return io.ReadAll(io.LimitReader(f, maxConfig))
}

var errNoFile = errors.New("is not a file")

// openFile opens what the operator named, if it is a file: opening a pipe would wait.
func openFile(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = errNoFile
	}
	if err != nil {
		return nil, err
	}
	return os.Open(path) //nolint:gosec // that is what it was named for
}

// faults collects what is wrong, by its path in the file.
type faults []error

func (f *faults) addf(path, format string, args ...any) {
	*f = append(*f, &config.FieldError{Field: path, Problem: fmt.Sprintf(format, args...)})
}

// at makes the path of a member below maps.
func at(names ...string) string {
	path := ""
	for _, name := range names {
		path = config.Join(path, name)
	}
	return path
}

// check finds every fault that can be found without starting anything.
func (c *Config) check() error {
	var f faults
	c.launch, c.wanted = make(map[string]Plugin), make(map[string][]string)
	manifests := make(map[string]*Manifest)
	said := make(map[string]*Description) // by plugin, of those with a manifest
	stateDirs := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(c.Plugins)) {
		said[name] = c.plugin(&f, name, manifests)
		if dir := c.launch[name].StateDir; dir != "" {
			if other, taken := stateDirs[dir]; taken {
				f.addf(at("plugins", name, "state_dir"), "is that of %s too: each plugin needs its own", at("plugins", other))
			}
			stateDirs[dir] = name
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Instances)) {
		c.instance(&f, name, said)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Endpoints)) {
		c.endpoint(&f, name)
	}
	return errors.Join(f...)
}

// plugin completes one, and returns what its manifest says about it.
func (c *Config) plugin(f *faults, name string, manifests map[string]*Manifest) *Description {
	cp := c.Plugins[name]
	where := func(field string) string { return at("plugins", name, field) }
	before := len(*f)
	if name == "" {
		f.addf(at("plugins", name), "has no name")
	}
	p := Plugin{
		Name: name, Path: c.abs(cp.Path), SHA256: cp.SHA256, AllowUnverified: cp.AllowUnverified,
		Env: cp.Env, StateDir: c.abs(cp.StateDir), MutualTLS: cp.MutualTLS, Limits: cp.Limits,
	}
	var said *Description
	if cp.Manifest != "" {
		said = c.fromManifest(f, name, &p, manifests)
	} else if cp.Release != "" {
		f.addf(where("release"), "is of no use without a manifest")
	}
	if len(*f) == before {
		if _, err := p.withDefaults(); err != nil {
			inFile := strings.NewReplacer("AllowUnverified", "allow_unverified", "RestartMax", "restart_max", "name the binary", "name the binary, or a manifest") // what they are called there
			for _, fault := range unjoin(err) {
				if ce, ok := errors.AsType[*ConfigError](fault); ok {
					f.addf(at("plugins", name)+"."+jsonName(ce.Field), "%s", inFile.Replace(ce.Problem))
				} else {
					*f = append(*f, fault)
				}
			}
		}
	}
	c.launch[name] = p
	return said
}

func (c *Config) instance(f *faults, name string, said map[string]*Description) {
	in := c.Instances[name]
	where := func(field string) string { return at("instances", name, field) }
	if name == "" || len(name) > maxInstanceName {
		f.addf(at("instances", name), "needs a name of 1 to %d bytes", maxInstanceName)
	}
	if in.Plugin == "" {
		f.addf(where("plugin"), "is missing")
	} else if _, ok := c.Plugins[in.Plugin]; !ok {
		f.addf(where("plugin"), "names %q, which is not among the plugins: there are %q", in.Plugin, slices.Sorted(maps.Keys(c.Plugins)))
	}
	switch {
	case in.Kind == "":
		f.addf(where("kind"), "is missing: there are %q", wire.Kinds())
	case !slices.Contains(wire.Kinds(), in.Kind):
		f.addf(where("kind"), "= %q is not a kind of plugin: there are %q", in.Kind, wire.Kinds())
	case said[in.Plugin] != nil:
		if problem := cannot(said[in.Plugin], in.Kind); problem != "" {
			f.addf(where("kind"), "= %q, and the manifest of %s says that %s", in.Kind, at("plugins", in.Plugin), problem)
		}
	}
	if raw := strings.TrimSpace(string(in.Config)); raw != "" && raw[0] != '{' {
		f.addf(where("config"), "is not an object")
	}
	for _, field := range slices.Sorted(maps.Keys(in.Secrets)) {
		if problem := in.Secrets[field].check(); problem != "" {
			f.addf(at("instances", name, "secrets", field, "from"), "%s", problem)
		}
	}
}

func (c *Config) endpoint(f *faults, name string) {
	ep := c.Endpoints[name]
	where := func(field string) string { return at("endpoints", name, field) }
	u, err := url.Parse(ep.URL)
	switch {
	case ep.URL == "" && ep.Transport == "":
		f.addf(where("url"), "is missing")
	case ep.URL == "" && ep.Auth != "":
		f.addf(where("url"), "is missing: credentials are for a server, and auth has to know for which")
	case ep.URL == "":
	case ep.Transport != "" && (err != nil || u.Host == ""): // the error would quote it
		f.addf(where("url"), "is not a URL with a host, such as wss://tools.example/mcp")
	case ep.Transport == "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https"):
		f.addf(where("url"), "is not the URL of an http or https server")
	case u.User != nil:
		f.addf(where("url"), "holds a user: credentials come from the instance that auth names")
	}
	for _, kind := range wire.Kinds() {
		bound := ep.bindings()[kind]
		if bound == "" {
			continue
		}
		if in, ok := c.Instances[bound]; !ok {
			f.addf(where(kind), "names %q, which is not among the instances: there are %q", bound, slices.Sorted(maps.Keys(c.Instances)))
		} else if in.Kind != "" && in.Kind != kind {
			f.addf(where(kind), "names %q, which is of the kind %q", bound, in.Kind)
		}
	}
}

// abs begins a path at the file's folder.
func (c *Config) abs(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(c.path), path)
}

// jsonName turns the name of a field of Plugin into its name in the file.
func jsonName(field string) string {
	t, path := reflect.TypeFor[ConfigPlugin](), ""
	for name := range strings.SplitSeq(field, ".") {
		sf, ok := t.FieldByName(name)
		if !ok {
			return cmp.Or(path, field)
		}
		tag, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
		path, t = config.Join(path, tag), sf.Type
	}
	return path
}

func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}
