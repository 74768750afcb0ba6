package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/go-mcpool/mcpool/examples/internal/sigv4server"
	mcpool "github.com/go-mcpool/mcpool/mcp"
	"github.com/go-mcpool/mcpool/plugins/auth/sigv4"
	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/auth/authhttp"
)

const (
	callers   = 16
	region    = "eu-central-1"
	service   = "bedrock-agentcore"
	role      = "arn:aws:iam::123456789012:role/agents"
	accessKey = "AKIDEXAMPLE"
	secretKey = "only on loopback, only for this example"
)

// report is what -json prints.
type report struct {
	Application load     `json:"application"`
	People      load     `json:"people"`
	Expired     load     `json:"expired"`
	Crossed     int64    `json:"crossed"`       // answers that were for somebody else
	Sessions    int      `json:"role_sessions"` // of the two people, before and after the expiry
	Mallory     bool     `json:"mallory_refused"`
	Clock       bool     `json:"clock_corrected"`
	Changed     bool     `json:"change_noticed"`
	Problems    []string `json:"problems,omitempty"`
	OK          bool     `json:"ok"`
}

// load is what came of many calls.
type load struct {
	Calls    int64 `json:"calls"`
	Failed   int64 `json:"failed"`
	Verified int   `json:"requests_verified"`
	Refused  int   `json:"requests_refused"`
	last     error
}

// demo is what steps share: the server with people in it, and the pool to it.
type demo struct {
	each   time.Duration
	report *report
	server *sigv4server.Server
	pool   *mcpool.Pool
}

// start starts a server that says who calls, and a pool that signs.
func start(ctx context.Context, srv sigv4server.Config, cfg sigv4.Config) (*sigv4server.Server, *mcpool.Pool, error) {
	tools := mcp.NewServer(&mcp.Implementation{Name: "sigv4-example", Version: "1"}, nil)
	mcp.AddTool(tools, &mcp.Tool{Name: "whoami", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}},
		func(_ context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
			who := r.Extra.Header.Get(sigv4server.CallerHeader)
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: who}}}, nil, nil
		})
	srv.Region, srv.Service, srv.AccessKey, srv.SecretKey = region, service, accessKey, secretKey
	server, err := sigv4server.Start(ctx, srv, mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return tools }, nil))
	if err != nil {
		return nil, nil, err
	}
	if cfg.RoleARN != "" {
		cfg.STSEndpoint = server.STS
	}
	// snippet:begin pool
	cfg.Service, cfg.Region = service, region
	cfg.AWS = keys() // without it: environment, shared files, SSO, container, instance
	signer, err := sigv4.New(cfg)
	if err != nil {
		return nil, nil, err
	}
	pool, err := mcpool.Open(ctx, mcpool.Config{Name: "example", Endpoint: server.Endpoint, Auth: signer, Lazy: true})
	// snippet:end pool
	if err != nil {
		return nil, nil, errors.Join(err, server.Close())
	}
	return server, pool, nil
}

// keys are those of the application, which on AWS the default chain would find.
func keys() *aws.Config {
	return &aws.Config{Credentials: credentials.NewStaticCredentialsProvider(accessKey, secretKey, "")}
}

func (d *demo) close(ctx context.Context) {
	if d.pool != nil {
		_ = d.pool.Close(context.WithoutCancel(ctx)) // everything was looked at before
		_ = d.server.Close()                         // likewise
	}
}

