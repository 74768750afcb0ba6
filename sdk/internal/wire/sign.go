package wire

import (
	"net/http"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// Signing is the one call that is made for each request that a pool sends, so its
// messages are written and read here without the generated types between: those take more
// than half of the time that a signature takes on its way. What is written is what the
// generated code reads, and the other way round; the tests hold one against the other.

// SignCall is the message SignCall.
type SignCall struct {
	Instance    string
	Request     auth.Request // its Subject does not cross
	HTTP        auth.HTTPRequest
	Timeout     *durationpb.Duration // nil for no limit
	Traceparent string
}

// NotUTF8Error reports text that cannot cross, because it is not UTF-8.
type NotUTF8Error struct {
	// Field is the path of the field in the message.
	Field string
}

func (e *NotUTF8Error) Error() string { return e.Field + " is not UTF-8" }

// Fields of the messages, as in sdk/proto/mcpool/auth/v1/auth.proto.
const (
	signID = 1 // of SignRequest and SignResponse

	signCall        = 2 // of SignRequest
	signCancel      = 3
	signObservation = 4

	signSignature = 2 // of SignResponse
	signFailure   = 3

	callInstance    = 1
	callRequest     = 2
	callHTTP        = 3
	callTimeout     = 4
	callTraceparent = 5

	requestIdentity  = 1
	requestTarget    = 2
	requestScopes    = 3
	requestScopesSet = 4

	identityID      = 1
	identityAttrs   = 2
	identitySubject = 3

	targetName     = 1
	targetURL      = 2
	targetResource = 3

	httpMethod        = 1
	httpURL           = 2
	httpHost          = 3
	httpHeaders       = 4
	httpContentLength = 5
	httpBodySHA256    = 6

	headerName   = 1
	headerValues = 2

	signatureHeaders    = 1
	signatureRawQuery   = 2
	signatureGeneration = 3

	entryKey   = 1 // of a map
	entryValue = 2

	durationSeconds = 1
	durationNanos   = 2
)

// signRoom is what most messages have room in.
const signRoom = 1 << 10

// SignCallTo writes a SignRequest that has no id yet; see WithID.
func SignCallTo(c *SignCall) (Encoded, error) {
	w := encoder{b: make([]byte, 0, signRoom)}
	call := w.begin(signCall)
	w.text("instance", callInstance, c.Instance)

	req := w.begin(callRequest)
	identity := w.begin(requestIdentity)
	w.text("request.identity.id", identityID, c.Request.Identity.ID)
	for k, v := range c.Request.Identity.Attrs {
		entry := w.begin(identityAttrs)
		w.text("request.identity.attrs", entryKey, k)
		w.text("request.identity.attrs."+k, entryValue, v)
		w.end(entry)
	}
	w.end(identity)
	target := w.begin(requestTarget)
	w.text("request.target.name", targetName, c.Request.Target.Name)
	w.text("request.target.url", targetURL, c.Request.Target.URL)
	w.text("request.target.resource", targetResource, c.Request.Target.Resource)
	w.end(target)
	for _, scope := range c.Request.Scopes {
		w.each("request.scopes", requestScopes, scope)
	}
	if c.Request.Scopes != nil {
		w.number(requestScopesSet, 1)
	}
	w.end(req)

	hr := w.begin(callHTTP)
	w.text("http.method", httpMethod, c.HTTP.Method)
	w.text("http.url", httpURL, c.HTTP.URL)
	w.text("http.host", httpHost, c.HTTP.Host)
	w.header("http.headers.name", httpHeaders, c.HTTP.Header)
	w.number(httpContentLength, uint64(c.HTTP.ContentLength)) //nolint:gosec // the wire has the two's complement
	w.bytes(httpBodySHA256, c.HTTP.BodySHA256[:])
	w.end(hr)

	if d := c.Timeout; d != nil {
		timeout := w.begin(callTimeout)
		w.number(durationSeconds, uint64(d.GetSeconds())) //nolint:gosec // the same
		w.number(durationNanos, uint64(d.GetNanos()))     //nolint:gosec // the same
		w.end(timeout)
	}
	w.text("traceparent", callTraceparent, c.Traceparent)
	w.end(call)
	return w.b, w.err
}

// SignatureTo writes a SignResponse that has no id yet; see WithID.
func SignatureTo(s auth.Signature) (Encoded, error) {
	w := encoder{b: make([]byte, 0, signRoom)}
	sig := w.begin(signSignature)
	w.header("headers.name", signatureHeaders, s.Header)
	w.text("raw_query", signatureRawQuery, s.RawQuery)
	w.text("generation", signatureGeneration, Clean(s.Generation, maxMessage))
	w.end(sig)
	return w.b, w.err
}

// SignCancelTo writes a SignRequest that cancels the call of this number.
func SignCancelTo(id uint64) Encoded {
	var w encoder
	w.end(w.begin(signCancel))
	return Encoded(w.b).WithID(id)
}

// WithID gives a message of the stream its number.
func (e Encoded) WithID(id uint64) Encoded {
	w := encoder{b: e}
	w.number(signID, id)
	return w.b
}

// encoder appends fields. Like the generated code it leaves out what has no presence
// and is zero.
type encoder struct {
	b   []byte
	err error // the first
}

// begin begins a message within, end ends it.
func (w *encoder) begin(field protowire.Number) (at int) {
	w.b = protowire.AppendTag(w.b, field, protowire.BytesType)
	w.b = append(w.b, 0) // its size, where that fits
	return len(w.b)
}

func (w *encoder) end(at int) {
	n := len(w.b) - at
	if more := protowire.SizeVarint(uint64(n)) - 1; more > 0 { //nolint:gosec // a length
		w.b = append(w.b, make([]byte, more)...)
		copy(w.b[at+more:], w.b[at:at+n])
	}
	protowire.AppendVarint(w.b[:at-1], uint64(n)) //nolint:gosec // a length
}

func (w *encoder) number(field protowire.Number, v uint64) {
	if v != 0 {
		w.b = protowire.AppendVarint(protowire.AppendTag(w.b, field, protowire.VarintType), v)
	}
}

func (w *encoder) bytes(field protowire.Number, v []byte) {
	w.b = protowire.AppendBytes(protowire.AppendTag(w.b, field, protowire.BytesType), v)
}

func (w *encoder) text(path string, field protowire.Number, v string) {
	if v != "" {
		w.each(path, field, v)
	}
}

// each is text for fields that have several values, of which some may be empty.
func (w *encoder) each(path string, field protowire.Number, v string) {
	if !utf8.ValidString(v) && w.err == nil {
		w.err = &NotUTF8Error{path}
	}
	w.b = protowire.AppendString(protowire.AppendTag(w.b, field, protowire.BytesType), v)
}

func (w *encoder) header(path string, field protowire.Number, h http.Header) {
	for name, values := range h {
		one := w.begin(field)
		w.text(path, headerName, name)
		for _, v := range values { // bytes: they need not be UTF-8
			w.b = protowire.AppendString(protowire.AppendTag(w.b, headerValues, protowire.BytesType), v)
		}
		w.end(one)
	}
}
