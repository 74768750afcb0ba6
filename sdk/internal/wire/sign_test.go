package wire

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/go-mcpool/mcpool/sdk/auth"
	authv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/auth/v1"
	basev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/base/v1"
)

// random makes messages whose parts are empty, short, and as long as a size takes another
// byte.
type random struct{ *rand.Rand }

func (r random) text() string {
	n := []int{0, 1, 2, 20, 119, 127, 128, 300}[r.IntN(8)]
	if r.IntN(100) == 0 {
		n = 16_380 + r.IntN(8)
	}
	return strings.Repeat("x", n) + []string{"", "é"}[r.IntN(2)]
}

func (r random) header() http.Header {
	h := http.Header{}
	for range r.IntN(4) {
		values := []string{}
		for range r.IntN(4) {
			values = append(values, r.text()+"\xff")
		}
		h[http.CanonicalHeaderKey(r.text())] = values
	}
	return h
}

func (r random) call() SignCall {
	c := SignCall{
		Instance: r.text(), Traceparent: r.text(),
		Request: auth.Request{
			Identity: auth.Identity{ID: r.text()},
			Target:   auth.Target{Name: r.text(), URL: r.text(), Resource: r.text()},
			Scopes:   [][]string{nil, {}, {""}, {r.text(), r.text()}}[r.IntN(4)],
		},
		HTTP: auth.HTTPRequest{
			Method: r.text(), URL: r.text(), Host: r.text(), Header: r.header(), ContentLength: r.Int64() - r.Int64(),
		},
	}
	for range r.IntN(3) {
		if c.Request.Identity.Attrs == nil {
			c.Request.Identity.Attrs = make(map[string]string)
		}
		c.Request.Identity.Attrs[r.text()] = r.text()
	}
	for i := range c.HTTP.BodySHA256 {
		c.HTTP.BodySHA256[i] = byte(r.Uint32())
	}
	if r.IntN(2) == 0 {
		c.Timeout = durationpb.New([]time.Duration{0, 1, -1, time.Duration(r.Int64() - r.Int64())}[r.IntN(4)])
	}
	return c
}

func read[M proto.Message](t *testing.T, data []byte, into M) M {
	t.Helper()
	if err := proto.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
	return into
}

// facts are what cmp can compare: the structs themselves marshal to descriptions.
func (c *SignCall) facts() []any {
	attrs := c.Request.Identity.Attrs
	if len(attrs) == 0 { // the generated code has an empty one after some damage
		attrs = nil
	}
	return append([]any{
		c.Instance, c.Request.Identity.ID, attrs, c.Request.Target, c.Request.Scopes,
		c.Timeout == nil, c.Timeout.GetSeconds(), c.Timeout.GetNanos(), c.Traceparent,
	}, fields(c.HTTP)...)
}

// referenceCall is what the generated code makes of a call.
func referenceCall(m *authv1.SignCall) *SignCall {
	return &SignCall{
		Instance: m.GetInstance(), Request: RequestFrom(m.GetRequest()), HTTP: HTTPRequestFrom(m.GetHttp()),
		Timeout: m.GetTimeout(), Traceparent: m.GetTraceparent(),
	}
}

func referenceSignature(m *authv1.Signature) auth.Signature {
	return auth.Signature{Header: HeaderFrom(m.GetHeaders()), RawQuery: m.GetRawQuery(), Generation: m.GetGeneration()}
}

func TestWhatIsWrittenOfASignatureIsWhatTheGeneratedCodeReads(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	r := random{rand.New(rand.NewPCG(seed, 0))}
	for range 500 {
		call, id := r.call(), r.Uint64()
		data, err := SignCallTo(&call)
		if err != nil {
			t.Fatal(err)
		}
		m := read(t, data.WithID(id), &authv1.SignRequest{})
		if got := referenceCall(m.GetCall()); m.GetId() != id || !cmp.Equal(call.facts(), got.facts()) {
			t.Fatalf("seed %d: %s", seed, cmp.Diff(call.facts(), got.facts()))
		}
		if len(m.ProtoReflect().GetUnknown())+len(m.GetCall().ProtoReflect().GetUnknown()) > 0 {
			t.Fatalf("seed %d: fields that there are not", seed)
		}
		sig := auth.Signature{Header: r.header(), RawQuery: r.text(), Generation: r.text()}
		if data, err = SignatureTo(sig); err != nil {
			t.Fatal(err)
		}
		a := read(t, data.WithID(id), &authv1.SignResponse{})
		sig.Generation = Clean(sig.Generation, maxMessage)
		if got := referenceSignature(a.GetSignature()); a.GetId() != id || got.RawQuery != sig.RawQuery ||
			got.Generation != sig.Generation || len(got.Header)+len(sig.Header) > 0 && !cmp.Equal(got.Header, sig.Header) {
			t.Fatalf("seed %d: a signature became another", seed)
		}
	}
	m := read(t, SignCancelTo(300), &authv1.SignRequest{})
	if m.GetId() != 300 || m.GetCancel() == nil {
		t.Errorf("a cancel became %v", m)
	}
}

