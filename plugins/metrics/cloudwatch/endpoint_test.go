package poolcloudwatch

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go/encoding/cbor"
)

const (
	keyID  = "AKIDEXAMPLE"
	secret = "example-secret-that-is-in-no-text"
	region = "eu-test-1"
)

// endpoint is CloudWatch, as far as PutMetricData goes: it speaks the protocol
// (Smithy RPC v2 in CBOR), checks the signature over what arrived, and holds requests
// against the documented limits.
type endpoint struct {
	t    *testing.T
	http *httptest.Server

	mu       sync.Mutex
	requests []request
	refuse   []refusal // what the next requests get
	faults   []string
}

type refusal struct {
	status int
	code   string
}

type request struct {
	namespace string
	data      []sent
	gzip      bool
}

// sent is one datum of a request.
type sent struct {
	name, unit string
	value      float64
	at         time.Time
	dimensions map[string]string
}

func newEndpoint(t *testing.T) *endpoint {
	t.Helper()
	e := &endpoint{t: t}
	e.http = httptest.NewServer(e)
	t.Cleanup(func() {
		e.http.CloseClientConnections()
		e.http.Close()
		for _, f := range e.faults {
			t.Error("the endpoint: " + f)
		}
	})
	return e
}

// config is one that leads here.
func (e *endpoint) config() Config {
	return Config{
		Endpoint: e.http.URL, Region: region,
		AWS: &aws.Config{
			Credentials: credentials.NewStaticCredentialsProvider(keyID, secret, ""), HTTPClient: e.http.Client(),
			RetryMaxAttempts: 1, // a sink is retried from outside
		},
	}
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // whoever sent it was killed on the way
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	answer := func(status int, code string) {
		w.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
		w.Header().Set("Content-Type", "application/cbor")
		m := cbor.Map{}
		if code != "" {
			m = cbor.Map{"__type": cbor.String("com.amazonaws.cloudwatch#" + code), "message": cbor.String("refused")}
		}
		w.WriteHeader(status)
		_, _ = w.Write(cbor.Encode(m))
	}
	if err := verify(r, body); err != nil {
		e.faults = append(e.faults, err.Error())
		answer(http.StatusForbidden, "SignatureDoesNotMatch")
		return
	}
	got, err := decode(r, body)
	if err != nil {
		e.faults = append(e.faults, err.Error())
		answer(http.StatusBadRequest, "ValidationError")
		return
	}
	if len(e.refuse) > 0 {
		next := e.refuse[0]
		e.refuse = e.refuse[1:]
		if next.code != "" {
			answer(next.status, next.code)
			return
		}
	}
	e.requests = append(e.requests, got)
	answer(http.StatusOK, "")
}

// take returns what has arrived since the last take.
func (e *endpoint) take() []request {
	e.mu.Lock()
	defer e.mu.Unlock()
	got := e.requests
	e.requests = nil
	return got
}

// values are the numbers that have arrived since, by name; none may be there twice.
func (e *endpoint) values() map[string]float64 {
	all := make(map[string]float64)
	for _, r := range e.take() {
		for _, d := range r.data {
			if _, twice := all[d.name]; twice {
				e.t.Errorf("%s arrived twice", d.name)
			}
			all[d.name] = d.value
		}
	}
	return all
}

// refuseWith has the next requests refused; an empty code lets one through.
func (e *endpoint) refuseWith(status int, codes ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range codes {
		e.refuse = append(e.refuse, refusal{status, c})
	}
}

