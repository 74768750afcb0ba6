package poolcloudwatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/go-mcpool/mcpool/sdk/metrics"
)

// Config configures a Sink. The zero value of each field means its default. Package
// sdk/config reads it from JSON, under the names in the tags. Keys have no place in it:
// they come from the AWS chain. How often there is something to send, and how much may
// wait, is for metrics.Config to say.
type Config struct {
	// Namespace is where the metrics stand in CloudWatch. Default: "mcpool".
	Namespace string `json:"namespace"`
	// Dimensions are added to every metric.
	Dimensions map[string]string `json:"dimensions"`
	// Region is that of CloudWatch. Default: that of AWS.
	Region string `json:"region"`
	// Endpoint is the URL of CloudWatch, for a VPC endpoint or a proxy. Default: that
	// of the region.
	Endpoint string `json:"endpoint"`
	// Prefix begins the names of metrics that are sent. Default: "mcpool.", as
	// export.Config has it.
	Prefix string `json:"prefix"`
	// All sends what has no name in Names too, in camel case. Distributions are never sent.
	All bool `json:"all"`
	// Resume is for a sink that takes over from one before: the first total of a
	// counter is where it begins to count, instead of what has happened until then.
	// What StateFile knows is counted from there.
	Resume bool `json:"resume"`
	// StateFile is where the sink keeps what it has sent, so that after a crash another
	// goes on from there. It belongs to this sink alone, in a folder that there is.
	// Default: none; the binary has one in the folder of its instance.
	StateFile string `json:"-"`
	// AWS has the credentials and the HTTP client. Default: what the SDK finds in the
	// environment, in files and at the instance.
	AWS *aws.Config `json:"-"`
	// Logger hears of a StateFile that is damaged or cannot be written. Default: slog.Default().
	Logger *slog.Logger `json:"-"`
}

// complete sets defaults and returns every fault.
func (c *Config) complete(ctx context.Context) error {
	var errs []error
	fault := func(field, problem string) {
		errs = append(errs, &metrics.ConfigError{Field: field, Problem: problem})
	}
	if c.Namespace == "" {
		c.Namespace = "mcpool"
	}
	switch {
	case strings.HasPrefix(c.Namespace, "AWS/"):
		fault("Namespace", "begins with AWS/, which is Amazon's own")
	case len(c.Namespace) > 255 || strings.HasPrefix(c.Namespace, ":") || strings.ContainsFunc(c.Namespace, notOfName):
		fault("Namespace", fmt.Sprintf("is %.300q: use letters, digits and . - _ / # : only, at most 255, no colon first", c.Namespace))
	}
	c.Dimensions = maps.Clone(c.Dimensions)
	if len(c.Dimensions) > 20 {
		fault("Dimensions", fmt.Sprintf("are %d: CloudWatch takes 30, and the metrics have their own; give at most 20", len(c.Dimensions)))
	}
	for _, k := range slices.Sorted(maps.Keys(c.Dimensions)) {
		if v := c.Dimensions[k]; k == "" || strings.HasPrefix(k, ":") || v == "" || ascii(k, 255) != k || ascii(v, 1024) != v {
			fault("Dimensions", fmt.Sprintf("have %.50q = %.50q: use printable ASCII, neither empty, no colon first, at most 255 and 1024 characters", k, v))
		}
		if k == dimensionPool {
			fault("Dimensions", "have Pool, which this package sets itself")
		}
	}
	if c.Endpoint != "" {
		u, err := url.Parse(c.Endpoint)
		if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" {
			fault("Endpoint", "is not the URL of an http or https server, without a user in it")
		}
	}
	if c.Prefix == "" {
		c.Prefix = "mcpool."
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if len(errs) > 0 {
		return errors.Join(errs...) // before anything is looked for elsewhere
	}
	if c.AWS == nil {
		loaded, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return fmt.Errorf("poolcloudwatch: the AWS configuration cannot be loaded: %w", err)
		}
		c.AWS = &loaded
	}
	own := c.AWS.Copy()
	c.AWS = &own
	if c.Region != "" {
		c.AWS.Region = c.Region
	}
	if c.AWS.Region == "" {
		return &metrics.ConfigError{Field: "Region", Problem: "is empty, and neither the environment nor AWS has one"}
	}
	return nil
}

func notOfName(c rune) bool {
	return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune(".-_/#:", c))
}
