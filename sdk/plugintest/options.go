package plugintest

import (
	"crypto/sha256"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/host"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// AuthOptions says how to use a plugin of the kind auth. C is the plugin's
// configuration, and host.Instance where a binary is tested.
type AuthOptions[C any] struct {
	// Config makes a provider that has credentials for Request and Others, any number of
	// times.
	Config C
	// Stalled makes a provider whose Credentials (or, if it signs, whose Sign) has to
	// wait for longer than the test runs, such as for a token endpoint that does not
	// answer: see Silent. Nil for a plugin that never waits.
	Stalled *C
	// Login makes a provider whose Login gets as far as asking the person. Nil for
	// none.
	Login *C
	// Failures are configurations that fail, and how.
	Failures []AuthFailure[C]

	// Request is what credentials are asked for; default the zero Identity, at
	// https://mcp.example/mcp.
	Request auth.Request
	// Others are asked for besides, at the same time.
	Others []auth.Request
	// Challenge makes the refusal of what was sent. Default: a 401 whose
	// WWW-Authenticate is Bearer error="invalid_token".
	Challenge func(sent auth.HTTPRequest, generation string) auth.Challenge

	// Headers are those that the plugin declares with sdk.Headers; default
	// Authorization. A binary says it itself.
	Headers []string
	// Secrets are values that may not be seen in errors, in logs or in what is printed,
	// besides the fields of the type auth.Secret in the configurations, and the
	// credentials themselves.
	Secrets []auth.Secret
	// Patience is how long to wait for what has to happen. Default 2 min.
	Patience time.Duration

	// lull is how long calls get to be under way; default 20 ms. Whoever takes longer is
	// not found out, and never blamed.
	lull time.Duration
}

// AuthFailure is a configuration that fails, and how.
type AuthFailure[C any] struct {
	// Name is the subtest's.
	Name   string
	Config C
	// Field is the field of the configuration that is refused: the factory's error holds
	// an *auth.ConfigError of it. Empty, the factory succeeds and Credentials fails (or,
	// if that gives no headers, Sign).
	Field string
	// Is is what errors.Is finds in the error; nil for any error.
	Is error
}

// BinaryOptions says how to use a plugin binary.
type BinaryOptions struct {
	// Env names the variables of the test's environment that the plugin gets, as in
	// host.Plugin.
	Env []string
	// Auth says how to use the kind auth. Nil if the plugin is not of that kind.
	Auth *AuthOptions[host.Instance]
	// Transport says how to use the kind transport. Nil if the plugin is not of that kind.
	Transport *TransportOptions[host.Instance]
	// Probe says how to use the kind probe. Nil if the plugin is not of that kind.
	Probe *ProbeOptions[host.Instance]
	// Metrics says how to use the kind metrics. Nil if the plugin is not of that kind.
	Metrics *MetricsOptions[host.Instance]
}

// option is the field of BinaryOptions for a kind.
var option = map[string]string{ //nolint:gochecknoglobals // a table
	wire.KindAuth: "Auth", wire.KindTransport: "Transport", wire.KindProbe: "Probe", wire.KindMetrics: "Metrics",
}

// kinds are those that the options say how to use.
func (o BinaryOptions) kinds() []binaryKind {
	var all []binaryKind
	if o.Auth != nil {
		k := &authBinary{newAuthSuite(*o.Auth)}
		k.headers = []string{"*"} // the host holds it to what it declares
		all = append(all, k)
	}
	if o.Transport != nil {
		all = append(all, &transportBinary{newTransportSuite(*o.Transport)})
	}
	if o.Probe != nil {
		all = append(all, &probeBinary{newProbeSuite(*o.Probe)})
	}
	if o.Metrics != nil {
		all = append(all, &metricsBinary{newMetricsSuite(*o.Metrics)})
	}
	return all
}

// withDefaults completes the options.
func (o AuthOptions[C]) withDefaults() AuthOptions[C] {
	if o.Request.Target.URL == "" {
		o.Request.Target = auth.Target{Name: "test", URL: "https://mcp.example/mcp"}
	}
	if len(o.Headers) == 0 {
		o.Headers = []string{"Authorization"}
	}
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	if o.lull == 0 {
		o.lull = defaultLull
	}
	if o.Challenge == nil {
		o.Challenge = func(sent auth.HTTPRequest, generation string) auth.Challenge {
			return auth.Challenge{
				Sent: sent, SentAt: time.Now(), Generation: generation, Status: http.StatusUnauthorized,
				Header: http.Header{
					"Www-Authenticate": {`Bearer error="invalid_token"`},
					"Date":             {time.Now().UTC().Format(http.TimeFormat)},
				},
			}
		}
	}
	for _, c := range o.configs() {
		o.Secrets = append(slices.Clip(o.Secrets), secretsOf(reflect.ValueOf(c))...)
	}
	return o
}

// configs are all configurations.
func (o AuthOptions[C]) configs() []C {
	all := []C{o.Config}
	for _, c := range []*C{o.Stalled, o.Login} {
		if c != nil {
			all = append(all, *c)
		}
	}
	for _, f := range o.Failures {
		all = append(all, f.Config)
	}
	return all
}

// secretsOf collects the secrets in a configuration.
func secretsOf(v reflect.Value) []auth.Secret {
	if !v.IsValid() {
		return nil
	}
	if s, ok := reflect.TypeAssert[auth.Secret](v); ok {
		return []auth.Secret{s}
	}
	var all []auth.Secret
	switch v.Kind() {
	case reflect.Struct:
		for f := range v.Type().Fields() {
			if f.IsExported() {
				all = append(all, secretsOf(v.FieldByIndex(f.Index))...)
			}
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			all = append(all, secretsOf(v.MapIndex(k))...)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Struct {
			for i := range v.Len() {
				all = append(all, secretsOf(v.Index(i))...)
			}
		}
	default: // pointers may lead in circles, and configurations have none to secrets
	}
	return all
}

// httpRequest is what is signed and refused: a small POST to the target.
func httpRequest(req auth.Request, header http.Header) auth.HTTPRequest {
	body := []byte(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)
	h := http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}
	maps.Copy(h, header)
	return auth.HTTPRequest{
		Method: http.MethodPost, URL: req.Target.URL, Header: h,
		ContentLength: int64(len(body)), BodySHA256: sha256.Sum256(body),
	}
}

// jsonOf is v as JSON, if it has such a form.
func jsonOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}
