package main

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	mcpool "github.com/go-mcpool/mcpool/mcp"
)

func TestAnAgentAnswersWithTheToolsOfThePool(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	endpoint, stop, err := serve()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	pool, err := mcpool.Open(ctx, mcpool.Config{Endpoint: endpoint, CheckArguments: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pool.Close(ctx) }()
	model := &script{out: io.Discard}
	answer, err := ask(ctx, pool, model, question)
	if err != nil || answer != "360" {
		t.Fatalf("answered %q, %v", answer, err)
	}
	if len(model.prompts) != 5 {
		t.Errorf("the model was asked %d times, want 5: a price, its correction, a product, its correction, the end", len(model.prompts))
	}
	// The agent shows the model what to give, and what went wrong.
	for _, want := range []string{
		"hotel as plain text, or a JSON object of this JSON schema",
		"Observation: Error: no hotel of that name",
		"Observation: Error: mcpool: tool multiply: argument /a must be a number, not a string",
	} {
		if !strings.Contains(model.prompts[4], want) {
			t.Errorf("the model was not shown %q:\n%s", want, model.prompts[4])
		}
	}
}

func TestRunEndsByItself(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out strings.Builder
	if err := run(ctx, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "answer: 360\n") {
		t.Errorf("it said\n%s", out.String())
	}
}
