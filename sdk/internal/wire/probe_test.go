package wire

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	probev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/probe/v1"
	"github.com/go-mcpool/mcpool/sdk/probe"
)

func TestEveryFieldOfATargetCrosses(t *testing.T) {
	t.Parallel()
	for _, d := range []probe.Description{
		{}, {Kind: "mcp", Pool: "größer", ID: "1", Methods: []string{"a", "b"}, Attrs: map[string]string{"k": "v", "": ""}},
	} {
		if diff := cmp.Diff(d, TargetFrom(cross(t, TargetTo(d), &probev1.Target{}))); diff != "" {
			t.Error(diff)
		}
	}
}

// A name from a configuration may be anything, and must not keep a target from a prober.
func TestATargetWithTextThatIsNoUTF8Crosses(t *testing.T) {
	t.Parallel()
	d := probe.Description{Kind: "\xff", Pool: "p\xff", ID: "\xc3", Methods: []string{"m\xff"}, Attrs: map[string]string{"k\xff": "\xff"}}
	got := TargetFrom(cross(t, TargetTo(d), &probev1.Target{}))
	want := probe.Description{
		Kind: "\uFFFD", Pool: "p\uFFFD", ID: "\uFFFD", Methods: []string{"m\uFFFD"}, Attrs: map[string]string{"k\uFFFD": "\uFFFD"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if d.Methods[0] != "m\xff" {
		t.Error("the description was changed")
	}
}

func TestEveryVerdictCrosses(t *testing.T) {
	t.Parallel()
	for status := probe.Unknown; status <= probe.Unhealthy; status++ {
		v := probe.Verdict{Status: status, Reason: "why"}
		if got := VerdictFrom(cross(t, VerdictTo(v), &probev1.Verdict{})); got != v {
			t.Errorf("%v became %v", v, got)
		}
	}
	odd := probe.Verdict{Status: 77, Reason: "a\nb\x1b[2J" + strings.Repeat("x", 10_000)}
	got := VerdictFrom(cross(t, VerdictTo(odd), &probev1.Verdict{}))
	if got.Status != probe.Unknown || !strings.HasPrefix(got.Reason, "a b [2Jx") || len(got.Reason) > 2<<10 {
		t.Errorf("became %v, %d bytes", got.Status, len(got.Reason))
	}
	if sent, got := VerdictTo(odd), VerdictFrom(&probev1.Verdict{Reason: "a\nb"}); strings.ContainsAny(sent.GetReason(), "\n\x1b") || got.Reason != "a b" {
		t.Errorf("sent %.20q, received %q", sent.GetReason(), got.Reason)
	}
	if got := VerdictFrom(nil); got != (probe.Verdict{}) {
		t.Errorf("no verdict became %v", got)
	}
}

func FuzzVerdict(f *testing.F) {
	for _, status := range []probev1.Status{0, 1, 3, 99, -1} {
		seed, err := proto.Marshal(&probev1.Verdict{Status: status, Reason: "r\n"})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m probev1.Verdict
		if proto.Unmarshal(data, &m) != nil {
			return
		}
		v := VerdictFrom(&m)
		if v.Status > probe.Unhealthy || len(v.Reason) > 2<<10 || !utf8.ValidString(v.Reason) || strings.ContainsAny(v.Reason, "\n\r\x1b\x00") {
			t.Errorf("%v, %d bytes: %.100q", v.Status, len(v.Reason), v.Reason)
		}
		if again := VerdictFrom(VerdictTo(v)); again.Status != v.Status {
			t.Errorf("%v became %v", v.Status, again.Status)
		}
	})
}
