//nolint:staticcheck // sampling is deprecated, and still spoken
package mcpool

//lint:file-ignore SA1019 sampling is deprecated, and still spoken

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// addSampling adds tools that ask the client: for a sample, or for a sample and
// what the user says.
func (s *server) addSampling() {
	s.mu.Lock()
	m := s.mcp
	s.mu.Unlock()
	for _, name := range []string{"sample", "both"} {
		mcp.AddTool(m, &mcp.Tool{Name: name}, func(_ context.Context, r *mcp.CallToolRequest, a textArgs) (*mcp.CallToolResult, any, error) {
			asked := mcp.InputRequestMap{"s": &mcp.CreateMessageParams{
				MaxTokens: 10,
				Messages:  []*mcp.SamplingMessage{{Role: "user", Content: &mcp.TextContent{Text: a.Text}}},
			}}
			if name == "both" {
				asked["q"] = &mcp.ElicitParams{Message: a.Text, RequestedSchema: map[string]any{
					"type": "object", "properties": map[string]any{"answer": map[string]any{"type": "string"}},
				}}
			}
			var got string
			switch sample := r.Params.InputResponses["s"].(type) {
			case *mcp.CreateMessageResult:
				got = textOf(sample.Content)
			case *mcp.CreateMessageWithToolsResult:
				for _, c := range sample.Content {
					got += textOf(c)
				}
			default:
				return &mcp.CallToolResult{InputRequests: asked}, nil, nil
			}
			if answer, ok := r.Params.InputResponses["q"].(*mcp.ElicitResult); ok {
				got += " " + fmt.Sprint(answer.Content["answer"])
			}
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: got}}}, nil, nil
		})
	}
}

func textOf(c mcp.Content) string {
	if t, ok := c.(*mcp.TextContent); ok {
		return t.Text
	}
	return fmt.Sprintf("%T", c)
}

// answering says back what was asked, after meeting has seen everybody.
func answering(t *testing.T, want string, meeting *sync.WaitGroup) SampleFunc {
	return func(_ context.Context, r *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
		meeting.Done()
		meeting.Wait() // all are being asked at once
		if got := textOf(r.Params.Messages[0].Content); got != want {
			t.Errorf("the caller of %q was asked %q", want, got)
		}
		return &mcp.CreateMessageResult{Model: "test", Role: "assistant", Content: &mcp.TextContent{Text: "sample " + want}}, nil
	}
}

func TestASamplingRequestReachesTheCallerThatAsked(t *testing.T) {
	t.Parallel()
	for _, e := range []era{oldEra, modernEra, sseEra} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			s := newServer(t, e)
			s.addSampling()
			p := s.open(func(c *Config) { c.SSE = e == sseEra })
			var wg, asked sync.WaitGroup
			asked.Add(6)
			for i := range 6 {
				wg.Go(func() {
					want := fmt.Sprint(i)
					res, err := p.Call(t.Context(), "sample", map[string]any{"text": want}, WithSampling(answering(t, want, &asked)))
					if err != nil || text(t, res, err) != "sample "+want {
						t.Errorf("asked %q, got %v (%v)", want, res, err)
					}
				})
			}
			wg.Wait()
			if res, err := p.Call(t.Context(), "sample", map[string]any{"text": "x"}); err == nil && !res.IsError {
				t.Error("a call without a handler was answered")
			}
			// The sessions that can be asked are lent to those who answer, and to nobody else.
			if res, err := p.Call(t.Context(), "echo", map[string]any{"text": "x"}); err != nil || text(t, res, err) != "x" {
				t.Errorf("a plain call: %v, %v", res, err)
			}
		})
	}
}

func TestACallCanAnswerSamplingAndElicitation(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		s.addSampling()
		p := s.open(nil)
		var wg, asked sync.WaitGroup
		asked.Add(2 * 4)
		for i := range 4 {
			wg.Go(func() {
				want := fmt.Sprint(i)
				res, err := p.Call(t.Context(), "both", map[string]any{"text": want},
					WithSampling(answering(t, want, &asked)),
					WithElicitation(func(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
						asked.Done()
						asked.Wait()
						return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"answer": "user " + r.Params.Message}}, nil
					}))
				if err != nil || text(t, res, err) != "sample "+want+" user "+want {
					t.Errorf("asked %q, got %v (%v)", want, res, err)
				}
			})
		}
		wg.Wait()
	})
}

func TestAnErrorOfAHandlerReachesTheTool(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		s.addSampling()
		p := s.open(nil)
		res, err := p.Call(t.Context(), "sample", nil,
			WithSampling(func(context.Context, *mcp.CreateMessageRequest) (*mcp.CreateMessageResult, error) {
				return nil, errors.New("no model here")
			}))
		if err == nil && !res.IsError {
			t.Errorf("got %v", res)
		}
		// The session is none the worse for it.
		var asked sync.WaitGroup
		asked.Add(1)
		res, err = p.Call(t.Context(), "sample", map[string]any{"text": "x"}, WithSampling(answering(t, "x", &asked)))
		if err != nil || text(t, res, err) != "sample x" {
			t.Errorf("the next call: %v, %v", res, err)
		}
	})
}

func TestALeaseAnswersWithTheHandlersItWasTakenWith(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		s.addSampling()
		p := s.open(nil)
		var asked sync.WaitGroup
		asked.Add(1)
		l, err := p.Acquire(t.Context(), WithSampling(answering(t, "x", &asked)))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Release()
		res, err := l.CallTool(t.Context(), &mcp.CallToolParams{Name: "sample", Arguments: map[string]any{"text": "x"}})
		if err != nil || text(t, res, err) != "sample x" {
			t.Errorf("got %v, %v", res, err)
		}
	})
}

// TestCallsBesideEachOtherOnALeaseAllAnswer has one call end before the server
// asks what it wants to know for the other.
func TestCallsBesideEachOtherOnALeaseAllAnswer(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		s.addSampling()
		p := s.open(nil)
		var asked sync.WaitGroup
		asked.Add(1)
		l, err := p.Acquire(t.Context(), WithSampling(answering(t, "x", &asked)))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Release()
		arrived, release := make(chan struct{}), make(chan struct{})
		s.mu.Lock()
		m := s.mcp
		s.mu.Unlock()
		m.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
			return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
				if r, ok := req.(*mcp.CallToolRequest); ok && r.Params.Name == "sample" && len(r.Params.InputResponses) == 0 {
					close(arrived)
					<-release
				}
				return next(ctx, method, req)
			}
		})
		late := make(chan string, 1)
		go func() {
			res, err := l.CallTool(t.Context(), &mcp.CallToolParams{Name: "sample", Arguments: map[string]any{"text": "x"}})
			if err != nil {
				late <- err.Error()
				return
			}
			late <- textOf(res.Content[0])
		}()
		<-arrived
		if _, err := l.CallTool(t.Context(), callNamed("echo")); err != nil {
			t.Error(err)
		}
		close(release)
		if got := <-late; got != "sample x" {
			t.Errorf("got %q", got)
		}
	})
}
