package mcpool

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// never is what Off becomes for durations.
const never = time.Duration(1<<63 - 1)

// maxShare is core's limit on leases per resource.
const maxShare = 1<<12 - 1

// transportKind is how the server is reached, which decides what a session is.
type transportKind uint8

const (
	kindHTTP transportKind = iota
	kindSSE
	kindCommand
	kindCustom
)

func (k transportKind) String() string {
	return [...]string{"http", "sse", "stdio", "custom"}[k]
}

// http tells whether requests go through the RoundTripper chain.
func (k transportKind) http() bool { return k == kindHTTP || k == kindSSE }

// faults collects what is wrong with a Config.
type faults struct{ list []error }

func (f *faults) add(field string, value any, problem string) {
	f.list = append(f.list, &ConfigError{Field: field, Value: value, Problem: problem})
}

// count checks a size.
func (f *faults) count(field string, v *int, zero int) {
	switch {
	case *v == 0:
		*v = zero
	case *v == Off:
		*v = 0
	case *v < 0:
		f.add(field, *v, "is negative: use 0 for the default or -1 for none")
	}
}

// span checks a duration.
func (f *faults) span(field string, v *time.Duration, zero time.Duration) {
	switch {
	case *v == 0:
		*v = zero
	case *v == Off:
		*v = never
	case *v < 0:
		f.add(field, *v, "is negative: use 0 for the default or -1 for off")
	}
}

