package host

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/go-mcpool/mcpool/sdk/auth"
	authv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/auth/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
)

// What is larger than a message may be has to be found out; what is counted too much costs
// a second look.
func TestTheSizeOfASignatureIsNeverUnderestimated(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	text := func() string {
		return strings.Repeat("x", []int{0, 1, 20, 127, 128, 300, 16_383, 16_384}[r.IntN(8)])
	}
	for range 300 {
		req := auth.Request{
			Identity: auth.Identity{ID: text(), Attrs: map[string]string{}},
			Target:   auth.Target{Name: text(), URL: text(), Resource: text()},
		}
		hr := auth.HTTPRequest{Method: "POST", URL: text(), Host: text(), Header: http.Header{}, ContentLength: r.Int64()}
		for range r.IntN(4) {
			req.Identity.Attrs[text()] = text()
			req.Scopes = append(req.Scopes, text())
			hr.Header[text()] = make([]string, r.IntN(5))
		}
		call := &authv1.SignCall{
			Instance: text(), Request: wire.RequestTo(req), Http: wire.HTTPRequestTo(hr), Traceparent: text(),
			Timeout: durationpb.New(time.Duration(r.Int64())),
		}
		if rough, exact := signSize(call), proto.Size(call); rough < exact || rough > exact+4000 {
			t.Fatalf("a message of %d bytes was taken for one of %d (seed %d)", exact, rough, seed)
		}
	}
}
