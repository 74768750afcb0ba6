package wire

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	basev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/base/v1"
	transportv1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/transport/v1"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

func TestEveryFieldOfAnOpenCrosses(t *testing.T) {
	t.Parallel()
	o := transport.Open{
		Target: transport.Target{Name: "n", URL: "wss://x.example/a?b"}, MaxBytes: 77,
		Identity: transport.Identity{ID: "größer", Attrs: map[string]string{"k": "v"}},
		Header:   http.Header{"X-Many": {"1", "2"}, "X-Bytes": {"\xff\xfe"}},
	}
	m := OpenTo("i", o)
	got := OpenFrom(cross(t, m, &transportv1.Open{}))
	if m.GetInstance() != "i" || got.Target != o.Target || got.Identity.ID != o.Identity.ID || got.MaxBytes != 77 ||
		!cmp.Equal(got.Identity.Attrs, o.Identity.Attrs) || !cmp.Equal(got.Header, o.Header) || got.Identity.Subject != nil {
		t.Errorf("%v became %v, %v", o, got, got.Header)
	}
	if got := OpenFrom(cross(t, OpenTo("i", transport.Open{}), &transportv1.Open{})); got.MaxBytes != transport.DefaultMaxBytes || got.Header != nil {
		t.Errorf("nothing became %v with %d bytes", got, got.MaxBytes)
	}
}

func TestASubjectCrossesOrSaysWhyThereIsNone(t *testing.T) {
	t.Parallel()
	for _, s := range []*transportv1.Subject{{Token: []byte("tok")}, {Problem: "no token"}} {
		o := OpenFrom(&transportv1.Open{Identity: &transportv1.Identity{Subject: s}})
		token, err := o.Identity.Subject(context.Background())
		if token != string(s.GetToken()) || (err != nil) != (s.GetProblem() != "") {
			t.Errorf("%q, %v", token, err)
		}
	}
}

func TestEveryReasonCrosses(t *testing.T) {
	t.Parallel()
	for r := transport.Done; r <= transport.ProtocolError; r++ {
		if got := ReasonFrom(ReasonTo(r)); got != r || ReasonTo(r) == transportv1.Reason_REASON_UNSPECIFIED {
			t.Errorf("%v became %v", r, got)
		}
	}
	for _, unknown := range []transportv1.Reason{transportv1.Reason_REASON_UNSPECIFIED, 99, -1} {
		if got := ReasonFrom(unknown); got != transport.PeerGone {
			t.Errorf("%v became %v: what is not known leaves everything open", unknown, got)
		}
	}
}

// overFault is an error at the other end of the wire.
func overFault(t *testing.T, err error) error {
	t.Helper()
	return FaultFrom(cross(t, FaultTo(err), &transportv1.Fault{}), func(e *Error) { e.Plugin = "p" })
}

// What callers of a transport branch on is the same on both ends.
func TestEveryFaultCrosses(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		&transport.CloseError{Reason: transport.SessionGone, Err: errors.New("404")},
		&transport.CloseError{Reason: transport.PeerGone, NotSent: true},
		fmt.Errorf("sending: %w", &transport.CloseError{Reason: transport.ShuttingDown, Err: context.Canceled}),
		&transport.SizeError{Sending: true, Bytes: 9, Max: 7}, &transport.SizeError{Max: 7},
		&transport.RefusedError{Status: 401, Header: http.Header{"Www-Authenticate": {"Bearer \xff"}}, Problem: "no", Err: errors.New("sorry")},
		&transport.ConfigError{Field: "f", Problem: "is wrong"},
		fmt.Errorf("%w: %w", transport.ErrNotSent, context.DeadlineExceeded),
		context.Canceled, errors.New("anything"),
	} {
		got := overFault(t, err)
		for _, is := range []error{transport.ErrClosed, transport.ErrNotSent, transport.ErrTooLarge, context.Canceled, context.DeadlineExceeded} {
			if errors.Is(got, is) != errors.Is(err, is) {
				t.Errorf("%v: that it is %v became %v", err, is, errors.Is(got, is))
			}
		}
		if before, ok := errors.AsType[*transport.CloseError](err); ok {
			if after, ok := errors.AsType[*transport.CloseError](got); !ok || after.Reason != before.Reason || after.NotSent != before.NotSent {
				t.Errorf("%v became %v", before, got)
			}
		}
		if before, ok := errors.AsType[*transport.SizeError](err); ok {
			if after, ok := errors.AsType[*transport.SizeError](got); !ok || *after != *before {
				t.Errorf("%v became %v", before, got)
			}
		}
		if before, ok := errors.AsType[*transport.RefusedError](err); ok {
			after, ok := errors.AsType[*transport.RefusedError](got)
			if !ok || after.Status != before.Status || !cmp.Equal(after.Header, before.Header) || after.Problem != "no: sorry" {
				t.Errorf("%v became %v", before, got)
			}
		}
		if before, ok := errors.AsType[*transport.ConfigError](err); ok {
			if after, ok := errors.AsType[*transport.ConfigError](got); !ok || after.Field != before.Field {
				t.Errorf("%v became %v", before, got)
			}
		}
	}
}

