package sigv4

import (
	"context"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/host"
	"github.com/go-mcpool/mcpool/sdk/plugintest"
)

func open(_ context.Context, cfg Config) (*Provider, error) { return New(cfg) }

var contractHeaders = []string{"Authorization", "X-Amz-*"}

func TestContract(t *testing.T) {
	s := newSTS(t, newTarget(t))
	refuses := newSTS(t, newTarget(t))
	refuses.fail = "AccessDenied"
	keys := &aws.Config{Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "wJalrXUtnFEMI-example", "")}
	stalled := s.config(t)
	stalled.STSEndpoint = plugintest.Silent(t)
	for name, cfg := range map[string]Config{
		"keys": {Service: "execute-api", Region: "eu-west-1", AWS: keys},
		"role": s.config(t),
	} {
		t.Run(name, func(t *testing.T) {
			plugintest.Auth(t, open, plugintest.AuthOptions[Config]{
				Config: cfg, Stalled: &stalled,
				Failures: []plugintest.AuthFailure[Config]{
					{Name: "no service", Config: Config{Region: "eu-west-1", AWS: keys}, Field: "Service"},
					{Name: "refused", Config: refuses.config(t), Is: auth.ErrCredentialsRejected},
				},
				Others: []auth.Request{{
					Identity: auth.Identity{ID: "alice", Attrs: map[string]string{"team": "red"}},
					Target:   auth.Target{URL: "https://api.example/mcp?a=b%20c"},
				}},
				Challenge: tooSkewed,
				Headers:   contractHeaders,
				Secrets:   []auth.Secret{auth.NewSecret("wJalrXUtnFEMI-example"), auth.NewSecret("base-secret")},
			})
		})
	}
}

// tooSkewed is a refusal that a signer can do something about.
func tooSkewed(sent auth.HTTPRequest, generation string) auth.Challenge {
	return auth.Challenge{
		Sent: sent, Generation: generation, Status: http.StatusForbidden,
		Header: http.Header{"X-Amzn-Errortype": {"RequestTimeTooSkewed"}, "Date": {"Mon, 02 Jan 2006 15:04:05 GMT"}},
	}
}

func TestTheBinaryKeepsTheContract(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDBASE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "base-secret")
	s := newSTS(t, newTarget(t))
	refuses := newSTS(t, newTarget(t))
	refuses.fail = "AccessDenied"
	in := func(endpoint string) host.Instance {
		return host.Instance{Name: "a", Config: map[string]string{
			"service": "lambda", "region": "eu-west-1", "role_arn": role, "external_id": "ext-1", "sts_endpoint": endpoint,
		}}
	}
	stalled := in(plugintest.Silent(t))
	plugintest.Binary(t, plugintest.Build(t, "./cmd/mcpool-auth-sigv4"), plugintest.BinaryOptions{
		Env: host.EnvAWS(),
		Auth: &plugintest.AuthOptions[host.Instance]{
			Config: in(s.URL), Stalled: &stalled,
			Failures: []plugintest.AuthFailure[host.Instance]{
				{Name: "no service", Config: host.Instance{Name: "a", Config: map[string]string{"region": "eu-west-1"}}, Field: "Service"},
				{Name: "refused", Config: in(refuses.URL), Is: auth.ErrCredentialsRejected},
			},
			Challenge: tooSkewed,
			Secrets:   []auth.Secret{auth.NewSecret("base-secret")},
		},
	})
}
