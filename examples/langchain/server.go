package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// serve runs an MCP server with tools about hotels on loopback.
func serve() (endpoint string, stop func(), err error) {
	server := mcp.NewServer(&mcp.Implementation{Name: "hotels", Version: "1"}, nil)
	addTools(server)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	web := &http.Server{
		Handler:           mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil),
		ReadHeaderTimeout: 10 * time.Second,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = web.Serve(listener) // until Close
	}()
	return "http://" + listener.Addr().String(), func() {
		for session := range server.Sessions() {
			_ = session.Close() // the client has gone
		}
		_ = web.Close()
		<-done
	}, nil
}

type hotelArgs struct {
	Hotel string `json:"hotel" jsonschema:"name of the hotel"`
}

type multiplyArgs struct {
	A float64 `json:"a"`
	B float64 `json:"b"`
}

func addTools(server *mcp.Server) {
	mcp.AddTool(server, &mcp.Tool{Name: "hotels.price", Description: "The price of one night."},
		func(_ context.Context, _ *mcp.CallToolRequest, a hotelArgs) (*mcp.CallToolResult, any, error) {
			price, ok := map[string]int{"Seaside": 120, "Grand": 300}[a.Hotel]
			if !ok {
				return nil, nil, errors.New("no hotel of that name: there are Seaside and Grand")
			}
			return said(fmt.Sprint(price))
		})
	mcp.AddTool(server, &mcp.Tool{Name: "multiply", Description: "Multiply two numbers."},
		func(_ context.Context, _ *mcp.CallToolRequest, a multiplyArgs) (*mcp.CallToolResult, any, error) {
			return said(fmt.Sprint(a.A * a.B))
		})
}

func said(text string) (*mcp.CallToolResult, any, error) {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}, nil, nil
}
