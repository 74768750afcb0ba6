package wire

import (
	"context"
	"errors"
	"net/http"
	"net/textproto"

	transportv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/transport/v1"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// MaxPart is the largest piece of a message that is sent at once. A message that is no
// larger is never copied together.
const MaxPart = 512 << 10

// PartRoom is what the message of a stream has besides its data.
const PartRoom = 1 << 10

// PartSize is the piece that fits where a message of the wire may have limit bytes and
// the other side takes pieces of theirs; 0 is no wish.
func PartSize(limit, theirs int) int {
	n := min(MaxPart, limit-PartRoom)
	if theirs > 0 {
		n = min(n, theirs)
	}
	return max(n, 1)
}

// OpenTo makes the message. The subject's token is the caller's to add.
func OpenTo(instance string, o transport.Open) *transportv1.Open {
	return &transportv1.Open{
		Instance: instance, Target: &transportv1.Target{Name: o.Target.Name, Url: o.Target.URL},
		Identity: &transportv1.Identity{Id: o.Identity.ID, Attrs: o.Identity.Attrs},
		Headers:  dialHeaderTo(o.Header), MaxBytes: o.Limit(),
	}
}

// OpenFrom is the way back. A subject that came along is given out by the identity's
// Subject.
func OpenFrom(m *transportv1.Open) transport.Open {
	o := transport.Open{
		Target:   transport.Target{Name: m.GetTarget().GetName(), URL: m.GetTarget().GetUrl()},
		Identity: transport.Identity{ID: m.GetIdentity().GetId(), Attrs: m.GetIdentity().GetAttrs()},
		Header:   dialHeaderFrom(m.GetHeaders()), MaxBytes: m.GetMaxBytes(),
	}
	if s := m.GetIdentity().GetSubject(); s != nil {
		token, problem := string(s.GetToken()), s.GetProblem()
		o.Identity.Subject = func(context.Context) (string, error) {
			if problem != "" {
				return "", errors.New(problem)
			}
			return token, nil
		}
	}
	return o
}

func dialHeaderTo(h http.Header) []*transportv1.Header {
	out := make([]*transportv1.Header, 0, len(h))
	for name, values := range h {
		m := &transportv1.Header{Name: name, Values: make([][]byte, len(values))}
		for i, v := range values {
			m.Values[i] = []byte(v)
		}
		out = append(out, m)
	}
	return out
}

func dialHeaderFrom(ms []*transportv1.Header) http.Header {
	if len(ms) == 0 {
		return nil
	}
	h := make(http.Header, len(ms))
	for _, m := range ms {
		name := textproto.CanonicalMIMEHeaderKey(m.GetName())
		for _, v := range m.GetValues() {
			h[name] = append(h[name], string(v))
		}
	}
	return h
}

// reasons pairs what can be compared.
var reasons = map[transport.Reason]transportv1.Reason{ //nolint:gochecknoglobals // a table
	transport.Done:          transportv1.Reason_REASON_DONE,
	transport.PeerGone:      transportv1.Reason_REASON_PEER_GONE,
	transport.SessionGone:   transportv1.Reason_REASON_SESSION_GONE,
	transport.ShuttingDown:  transportv1.Reason_REASON_SHUTTING_DOWN,
	transport.ProtocolError: transportv1.Reason_REASON_PROTOCOL_ERROR,
}

// ReasonTo makes the message's value.
func ReasonTo(r transport.Reason) transportv1.Reason { return reasons[r] }

// ReasonFrom is the way back. What is not known is taken for the worst that leaves
// everything open.
func ReasonFrom(r transportv1.Reason) transport.Reason {
	for ours, theirs := range reasons {
		if theirs == r {
			return ours
		}
	}
	return transport.PeerGone
}

// FaultTo tells what callers of a transport branch on.
func FaultTo(err error) *transportv1.Fault {
	f := &transportv1.Fault{NotSent: errors.Is(err, transport.ErrNotSent)}
	said := err
	if e, ok := errors.AsType[*transport.CloseError](err); ok {
		f.Kind = &transportv1.Fault_Ending{Ending: &transportv1.Ending{Reason: ReasonTo(e.Reason)}}
		if said = e.Err; said == nil {
			said = errors.New(e.Reason.String())
		}
	} else if e, ok := errors.AsType[*transport.SizeError](err); ok {
		f.Kind = &transportv1.Fault_TooLarge{TooLarge: &transportv1.TooLarge{Bytes: e.Bytes, Max: e.Max, Sending: e.Sending}}
	} else if e, ok := errors.AsType[*transport.RefusedError](err); ok {
		problem := e.Problem
		if e.Err != nil {
			problem += ": " + e.Err.Error()
		}
		f.Kind = &transportv1.Fault_Refusal{Refusal: &transportv1.Refusal{
			Status: int32(min(max(e.Status, 0), 999)), Headers: dialHeaderTo(e.Header), Problem: Clean(problem, maxMessage),
		}}
	}
	f.Failure = Failure(said)
	f.Failure.MayHaveRun = f.GetFailure().GetMayHaveRun() && !f.GetNotSent()
	return f
}

// FaultFrom makes the error that the caller sees. name says in the Error that it
// holds whose it is.
func FaultFrom(f *transportv1.Fault, name func(*Error)) error {
	e := FromFailure(f.GetFailure())
	SayConfigAs(e, func(field, problem string) error { return &transport.ConfigError{Field: field, Problem: problem} })
	name(e)
	switch k := f.GetKind().(type) {
	case *transportv1.Fault_Ending:
		return &transport.CloseError{Reason: ReasonFrom(k.Ending.GetReason()), NotSent: f.GetNotSent(), Err: e}
	case *transportv1.Fault_TooLarge:
		return &transport.SizeError{Bytes: k.TooLarge.GetBytes(), Max: k.TooLarge.GetMax(), Sending: k.TooLarge.GetSending()}
	case *transportv1.Fault_Refusal:
		return &transport.RefusedError{
			Status: int(k.Refusal.GetStatus()), Header: dialHeaderFrom(k.Refusal.GetHeaders()),
			Problem: Clean(k.Refusal.GetProblem(), maxMessage),
		}
	}
	if f.GetNotSent() {
		e.Ran = false
		e.Causes = append(e.Causes, transport.ErrNotSent)
	}
	return e
}
