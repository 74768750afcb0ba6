package sigv4_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/go-mcpool/mcpool/plugins/auth/sigv4"
	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/auth/authhttp"
)

// An HTTP client whose requests are signed. Without AWS, the keys come from the
// default chain.
func ExampleNew() {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, signed, _ := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
		signed, _, _ = strings.Cut(signed, ",")
		fmt.Println(r.Method, r.RequestURI, signed)
	}))
	defer server.Close()

	provider, err := sigv4.New(sigv4.Config{
		Service: "bedrock-agentcore",
		Region:  "eu-central-1",
		AWS:     &aws.Config{Credentials: credentials.NewStaticCredentialsProvider("AKIDEXAMPLE", "example", "")},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer provider.Close(context.Background())
	transport, err := authhttp.New(authhttp.Config{
		Provider: provider,
		Request:  auth.Request{Target: auth.Target{Name: "tools", URL: server.URL}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	resp, err := client.Post(server.URL+"/mcp?z=1&a=b+c", "application/json", strings.NewReader("{}"))
	if err != nil {
		fmt.Println(err)
		return
	}
	resp.Body.Close()
	// Output: POST /mcp?a=b%20c&z=1 content-length;content-type;host;x-amz-date
}
