// Command langchain has an agent of langchaingo use the tools of an MCP server
// through a pool: the real library, a real server on loopback, and its ReAct loop
// of thought, action and observation.
//
// There is no language model here: one that follows a script stands in for it, so
// that the run is the same each time and needs no network. It decides by what the
// agent shows it. Any llms.Model of langchaingo goes in its place.
//
//	cd examples/langchain && GOWORK=off go run .
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/tmc/langchaingo/agents"
	"github.com/tmc/langchaingo/chains"
	"github.com/tmc/langchaingo/llms"
	"github.com/tmc/langchaingo/tools"

	mcpool "github.com/go-mcpool/mcpool/mcp"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Stdout); err != nil {
		cancel()
		log.Fatal(err)
	}
}

// question is what the agent is asked.
const question = "What do 3 nights at the Seaside cost?"

// run starts the server and has an agent answer the question.
func run(ctx context.Context, w io.Writer) error {
	endpoint, stop, err := serve()
	if err != nil {
		return err
	}
	defer stop()
	pool, err := mcpool.Open(ctx, mcpool.Config{Endpoint: endpoint, CheckArguments: true})
	if err != nil {
		return err
	}
	defer func() { _ = pool.Close(ctx) }() // nothing is under way any more

	answer, err := ask(ctx, pool, &script{out: w}, question)
	if err != nil {
		return err
	}
	st := pool.Stats()
	fmt.Fprintf(w, "\nanswer: %s\n%d calls on %d sessions, %d errors\n", answer, st.Calls, st.Sessions.Opened, st.CallErrors)
	return nil
}

// ask has an agent answer a question with the tools of the pool.
func ask(ctx context.Context, pool *mcpool.Pool, model llms.Model, question string) (string, error) {
	// snippet:begin tools
	list, err := pool.LangChainTools(ctx)
	if err != nil {
		return "", err
	}
	var all []tools.Tool
	for _, t := range list {
		all = append(all, t)
	}
	agent := agents.NewOneShotAgent(model, all, agents.WithMaxIterations(8))
	answer, err := chains.Run(ctx, agents.NewExecutor(agent), question)
	// snippet:end tools
	if err != nil {
		return "", fmt.Errorf("the agent: %w", err)
	}
	return answer, nil
}
