package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
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

// The suite mcp measures clients. Their servers over HTTP are another process,
// this program again, so that neither their allocations nor their garbage count.

// serverEnv makes this program a server; its value is the address.
const serverEnv = "MCPOOL_BENCH_SERVER"

// The protocol versions on either side of the border between the eras.
const (
	versionOld  = "2025-11-25"
	version2026 = "2026-07-28"
)

type echoArgs struct {
	Text string `json:"text,omitempty" jsonschema:"what to say"`
}

// newMCPServer returns a server with the tools that the suite calls, and some
// more, so that listing them is no empty act.
func newMCPServer() *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "bench", Version: "1"}, nil)
	add := func(name string, takes time.Duration) {
		mcp.AddTool(s, &mcp.Tool{Name: name, Description: "says what it is told", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}},
			func(_ context.Context, _ *mcp.CallToolRequest, a echoArgs) (*mcp.CallToolResult, any, error) {
				time.Sleep(takes)
				return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: a.Text}}}, nil, nil
			})
	}
	add("echo", 0)
	add("slow", 50*time.Millisecond)
	for i := range 8 {
		add(fmt.Sprintf("other-%d", i), 0)
	}
	return s
}

// runServer serves at addr: /old and /2026, the old one again at /noted, where
// /arrivals tells when initialize requests came. It ends when its stdin does.
func runServer(addr string) error {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return err
	}
	m := newMCPServer()
	handler := func(stateless bool) http.Handler {
		return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return m }, &mcp.StreamableHTTPOptions{Stateless: stateless})
	}
	noted := &arrivals{next: handler(false), began: time.Now()}
	mux := http.NewServeMux()
	mux.Handle("/old", handler(false))
	mux.Handle("/2026", handler(true))
	mux.Handle("/noted", noted)
	mux.HandleFunc("/arrivals", noted.tell)
	mux.HandleFunc(echoPath, serveEcho)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()
	fmt.Println(l.Addr())
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// arrivals notes when initialize requests came.
type arrivals struct {
	next  http.Handler
	began time.Time

	mu sync.Mutex
	at []time.Duration // guarded by mu; since began
}

func (a *arrivals) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if bytes.Contains(body, []byte(`"method":"initialize"`)) {
		a.mu.Lock()
		a.at = append(a.at, time.Since(a.began))
		a.mu.Unlock()
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	a.next.ServeHTTP(w, r)
}

func (a *arrivals) tell(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := json.NewEncoder(w).Encode(a.at); err != nil {
		panic(http.ErrAbortHandler) // the client finds out
	}
}

// remote is that other process, seen from here.
type remote struct {
	addr  string
	cmd   *exec.Cmd
	stdin io.Closer
}

// startRemote starts a server at addr, where port 0 is any.
func startRemote(addr string) (*remote, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.Background(), self) //nolint:gosec // this program
	cmd.Env = append(os.Environ(), serverEnv+"="+addr)
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
	return &remote{addr: strings.TrimSpace(line), cmd: cmd, stdin: stdin}, nil
}

func (r *remote) url(path string) string { return "http://" + r.addr + "/" + path }

// kill ends the server as a crash would.
func (r *remote) kill() error {
	_ = r.cmd.Process.Kill() // it may be gone
	_ = r.cmd.Wait()         // killed, as was wanted
	_ = r.stdin.Close()      // it was the server's
	return nil
}
