package authhttp_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/auth/authhttp"
)

type static string

func (s static) Credentials(context.Context, auth.Request) (auth.Credentials, error) {
	return auth.Credentials{Header: http.Header{"Authorization": {"Bearer " + string(s)}}}, nil
}

func (static) Challenge(context.Context, auth.Request, auth.Challenge) (auth.Outcome, error) {
	return auth.GiveUp, nil
}

func (static) Close(context.Context) error { return nil }

func ExampleNew() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, r.Header.Get("Authorization"))
	}))
	defer server.Close()
	transport, err := authhttp.New(authhttp.Config{
		Provider: static("abc"),
		Request:  auth.Request{Target: auth.Target{URL: server.URL}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	resp, err := client.Get(server.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Print(string(body), err)
	// Output:
	// Bearer abc
	// <nil>
}
