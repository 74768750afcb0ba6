package mcpool_test

//lint:file-ignore SA4006,SA5001 errors are left out to show the calls

import (
	"context"
	"fmt"

	mcpool "github.com/go-mcpool/mcpool/mcp"
	"github.com/go-mcpool/mcpool/sdk/auth"
)

// The API on one page, for the README. It is compiled, and not run.
//
//nolint:ineffassign,staticcheck,wastedassign // errors are left out to show the calls
func Example_readme() {
	var ctx context.Context
	var args map[string]any
	var work func(ctx context.Context, s *mcpool.Session) error
	var changed mcpool.UpdateFunc
	// snippet:begin readme
	pool, err := mcpool.Open(ctx, mcpool.Config{Endpoint: "https://tools.example.com/mcp"})
	defer pool.Close(ctx)

	res, err := pool.Call(ctx, "search", args,
		mcpool.WithIdentity(auth.Identity{ID: "alice"}), mcpool.WithHeader("X-Trace", "7"))
	err = pool.Do(ctx, work, mcpool.WithPin("conversation-42")) // a session for work alone
	tools, err := pool.ListTools(ctx)                           // from memory, and current
	functions, err := pool.Functions(ctx)                       // for any LLM API; pool.CallFunction is the way back
	agentTools, err := pool.LangChainTools(ctx)                 // for langchaingo
	sub, err := pool.Subscribe(ctx, "file:///report", changed)  // outlives restarts of the server
	// snippet:end readme
	fmt.Println(res, tools, functions, agentTools, sub, err)
}
