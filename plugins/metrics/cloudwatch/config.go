package poolcloudwatch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
)

// Config configures a Sink. The zero value of each field means its default.
type Config struct {
	// Namespace is where the metrics stand in CloudWatch. Default: "mcpool".
	Namespace string
	// Dimensions are added to every metric.
	Dimensions map[string]string
	// Region is that of CloudWatch. Default: that of AWS.
	Region string
	// AWS has the credentials and the HTTP client. Default: what the SDK finds in the
	// environment, in files and at the instance.
	AWS *aws.Config
	// Endpoint is the URL of CloudWatch, for a VPC endpoint or a proxy. Default: that
	// of the region.
	Endpoint string
	// Prefix begins the names of metrics that are sent. Default: "mcpool.", as
	// export.Config has it.
	Prefix string
	// All sends what has no name in Names too, in camel case. Distributions are never sent.
	All bool
	// Resume is for a sink that takes over from one before: the first total of a
	// counter is where it begins to count, instead of what has happened until then.
	Resume bool
}

// ConfigError is a fault of a Config.
type ConfigError struct{ Field, Problem string }

func (e *ConfigError) Error() string { return "poolcloudwatch: Config." + e.Field + " " + e.Problem }

// complete sets defaults and returns every fault.
func (c *Config) complete(ctx context.Context) error {
	var errs []error
	fault := func(field, problem string) { errs = append(errs, &ConfigError{field, problem}) }
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
	if c.Prefix == "" {
		c.Prefix = "mcpool."
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
		return &ConfigError{"Region", "is empty, and neither the environment nor AWS has one"}
	}
	return nil
}

func notOfName(c rune) bool {
	return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune(".-_/#:", c))
}
