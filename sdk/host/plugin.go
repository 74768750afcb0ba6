package host

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// Plugin says which binary to run, and how.
type Plugin struct {
	// Name is what logs and errors call it; default the last element of Path.
	Name string
	// Path is the binary. Required.
	Path string
	// SHA256 is the binary's digest in hexadecimal. Required, unless AllowUnverified.
	SHA256 string
	// AllowUnverified runs whatever is at Path, as long as nobody but its owner can
	// write to it. For development.
	AllowUnverified bool
	// Env names the variables of this process's environment that the plugin gets, as
	// names and PREFIX_*; EnvAWS, EnvProxy and EnvTLS return ready sets. Default none.
	// Without HOME it gets a home directory of its own.
	Env []string
	// StateDir is where the instances keep their state, each in a folder of its own. It
	// is made, with mode 0700, if it is missing. Default: a temporary one that goes
	// with the Running.
	StateDir string
	// MutualTLS encrypts the connection, with certificates made for each start. It is
	// on anyway where the connection is not a private Unix socket, as on Windows.
	MutualTLS bool
	// Limits bound the plugin.
	Limits Limits
	// Logger gets the plugin's log and the host's own about it; default
	// slog.Default(). It is called from the host's goroutines; a panic is swallowed.
	Logger *slog.Logger
	// Span, if it is set, begins a client span for a call, and returns a context, the
	// W3C traceparent that the plugin is to see, and what ends the span. It is called
	// in the goroutine of the call.
	Span func(ctx context.Context, plugin, method string) (spanned context.Context, traceparent string, end func(error))
}

// Limits bound a plugin in time and space. A configuration file has them under the names
// in the tags.
type Limits struct {
	// Start bounds a start, from the exec to the plugin's description, and each opening
	// of an instance. Default 30 s.
	Start time.Duration `json:"start,omitempty"`
	// Call bounds each call whose context has no deadline. Default 30 s.
	// Logins have no bound but their context's.
	Call time.Duration `json:"call,omitempty"`
	// Drain bounds the wait for calls under way, by Replace and Close. Default 10 s.
	Drain time.Duration `json:"drain,omitempty"`
	// Shutdown bounds each step of an orderly end. Default 5 s.
	Shutdown time.Duration `json:"shutdown,omitempty"`
	// Health is the interval at which the plugin is asked whether it is alive and its
	// memory is looked at. Default 5 s; -1 asks never.
	Health time.Duration `json:"health,omitempty"`
	// HealthTimeout is how long the answer may take; the second one in a row that does
	// not come ends the plugin. Default 5 s.
	HealthTimeout time.Duration `json:"health_timeout,omitempty"`
	// MemoryBytes is what the plugin's Go runtime tries to stay below. Default 512 MiB;
	// -1 is no limit. Below it the runtime trades memory for time: it gets GOGC=400, unless
	// Env names GOGC and the host has it.
	MemoryBytes int64 `json:"memory_bytes,omitempty"`
	// HardMemoryBytes is the resident memory above which the plugin is ended and started
	// again. Default twice MemoryBytes; -1 is no limit. Linux and macOS only.
	HardMemoryBytes int64 `json:"hard_memory_bytes,omitempty"`
	// MessageBytes bounds a message, in both directions. Default 16 MiB.
	MessageBytes int `json:"message_bytes,omitempty"`
	// RestartMin is the wait before the second restart in a row, and doubles with each
	// failure. The first restart after a time without failures is immediate. Default
	// 100 ms.
	RestartMin time.Duration `json:"restart_min,omitempty"`
	// RestartMax bounds that wait. Default 30 s.
	RestartMax time.Duration `json:"restart_max,omitempty"`
	// StableAfter is how long the plugin has to run for its failures to be forgotten.
	// Default 1 min.
	StableAfter time.Duration `json:"stable_after,omitempty"`
	// CircuitAfter is after how many failures in a row calls no longer wait for a
	// restart. Default 5; -1 is never.
	CircuitAfter int `json:"circuit_after,omitempty"`
	// LogLines bounds the lines per second that are taken from the plugin's output;
	// what is more is counted and dropped. Default 1000; -1 is no limit.
	LogLines int `json:"log_lines,omitempty"`
}

// withDefaults checks p and completes it.
func (p Plugin) withDefaults() (Plugin, error) {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, &ConfigError{Field: field, Problem: fmt.Sprintf(format, args...)})
	}
	if p.Path == "" {
		bad("Path", "is missing: name the binary")
	}
	if p.Name == "" {
		p.Name = filepath.Base(p.Path)
	}
	switch sum, err := hex.DecodeString(p.SHA256); {
	case p.SHA256 == "" && !p.AllowUnverified:
		bad("SHA256", "is missing: give the digest that was published with the binary, or set AllowUnverified")
	case p.SHA256 != "" && (err != nil || len(sum) != 32):
		bad("SHA256", "is not 64 hexadecimal digits")
	}
	for _, name := range p.Env {
		if err := checkEnvName(name); err != nil {
			bad("Env", "%v", err)
		}
	}
	if p.StateDir != "" && !filepath.IsAbs(p.StateDir) {
		bad("StateDir", "= %q is not absolute", p.StateDir)
	}
	p.Env = slices.Clone(p.Env)
	p.MutualTLS = p.MutualTLS || runtime.GOOS == "windows"
	if p.Logger == nil {
		p.Logger = slog.Default()
	}
	p.Logger = slog.New(quiet{p.Logger.Handler()}).With("plugin", p.Name)
	p.Limits.setDefaults(bad)
	return p, errors.Join(errs...)
}

func (l *Limits) setDefaults(bad func(field, format string, args ...any)) {
	duration := func(name string, v *time.Duration, def time.Duration, off bool) {
		switch {
		case *v == 0:
			*v = def
		case *v < 0 && (!off || *v != -1):
			bad("Limits."+name, "= %v is negative", *v)
		}
	}
	duration("Start", &l.Start, 30*time.Second, false)
	duration("Call", &l.Call, 30*time.Second, false)
	duration("Drain", &l.Drain, 10*time.Second, false)
	duration("Shutdown", &l.Shutdown, 5*time.Second, false)
	duration("Health", &l.Health, 5*time.Second, true)
	duration("HealthTimeout", &l.HealthTimeout, 5*time.Second, false)
	duration("RestartMin", &l.RestartMin, 100*time.Millisecond, false)
	duration("RestartMax", &l.RestartMax, 30*time.Second, false)
	duration("StableAfter", &l.StableAfter, time.Minute, false)
	if l.RestartMin > l.RestartMax {
		bad("Limits.RestartMin", "= %v is more than RestartMax = %v", l.RestartMin, l.RestartMax)
	}
	count := func(name string, v *int64, def int64, off bool) {
		switch {
		case *v == 0:
			*v = def
		case *v < 0 && (!off || *v != -1):
			bad("Limits."+name, "= %d is negative", *v)
		}
	}
	count("MemoryBytes", &l.MemoryBytes, 512<<20, true)
	hard := int64(-1)
	if l.MemoryBytes > 0 {
		hard = 2 * l.MemoryBytes
	}
	count("HardMemoryBytes", &l.HardMemoryBytes, hard, true)
	small := func(name string, v *int, def int, off bool) {
		n := int64(*v)
		count(name, &n, int64(def), off)
		*v = int(n)
	}
	small("MessageBytes", &l.MessageBytes, wire.DefaultMaxMessage, false)
	small("CircuitAfter", &l.CircuitAfter, 5, true)
	small("LogLines", &l.LogLines, 1000, true)
}
