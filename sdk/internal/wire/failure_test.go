package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/go-mcpool/mcpool/sdk/auth"
	basev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/base/v1"
	"github.com/go-mcpool/mcpool/sdk/metrics"
	"github.com/go-mcpool/mcpool/sdk/probe"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

func TestAFailureKeepsAllThatCallersBranchOn(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err        error
		is         error
		downstream bool
		ran        bool
		code       codes.Code // for who knows gRPC and not us
	}{
		"rejected":    {fmt.Errorf("x: %w", auth.ErrCredentialsRejected), auth.ErrCredentialsRejected, true, true, codes.Unknown},
		"interaction": {auth.ErrInteractionRequired, auth.ErrInteractionRequired, false, true, codes.Unknown},
		"unsupported": {auth.ErrUnsupported, auth.ErrUnsupported, false, false, codes.Unknown},
		"closed":      {auth.ErrClosed, auth.ErrClosed, false, false, codes.Unknown},
		"canceled":    {context.Canceled, context.Canceled, false, true, codes.Canceled},
		"deadline":    {context.DeadlineExceeded, context.DeadlineExceeded, false, true, codes.DeadlineExceeded},
		"no instance": {ErrNoInstance, ErrNoInstance, false, false, codes.NotFound},
		"panic":       {ErrPanic, ErrPanic, false, true, codes.Internal},
		"config":      {&auth.ConfigError{Field: "f", Problem: "is wrong"}, nil, false, false, codes.InvalidArgument},
		"throttled":   {&auth.ThrottledError{}, nil, true, true, codes.Unknown},
		"network":     {&net.OpError{Op: "dial", Err: errors.New("refused")}, nil, true, true, codes.Unknown},
		"says so":     {burningError{}, nil, true, true, codes.Unknown},
		"says not":    {fmt.Errorf("%w: %w", quenchedError{}, auth.ErrCredentialsRejected), auth.ErrCredentialsRejected, false, true, codes.Unknown},
		"anything":    {errors.New("anything"), nil, false, true, codes.Unknown},
	} {
		if got := status.Code(Status(test.err)); got != test.code {
			t.Errorf("%s: the code is %v", name, got)
		}
		e, ok := FromStatus(Status(test.err))
		if !ok {
			t.Errorf("%s: the status has no failure", name)
			continue
		}
		if test.is != nil && !errors.Is(e, test.is) || e.Downstream != test.downstream || e.MayHaveRun() != test.ran {
			t.Errorf("%s: %+v", name, e)
		}
		if !strings.Contains(e.Error(), test.err.Error()) {
			t.Errorf("%s: the text %q is lost in %q", name, test.err, e)
		}
	}
}

type burningError struct{}

func (burningError) Error() string    { return "the server is on fire" }
func (burningError) Downstream() bool { return true }

type quenchedError struct{}

func (quenchedError) Error() string    { return "it was us" }
func (quenchedError) Downstream() bool { return false }

func TestAnErrorSaysWhoseItIs(t *testing.T) {
	t.Parallel()
	if got := (&Error{Plugin: "p", Method: "M", Message: "no"}).Error(); got != "plugin p: M: no" {
		t.Errorf("%q", got)
	}
	if got := (&Error{Plugin: "p", Instance: "i", Method: "M", Message: "no"}).Error(); got != "plugin p instance i: M: no" {
		t.Errorf("%q", got)
	}
	if got := Failure(errors.New("no")).GetOrigin(); got != basev1.Origin_ORIGIN_PLUGIN {
		t.Errorf("the origin is %v", got)
	}
}

func TestTheFaultyFieldsOfEveryKindCross(t *testing.T) {
	t.Parallel()
	for kind, err := range map[string]error{
		"auth":      &auth.ConfigError{Field: "f", Problem: "is wrong", Err: errors.New("why")},
		"transport": &transport.ConfigError{Field: "f", Problem: "is wrong", Err: errors.New("why")},
		"probe":     &probe.ConfigError{Field: "f", Problem: "is wrong", Err: errors.New("why")},
		"metrics":   &metrics.ConfigError{Field: "f", Problem: "is wrong: why"},
	} {
		e := FromFailure(Failure(fmt.Errorf("x: %w", err)))
		if c, ok := errors.AsType[*auth.ConfigError](e); !ok || *c != (auth.ConfigError{Field: "f", Problem: "is wrong: why"}) {
			t.Errorf("%s: %v", kind, e.Causes)
		}
		SayConfigAs(e, func(field, problem string) error { return &probe.ConfigError{Field: field, Problem: problem} })
		if c, ok := errors.AsType[*probe.ConfigError](e); !ok || *c != (probe.ConfigError{Field: "f", Problem: "is wrong: why"}) {
			t.Errorf("%s, said as another: %v", kind, e.Causes)
		}
	}
}

