package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/tmc/langchaingo/llms"
)

// script is an llms.Model without a model: it reads what the agent shows it and goes
// on as a model might, mistakes included.
type script struct {
	out     io.Writer
	prompts []string // what it was shown, for tests
}

var _ llms.Model = (*script)(nil)

// GenerateContent answers the last prompt.
func (s *script) GenerateContent(_ context.Context, messages []llms.MessageContent, _ ...llms.CallOption) (*llms.ContentResponse, error) {
	var prompt strings.Builder
	for _, m := range messages {
		for _, p := range m.Parts {
			if text, ok := p.(llms.TextContent); ok {
				prompt.WriteString(text.Text)
			}
		}
	}
	s.prompts = append(s.prompts, prompt.String())
	answer, err := next(prompt.String())
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(s.out, answer)
	return &llms.ContentResponse{Choices: []*llms.ContentChoice{{Content: answer}}}, nil
}

// Call is GenerateContent for one prompt.
func (s *script) Call(ctx context.Context, prompt string, options ...llms.CallOption) (string, error) {
	return llms.GenerateFromSinglePrompt(ctx, s, prompt, options...)
}

// next says what follows from the observations so far.
func next(prompt string) (string, error) {
	price := toolNamed(prompt, "hotels_price")
	if price == "" || toolNamed(prompt, "multiply") == "" {
		return "", errors.New("the script needs tools that it was not shown")
	}
	switch seen := observations(prompt); {
	case len(seen) == 0:
		return "Thought: I need the price of a night.\nAction: " + price + "\nAction Input: Sea Side", nil
	case strings.Contains(seen[len(seen)-1], "there are Seaside"):
		return "Thought: I wrote the name wrongly.\nAction: " + price + "\nAction Input: {\"hotel\": \"Seaside\"}", nil
	case seen[len(seen)-1] == "120":
		return "Thought: Three times that.\nAction: multiply\nAction Input: {\"a\": \"three\", \"b\": 120}", nil
	case strings.Contains(seen[len(seen)-1], "/a must be a number"):
		return "Thought: In digits.\nAction: multiply\nAction Input: ```json\n{\"a\": 3, \"b\": 120}\n```", nil
	default:
		return "Thought: I now know the final answer\nFinal Answer: " + seen[len(seen)-1], nil
	}
}

// toolNamed finds the name of a tool in the list that the agent shows.
func toolNamed(prompt, prefix string) string {
	for line := range strings.Lines(prompt) {
		name, _, ok := strings.Cut(strings.TrimPrefix(line, "- "), ":")
		if ok && strings.HasPrefix(line, "- ") && strings.HasPrefix(name, prefix) {
			return name
		}
	}
	return ""
}

// observations returns what the tools have answered so far.
func observations(prompt string) (list []string) {
	_, begun, _ := strings.Cut(prompt, "Question: "+question)
	for line := range strings.Lines(begun) {
		if text, ok := strings.CutPrefix(line, "Observation: "); ok {
			list = append(list, strings.TrimSpace(text))
		}
	}
	return list
}
