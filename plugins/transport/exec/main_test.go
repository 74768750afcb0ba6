package exec

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"go.uber.org/goleak"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/plugintest"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// childEnv makes the test binary play a part.
const childEnv = "MCPOOL_TEST_CHILD"

func TestMain(m *testing.M) {
	// With the race detector each child would wait a second before it exits.
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	if len(os.Args) == 2 && os.Args[1] == "plugintest-peer" {
		plugintest.PeerLines(os.Stdin, os.Stdout)
		return
	}
	if part := os.Getenv(childEnv); part != "" {
		play(part)
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
	case "sleep":
		time.Sleep(time.Hour)
	case "half": // dies in the middle of a message
		fmt.Print("{}\n{\"half\":")
	case "deaf":
		fmt.Println(os.Getpid())
		time.Sleep(time.Hour)
	case "parent": // runs a deaf one of its own until it is killed
		d, err := New(Config{Command: []string{os.Args[0]}, Env: map[string]auth.Secret{childEnv: auth.NewSecret("deaf")}})
		if err == nil {
			var c transport.Conn
			if c, err = d.Dial(context.Background(), transport.Open{}); err == nil {
				var pid []byte
				pid, err = c.Receive(context.Background())
				fmt.Printf("%s\n", pid)
				time.Sleep(time.Hour)
			}
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	case "crash":
		fmt.Fprintln(os.Stderr, "the config is wrong: "+os.Getenv("SECRET"))
		os.Exit(3)
	case "breeder": // leaves a grandchild behind
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childEnv+"=sleep")
		if err := child.Start(); err != nil {
			os.Exit(1)
		}
		_ = os.WriteFile(os.Getenv("PIDFILE"), fmt.Append(nil, child.Process.Pid), 0o600)
		serve()
	default:
		serve()
	}
}

func serve() {
	m := mcp.NewServer(&mcp.Implementation{Name: "child", Version: "1"}, nil)
	mcp.AddTool(m, &mcp.Tool{Name: "echo"}, func(_ context.Context, _ *mcp.CallToolRequest, a textArgs) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: a.Text}}}, nil, nil
	})
	_ = m.Run(context.Background(), &mcp.StdioTransport{})
}