// under runs callers for a while, each as one of the people.
func (d *demo) under(ctx context.Context, server *sigv4server.Server, pool *mcpool.Pool, people ...auth.Identity) (load, int64) {
	var calls, failed, crossed atomic.Int64
	var last atomic.Value
	before := server.Stats()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			id := people[i%len(people)]
			for began := time.Now(); time.Since(began) < d.each && ctx.Err() == nil; {
				who, err := whoami(ctx, pool, id)
				calls.Add(1)
				switch {
				case err != nil:
					failed.Add(1)
					last.Store(err)
				case who != expected(id):
					crossed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	after := server.Stats()
	l := load{Calls: calls.Load(), Failed: failed.Load(), Verified: after.Verified - before.Verified, Refused: after.Refused - before.Refused}
	l.last, _ = last.Load().(error)
	return l, crossed.Load()
}

// expected is what the server says to somebody: the name and tags of the session.
func expected(id auth.Identity) string {
	if id.ID == "" {
		return "the application"
	}
	return "mcpool-" + id.ID + " team=" + id.Attrs["team"]
}

func whoami(ctx context.Context, pool *mcpool.Pool, id auth.Identity) (string, error) {
	var opts []mcpool.Option
	if id.ID != "" {
		opts = append(opts, mcpool.WithIdentity(id))
	}
	res, err := pool.Call(ctx, "whoami", nil, opts...)
	if err != nil {
		return "", err
	}
	for _, c := range res.Content {
		if t, ok := c.(*mcp.TextContent); ok {
			return t.Text, nil
		}
	}
	return "", errors.New("an empty answer")
}

func (l load) check() error {
	switch {
	case l.Failed > 0:
		return fmt.Errorf("%d of %d calls failed: %w", l.Failed, l.Calls, l.last)
	case l.Calls == 0 || int64(l.Verified) < l.Calls:
		return fmt.Errorf("%d calls, and only %d requests were verified", l.Calls, l.Verified)
	}
	return nil
}

func (d *demo) application(ctx context.Context) (string, error) {
	server, pool, err := start(ctx, sigv4server.Config{}, sigv4.Config{})
	if err != nil {
		return "", err
	}
	defer server.Close()                         //nolint:errcheck // everything was looked at before
	defer pool.Close(context.WithoutCancel(ctx)) //nolint:errcheck // likewise
	var crossed int64
	d.report.Application, crossed = d.under(ctx, server, pool, auth.Identity{})
	err = d.report.Application.check()
	if l := d.report.Application; err == nil && l.Refused+int(crossed) > 0 {
		err = fmt.Errorf("%d requests were refused", l.Refused)
	}
	return fmt.Sprintf("%d calls, %d failed, %d signatures verified", d.report.Application.Calls, d.report.Application.Failed, d.report.Application.Verified), err
}

func people() []auth.Identity {
	return []auth.Identity{
		{ID: "alice", Attrs: map[string]string{"team": "blue"}},
		{ID: "bob", Attrs: map[string]string{"team": "red"}},
	}
}

func (d *demo) people(ctx context.Context) (string, error) {
	var err error
	d.server, d.pool, err = start(ctx,
		sigv4server.Config{Role: role, Forbidden: []string{"mcpool-mallory"}},
		sigv4.Config{RoleARN: role, SessionTags: []string{"team"}})
	if err != nil {
		return "", err
	}
	d.report.People, d.report.Crossed = d.under(ctx, d.server, d.pool, people()...)
	err = d.report.People.check()
	d.report.Sessions = d.sessions()
	if err == nil && (d.report.Crossed > 0 || d.report.Sessions != 2) {
		err = fmt.Errorf("%d answers were for somebody else, %d sessions", d.report.Crossed, d.report.Sessions)
	}
	return fmt.Sprintf("%d calls, %d failed, %d crossed, %d sessions of the role",
		d.report.People.Calls, d.report.People.Failed, d.report.Crossed, d.report.Sessions), err
}

// sessions counts those of the two people.
func (d *demo) sessions() int {
	byName := d.server.Stats().Sessions
	return byName["mcpool-alice"] + byName["mcpool-bob"]
}

func (d *demo) expired(ctx context.Context) (string, error) {
	if d.pool == nil {
		return "", errors.New("there is no pool")
	}
	d.server.ExpireSessions()
	var crossed int64
	d.report.Expired, crossed = d.under(ctx, d.server, d.pool, people()...)
	d.report.Crossed += crossed
	d.report.Sessions = d.sessions()
	err := d.report.Expired.check()
	if err == nil && (crossed > 0 || d.report.Expired.Refused == 0 || d.report.Sessions != 4) {
		err = fmt.Errorf("%d crossed, %d requests refused, %d sessions", crossed, d.report.Expired.Refused, d.report.Sessions)
	}
	return fmt.Sprintf("%d calls, %d failed, %d requests refused and repeated with new keys",
		d.report.Expired.Calls, d.report.Expired.Failed, d.report.Expired.Refused), err
}

func (d *demo) mallory(ctx context.Context) (string, error) {
	if d.pool == nil {
		return "", errors.New("there is no pool")
	}
	_, err := whoami(ctx, d.pool, auth.Identity{ID: "mallory"})
	d.report.Mallory = errors.Is(err, auth.ErrCredentialsRejected)
	if !d.report.Mallory {
		return "", fmt.Errorf("the call said: %w", err)
	}
	return "the call fails, and says so", nil
}

func (d *demo) clock(ctx context.Context) (string, error) {
	server, pool, err := start(ctx, sigv4server.Config{Ahead: time.Hour}, sigv4.Config{})
	if err != nil {
		return "", err
	}
	defer server.Close()                         //nolint:errcheck // everything was looked at before
	defer pool.Close(context.WithoutCancel(ctx)) //nolint:errcheck // likewise
	for range 5 {
		if _, err := whoami(ctx, pool, auth.Identity{}); err != nil {
			return "", err
		}
	}
	st := server.Stats()
	d.report.Clock = st.Refused > 0 && st.Verified >= 5
	if !d.report.Clock {
		err = fmt.Errorf("%d requests were refused, %d verified", st.Refused, st.Verified)
	}
	return fmt.Sprintf("%d requests refused, %d verified", st.Refused, st.Verified), err
}

// changed has somebody on the way change the tool that is called.
func (d *demo) changed(ctx context.Context) (string, error) {
	server, pool, err := start(ctx, sigv4server.Config{}, sigv4.Config{})
	if err != nil {
		return "", err
	}
	defer server.Close()                         //nolint:errcheck // everything was looked at before
	defer pool.Close(context.WithoutCancel(ctx)) //nolint:errcheck // likewise
	signer, err := sigv4.New(sigv4.Config{Service: service, Region: region, AWS: keys()})
	if err != nil {
		return "", err
	}
	defer signer.Close(ctx) //nolint:errcheck // likewise
	base := &http.Transport{}
	defer base.CloseIdleConnections()
	t, err := authhttp.New(authhttp.Config{
		Provider: signer, Request: auth.Request{Target: auth.Target{Name: "example", URL: server.Endpoint}},
		Base: onTheWay(func(r *http.Request) (*http.Response, error) {
			r.Body = io.NopCloser(strings.NewReader(`{"tool":"delete"}`))
			return base.RoundTrip(r)
		}),
	})
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server.Endpoint, strings.NewReader(`{"tool":"whoami"}`))
	if err != nil {
		return "", err
	}
	resp, err := t.RoundTrip(req)
	if err != nil {
		return "", err
	}
	_ = resp.Body.Close() // its status says it all
	d.report.Changed = resp.StatusCode == http.StatusForbidden && server.Stats().Refused == 1
	if !d.report.Changed {
		err = fmt.Errorf("the server said %s", resp.Status)
	}
	return "the server notices", err
}

type onTheWay func(*http.Request) (*http.Response, error)

func (f onTheWay) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
