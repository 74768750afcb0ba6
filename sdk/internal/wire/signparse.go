package wire

import (
	"errors"
	"net/http"
	"net/textproto"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/go-mcpool/mcpool/sdk/auth"
	authv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/auth/v1"
	basev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/base/v1"
)

// SignRequest is the message SignRequest. At most one of the pointers is set, or Cancel.
type SignRequest struct {
	ID          uint64
	Call        *SignCall
	Cancel      bool
	Observation *authv1.Observation
}

// SignResponse is the message SignResponse: a failure, or a signature.
type SignResponse struct {
	ID        uint64
	Signature auth.Signature
	Failure   *basev1.Failure
}

var (
	errMalformed = errors.New("a message of the stream of signatures is malformed")
	errNotUTF8   = errors.New("a message of the stream of signatures has text that is not UTF-8")
)

// SignRequestFrom reads a message. What stands in it is no copy.
func SignRequestFrom(m Received) (SignRequest, error) {
	var out SignRequest
	r := decoder{rest: string(m)}
	for r.next() {
		switch r.tag {
		case signID<<3 | varintType:
			out.ID = r.number
		case signCall<<3 | bytesType:
			if out.Call == nil {
				out = SignRequest{ID: out.ID, Call: &SignCall{HTTP: auth.HTTPRequest{Header: http.Header{}}}}
			}
			r.fail(out.Call.parse(r.text))
		case signCancel<<3 | bytesType:
			out = SignRequest{ID: out.ID, Cancel: true}
			r.merge(&authv1.Cancel{})
		case signObservation<<3 | bytesType:
			if out.Observation == nil {
				out = SignRequest{ID: out.ID, Observation: &authv1.Observation{}}
			}
			r.merge(out.Observation)
		}
	}
	return out, r.err
}

// SignResponseFrom reads a message. What stands in it is no copy.
func SignResponseFrom(m Received) (SignResponse, error) {
	var out SignResponse
	r := decoder{rest: string(m)}
	for r.next() {
		switch r.tag {
		case signID<<3 | varintType:
			out.ID = r.number
		case signSignature<<3 | bytesType:
			out.Failure = nil
			r.fail(parseSignature(r.text, &out.Signature))
		case signFailure<<3 | bytesType:
			if out.Failure == nil {
				out = SignResponse{ID: out.ID, Failure: &basev1.Failure{}}
			}
			r.merge(out.Failure)
		}
	}
	return out, r.err
}

func (c *SignCall) parse(s string) error {
	r := decoder{rest: s}
	for r.next() {
		switch r.tag {
		case callInstance<<3 | bytesType:
			c.Instance = r.valid()
		case callRequest<<3 | bytesType:
			r.fail(parseRequest(r.text, &c.Request))
		case callHTTP<<3 | bytesType:
			r.fail(parseHTTP(r.text, &c.HTTP))
		case callTimeout<<3 | bytesType:
			if c.Timeout == nil {
				c.Timeout = &durationpb.Duration{}
			}
			r.fail(parseDuration(r.text, c.Timeout))
		case callTraceparent<<3 | bytesType:
			c.Traceparent = r.valid()
		}
	}
	return r.err
}

func parseDuration(s string, d *durationpb.Duration) error {
	r := decoder{rest: s}
	for r.next() {
		switch r.tag {
		case durationSeconds<<3 | varintType:
			d.Seconds = int64(r.number) //nolint:gosec // the wire has the two's complement
		case durationNanos<<3 | varintType:
			d.Nanos = int32(r.number) //nolint:gosec // the same
		}
	}
	return r.err
}

func parseRequest(s string, req *auth.Request) error {
	r := decoder{rest: s}
	for r.next() {
		switch r.tag {
		case requestIdentity<<3 | bytesType:
			r.fail(parseIdentity(r.text, &req.Identity))
		case requestTarget<<3 | bytesType:
			r.fail(parseTarget(r.text, &req.Target))
		case requestScopes<<3 | bytesType:
			req.Scopes = append(req.Scopes, r.valid())
		case requestScopesSet<<3 | varintType:
			switch {
			case r.number == 0 && len(req.Scopes) == 0:
				req.Scopes = nil
			case r.number != 0 && req.Scopes == nil:
				req.Scopes = []string{}
			}
		}
	}
	return r.err
}

// parseIdentity gives no subject: a message of the stream has none.
func parseIdentity(s string, id *auth.Identity) error {
	r := decoder{rest: s}
	for r.next() {
		switch r.tag {
		case identityID<<3 | bytesType:
			id.ID = r.valid()
		case identityAttrs<<3 | bytesType:
			if id.Attrs == nil {
				id.Attrs = make(map[string]string)
			}
			var key, value string
			entry := decoder{rest: r.text}
			for entry.next() {
				switch entry.tag {
				case entryKey<<3 | bytesType:
					key = entry.valid()
				case entryValue<<3 | bytesType:
					value = entry.valid()
				}
			}
			r.fail(entry.err)
			id.Attrs[key] = value
		case identitySubject<<3 | bytesType:
			r.merge(&authv1.Subject{})
		}
	}
	return r.err
}

