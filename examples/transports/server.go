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
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// serveFlag is the argument that makes this program the server. It is an argument and
// not a variable because sshd hands no environment on.
const serveFlag = "-serve"

// largest is what the server takes for one message over WebSocket.
const largest = 16 << 20

// runServer is the other process: the server over its stdio, or over HTTP and
// WebSocket at an address. What it does is noted below dir, which all of its
// processes share.
func runServer(how, dir, leash string) error {
	notes := notebook(dir)
	m := newTools(notes)
	if how == "stdio" {
		if err := onLeash(leash, func(name string) { learn(m, name) }); err != nil {
			return err
		}
		return m.Run(context.Background(), &mcp.StdioTransport{})
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", how)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	for path, stateless := range map[string]bool{"/" + versionOld: false, "/" + versionModern: true} {
		mux.Handle(path, mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return m }, &mcp.StreamableHTTPOptions{Stateless: stateless}))
	}
	mux.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) { serveWebSocket(m, w, r) })
	fmt.Println(l.Addr())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { // it ends when its stdin does, so that it never outlives who started it
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// serveWebSocket gives the server one session over a WebSocket.
func serveWebSocket(m *mcp.Server, w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"mcp"}})
	if err != nil {
		return // Accept has answered
	}
	defer ws.CloseNow() //nolint:errcheck // it may be closed already
	ws.SetReadLimit(largest)
	line := websocket.NetConn(r.Context(), ws, websocket.MessageText)
	session, err := m.Connect(r.Context(), &mcp.IOTransport{Reader: line, Writer: line}, nil)
	if err == nil {
		_ = session.Wait() // however it ended, the WebSocket ends with it
	}
}

// notebook is the folder where the server's processes note what they do.
type notebook string

func (n notebook) ledger() string { return filepath.Join(string(n), "ran") }

// ran notes that work was done: in one write, whose place no other process shares.
func (n notebook) ran(name string) error {
	f, err := os.OpenFile(n.ledger(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // the folder is given by whoever runs this
	if err != nil {
		return err
	}
	_, err = f.WriteString(name + "\n")
	return errors.Join(err, f.Close())
}

type textArgs struct {
	Text string `json:"text,omitempty" jsonschema:"what to say"`
}

type sumArgs struct {
	A int `json:"a"`
	B int `json:"b"`
}

type sum struct {
	Sum int `json:"sum"`
}

// newTools returns the server, which is the same however it is reached.
func newTools(notes notebook) *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "transports", Version: "1"}, nil)
	readOnly := &mcp.ToolAnnotations{ReadOnlyHint: true}
	add := func(name, about string, hints *mcp.ToolAnnotations, f func(ctx context.Context, r *mcp.CallToolRequest, a textArgs) (string, error)) {
		mcp.AddTool(s, &mcp.Tool{Name: name, Description: about, Annotations: hints},
			func(ctx context.Context, r *mcp.CallToolRequest, a textArgs) (*mcp.CallToolResult, any, error) {
				text, err := f(ctx, r, a)
				if err != nil {
					return nil, nil, err
				}
				return textResult(text), nil, nil
			})
	}
	add("echo", "says what it is told", readOnly, func(_ context.Context, _ *mcp.CallToolRequest, a textArgs) (string, error) { return a.Text, nil })
	add("fail", "fails", readOnly, func(_ context.Context, _ *mcp.CallToolRequest, a textArgs) (string, error) {
		return "", errors.New("the tool failed: " + a.Text)
	})
	add("book", "books what its text begins with, and notes each time that it does", nil,
		func(_ context.Context, _ *mcp.CallToolRequest, a textArgs) (string, error) {
			name, _, _ := strings.Cut(a.Text, " ")
			return name, notes.ran(name)
		})
	add("progress", "tells of progress", readOnly, func(ctx context.Context, r *mcp.CallToolRequest, a textArgs) (string, error) {
		return a.Text, r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: 1, Message: a.Text})
	})
	add("hang", "ends when it is cancelled, and notes that", readOnly, func(ctx context.Context, _ *mcp.CallToolRequest, a textArgs) (string, error) {
		if err := notes.ran(a.Text + " began"); err != nil {
			return "", err
		}
		<-ctx.Done()
		return "", notes.ran(a.Text + " ended")
	})
	add("learn", "adds a tool", nil, func(_ context.Context, _ *mcp.CallToolRequest, a textArgs) (string, error) {
		learn(s, a.Text)
		return a.Text, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "add", Description: "adds two numbers", Annotations: readOnly},
		func(_ context.Context, _ *mcp.CallToolRequest, a sumArgs) (*mcp.CallToolResult, sum, error) {
			return nil, sum{a.A + a.B}, nil
		})
	mcp.AddTool(s, &mcp.Tool{Name: "ask", Description: "asks the user, and a model, and says what both said", Annotations: readOnly}, ask)
	s.AddPrompt(&mcp.Prompt{Name: "greet", Description: "greets"}, func(context.Context, *mcp.GetPromptRequest) (*mcp.GetPromptResult, error) {
		return &mcp.GetPromptResult{Description: "a greeting", Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: "hello"}}}}, nil
	})
	s.AddResource(&mcp.Resource{Name: "note", URI: "test://note"}, func(context.Context, *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
		return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: "test://note", Text: "written"}}}, nil
	})
	return s
}

// learn adds a tool, of which the server tells its clients.
func learn(s *mcp.Server, name string) {
	mcp.AddTool(s, &mcp.Tool{Name: name}, func(context.Context, *mcp.CallToolRequest, textArgs) (*mcp.CallToolResult, any, error) {
		return textResult(""), nil, nil
	})
}

func textResult(text string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}
}

// serverProcess is the server over HTTP and WebSocket, seen from here.
type serverProcess struct {
	addr  string
	cmd   *exec.Cmd
	stdin io.Closer
	once  sync.Once
}

func startServer(ctx context.Context, self, dir string) (*serverProcess, error) {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), self, serveFlag, "127.0.0.1:0", dir, "") //nolint:gosec // this program
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

// close ends the server.
func (s *serverProcess) close() {
	s.once.Do(func() {
		_ = s.stdin.Close()
		_ = s.cmd.Process.Kill() // it may be gone
		_ = s.cmd.Wait()         // killed, as was wanted
	})
}