// Neither side believes that the other has said it short and clean.
func TestWhatAFailureSaysIsCleanAndHasItsBounds(t *testing.T) {
	t.Parallel()
	const wild = "a\x1b[2J"
	long := strings.Repeat("x", 2*maxMessage)
	var many []error
	for range 2 * maxCauses {
		many = append(many, &auth.ConfigError{Field: wild + long, Problem: wild + long})
	}
	sent := Failure(errors.Join(append(many, errors.New(wild+long))...))
	received := &basev1.Failure{Message: wild + long}
	for range 2 * maxCauses {
		received.Causes = append(received.Causes, &basev1.Cause{Code: basev1.Code_CODE_CONFIG, Field: wild + long, Problem: wild + long})
	}
	for name, texts := range map[string][]string{
		"sent":     {sent.GetMessage(), sent.GetCauses()[0].GetField(), sent.GetCauses()[0].GetProblem()},
		"received": textsOf(FromFailure(received)),
	} {
		for i, limit := range []int{maxMessage, 256, maxMessage} {
			if n := len(texts[i]); strings.ContainsRune(texts[i], 0x1b) || n < limit || n > limit+len("…") {
				t.Errorf("%s: %d bytes, %.20q", name, n, texts[i])
			}
		}
	}
	if a, b := len(sent.GetCauses()), len(FromFailure(received).Causes); a != maxCauses || b != maxCauses {
		t.Errorf("%d causes sent, %d received, want %d", a, b, maxCauses)
	}
}

func textsOf(e *Error) []string {
	c, _ := errors.AsType[*auth.ConfigError](e)
	return []string{e.Message, c.Field, c.Problem}
}

func TestWhenToComeBackIsSaidWhereItIsKnown(t *testing.T) {
	t.Parallel()
	for _, after := range []time.Duration{0, -time.Second} {
		if c := Failure(&auth.ThrottledError{RetryAfter: after}).GetCauses()[0]; c.GetRetryAfter() != nil {
			t.Errorf("%v became %v", after, c)
		}
	}
	e := FromFailure(&basev1.Failure{Causes: []*basev1.Cause{{Code: basev1.Code_CODE_THROTTLED, RetryAfter: durationpb.New(-time.Second)}}})
	if c, ok := errors.AsType[*auth.ThrottledError](e); !ok || c.RetryAfter != 0 {
		t.Errorf("a time in the past became %v", e.Causes)
	}
}

func TestAFailureKeepsEveryJoinedFault(t *testing.T) {
	t.Parallel()
	e := FromFailure(Failure(fmt.Errorf("x: %w", errors.Join(
		&auth.ConfigError{Field: "a", Problem: "is bad", Err: errors.New("why")},
		&auth.ConfigError{Field: "b", Problem: "too"},
		&auth.ThrottledError{RetryAfter: 3 * time.Second},
	))))
	var fields []string
	throttled := false
	for _, cause := range e.Causes {
		if c, ok := errors.AsType[*auth.ConfigError](cause); ok {
			fields = append(fields, c.Field+" "+c.Problem)
		}
		if c, ok := errors.AsType[*auth.ThrottledError](cause); ok {
			throttled = c.RetryAfter == 3*time.Second
		}
	}
	if strings.Join(fields, ", ") != "a is bad: why, b too" || !throttled {
		t.Errorf("%q, %v", fields, e.Causes)
	}
}

func TestCleanTakesAwayWhatHarmsATerminal(t *testing.T) {
	t.Parallel()
	if got := Clean("a\x1b[2Jb\xff\xfec\u2028d\u2029e\tf\r\n", 100); got != "a [2Jb\uFFFDc d e\tf \n" {
		t.Errorf("%q", got)
	}
	for limit, want := range map[int]string{3: "é…", 4: "éé…", 5: "éé…", 6: "ééé"} {
		if got := Clean("ééé", limit); got != want {
			t.Errorf("%d bytes at most: %q", limit, got)
		}
	}
}