func parseTarget(s string, t *auth.Target) error {
	r := decoder{rest: s}
	for r.next() {
		switch r.tag {
		case targetName<<3 | bytesType:
			t.Name = r.valid()
		case targetURL<<3 | bytesType:
			t.URL = r.valid()
		case targetResource<<3 | bytesType:
			t.Resource = r.valid()
		}
	}
	return r.err
}

func parseHTTP(s string, hr *auth.HTTPRequest) error {
	r := decoder{rest: s}
	var values []string
	for r.next() {
		switch r.tag {
		case httpMethod<<3 | bytesType:
			hr.Method = r.valid()
		case httpURL<<3 | bytesType:
			hr.URL = r.valid()
		case httpHost<<3 | bytesType:
			hr.Host = r.valid()
		case httpHeaders<<3 | bytesType:
			values = r.header(hr.Header, values)
		case httpContentLength<<3 | varintType:
			hr.ContentLength = int64(r.number) //nolint:gosec // the wire has the two's complement
		case httpBodySHA256<<3 | bytesType:
			hr.BodySHA256 = [32]byte{}
			copy(hr.BodySHA256[:], r.text)
		}
	}
	return r.err
}

func parseSignature(s string, sig *auth.Signature) error {
	r := decoder{rest: s}
	var values []string
	for r.next() {
		switch r.tag {
		case signatureHeaders<<3 | bytesType:
			if sig.Header == nil {
				sig.Header = make(http.Header)
			}
			values = r.header(sig.Header, values)
		case signatureRawQuery<<3 | bytesType:
			sig.RawQuery = r.valid()
		case signatureGeneration<<3 | bytesType:
			sig.Generation = r.valid()
		}
	}
	return r.err
}

// Wire types of the fields above.
const (
	varintType = uint64(protowire.VarintType)
	bytesType  = uint64(protowire.BytesType)
)

// decoder goes through the fields of a message.
type decoder struct {
	rest   string
	tag    uint64 // of the field
	number uint64 // its value, of a varint
	text   string // its value, where it has a length
	err    error  // the first
}

// next goes to the next field, and reports whether there is one.
func (r *decoder) next() bool {
	if r.err != nil || r.rest == "" {
		return false
	}
	r.tag = r.varint()
	if n := r.tag >> 3; n < uint64(protowire.MinValidNumber) || n > uint64(protowire.MaxValidNumber) {
		r.fail(errMalformed)
	}
	switch r.tag & 7 {
	case varintType:
		r.number = r.varint()
	case bytesType:
		if n := r.varint(); n > uint64(len(r.rest)) {
			r.fail(errMalformed)
		} else {
			r.text, r.rest = r.rest[:n], r.rest[n:]
		}
	default: // none of ours
		field, kind := protowire.Number(r.tag>>3), protowire.Type(r.tag&7) //nolint:gosec // was looked at
		if n := protowire.ConsumeFieldValue(field, kind, []byte(r.rest)); n < 0 {
			r.fail(errMalformed)
		} else {
			r.rest = r.rest[n:]
		}
	}
	return r.err == nil
}

func (r *decoder) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *decoder) varint() (v uint64) {
	for i := range len(r.rest) {
		c := r.rest[i]
		if i == 9 && c > 1 {
			break // more than 64 bits
		}
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.rest = r.rest[i+1:]
			return v
		}
	}
	r.fail(errMalformed)
	return 0
}

// valid is the text of the field, which has to be UTF-8.
func (r *decoder) valid() string {
	if !utf8.ValidString(r.text) {
		r.fail(errNotUTF8)
	}
	return r.text
}

// merge leaves the field to the generated code.
func (r *decoder) merge(into proto.Message) {
	r.fail(proto.UnmarshalOptions{Merge: true}.Unmarshal([]byte(r.text), into))
}

// header adds the field, a Header, to h under its canonical name. values is where the
// values of the headers before it are; those of all stand in one piece.
func (r *decoder) header(h http.Header, values []string) []string {
	if values == nil {
		values = make([]string, 0, 8)
	}
	var name string
	first := len(values)
	one := decoder{rest: r.text}
	for one.next() {
		switch one.tag {
		case headerName<<3 | bytesType:
			name = one.valid()
		case headerValues<<3 | bytesType:
			values = append(values, one.text)
		}
	}
	r.fail(one.err)
	name = textproto.CanonicalMIMEHeaderKey(name)
	mine := values[first:len(values):len(values)]
	if before, twice := h[name]; twice {
		mine = append(before, mine...)
	}
	h[name] = mine
	return values
}
