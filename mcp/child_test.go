package mcpool

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// playChild is the test binary as a server on stdio.
func playChild(part string) int {
	switch part {
	case "crash":
		fmt.Fprintln(os.Stderr, "first line")
		fmt.Fprintln(os.Stderr, "the config is wrong: "+os.Getenv("SECRET"))
		return 3
	case "sleep":
		time.Sleep(time.Hour)
		return 0
	case "stubborn", "leaver": // has a child that would outlive it; the one ends only when it is killed
		grandchild := exec.Command(os.Args[0])
		grandchild.Env = append(os.Environ(), childEnv+"=sleep")
		if err := grandchild.Start(); err != nil {
			return 1
		}
		_ = os.WriteFile(os.Getenv("PIDFILE"), fmt.Append(nil, grandchild.Process.Pid), 0o600)
		if part == "stubborn" {
			signal.Ignore(syscall.SIGPIPE, syscall.SIGTERM) // what it says last, nobody reads
		}
		serveStdio()
		if part == "stubborn" {
			time.Sleep(time.Hour)
		}
		return 0
	default:
		serveStdio()
		return 0
	}
}

func serveStdio() {
	m := mcp.NewServer(&mcp.Implementation{Name: "child", Version: "1"}, nil)
	calls := 0
	mcp.AddTool(m, &mcp.Tool{Name: "pid"}, func(context.Context, *mcp.CallToolRequest, textArgs) (*mcp.CallToolResult, any, error) {
		calls++
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: fmt.Sprint(os.Getpid())}}}, nil, nil
	})
	mcp.AddTool(m, &mcp.Tool{Name: "cwd"}, func(context.Context, *mcp.CallToolRequest, textArgs) (*mcp.CallToolResult, any, error) {
		dir, err := os.Getwd()
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: dir}}}, nil, err
	})
	mcp.AddTool(m, &mcp.Tool{Name: "die"}, func(context.Context, *mcp.CallToolRequest, textArgs) (*mcp.CallToolResult, any, error) {
		fmt.Fprintln(os.Stderr, "dying as told")
		os.Exit(7)
		return nil, nil, nil
	})
	_ = m.Run(context.Background(), &mcp.StdioTransport{})
}