// withDefaults returns c with its defaults, how the server is reached and, for
// HTTP, where. What core checks as well is left to core.
func (c Config) withDefaults() (Config, transportKind, *url.URL, error) {
	f := &faults{}
	kind, endpoint := c.checkTarget(f)
	c.checkHTTP(f)
	c.checkSizes(f)
	c.checkTimes(f)
	if c.ProtocolVersion != "" && !slices.Contains(mcp.SupportedProtocolVersions(), c.ProtocolVersion) {
		f.add("ProtocolVersion", c.ProtocolVersion,
			"is not one of "+strings.Join(mcp.SupportedProtocolVersions(), ", "))
	}
	switch {
	case kind != kindSSE:
	case c.ProtocolVersion == "":
		c.ProtocolVersion = lastOld // some servers would agree to a newer one, and then not speak it
	case isModern(c.ProtocolVersion):
		f.add("ProtocolVersion", c.ProtocolVersion, "is not spoken over SSE")
	}
	if c.Replay > ReplayNever {
		f.add("Replay", c.Replay, "is not a Replay")
	}
	if c.Auth != nil && !kind.http() && (c.Dialer == nil || c.Endpoint == "") {
		f.add("Auth", "set", "has no HTTP requests to go on: give credentials to the command or the transport, or give Dialer an Endpoint")
	}
	if c.CredentialHeaders == nil {
		c.CredentialHeaders = []string{"Authorization", "Proxy-Authorization", "Cookie", "X-Api-Key", "X-Access-Token"}
	}
	c.CredentialHeaders = slices.Clone(c.CredentialHeaders)
	for i, name := range c.CredentialHeaders {
		c.CredentialHeaders[i] = textproto.CanonicalMIMEHeaderKey(name)
	}
	if c.ClientInfo == nil {
		c.ClientInfo = &mcp.Implementation{Name: "mcpool", Version: "0"}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Command.Args, c.Command.Env = slices.Clone(c.Command.Args), slices.Clone(c.Command.Env)
	return c, kind, endpoint, errors.Join(f.list...)
}

// checkTarget finds out what is to be connected to.
func (c *Config) checkTarget(f *faults) (kind transportKind, endpoint *url.URL) {
	given, name := 0, "mcp"
	if c.Dialer != nil {
		given++
		kind, name = kindCustom, c.checkDialer(f, name)
	} else if c.Endpoint != "" {
		given++
		if c.SSE {
			kind = kindSSE
		}
		u, err := url.Parse(c.Endpoint)
		switch {
		case err != nil:
			f.add("Endpoint", nil, "does not parse as a URL") // the error would quote it
		case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
			f.add("Endpoint", nil, "is not an absolute http or https URL")
		case u.User != nil:
			f.add("Endpoint", nil, "has a user in it: give credentials with Auth")
		default:
			endpoint, name = u, u.Host
		}
	}
	if c.Command.Path != "" {
		given++
		kind, name = kindCommand, filepath.Base(c.Command.Path)
		if info, err := os.Stat(c.Command.Dir); c.Command.Dir != "" && (err != nil || !info.IsDir()) {
			f.add("Command.Dir", c.Command.Dir, "is not a directory")
		}
	}
	if c.Transport != nil {
		given++
		kind = kindCustom
	}
	switch {
	case given == 0:
		f.add("Endpoint", nil, "is required: give one of Endpoint, Command.Path, Transport and Dialer")
	case given > 1:
		f.add("Endpoint", nil, "is not the only target: give one of Endpoint, Command.Path, Transport and Dialer")
	case c.SSE && kind != kindSSE:
		f.add("SSE", true, "needs an Endpoint")
	}
	if c.Name == "" {
		c.Name = name
	}
	return kind, endpoint
}

func (c *Config) checkHTTP(f *faults) {
	if client := c.HTTP.Client; client != nil {
		if client.Timeout != 0 {
			f.add("HTTP.Client", client.Timeout, "has a Timeout, which would end the streams that sessions live on: "+
				"set it to 0 and use CallTimeout or a context")
		}
		if client.Jar != nil {
			f.add("HTTP.Client", "Jar", "has a cookie jar, which would carry cookies from one identity to another")
		}
		if c.HTTP.TLS != nil || c.HTTP.Proxy != nil {
			f.add("HTTP.Client", "set", "comes with its own TLS and Proxy: set those on its Transport")
		}
	}
	if c.HTTP.MaxEventBytes < 0 {
		f.add("HTTP.MaxEventBytes", c.HTTP.MaxEventBytes, "is negative")
	}
	switch {
	case c.HTTP.MaxBodyBytes < 0:
		f.add("HTTP.MaxBodyBytes", c.HTTP.MaxBodyBytes, "is negative")
	case c.HTTP.MaxBodyBytes == 0:
		c.HTTP.MaxBodyBytes = 16 << 20
	}
	if c.HTTP.Proxy == nil {
		c.HTTP.Proxy = http.ProxyFromEnvironment
	}
}

func (c *Config) checkSizes(f *faults) {
	f.count("Max", &c.Max, 10)
	if c.Max == 0 {
		f.add("Max", Off, "is not a limit: give at least 1")
		c.Max = 10
	}
	f.count("Min", &c.Min, min(2, max(c.Max, 0)))
	f.count("MaxSessions", &c.MaxSessions, max(100, 2*c.Max))
	if c.MaxSessions < c.Max {
		f.add("MaxSessions", c.MaxSessions, fmt.Sprintf("is less than Max (%d)", c.Max))
	}
	f.count("MaxIdentities", &c.MaxIdentities, 1000)
	f.count("MaxOpening", &c.MaxOpening, 4)
	if c.MaxOpening == 0 {
		f.add("MaxOpening", Off, "is not a limit: give at least 1")
	}
	if c.CallsPerSession < 0 || c.CallsPerSession > maxShare {
		f.add("CallsPerSession", c.CallsPerSession, fmt.Sprintf("is not between 1 and %d", maxShare))
	}
	if c.Min > c.Max && c.Max > 0 {
		f.add("Min", c.Min, fmt.Sprintf("is more than Max (%d): lower Min or raise Max", c.Max))
	}
}

func (c *Config) checkTimes(f *faults) {
	f.span("ConnectTimeout", &c.ConnectTimeout, 10*time.Second)
	if c.ConnectTimeout == never {
		f.add("ConnectTimeout", Off, "is not a time to wait: a server that hangs would be waited for without end")
	}
	f.span("AcquireTimeout", &c.AcquireTimeout, c.ConnectTimeout)
	f.span("CallTimeout", &c.CallTimeout, never)
	f.span("DrainTimeout", &c.DrainTimeout, 30*time.Second)
	switch {
	case c.RestartGrace == Off:
		c.RestartGrace = 0
	default:
		f.span("RestartGrace", &c.RestartGrace, 30*time.Second)
	}
	f.span("IdentityIdleTime", &c.IdentityIdleTime, 5*time.Minute)
	switch {
	case c.ToolsTTL == Off:
		c.ToolsTTL = 0
	default:
		f.span("ToolsTTL", &c.ToolsTTL, 5*time.Minute)
	}
	f.span("Command.StopTimeout", &c.Command.StopTimeout, 500*time.Millisecond)
}
