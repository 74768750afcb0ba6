package ssh

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"go.uber.org/goleak"

	"github.com/go-mcpool/mcpool/sdk/plugintest"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "play" { // sshd hands no environment on
		play(os.Args[2])
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

type textArgs struct {
	Text string `json:"text,omitempty"`
}

// play is the test binary as a server on stdio.
func play(part string) {
	switch part {
	case "plugintest-peer":
		plugintest.PeerLines(os.Stdin, os.Stdout)
		return
	case "crash":
		fmt.Fprintln(os.Stderr, "the config is wrong")
		os.Exit(3)
	case "half":
		fmt.Print("{}\n{\"half\":")
		return
	case "stubborn": // prints its process id, and ignores the end of its stdin
		child := exec.Command("sleep", "3600")
		if child.Start() == nil {
			fmt.Printf("[%d,%d]\n", os.Getpid(), child.Process.Pid)
		}
		time.Sleep(time.Hour)
	}
	m := mcp.NewServer(&mcp.Implementation{Name: "remote", Version: "1"}, nil)
	mcp.AddTool(m, &mcp.Tool{Name: "echo"}, func(_ context.Context, _ *mcp.CallToolRequest, a textArgs) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: a.Text}}}, nil, nil
	})
	_ = m.Run(context.Background(), &mcp.StdioTransport{})
}
