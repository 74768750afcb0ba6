package main

import (
	"reflect"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/plugins/auth/bearer"
	"github.com/go-mcpool/mcpool/plugins/auth/oauth"
	"github.com/go-mcpool/mcpool/plugins/auth/sigv4"
	poolcloudwatch "github.com/go-mcpool/mcpool/plugins/metrics/cloudwatch"
	httpprobe "github.com/go-mcpool/mcpool/plugins/probe/http"
	"github.com/go-mcpool/mcpool/plugins/probe/toolcall"
	execwrap "github.com/go-mcpool/mcpool/plugins/transport/exec"
	"github.com/go-mcpool/mcpool/plugins/transport/ssh"
	"github.com/go-mcpool/mcpool/plugins/transport/websocket"
	"github.com/go-mcpool/mcpool/sdk/config"
)

// What an instance takes as its Config is what its plugin reads.
func TestTheConfigOfEveryLibrarySurvivesTheWayToItsPlugin(t *testing.T) {
	t.Parallel()
	for _, from := range []any{
		&bearer.Config{}, &bearer.Config{Command: bearer.Command{Args: []string{"a", "b"}, Env: []string{}, Timeout: time.Second, TTL: -1}},
		&oauth.Config{}, &oauth.Config{Grant: oauth.DeviceCode, ScopeLimit: []string{}, Timeout: 90 * time.Second, Client: oauth.Client{ID: "c"}},
		&sigv4.Config{}, &sigv4.Config{Service: "s", SessionDuration: time.Hour, SessionTags: []string{"t"}},
		&websocket.Config{}, &websocket.Config{URL: "wss://x", PingInterval: -1, TLS: websocket.TLS{ServerName: "x"}},
		&ssh.Config{}, &ssh.Config{Address: "x", Command: []string{"a"}, KeyFiles: []string{"k"}},
		&execwrap.Config{}, &execwrap.Config{Command: []string{"a"}, After: []string{"b"}},
		&poolcloudwatch.Config{}, &poolcloudwatch.Config{Namespace: "n", Dimensions: map[string]string{"a": "b"}, Resume: true},
		&toolcall.Config{}, &toolcall.Config{Tool: "t", Arguments: map[string]any{"a": []any{nil, 1.0}}, Expect: toolcall.Expect{Path: "p", Value: true}},
		&httpprobe.Config{}, &httpprobe.Config{URL: "https://x"},
	} {
		doc, err := config.Encode(from)
		if err != nil {
			t.Errorf("%T: %v", from, err)
			continue
		}
		got := reflect.New(reflect.TypeOf(from).Elem()).Interface()
		if err := config.Decode(doc, got); err != nil || !reflect.DeepEqual(got, from) {
			t.Errorf("%T became %s, then %+v, %v", from, doc, got, err)
		}
	}
}
