package sigv4

import (
	"context"
	"errors"
	"fmt"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// Config says with whose keys to sign, and for which service. Package sdk/config
// reads it from JSON, under the names in the tags. Keys have no place in it: they come
// from the AWS chain, which knows where to keep them.
type Config struct {
	// Service is the name that goes into the signature, such as "bedrock-agentcore",
	// "execute-api" or "lambda". Required.
	Service string `json:"service"`
	// Region goes into the signature; default the AWS configuration's.
	Region string `json:"region"`
	// Profile selects one in the shared AWS files; default the environment's choice.
	Profile string `json:"profile"`

	// RoleARN is a role to assume with the keys of the chain; empty signs with those
	// keys themselves, the same for all identities.
	RoleARN string `json:"role_arn"`
	// ExternalID is sent along with AssumeRole.
	ExternalID string `json:"external_id"`
	// SessionName is the name of the role's sessions in CloudTrail. Default "mcpool",
	// and "mcpool-" with the identity's ID for identities that have one.
	SessionName string `json:"session_name"`
	// SessionDuration is how long a session of the role lasts, 15 min to 12 h, as the
	// role allows. Default 1 h.
	SessionDuration time.Duration `json:"session_duration"`
	// SessionTags are attributes of the identity that become session tags of the same
	// name; one that an identity does not have is left out. At most 50.
	SessionTags []string `json:"session_tags"`
	// STSEndpoint replaces the region's endpoint of STS.
	STSEndpoint string `json:"sts_endpoint"`

	// SignedHeaders are further headers to sign when they are present.
	SignedHeaders []string `json:"signed_headers"`
	// SignContentSHA256 sends and signs X-Amz-Content-Sha256. Implied for "s3".
	SignContentSHA256 bool `json:"sign_content_sha256"`
	// SingleEncodedPath signs the path as it is escaped on the wire. The default,
	// which every service but "s3" expects, is to escape it once more for signing.
	SingleEncodedPath bool `json:"single_encoded_path"`
	// KeepPath signs paths with "//", "/./" and "/../" in them as they are. The default
	// resolves those first, for signing only, as every service but "s3" expects.
	KeepPath bool `json:"keep_path"`

	// MaxIdentities bounds the sessions that are remembered. Default 10 000.
	MaxIdentities int `json:"max_identities"`
	// AWS is used instead of the default chain, for programs that have their own; nil
	// loads it. Profile is then ignored, and so is Region unless it is set.
	AWS *aws.Config `json:"-"`
}

// What is never signed, however it is configured: it changes on the way, or the
// signature is in it.
var unsigned = []string{
	"Accept", "Accept-Encoding", "Authorization", "Connection", "Expect", "Keep-Alive", "Last-Event-Id",
	"Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding",
	"Traceparent", "Tracestate", "Baggage", "Upgrade", "User-Agent", "X-Amzn-Trace-Id",
}

var (
	roleARN     = regexp.MustCompile(`^arn:[a-z0-9-]+:iam::\d{12}:role/.+$`)
	sessionName = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)
)

// setDefaults completes the configuration, loading the AWS one if need be.
func (cfg *Config) setDefaults() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, &auth.ConfigError{Field: field, Problem: fmt.Sprintf(format, args...)})
	}
	if cfg.Service == "" {
		bad("Service", "is missing")
	}
	if cfg.Service == "s3" {
		cfg.SignContentSHA256, cfg.SingleEncodedPath, cfg.KeepPath = true, true, true
	}
	if cfg.RoleARN != "" && !roleARN.MatchString(cfg.RoleARN) {
		bad("RoleARN", "= %q is not the ARN of a role", cfg.RoleARN)
	}
	if cfg.RoleARN == "" {
		for _, f := range []struct {
			field string
			set   bool
		}{
			{"ExternalID", cfg.ExternalID != ""}, {"SessionName", cfg.SessionName != ""},
			{"SessionDuration", cfg.SessionDuration != 0}, {"SessionTags", len(cfg.SessionTags) > 0},
			{"STSEndpoint", cfg.STSEndpoint != ""},
		} {
			if f.set {
				bad(f.field, "is of no use without RoleARN")
			}
		}
	}
	if cfg.SessionName != "" && !sessionName.MatchString(cfg.SessionName) {
		bad("SessionName", "= %q is not 2 to 64 letters, digits or any of _+=,.@-", cfg.SessionName)
	}
	switch {
	case cfg.SessionDuration == 0:
		cfg.SessionDuration = time.Hour
	case cfg.SessionDuration < 15*time.Minute || cfg.SessionDuration > 12*time.Hour:
		bad("SessionDuration", "= %v is not between 15m and 12h", cfg.SessionDuration)
	}
	if len(cfg.SessionTags) > 50 {
		bad("SessionTags", "are %d, STS takes 50", len(cfg.SessionTags))
	}
	cfg.SignedHeaders, cfg.SessionTags = slices.Clone(cfg.SignedHeaders), slices.Clone(cfg.SessionTags)
	for i, name := range cfg.SignedHeaders {
		name = textproto.CanonicalMIMEHeaderKey(name)
		cfg.SignedHeaders[i] = name
		if slices.Contains(unsigned, name) {
			bad(fmt.Sprintf("SignedHeaders[%d]", i), "= %s changes on the way or per hop, a signature over it breaks", name)
		}
	}
	switch {
	case cfg.MaxIdentities < 0:
		bad("MaxIdentities", "= %d is negative", cfg.MaxIdentities)
	case cfg.MaxIdentities == 0:
		cfg.MaxIdentities = 10_000
	}
	if err := cfg.loadAWS(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (cfg *Config) loadAWS() error {
	if cfg.AWS == nil {
		var opts []func(*config.LoadOptions) error
		if cfg.Profile != "" {
			opts = append(opts, config.WithSharedConfigProfile(cfg.Profile))
		}
		if cfg.Region != "" {
			opts = append(opts, config.WithRegion(cfg.Region))
		}
		loaded, err := config.LoadDefaultConfig(context.Background(), opts...)
		if err != nil {
			return &auth.ConfigError{Field: "Profile", Problem: "or the AWS configuration around it cannot be loaded", Err: err}
		}
		cfg.AWS = &loaded
	} else {
		c := cfg.AWS.Copy()
		cfg.AWS = &c
	}
	if cfg.Region == "" {
		cfg.Region = cfg.AWS.Region
	}
	cfg.AWS.Region = cfg.Region
	var errs []error
	if cfg.Region == "" {
		errs = append(errs, &auth.ConfigError{Field: "Region", Problem: "is missing, here and in the AWS configuration"})
	}
	if cfg.AWS.Credentials == nil {
		errs = append(errs, &auth.ConfigError{Field: "AWS.Credentials", Problem: "is nil"})
	}
	return errors.Join(errs...)
}

// signs reports whether a header, by its canonical name, belongs into the signature.
// SignedHeaders holds none of the unsigned ones. Content-Length is not a header
// here: the signer takes it from the request.
func (cfg *Config) signs(name string) bool {
	return name == "Content-Type" || strings.HasPrefix(name, "X-Amz-") || slices.Contains(cfg.SignedHeaders, name)
}
