package ssh

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"go.uber.org/goleak"

	"github.com/go-mcpool/mcpool/sdk/plugintest"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "play" { // sshd hands no environment on
		play(os.Args[2])
		os.Exit(0)
	}
	// Most of these tests wait for other processes, most of the time.
	flag.Parse()
	if n, err := strconv.Atoi(flag.Lookup("test.parallel").Value.String()); err == nil && n < 8 {
		_ = flag.Set("test.parallel", "8")
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
	case "client": // has a config on stdin, and goes on until it is killed
		var cfg Config
		err := json.NewDecoder(os.Stdin).Decode(&cfg)
		if err == nil {
			var pids []byte
			if _, pids, err = stuff(context.Background(), cfg); err == nil {
				fmt.Printf("%s\n", pids)
				time.Sleep(time.Hour)
			}
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
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

// stuff dials a command that does not read, and sends more than its pipe holds.
func stuff(ctx context.Context, cfg Config) (c transport.Conn, pids []byte, err error) {
	d, err := New(cfg)
	if err != nil {
		return nil, nil, err
	}
	if c, err = d.Dial(ctx, transport.Open{}); err != nil {
		return nil, nil, err
	}
	if pids, err = c.Receive(ctx); err != nil {
		return c, nil, err
	}
	return c, pids, c.Send(ctx, make([]byte, 1<<20))
}
