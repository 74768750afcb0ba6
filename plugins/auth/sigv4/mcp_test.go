package sigv4

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/auth/authhttp"
)

// gateway verifies every request before it reaches an MCP server.
type gateway struct {
	*httptest.Server
	verifier *verifier

	mu       sync.Mutex
	verified map[string]int // by method
	refused  []string
	resumed  []string             // Last-Event-ID of GETs
	cut      []context.CancelFunc // of the GET streams
}

// newGateway redirects its path /old to /mcp, keeping the query.
func newGateway(t *testing.T, server *mcp.Server, opts *mcp.StreamableHTTPOptions) *gateway {
	t.Helper()
	g := &gateway{verified: make(map[string]int), verifier: &verifier{
		service: "bedrock-agentcore", region: "eu-central-1", now: time.Now,
		keys: map[string]secretKey{"AKIDEXAMPLE": {secret: "a-very-secret-key", token: "a-session-token"}},
	}}
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, opts)
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := g.verifier.verify(r); err != nil {
			g.mu.Lock()
			g.refused = append(g.refused, r.Method+" "+err.Error())
			g.mu.Unlock()
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		g.mu.Lock()
		if strings.HasPrefix(r.URL.Path, "/old") {
			g.verified["redirect"]++
			g.mu.Unlock()
			http.Redirect(w, r, strings.Replace(r.RequestURI, "/old", "/mcp", 1), http.StatusTemporaryRedirect)
			return
		}
		g.verified[r.Method]++
		if r.Method == http.MethodGet {
			g.cut = append(g.cut, cancel)
			g.resumed = append(g.resumed, r.Header.Get("Last-Event-ID"))
		}
		g.mu.Unlock()
		handler.ServeHTTP(w, r.WithContext(ctx))
	}))
	t.Cleanup(g.Close)
	return g
}

// traced does to requests what a tracing library does.
type traced struct{ base http.RoundTripper }

func (t traced) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Traceparent", fmt.Sprintf("00-%032x-%016x-01", time.Now().UnixNano(), time.Now().UnixNano()))
	return t.base.RoundTrip(r)
}