// verify computes the signature of what arrived, as AWS describes it.
func verify(r *http.Request, body []byte) error {
	fields := make(map[string]string)
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		fields[name] = value
	}
	date := r.Header.Get("X-Amz-Date")
	at, err := time.Parse("20060102T150405Z", date)
	if !ok || err != nil || time.Since(at).Abs() > 5*time.Minute {
		return fmt.Errorf("no signature of now: %q of %q", r.Header.Get("Authorization"), date)
	}
	scope := date[:8] + "/" + region + "/monitoring/aws4_request"
	if fields["Credential"] != keyID+"/"+scope {
		return fmt.Errorf("the scope is %s", fields["Credential"])
	}
	var headers strings.Builder
	host := false
	for name := range strings.SplitSeq(fields["SignedHeaders"], ";") {
		value := strings.Join(r.Header.Values(name), ",")
		switch name {
		case "host":
			host, value = true, r.Host
		case "content-length":
			value = fmt.Sprint(r.ContentLength)
		}
		headers.WriteString(name + ":" + strings.Join(strings.Fields(value), " ") + "\n")
	}
	sum := sha256.Sum256(body)
	canonical := sha256.Sum256([]byte(strings.Join([]string{
		r.Method, r.URL.EscapedPath(), r.URL.RawQuery, headers.String(), fields["SignedHeaders"], hex.EncodeToString(sum[:]),
	}, "\n")))
	key := []byte("AWS4" + secret)
	mac := func(text string) {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		key = h.Sum(nil)
	}
	for part := range strings.SplitSeq(scope, "/") {
		mac(part)
	}
	mac("AWS4-HMAC-SHA256\n" + date + "\n" + scope + "\n" + hex.EncodeToString(canonical[:]))
	if !host || hex.EncodeToString(key) != fields["Signature"] {
		return fmt.Errorf("the signature does not match (signed: %s)", fields["SignedHeaders"])
	}
	return nil
}

// decode reads a request and holds it against what CloudWatch documents.
func decode(r *http.Request, body []byte) (q request, err error) {
	if r.Method != http.MethodPost || r.URL.Path != "/service/GraniteServiceVersion20100801/operation/PutMetricData" ||
		r.Header.Get("Smithy-Protocol") != "rpc-v2-cbor" || r.Header.Get("Content-Type") != "application/cbor" {
		return q, fmt.Errorf("%s %s, protocol %q", r.Method, r.URL, r.Header.Get("Smithy-Protocol"))
	}
	if q.gzip = r.Header.Get("Content-Encoding") == "gzip"; q.gzip {
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return q, err
		}
		if body, err = io.ReadAll(z); err != nil {
			return q, err
		}
	}
	if len(body) > 1_000_000 {
		return q, fmt.Errorf("a request of %d bytes", len(body))
	}
	v, err := cbor.Decode(body)
	if err != nil {
		return q, err
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a request of another form: %v", p)
		}
	}()
	m := v.(cbor.Map)
	q.namespace = string(m["Namespace"].(cbor.String))
	list := m["MetricData"].(cbor.List)
	if len(list) == 0 || len(list) > 1000 {
		return q, fmt.Errorf("a request of %d metrics", len(list))
	}
	for _, item := range list {
		x := item.(cbor.Map)
		d := sent{name: string(x["MetricName"].(cbor.String)), unit: string(x["Unit"].(cbor.String)), dimensions: make(map[string]string)}
		if d.value, err = cbor.AsFloat64(x["Value"]); err != nil {
			return q, err
		}
		at, err := cbor.AsTime(x["Timestamp"])
		if err != nil || time.Since(at) > 14*24*time.Hour || time.Until(at) > 2*time.Hour {
			return q, fmt.Errorf("a number of %v (%w)", at, err)
		}
		d.at = at
		dimensions, _ := x["Dimensions"].(cbor.List)
		if len(dimensions) > 30 {
			return q, fmt.Errorf("%d dimensions", len(dimensions))
		}
		for _, y := range dimensions {
			name, value := string(y.(cbor.Map)["Name"].(cbor.String)), string(y.(cbor.Map)["Value"].(cbor.String))
			if name == "" || value == "" || len(name) > 255 || len(value) > 1024 || d.dimensions[name] != "" {
				return q, fmt.Errorf("the dimension %.40q = %.40q", name, value)
			}
			d.dimensions[name] = value
		}
		q.data = append(q.data, d)
	}
	return q, nil
}