// The claim counts wherever in an error it stands, as it does without a wire.
func TestWhetherAMessageWasSentCrosses(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"said":             fmt.Errorf("x: %w", transport.ErrNotSent),
		"at the end":       &transport.CloseError{Reason: transport.PeerGone, NotSent: true},
		"by what ended it": &transport.CloseError{Reason: transport.PeerGone, Err: fmt.Errorf("x: %w", transport.ErrNotSent)},
		"too large":        &transport.SizeError{Sending: true, Max: 7},
	} {
		f := FaultTo(err)
		if got := overFault(t, err); !f.GetNotSent() || f.GetFailure().GetMayHaveRun() || !errors.Is(got, transport.ErrNotSent) {
			t.Errorf("%s: %v became %v", name, f, got)
		}
	}
	for name, err := range map[string]error{
		"nothing": errors.New("x"), "the end": &transport.CloseError{Reason: transport.PeerGone}, "a large one": &transport.SizeError{Max: 7},
	} {
		f := FaultTo(err)
		if got := overFault(t, err); f.GetNotSent() || !f.GetFailure().GetMayHaveRun() || errors.Is(got, transport.ErrNotSent) {
			t.Errorf("%s: %v became %v", name, f, got)
		}
	}
	// A plugin that is not made with sdk may say both.
	e, ok := errors.AsType[*Error](FaultFrom(&transportv1.Fault{NotSent: true, Failure: &basev1.Failure{MayHaveRun: true}}, func(*Error) {}))
	if !ok || e.MayHaveRun() || !errors.Is(e, transport.ErrNotSent) {
		t.Errorf("not sent, and done perhaps: %v", e)
	}
}

func TestTheTextOfAFaultIsThatOfItsCauseAndWhoseItIs(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"transport: connection closed: session gone: plugin p: : 404":    &transport.CloseError{Reason: transport.SessionGone, Err: errors.New("404")},
		"transport: connection closed: peer gone: plugin p: : peer gone": &transport.CloseError{Reason: transport.PeerGone},
		"plugin p: : anything": errors.New("anything"),
	} {
		if got := overFault(t, err).Error(); got != want {
			t.Errorf("%v became %q, want %q", err, got, want)
		}
	}
}

func TestARefusalIsCleanAndHasItsBounds(t *testing.T) {
	t.Parallel()
	problem := "a\x1b[2J" + strings.Repeat("x", 2*maxMessage)
	sent := FaultTo(&transport.RefusedError{Status: 1 << 20, Problem: problem}).GetRefusal()
	low := FaultTo(&transport.RefusedError{Status: -1 << 40}).GetRefusal()
	if sent.GetStatus() != 999 || low.GetStatus() != 0 {
		t.Errorf("the status became %d and %d", sent.GetStatus(), low.GetStatus())
	}
	received, _ := errors.AsType[*transport.RefusedError](FaultFrom(&transportv1.Fault{
		Kind: &transportv1.Fault_Refusal{Refusal: &transportv1.Refusal{Problem: problem, Headers: []*transportv1.Header{
			{Name: "www-authenticate", Values: [][]byte{[]byte("Bearer"), []byte("Basic")}},
		}}},
	}, func(*Error) {}))
	for name, got := range map[string]string{"sent": sent.GetProblem(), "received": received.Problem} {
		if strings.ContainsRune(got, 0x1b) || len(got) < maxMessage || len(got) > maxMessage+len("…") {
			t.Errorf("%s: %d bytes, %.20q", name, len(got), got)
		}
	}
	if got := received.Header.Values("WWW-Authenticate"); !slices.Equal(got, []string{"Bearer", "Basic"}) {
		t.Errorf("the header became %q", got)
	}
}

func TestAPieceFitsBothSides(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ limit, theirs, want int }{
		{16 << 20, 0, MaxPart}, {16 << 20, 1000, 1000}, {64 << 10, 0, 64<<10 - PartRoom}, {64 << 10, 1 << 30, 64<<10 - PartRoom},
		{100, 0, 1}, {0, -5, 1},
	} {
		if got := PartSize(tt.limit, tt.theirs); got != tt.want {
			t.Errorf("PartSize(%d, %d) = %d, want %d", tt.limit, tt.theirs, got, tt.want)
		}
	}
}

func FuzzFault(f *testing.F) {
	for _, m := range []*transportv1.Fault{
		FaultTo(&transport.CloseError{Reason: transport.PeerGone, Err: errors.New("x")}), FaultTo(&transport.SizeError{Max: 7}),
		FaultTo(&transport.RefusedError{Status: 401, Header: http.Header{"A": {"b"}}}),
		{NotSent: true, Failure: &basev1.Failure{MayHaveRun: true, Causes: []*basev1.Cause{{Code: 99}, nil}}},
	} {
		seed, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m transportv1.Fault
		if proto.Unmarshal(data, &m) != nil {
			return
		}
		err := FaultFrom(&m, func(*Error) {})
		if err == nil {
			t.Fatal("a fault is an error")
		}
		if text := err.Error(); len(text) > 16<<10 || strings.ContainsAny(text, "\x00\x1b\r") {
			t.Errorf("%d bytes of error: %.100q", len(text), text)
		}
		// To send it on changes nothing that callers branch on.
		again := overFault(t, err)
		for _, is := range []error{transport.ErrClosed, transport.ErrNotSent, transport.ErrTooLarge} {
			if errors.Is(again, is) != errors.Is(err, is) {
				t.Errorf("%v: that it is %v became %v", err, is, errors.Is(again, is))
			}
		}
	})
}

func FuzzOpen(f *testing.F) {
	seed, err := proto.Marshal(OpenTo("i", transport.Open{Header: http.Header{"A": {"b"}}}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		var m transportv1.Open
		if proto.Unmarshal(data, &m) != nil {
			return
		}
		o := OpenFrom(&m)
		if o.Limit() <= 0 {
			t.Errorf("a limit of %d", o.Limit())
		}
		if again := OpenFrom(cross(t, OpenTo("i", o), &transportv1.Open{})); again.Target != o.Target || again.Identity.ID != o.Identity.ID || again.Limit() != o.Limit() {
			t.Errorf("%v became %v", o, again)
		}
	})
}
