package mcpool_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	mcpool "github.com/go-mcpool/mcpool/mcp"
	"github.com/go-mcpool/mcpool/sdk/auth"
)

type searchArgs struct {
	Query string `json:"query" jsonschema:"what to look for"`
}

// newServer returns the MCP server that the examples talk to.
func newServer() *mcp.Server {
	server := mcp.NewServer(&mcp.Implementation{Name: "example", Version: "1"}, &mcp.ServerOptions{
		SubscribeHandler:   func(context.Context, *mcp.SubscribeRequest) error { return nil },
		UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil },
	})
	say := func(text string) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}, nil, nil
	}
	mcp.AddTool(server, &mcp.Tool{Name: "search", Description: "Search the archive.", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}},
		func(_ context.Context, _ *mcp.CallToolRequest, a searchArgs) (*mcp.CallToolResult, any, error) {
			return say("3 results for " + a.Query)
		})
	mcp.AddTool(server, &mcp.Tool{Name: "header", Description: "Show a header of the request."},
		func(_ context.Context, r *mcp.CallToolRequest, a struct {
			Name string `json:"name"`
		}) (*mcp.CallToolResult, any, error) {
			return say(r.Extra.Header.Get(a.Name))
		})
	var mu sync.Mutex
	counts := make(map[string]int)
	mcp.AddTool(server, &mcp.Tool{Name: "count", Description: "Count the calls of this session."},
		func(_ context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
			mu.Lock()
			defer mu.Unlock()
			counts[r.Session.ID()]++
			return say(fmt.Sprint(counts[r.Session.ID()]))
		})
	server.AddResource(&mcp.Resource{Name: "news", URI: "archive://news"}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: "archive://news", Text: "nothing new"}}}, nil
	})
	return server
}

