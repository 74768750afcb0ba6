package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

func TestAFailureKeepsAllThatCallersBranchOn(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		err        error
		is         error
		downstream bool
		ran        bool
	}{
		"rejected":    {fmt.Errorf("x: %w", auth.ErrCredentialsRejected), auth.ErrCredentialsRejected, true, true},
		"interaction": {auth.ErrInteractionRequired, auth.ErrInteractionRequired, false, true},
		"unsupported": {auth.ErrUnsupported, auth.ErrUnsupported, false, false},
		"closed":      {auth.ErrClosed, auth.ErrClosed, false, false},
		"canceled":    {context.Canceled, context.Canceled, false, true},
		"deadline":    {context.DeadlineExceeded, context.DeadlineExceeded, false, true},
		"no instance": {ErrNoInstance, ErrNoInstance, false, false},
		"panic":       {ErrPanic, ErrPanic, false, true},
		"network":     {&net.OpError{Op: "dial", Err: errors.New("refused")}, nil, true, true},
		"says so":     {burningError{}, nil, true, true},
		"anything":    {errors.New("anything"), nil, false, true},
	} {
		e, ok := FromStatus(Status(test.err))
		if !ok {
			t.Errorf("%s: the status has no failure", name)
			continue
		}
		if test.is != nil && !errors.Is(e, test.is) || e.Downstream != test.downstream || e.Ran != test.ran {
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
	if got := Clean("a\x1b[2Jb\xffc\u2028d\n", 100); got != "a [2Jb\uFFFDc d\n" {
		t.Errorf("%q", got)
	}
	if got := Clean(strings.Repeat("é", 10), 5); got != "éé…" {
		t.Errorf("%q", got)
	}
}
