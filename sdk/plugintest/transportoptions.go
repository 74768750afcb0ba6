package plugintest

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// TransportOptions says how to use a plugin of the kind transport. C is the plugin's
// configuration, and host.Instance where a binary is tested.
type TransportOptions[C any] struct {
	// Config makes a dialer whose connections lead to a Peer each, any number of times.
	// The peer has to run on this machine: it writes down in a file what it gets.
	Config C
	// Open is what Dial is asked for; default a target named "test". MaxBytes is the
	// kit's.
	Open transport.Open
	// Stalled makes a dialer whose Dial has to wait for longer than the test runs, such as
	// for a server that does not answer: see Silent. Nil for one that never waits.
	Stalled *C
	// Failures are configurations that fail, and how.
	Failures []TransportFailure[C]
	// Secrets are values that may not be seen in errors, in logs or in what is printed,
	// besides the fields of the type auth.Secret in the configurations, and the values of
	// Open.Header.
	Secrets []auth.Secret
	// Patience is how long to wait for what has to happen. Default 2 min.
	Patience time.Duration

	lull time.Duration // as that of AuthOptions
}

// TransportFailure is a configuration that fails, and how.
type TransportFailure[C any] struct {
	// Name is the subtest's.
	Name   string
	Config C
	// Field is the field of the configuration that is refused: the factory's error, or
	// Dial's, holds a *transport.ConfigError of it. Empty, the factory succeeds and Dial
	// fails.
	Field string
	// Refused says that the next attempt would be refused too: the error holds a
	// *transport.RefusedError.
	Refused bool
	// Is is what errors.Is finds in the error; nil for any error.
	Is error
}

// withDefaults completes the options.
func (o TransportOptions[C]) withDefaults() TransportOptions[C] {
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	if o.lull == 0 {
		o.lull = defaultLull
	}
	if o.Open.Target == (transport.Target{}) {
		o.Open.Target.Name = "test"
	}
	o.Open = o.Open.Clone()
	o.Open.MaxBytes = limit
	all := []C{o.Config}
	if o.Stalled != nil {
		all = append(all, *o.Stalled)
	}
	for _, f := range o.Failures {
		all = append(all, f.Config)
	}
	o.Secrets = slices.Clip(o.Secrets)
	for _, c := range all {
		o.Secrets = append(o.Secrets, secretsOf(reflect.ValueOf(c))...)
	}
	for _, values := range o.Open.Header {
		for _, v := range values {
			o.Secrets = append(o.Secrets, auth.NewSecret(v))
		}
	}
	if o.Open.Identity.Subject != nil {
		if token, err := o.Open.Identity.Subject(context.Background()); err == nil {
			o.Secrets = append(o.Secrets, auth.NewSecret(token))
		}
	}
	return o
}

// limit is the MaxBytes of the kit's connections.
const limit = 1 << 20