// serve runs the server on loopback.
func serve() (endpoint string, stop func()) {
	server := newServer()
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil)
	web := httptest.NewServer(handler)
	return web.URL, func() {
		for session := range server.Sessions() {
			_ = session.Close()
		}
		web.CloseClientConnections()
		web.Close()
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// One call reaches a session that is open already.
func ExampleOpen() {
	endpoint, stop := serve()
	defer stop()
	ctx := context.Background()

	pool, err := mcpool.Open(ctx, mcpool.Config{Endpoint: endpoint})
	if err != nil {
		fmt.Println(err) // every wrong field at once, or why there is no session
		return
	}
	defer pool.Close(ctx)

	res, err := pool.Call(ctx, "search", map[string]any{"query": "gophers"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(mcpool.ResultText(res))
	// Output: 3 results for gophers
}

// A session for the caller alone: for state that the server keeps for it.
func ExamplePool_Acquire() {
	endpoint, stop := serve()
	defer stop()
	ctx := context.Background()
	pool, err := mcpool.Open(ctx, mcpool.Config{Endpoint: endpoint})
	check(err)
	defer pool.Close(ctx)

	session, err := pool.Acquire(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer session.Release()

	for range 3 {
		res, err := session.CallTool(ctx, &mcp.CallToolParams{Name: "count"})
		check(err)
		fmt.Println(mcpool.ResultText(res))
	}
	// Output:
	// 1
	// 2
	// 3
}

// Do releases the session, whatever happens.
func ExamplePool_Do() {
	endpoint, stop := serve()
	defer stop()
	ctx := context.Background()
	pool, err := mcpool.Open(ctx, mcpool.Config{Endpoint: endpoint})
	check(err)
	defer pool.Close(ctx)

	err = pool.Do(ctx, func(ctx context.Context, s *mcpool.Session) error {
		for tool, err := range s.Tools(ctx) {
			if err != nil {
				return err
			}
			fmt.Println(tool.Name)
		}
		return nil
	})
	check(err)
	// Output:
	// count
	// header
	// search
}

// Headers go with one call, and with no other.
func ExampleWithHeader() {
	endpoint, stop := serve()
	defer stop()
	ctx := context.Background()
	pool, err := mcpool.Open(ctx, mcpool.Config{Endpoint: endpoint})
	check(err)
	defer pool.Close(ctx)

	args := map[string]any{"name": "X-Request-Id"}
	res, err := pool.Call(ctx, "header", args, mcpool.WithHeader("X-Request-Id", "42"))
	check(err)
	fmt.Printf("%q\n", mcpool.ResultText(res))

	res, err = pool.Call(ctx, "header", args)
	check(err)
	fmt.Printf("%q\n", mcpool.ResultText(res))
	// Output:
	// "42"
	// ""
}

// A tenant has sessions, lists and credentials of its own.
func ExampleWithIdentity() {
	endpoint, stop := serve()
	defer stop()
	ctx := context.Background()

	pool, err := mcpool.Open(ctx, mcpool.Config{
		Endpoint: endpoint,
		Auth: mcpool.TokenFunc(func(_ context.Context, id auth.Identity) (auth.Secret, error) {
			return auth.NewSecret("token-of-" + id.ID), nil
		}),
		Identity: auth.Identity{ID: "gateway"},
	})
	check(err)
	defer pool.Close(ctx)

	for _, tenant := range []string{"alice", "bob"} {
		res, err := pool.Call(ctx, "header", map[string]any{"name": "Authorization"},
			mcpool.WithIdentity(auth.Identity{ID: tenant}))
		check(err)
		fmt.Println(mcpool.ResultText(res))
	}
	fmt.Println(pool.Stats().Identities, "identities")
	// Output:
	// Bearer token-of-alice
	// Bearer token-of-bob
	// 3 identities
}

// The same key comes back to the same session while it is there.
func ExampleWithAffinity() {
	endpoint, stop := serve()
	defer stop()
	ctx := context.Background()
	pool, err := mcpool.Open(ctx, mcpool.Config{Endpoint: endpoint})
	check(err)
	defer pool.Close(ctx)

	for range 3 {
		res, err := pool.Call(ctx, "count", nil, mcpool.WithAffinity("conversation-7"))
		check(err)
		fmt.Println(mcpool.ResultText(res))
	}
	// Output:
	// 1
	// 2
	// 3
}

// A call that may have run is sent again only where the tool says that it does no
// harm, and the caller allows it.
func ExampleWithReplay() {
	endpoint, stop := serve()
	defer stop()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pool, err := mcpool.Open(ctx, mcpool.Config{Endpoint: endpoint})
	check(err)
	defer pool.Close(ctx)

	res, err := pool.Call(ctx, "search", map[string]any{"query": "gophers"}, mcpool.WithReplay(mcpool.ReplayReadOnly))
	var throttled *mcpool.ThrottledError
	switch {
	case errors.Is(err, mcpool.ErrMayHaveRun):
		fmt.Println("ask the user before trying again")
	case errors.As(err, &throttled):
		fmt.Println("come back in", throttled.RetryAfter)
	case err != nil:
		fmt.Println("it did not run:", err)
	default:
		fmt.Println(mcpool.ResultText(res))
	}
	// Output: 3 results for gophers
}

// Hooks see every call and every session.
func ExampleHooks() {
	endpoint, stop := serve()
	defer stop()
	ctx := context.Background()

	pool, err := mcpool.Open(ctx, mcpool.Config{
		Endpoint: endpoint,
		Hooks: mcpool.Hooks{
			CallEnd: func(_ context.Context, e mcpool.CallEnd) {
				fmt.Println(e.Method, e.Tool, e.Identity, e.Attempts, e.Err)
			},
		},
	})
	check(err)
	defer pool.Close(ctx)

	_, err = pool.Call(ctx, "count", nil)
	check(err)
	// Output: tools/call count default 1 <nil>
}

// Lists come from memory until somebody says that they changed.
func ExamplePool_ListTools() {
	endpoint, stop := serve()
	defer stop()
	ctx := context.Background()
	pool, err := mcpool.Open(ctx, mcpool.Config{Endpoint: endpoint, NoListener: true})
	check(err)
	defer pool.Close(ctx)

	for range 3 {
		tools, err := pool.ListTools(ctx)
		check(err)
		fmt.Println(len(tools), "tools,", pool.Stats().ListFetches, "fetched")
	}
	pool.InvalidateTools()
	tools, err := pool.ListTools(ctx)
	check(err)
	fmt.Println(len(tools), "tools,", pool.Stats().ListFetches, "fetched")
	// Output:
	// 3 tools, 1 fetched
	// 3 tools, 1 fetched
	// 3 tools, 1 fetched
	// 3 tools, 2 fetched
}

// The tools as any LLM API takes them, and the way back from its answer.
func ExamplePool_Functions() {
	endpoint, stop := serve()
	defer stop()
	ctx := context.Background()
	pool, err := mcpool.Open(ctx, mcpool.Config{Endpoint: endpoint})
	check(err)
	defer pool.Close(ctx)

	functions, err := pool.Functions(ctx)
	check(err)
	var openAI, anthropic []any
	for _, f := range functions {
		openAI = append(openAI, map[string]any{"type": "function", "function": f})
		anthropic = append(anthropic, map[string]any{"name": f.Name, "description": f.Description, "input_schema": f.Parameters})
	}
	gemini := []any{map[string]any{"functionDeclarations": functions}}
	fmt.Println(len(openAI), len(anthropic), len(gemini))

	// What the model answered.
	name, arguments := "search", `{"query":"gophers"}`
	res, err := pool.CallFunction(ctx, name, json.RawMessage(arguments))
	var wrong *mcpool.ArgumentError
	switch {
	case errors.Is(err, mcpool.ErrNoFunction), errors.As(err, &wrong):
		fmt.Println("for the model to mend:", err)
	case err != nil:
		fmt.Println(err)
	default:
		fmt.Println("for the model to read:", mcpool.ResultText(res))
	}
	// Output:
	// 3 3 1
	// for the model to read: 3 results for gophers
}

// The tools for an agent of langchaingo, whose tools.Tool is this interface.
func ExamplePool_LangChainTools() {
	type Tool interface {
		Name() string
		Description() string
		Call(ctx context.Context, input string) (string, error)
	}
	endpoint, stop := serve()
	defer stop()
	ctx := context.Background()
	pool, err := mcpool.Open(ctx, mcpool.Config{Endpoint: endpoint})
	check(err)
	defer pool.Close(ctx)

	list, err := pool.LangChainTools(ctx, mcpool.WithTimeout(time.Minute))
	check(err)
	tools := make(map[string]Tool)
	for _, t := range list {
		tools[t.Name()] = t
	}
	// The tool takes one string, so the agent may give just that.
	answer, err := tools["search"].Call(ctx, "gophers")
	check(err)
	fmt.Println(answer)
	description, _, _ := strings.Cut(tools["search"].Description(), ", or")
	fmt.Println(description)
	// Output:
	// 3 results for gophers
	// Search the archive.
	// Input: query as plain text
}

// Wrong arguments are found before anything is sent.
func ExampleArgumentError() {
	endpoint, stop := serve()
	defer stop()
	ctx := context.Background()

	pool, err := mcpool.Open(ctx, mcpool.Config{Endpoint: endpoint, CheckArguments: true})
	check(err)
	defer pool.Close(ctx)

	_, err = pool.Call(ctx, "search", map[string]any{"query": 7})
	if wrong, ok := errors.AsType[*mcpool.ArgumentError](err); ok {
		fmt.Println(wrong.Tool, wrong.Path, wrong.Problem)
	}
	// Output: search /query must be a string, not an integer
}

// A subscription lasts until it is closed, whatever becomes of the server.
func ExamplePool_Subscribe() {
	server := newServer()
	ctx := context.Background()
	pool, err := mcpool.Open(ctx, mcpool.Config{Transport: mcpool.InMemory(server)})
	check(err)
	defer pool.Close(ctx)

	updates := make(chan mcpool.ResourceUpdate)
	sub, err := pool.Subscribe(ctx, "archive://news", func(ctx context.Context, u mcpool.ResourceUpdate) {
		select {
		case updates <- u: // u.Missed: it may have changed while nobody could hear it
		case <-ctx.Done():
		}
	})
	if err != nil {
		fmt.Println(err) // errors.Is(err, mcpool.ErrNotOffered): the server has no subscriptions
		return
	}
	defer sub.Close()

	check(server.ResourceUpdated(ctx, &mcp.ResourceUpdatedNotificationParams{URI: "archive://news"}))
	fmt.Println((<-updates).URI, "changed")
	// Output: archive://news changed
}