func (g *gateway) client(t *testing.T, cached bool, endpoint string) *http.Client {
	t.Helper()
	var provider auth.Provider = newProvider(t, Config{
		Service: "bedrock-agentcore", Region: "eu-central-1",
		AWS: &aws.Config{Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "a-very-secret-key", "a-session-token")},
	})
	if cached {
		c, err := auth.NewCache(provider, auth.CacheConfig{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close(context.Background()) })
		provider = c
	}
	base := &http.Transport{}
	t.Cleanup(base.CloseIdleConnections)
	tr, err := authhttp.New(authhttp.Config{
		Base: base, Provider: provider, Request: auth.Request{Target: auth.Target{Name: "gw", URL: endpoint}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: traced{tr}}
}

func TestMCPTrafficOfBothErasIsVerifiedBySignature(t *testing.T) {
	t.Parallel()
	for _, era := range []struct {
		version string
		opts    *mcp.StreamableHTTPOptions
	}{
		{"2025-11-25", &mcp.StreamableHTTPOptions{EventStore: mcp.NewMemoryEventStore(nil)}},
		{"2026-07-28", &mcp.StreamableHTTPOptions{Stateless: true}},
	} {
		for _, path := range []string{
			"/mcp",
			"/old",                             // POST, GET and DELETE each get a redirect
			"/mcp?qualifier=a+b&z=1&b=2&b=%2F", // the signer rewrites this query
			"/mcp/runtimes/arn%3Aaws%3Abedrock%3Aeu%3A1%3Aruntime%2Fx/invocations", // escapes stay
		} {
			t.Run(era.version+path, func(t *testing.T) {
				t.Parallel()
				exchange(t, era.version, era.opts, path)
			})
		}
	}
}

func exchange(t *testing.T, version string, opts *mcp.StreamableHTTPOptions, path string) {
	type args struct {
		Text string `json:"text"`
	}
	server := mcp.NewServer(&mcp.Implementation{Name: "s", Version: "1"}, nil)
	echo := func(ctx context.Context, req *mcp.CallToolRequest, a args) (*mcp.CallToolResult, any, error) {
		for i := range 3 { // streamed ahead of the result
			if tok := req.Params.GetProgressToken(); tok != nil {
				req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: tok, Progress: float64(i)})
			}
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: a.Text}}}, nil, nil
	}
	mcp.AddTool(server, &mcp.Tool{Name: "echo"}, echo)
	g := newGateway(t, server, opts)
	endpoint := g.URL + path
	changed, progress := make(chan struct{}, 10), make(chan struct{}, 10)
	client := mcp.NewClient(&mcp.Implementation{Name: "c", Version: "1"}, &mcp.ClientOptions{
		ToolListChangedHandler:      func(context.Context, *mcp.ToolListChangedRequest) { changed <- struct{}{} },
		ProgressNotificationHandler: func(context.Context, *mcp.ProgressNotificationClientRequest) { progress <- struct{}{} },
	})
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: endpoint, HTTPClient: g.client(t, version > "2026", endpoint)},
		&mcp.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatalf("connect: %v; refused %q", err, g.refused)
	}
	text := "größer " + strings.Repeat("x", 100_000)
	params := &mcp.CallToolParams{Name: "echo", Arguments: args{Text: text}}
	params.SetProgressToken("p")
	res, err := session.CallTool(t.Context(), params)
	if err != nil || res.Content[0].(*mcp.TextContent).Text != text {
		t.Fatalf("call: %v", err)
	}
	for range 3 {
		await(t, progress, "progress on the stream of the call")
	}
	old := version < "2026"
	if old {
		g.until(t, "the GET stream", func() bool { return g.verified["GET"] == 1 })
	}
	mcp.AddTool(server, &mcp.Tool{Name: "echo2"}, echo)
	await(t, changed, "a notification on the standing stream")
	if old { // cut the stream: the reconnect resumes, and is signed without Last-Event-ID
		g.mu.Lock()
		g.cut[0]()
		g.mu.Unlock()
		g.until(t, "the reconnect", func() bool { return g.verified["GET"] == 2 && g.resumed[1] != "" })
		mcp.AddTool(server, &mcp.Tool{Name: "echo3"}, echo)
		await(t, changed, "a notification after the reconnect")
	}
	if err := session.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.refused) > 0 || g.verified["POST"] < 2 || old && g.verified["DELETE"] != 1 ||
		path == "/old" && g.verified["redirect"] < 2 {
		t.Errorf("verified %v, refused %q", g.verified, g.refused)
	}
}

func (g *gateway) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		g.mu.Lock()
		done := ok()
		g.mu.Unlock()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("no sign of %s; verified %v, refused %q", what, g.verified, g.refused)
		}
	}
}

func await(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("no sign of %s", what)
	}
}

func TestTheVerifierRefusesWhatWasChangedOnTheWay(t *testing.T) {
	g := newGateway(t, mcp.NewServer(&mcp.Implementation{Name: "s", Version: "1"}, nil), nil)
	base := &http.Transport{}
	t.Cleanup(base.CloseIdleConnections)
	for name, tamper := range map[string]func(*http.Request){
		"query":        func(r *http.Request) { r.URL.RawQuery += "&admin=1" },
		"path":         func(r *http.Request) { r.URL.Path = "/admin" },
		"content type": func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") },
		"method":       func(r *http.Request) { r.Method = "PUT" },
		"date":         func(r *http.Request) { r.Header.Set("X-Amz-Date", "20200101T000000Z") },
		"token":        func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "other") },
	} {
		req, _ := http.NewRequest("POST", g.URL+"/mcp?a=1", strings.NewReader(`{}`))
		req.Header.Set("Content-Type", "application/json")
		// The tampering sits between the signer and the wire.
		tr, err := authhttp.New(authhttp.Config{
			Base: roundTrip(func(r *http.Request) (*http.Response, error) {
				tamper(r)
				return base.RoundTrip(r)
			}),
			Provider: newProvider(t, Config{Service: "bedrock-agentcore", Region: "eu-central-1",
				AWS: &aws.Config{Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "a-very-secret-key", "a-session-token")}}),
			Request: auth.Request{Target: auth.Target{URL: g.URL}},
		})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s changed on the way: %s", name, resp.Status)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
