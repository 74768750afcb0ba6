package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// runServer is the other process: one MCP server at /old for protocol versions up
// to 2025-11-25 and one at /modern for 2026-07-28. It ends when its stdin does, so
// that it never outlives who started it.
func runServer(addr string) error {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return err
	}
	old, modern := newTools(), newTools()
	mux := http.NewServeMux()
	mux.Handle("/old", mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return old }, nil))
	mux.Handle("/modern", mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return modern },
		&mcp.StreamableHTTPOptions{Stateless: true}))
	fmt.Println(l.Addr())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

type textArgs struct {
	Text string `json:"text,omitempty" jsonschema:"what to say"`
}

// newTools returns a server with tools to look at a client with.
func newTools() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "quickstart", Version: "1"}, nil)
	var mu sync.Mutex
	counts := make(map[string]int) // by session
	add := func(name, description string, readOnly bool, f func(r *mcp.CallToolRequest, a textArgs) string) {
		mcp.AddTool(s, &mcp.Tool{Name: name, Description: description, Annotations: &mcp.ToolAnnotations{ReadOnlyHint: readOnly}},
			func(_ context.Context, r *mcp.CallToolRequest, a textArgs) (*mcp.CallToolResult, any, error) {
				return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: f(r, a)}}}, nil, nil
			})
	}
	add("echo", "says what it is told", true, func(_ *mcp.CallToolRequest, a textArgs) string { return a.Text })
	add("slow", "takes 50 ms", true, func(_ *mcp.CallToolRequest, a textArgs) string {
		time.Sleep(50 * time.Millisecond)
		return a.Text
	})
	add("counter", "counts the calls on its session", false, func(r *mcp.CallToolRequest, _ textArgs) string {
		mu.Lock()
		defer mu.Unlock()
		counts[r.Session.ID()]++
		return fmt.Sprint(counts[r.Session.ID()])
	})
	add("whoami", "says who calls, and on which session", true, func(r *mcp.CallToolRequest, _ textArgs) string {
		return r.Extra.Header.Get("Authorization") + " " + r.Session.ID()
	})
	add("header", "says what a request header was", true, func(r *mcp.CallToolRequest, a textArgs) string {
		return r.Extra.Header.Get(a.Text)
	})
	add("learn", "adds a tool to the server", false, func(_ *mcp.CallToolRequest, a textArgs) string {
		mcp.AddTool(s, &mcp.Tool{Name: a.Text}, func(context.Context, *mcp.CallToolRequest, textArgs) (*mcp.CallToolResult, any, error) {
			return &mcp.CallToolResult{}, nil, nil
		})
		return "learned " + a.Text
	})
	return s
}

// serverProcess is that other process, seen from here.
type serverProcess struct {
	addr  string
	cmd   *exec.Cmd
	stdin io.Closer
}

// startServer starts the server at addr, where port 0 is any.
func startServer(ctx context.Context, addr string) (*serverProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), self, "-serve", addr) //nolint:gosec // this program
	cmd.Env = append(os.Environ(), "MCPOOL_QUICKSTART=serve")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		_ = cmd.Process.Kill() // it said nothing
		return nil, errors.Join(fmt.Errorf("the server did not start: %w", err), cmd.Wait())
	}
	return &serverProcess{addr: strings.TrimSpace(line), cmd: cmd, stdin: stdin}, nil
}

// kill ends the server as a crash would.
func (s *serverProcess) kill() {
	_ = s.cmd.Process.Kill() // it may be gone
	_ = s.cmd.Wait()         // killed, as was wanted
	_ = s.stdin.Close()
}
