package plugintest

import (
	"reflect"
	"slices"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// MetricsOptions says how to use a plugin of the kind metrics. C is the plugin's
// configuration, and host.Instance where a binary is tested.
type MetricsOptions[C any] struct {
	// Config makes a sink whose batches arrive somewhere, any number of times.
	Config C
	// Stalled makes a sink whose Export has to wait for longer than the test runs, such
	// as for a receiver that does not answer: see Silent. Nil for a sink that never waits.
	Stalled *C
	// Failures are configurations that fail, and how.
	Failures []MetricsFailure[C]
	// Arrived tells whether a metric of this name has arrived where Config sends it: what
	// Export took is looked for, at the latest after Close. The names begin with Prefix,
	// and go on with letters and digits. Nil: that anything arrives is not checked.
	Arrived func(metric string) bool
	// Prefix begins the names of the metrics; default "plugintest.".
	Prefix string
	// Secrets are values that may not be seen in errors, in logs or in what is printed,
	// besides the fields of the type auth.Secret in the configurations.
	Secrets []auth.Secret
	// Patience is how long to wait for what has to happen. Default 2 min.
	Patience time.Duration

	lull time.Duration // as that of AuthOptions
}

// MetricsFailure is a configuration that fails, and how.
type MetricsFailure[C any] struct {
	// Name is the subtest's.
	Name   string
	Config C
	// Field is the field of the configuration that is refused: the factory's error holds
	// a *metrics.ConfigError of it. Empty, the factory succeeds and Export fails.
	Field string
	// Permanent says that trying again cannot help: the error is metrics.ErrPermanent.
	// One that is not may work the next time.
	Permanent bool
	// Is is what errors.Is finds in the error; nil for any error.
	Is error
}

// withDefaults completes the options.
func (o MetricsOptions[C]) withDefaults() MetricsOptions[C] {
	if o.Prefix == "" {
		o.Prefix = "plugintest."
	}
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	if o.lull == 0 {
		o.lull = defaultLull
	}
	all := []C{o.Config}
	if o.Stalled != nil {
		all = append(all, *o.Stalled)
	}
	for _, f := range o.Failures {
		all = append(all, f.Config)
	}
	for _, c := range all {
		o.Secrets = append(slices.Clip(o.Secrets), secretsOf(reflect.ValueOf(c))...)
	}
	return o
}
