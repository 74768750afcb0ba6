package plugintest

import (
	"strings"
	"testing"
	"time"
)

func TestADialerThatDoesWhatItShouldPasses(t *testing.T) {
	t.Parallel()
	Transport(t, newTubes, tubeOptions(t, ""))
}

// What is not there is skipped, and the least that works passes.
func TestTheLeastDialerThatWorksPasses(t *testing.T) {
	t.Parallel()
	opts := tubeOptions(t, "")
	opts = TransportOptions[tubeConfig]{Config: opts.Config}
	Transport(t, newTubes, opts)
	if rec := record(t, transportInProcess(newTubes, opts), "Failures"); rec.Failed() || !rec.skipped || rec.text() == "" {
		t.Errorf("Failures: failed %v, skipped %v, %q", rec.Failed(), rec.skipped, rec.text())
	}
}

func TestEveryFlawOfADialerIsFoundAndNamed(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ flaw, check, want string }{
		{"writes header", "Echo", "Dial changed what it was given"},
		{"panics", "Echo", "Dial panicked: not here"},
		{"no conn", "Echo", "Dial returned neither a connection nor an error"},
		{"nil", "Echo", "returned neither what it makes nor an error"},
		{"mangles", "Echo", "a message came back as another"},
		{"mumbles", "Echo", "Send returned an error that tells a caller nothing"},
		{"scribbles", "Echo", "Send changed the message, which is lent"},
		{"keeps lines", "Echo", "a message with lines in it came back as"},
		{"boundless", "Sizes", "Send took a message of 1048577 bytes"},
		{"boundless in", "Sizes", "a message that is too large was received, and that is not ErrTooLarge: 1048577 bytes"},
		{"short", "Sizes", "a message of 1048576 bytes, with MaxBytes = 1048576: sending transport: the message"},
		{"too large untyped", "Sizes", "the error is no *transport.SizeError that is ErrNotSent"},
		{"breaks", "Sizes", "the connection did not outlive a message that was too large"},
		{"says closed", "Sizes", "too large was received, and that is not ErrTooLarge: 0 bytes"},
		{"goes on", "Sizes", "after a message that is too large the connection has to end: <nil>"},
		{"drops", "Order", "message 49 of 300 came as"},
		{"swaps", "Order", "message 49 of 300 came as"},
		{"keeps", "Order", "receiving"}, // one of them, or all
		{"hoards", "Pressure", "nobody receives, and the peer could send 32 messages of 1 MiB"},
		{"queues", "Pressure", "the peer does not read, and Send took 32 messages of 1 MiB"},
		{"resends", "Once", "twice"},
		{"lies", "Once", "Send returned ErrNotSent for message"},
		{"half", "Torn", "half a message was received as a whole one"},
		{"bare EOF", "Torn", "Receive returned an error that tells a caller nothing"},
		{"bare EOF", "Torn", "after the connection was torn, Receive returned no *transport.CloseError: EOF"},
		{"untyped end", "Torn", "returned transport.ErrClosed without a *transport.CloseError"},
		{"reasonless", "Torn", "a *transport.CloseError with unknown reason"},
		{"done", "Torn", "the connection was torn, and the reason is done, want peer gone"},
		{"session gone", "Torn", "the connection was torn, and the reason is session gone"},
		{"shows end", "Torn", "the error of Receive shows a secret"},
		{"session gone", "Left", "that does not claim that the session is unknown"},
		{"drops all", "Left", "that the peer sent before it left came as"},
		{"untyped", "Failures", "no key: the error holds no *transport.ConfigError of the field key: there is no key"},
		{"untyped", "Failures", "rejected: got the error no, want auth: credentials rejected"},
		{"shows", "Failures", "the error of Dial shows a secret"},
		{"deaf", "Cancellation", "Dial whose context was cancelled: it did not return within"},
		{"own words", "Cancellation", "Dial whose context was cancelled returned another error: timed out"},
		{"deaf receive", "Cancellation", "Receive whose context was cancelled: it did not return within"},
		{"deaf send", "Cancellation", "Send whose context was cancelled: it did not return within"},
		{"own words sending", "Cancellation", "Send whose context was cancelled returned another error: timed out"},
		{"deaf", "Deadline", "Dial whose deadline passed: it did not return within"},
		{"own words", "Deadline", "Dial whose deadline passed returned another error: timed out"},
		{"deaf receive", "Deadline", "Receive whose deadline passed: it did not return within"},
		{"others", "Alone", "when one caller's context ended, another caller's Receive returned"},
		{"mangles", "Concurrent", "a message came back as another"},
		{"lingers", "Close", "its peer did not see its end within"},
		{"never ends", "Close", "Close: it did not return within"},
		{"once only", "Close", "Close panicked: closed already"},
		{"other result", "Close", "the second Close returned it is closed already"},
		{"no goodbye", "Close", "Close for session gone: no such reason"},
		{"forgets", "Close", "Receive after Close returned"},
		{"only marks", "CloseBeside", "Receive beside Close: it did not return within"},
		{"deaf beside close", "CloseBeside", "Send beside Close: it did not return within"},
		{"open", "Printing", "a printed dialer shows a secret"},
		{"leaks", "Goroutines", "goroutines that the plugin started are still there after Close"},
	} {
		t.Run(tt.flaw+" "+tt.check, func(t *testing.T) {
			t.Parallel()
			opts := tubeOptions(t, tt.flaw)
			switch {
			case tt.check == "Alone":
				opts.lull = lull("Alone")
			case tt.check == "CloseBeside":
				opts.lull = 300 * time.Millisecond // times 10
			case tt.flaw == "keeps":
				opts.Patience = never
			case tt.flaw == "hoards":
				opts.lull = time.Minute // times 50: it is found as soon as the peer has sent all
			case tt.check == "Pressure":
				opts.lull = 300 * time.Millisecond // times 50, twice at most
			}
			if strings.HasSuffix(tt.want, " within") || strings.HasSuffix(tt.want, "still there after Close") {
				opts.Patience = never
			}
			rec := record(t, transportInProcess(newTubes, opts), tt.check)
			wantFault(t, rec, tt.want)
			if text := rec.text(); strings.Contains(text, token) || strings.Contains(text, headerToken) {
				t.Errorf("the kit shows the secret: %s", text)
			}
		})
	}
}
