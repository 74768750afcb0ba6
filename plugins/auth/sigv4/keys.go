package sigv4

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"
	"github.com/aws/smithy-go"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// keySource fetches AWS keys for an auth.Cache, which then has one place per
// identity, early renewal, and a memory for failures. Between the two, keys travel
// as the values of one made-up header that no request ever sees.
type keySource struct {
	cfg *Config
	sts *sts.Client // nil without a role
}

const (
	keyHeader  = "Aws-Keys"
	renewAhead = 5 * time.Minute
)

func newKeySource(cfg *Config) *keySource {
	s := &keySource{cfg: cfg}
	if cfg.RoleARN != "" {
		s.sts = sts.NewFromConfig(*cfg.AWS, func(o *sts.Options) {
			if cfg.STSEndpoint != "" {
				o.BaseEndpoint = aws.String(cfg.STSEndpoint)
			}
		})
	}
	return s
}

// keyRequest reduces a request to what tells keys apart: nothing without a role,
// else the session's name and tags.
func (p *Provider) keyRequest(req auth.Request) auth.Request {
	if p.cfg.RoleARN == "" {
		return auth.Request{}
	}
	out := auth.Request{Identity: auth.Identity{ID: req.Identity.ID}}
	for _, name := range p.cfg.SessionTags {
		if v, ok := req.Identity.Attrs[name]; ok {
			if out.Identity.Attrs == nil {
				out.Identity.Attrs = make(map[string]string, len(p.cfg.SessionTags))
			}
			out.Identity.Attrs[name] = v
		}
	}
	return out
}

// Credentials fetches keys.
func (s *keySource) Credentials(ctx context.Context, req auth.Request) (auth.Credentials, error) {
	var keys aws.Credentials
	var err error
	if s.sts != nil {
		keys, err = s.assume(ctx, req.Identity)
	} else {
		keys, err = s.chain(ctx)
	}
	if err != nil {
		return auth.Credentials{}, err
	}
	out := auth.Credentials{Header: http.Header{keyHeader: {keys.AccessKeyID, keys.SecretAccessKey, keys.SessionToken}}}
	if keys.CanExpire {
		now := time.Now()
		left := keys.Expires.Sub(now)
		out.Expires = keys.Expires
		// A source may go on handing out the same keys until close to their end.
		out.RefreshAfter = now.Add(max(left-renewAhead, min(15*time.Second, left/2)))
	}
	return out, nil
}

// Challenge is told that a session token has expired before its time.
func (s *keySource) Challenge(context.Context, auth.Request, auth.Challenge) (auth.Outcome, error) {
	if s.sts == nil {
		s.forget()
	}
	return auth.Retry, nil
}

// Close has nothing to do: requests for keys end with their contexts.
func (s *keySource) Close(context.Context) error { return nil }

// chain asks the default chain, an aws.CredentialsCache. It keeps keys up to their
// last second, so it is told to forget those which are about to end.
func (s *keySource) chain(ctx context.Context) (aws.Credentials, error) {
	keys, err := s.cfg.AWS.Credentials.Retrieve(ctx)
	if err == nil && keys.CanExpire && time.Until(keys.Expires) < renewAhead {
		s.forget()
		keys, err = s.cfg.AWS.Credentials.Retrieve(ctx)
	}
	if err != nil {
		return aws.Credentials{}, fmt.Errorf("no AWS keys: %w", classify(err))
	}
	return keys, nil
}

func (s *keySource) forget() {
	if c, ok := s.cfg.AWS.Credentials.(interface{ Invalidate() }); ok {
		c.Invalidate()
	}
}

func (s *keySource) assume(ctx context.Context, id auth.Identity) (aws.Credentials, error) {
	role := stscreds.NewAssumeRoleProvider(s.sts, s.cfg.RoleARN, func(o *stscreds.AssumeRoleOptions) {
		o.Duration = s.cfg.SessionDuration
		o.RoleSessionName = sessionNameFor(s.cfg.SessionName, id.ID)
		if s.cfg.ExternalID != "" {
			o.ExternalID = aws.String(s.cfg.ExternalID)
		}
		for _, name := range s.cfg.SessionTags {
			if v, ok := id.Attrs[name]; ok {
				o.Tags = append(o.Tags, types.Tag{Key: aws.String(name), Value: aws.String(v)})
			}
		}
	})
	keys, err := role.Retrieve(ctx)
	if err != nil {
		err = classify(err)
		if errors.Is(err, errExpired) {
			s.forget() // of the keys that were to assume the role
		}
		return aws.Credentials{}, fmt.Errorf("assuming %s for %v: %w", s.cfg.RoleARN, id, err)
	}
	return keys, nil
}

// sessionNameFor makes a name that STS accepts.
func sessionNameFor(configured, id string) string {
	if configured != "" {
		return configured
	}
	if id == "" {
		return "mcpool"
	}
	clean := strings.Map(func(r rune) rune {
		if r < 0x80 && (r == '_' || strings.ContainsRune("+=,.@-", r) ||
			'0' <= r && r <= '9' || 'a' <= r|0x20 && r|0x20 <= 'z') {
			return r
		}
		return '-'
	}, id)
	name := "mcpool-" + clean
	return name[:min(len(name), 64)]
}

// errExpired marks that the keys used to ask STS have expired.
var errExpired = errors.New("the keys that ask for the role have expired")

// classify says what an AWS error means to a caller.
func classify(err error) error {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return err
	}
	switch api.ErrorCode() {
	case "AccessDenied", "AccessDeniedException", "InvalidClientTokenId", "UnrecognizedClientException",
		"SignatureDoesNotMatch", "MissingAuthenticationToken", "UnauthorizedException", "ValidationError",
		"MalformedPolicyDocument", "PackedPolicyTooLarge", "RegionDisabledException":
		return fmt.Errorf("%w: %w", auth.ErrCredentialsRejected, err)
	case "ExpiredToken", "ExpiredTokenException":
		return fmt.Errorf("%w: %w", errExpired, err)
	case "Throttling", "ThrottlingException", "ThrottledException", "RequestLimitExceeded",
		"TooManyRequestsException", "RequestThrottled", "SlowDown":
		return &auth.ThrottledError{Err: err}
	}
	return err
}
