package plugintest

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/probe"
)

// ProbeOptions says how to use a plugin of the kind probe. C is the plugin's
// configuration, and host.Instance where a binary is tested.
type ProbeOptions[C any] struct {
	// Config makes a prober that finds Target healthy, any number of times. Give it
	// timeouts that are longer than the test runs.
	Config C
	// Target is what it looks at; default one that is called "mcp" and lists nothing. The
	// kit makes worse ones of it: that answer nonsense, hang, or list other methods.
	Target Target
	// Stalled makes a prober that has to wait for longer than the test runs, for something
	// else than its target: see Silent. Nil if it waits for nothing else.
	Stalled *C
	// Verdicts are what it finds besides.
	Verdicts []ProbeVerdict[C]
	// Failures are configurations that fail, and how.
	Failures []ProbeFailure[C]
	// Secrets are values that may not be seen in errors, in verdicts, in logs or in what is
	// printed, besides the fields of the type auth.Secret in the configurations.
	Secrets []auth.Secret
	// Patience is how long to wait for what has to happen. Default 2 min.
	Patience time.Duration

	lull time.Duration // as that of AuthOptions
}

// Target is a resource that a test makes up.
type Target struct {
	// About is what it says of itself, with the methods that it lists. Defaults: Kind
	// "mcp", Pool "test", ID "1".
	About probe.Description
	// Answer is what a Call of a listed method comes to; default an empty object.
	Answer func(ctx context.Context, method string, params json.RawMessage) (json.RawMessage, error)
}

// ProbeVerdict is what a prober finds.
type ProbeVerdict[C any] struct {
	// Name is the subtest's.
	Name   string
	Config C
	Target Target
	Status probe.Status
}

// ProbeFailure is a configuration that fails, and how.
type ProbeFailure[C any] struct {
	// Name is the subtest's.
	Name   string
	Config C
	// Field is the field of the configuration that is refused: the factory's error holds
	// a *probe.ConfigError of it. Empty, the factory succeeds and Probe fails.
	Field string
	// Is is what errors.Is finds in the error; nil for any error.
	Is error
}

// withDefaults completes the options.
func (o ProbeOptions[C]) withDefaults() ProbeOptions[C] {
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	if o.lull == 0 {
		o.lull = defaultLull
	}
	o.Target = o.Target.withDefaults()
	o.Verdicts = slices.Clone(o.Verdicts)
	all := []C{o.Config}
	if o.Stalled != nil {
		all = append(all, *o.Stalled)
	}
	for i := range o.Verdicts {
		o.Verdicts[i].Target = o.Verdicts[i].Target.withDefaults()
		all = append(all, o.Verdicts[i].Config)
	}
	for _, f := range o.Failures {
		all = append(all, f.Config)
	}
	for _, c := range all {
		o.Secrets = append(slices.Clip(o.Secrets), secretsOf(reflect.ValueOf(c))...)
	}
	return o
}

func (t Target) withDefaults() Target {
	for field, value := range map[*string]string{&t.About.Kind: "mcp", &t.About.Pool: "test", &t.About.ID: "1"} {
		if *field == "" {
			*field = value
		}
	}
	if t.Answer == nil {
		t.Answer = func(context.Context, string, json.RawMessage) (json.RawMessage, error) {
			return json.RawMessage("{}"), nil
		}
	}
	return t
}