// What is read here is what the generated code reads, of messages and of what was damaged
// on its way.
func TestWhatIsReadOfTheStreamIsWhatTheGeneratedCodeReads(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	r := random{rand.New(rand.NewPCG(seed, 1))}
	accepted := 0
	for range 100 {
		for _, data := range seedsOfTheStream(t, r) {
			for damaged := range 4 {
				if damaged > 0 && len(data) > 0 {
					data = append([]byte{}, data...)
					switch at := r.IntN(min(len(data), 64)); r.IntN(3) {
					case 0:
						data[at] = byte(r.Uint32())
					case 1:
						data = data[:at]
					default:
						data = append(data, data[:at]...)
					}
				}
				if readAlike(t, data) {
					accepted++
				}
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		}
	}
	if accepted < 1000 {
		t.Errorf("only %d were messages", accepted)
	}
}

func FuzzTheStreamOfSignatures(f *testing.F) {
	r := random{rand.New(rand.NewPCG(1, 2))}
	for range 3 {
		for _, data := range seedsOfTheStream(f, r) {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) { readAlike(t, data) })
}

// seedsOfTheStream are messages of each kind, one of them with a field that is not known,
// one with everything twice and one without anything.
func seedsOfTheStream(t testing.TB, r random) [][]byte {
	t.Helper()
	call := r.call()
	one, err := SignCallTo(&call)
	if err != nil {
		t.Fatal(err)
	}
	call = r.call()
	two, err := SignCallTo(&call)
	if err != nil {
		t.Fatal(err)
	}
	sig, err := SignatureTo(auth.Signature{Header: r.header(), RawQuery: r.text(), Generation: r.text()})
	if err != nil {
		t.Fatal(err)
	}
	seeds := [][]byte{nil, one.WithID(r.Uint64()), append(append(Encoded{}, one...), two...), sig.WithID(3), SignCancelTo(7)}
	for _, m := range []proto.Message{
		&authv1.SignRequest{Id: 5, Message: &authv1.SignRequest_Observation{Observation: &authv1.Observation{
			Instance: r.text(), Status: 200, Headers: HeaderTo(r.header()),
		}}},
		&authv1.SignResponse{Id: 6, Message: &authv1.SignResponse_Failure{Failure: &basev1.Failure{Message: r.text()}}},
		&authv1.SignRequest{Id: 7, Message: &authv1.SignRequest_Call{Call: &authv1.SignCall{
			Request: &authv1.Request{Identity: &authv1.Identity{Subject: &authv1.Subject{Problem: r.text()}}, ScopesSet: true},
			Timeout: &durationpb.Duration{Seconds: r.Int64(), Nanos: r.Int32()},
		}}},
	} {
		data, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		seeds = append(seeds, data, append(data, one...), append(data, sig...), append(data, "\xa2\x06\x01x\xad\x06abcd"...))
	}
	return append(seeds, oddities...)
}

// oddities are messages that no generated code writes, but reads.
var oddities = [][]byte{
	[]byte("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),                       // an id of 64 bits
	[]byte("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),                       // of 65
	[]byte("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"),                   // of 71, all of them 0
	[]byte("\x80\x80\x80\x80\x10\x00"),                                           // a field of too large a number
	[]byte("\xf8\xff\xff\xff\x0f\x00"),                                           // of the largest there may be
	[]byte("\x12\x06\x1a\x04\x32\x02ab\x12\x05\x1a\x03\x32\x01c"),                // two digests, the second shorter
	[]byte("\x12\x04\x12\x02\x20\x01\x12\x04\x12\x02\x20\x00"),                   // scopes are set, and are not
	[]byte("\x12\x04\x22\x02\x08\x01\x12\x04\x22\x02\x10\x02"),                   // a timeout in two parts
	[]byte("\x22\x03\x0a\x01a\x22\x02\x20\x05"),                                  // an observation in two parts
	[]byte("\x12\x03\x0a\x01a\x22\x03\x0a\x01b"),                                 // a call, and an observation
	[]byte("\x22\x03\x0a\x01b\x12\x03\x0a\x01a\x22\x02\x20\x05\x1a\x00\x12\x00"), // all that there is, one after the other
	[]byte("\x1a\x03\x12\x01a\x1a\x02\x18\x01"),                                  // a failure in two parts
	[]byte("\x12\x06\x12\x04\x12\x02\x0a\x00\x13\x14"),                           // a group
	[]byte("\x0c"), []byte("\x0b\x08\x01\x0c"), []byte("\x0b"), []byte("\x0e\x01"), // the end of none, one, its beginning, no type
}

// readAlike reads a message as both kinds, here and by the generated code, and reports
// whether it was one.
func readAlike(t *testing.T, data []byte) bool {
	t.Helper()
	var m authv1.SignRequest
	want := proto.Unmarshal(data, &m)
	got, err := SignRequestFrom(Received(data))
	if (want == nil) != (err == nil) {
		t.Errorf("request %.500q: the error is %v, not %v", data, err, want)
	} else if err == nil {
		call := got.Call != nil && m.GetCall() != nil && reflect.DeepEqual(got.Call.facts(), referenceCall(m.GetCall()).facts())
		if got.ID != m.GetId() || (got.Call != nil || m.GetCall() != nil) && !call || got.Cancel != (m.GetCancel() != nil) ||
			!proto.Equal(got.Observation, m.GetObservation()) {
			t.Errorf("request %.500q: %.500v, not %.500v", data, fmt.Sprint(got), m.String())
		}
	}
	var a authv1.SignResponse
	want = proto.Unmarshal(data, &a)
	answer, err := SignResponseFrom(Received(data))
	if (want == nil) != (err == nil) {
		t.Errorf("response %.500q: the error is %v, not %v", data, err, want)
	} else if err == nil {
		ref := referenceSignature(a.GetSignature())
		if answer.ID != a.GetId() || !proto.Equal(answer.Failure, a.GetFailure()) ||
			answer.Signature.RawQuery != ref.RawQuery || answer.Signature.Generation != ref.Generation ||
			!reflect.DeepEqual(answer.Signature.Header, ref.Header) {
			t.Errorf("response %.500q: %.500v, not %.500v", data, fmt.Sprint(answer), a.String())
		}
	}
	return want == nil
}

func TestTextThatIsNotUTF8IsNamed(t *testing.T) {
	t.Parallel()
	const bad = "\xff"
	for field, spoil := range map[string]func(*SignCall){
		"instance":                 func(c *SignCall) { c.Instance = bad },
		"request.identity.id":      func(c *SignCall) { c.Request.Identity.ID = bad },
		"request.identity.attrs":   func(c *SignCall) { c.Request.Identity.Attrs = map[string]string{bad: ""} },
		"request.identity.attrs.k": func(c *SignCall) { c.Request.Identity.Attrs = map[string]string{"k": bad} },
		"request.target.name":      func(c *SignCall) { c.Request.Target.Name = bad },
		"request.target.url":       func(c *SignCall) { c.Request.Target.URL = bad },
		"request.target.resource":  func(c *SignCall) { c.Request.Target.Resource = bad },
		"request.scopes":           func(c *SignCall) { c.Request.Scopes = []string{"", bad} },
		"http.method":              func(c *SignCall) { c.HTTP.Method = bad },
		"http.url":                 func(c *SignCall) { c.HTTP.URL = bad },
		"http.host":                func(c *SignCall) { c.HTTP.Host = bad },
		"http.headers.name":        func(c *SignCall) { c.HTTP.Header = http.Header{bad: {"1"}} },
		"traceparent":              func(c *SignCall) { c.Traceparent = bad },
	} {
		var c SignCall
		spoil(&c)
		_, err := SignCallTo(&c)
		if e, ok := errors.AsType[*NotUTF8Error](err); !ok || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	for field, s := range map[string]auth.Signature{
		"headers.name": {Header: http.Header{bad: {"1"}}}, "raw_query": {RawQuery: bad},
	} {
		_, err := SignatureTo(s)
		if e, ok := errors.AsType[*NotUTF8Error](err); !ok || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}
