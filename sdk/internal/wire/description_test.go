package wire

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	basev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/base/v1"
)

func TestEveryFieldOfADescriptionCrosses(t *testing.T) {
	t.Parallel()
	d := Description{
		Name: "n", Version: "1.2.3", Summary: "does it", Environment: []string{"A", "B_*"},
		Kinds: []KindDescription{
			{Name: "auth", Majors: []uint32{1, 2}, Capabilities: []string{"sign"}, Headers: []string{"X-*"}, Config: json.RawMessage(`{"type":"object"}`)},
			{Name: "probe", Majors: []uint32{1}},
		},
	}
	if diff := cmp.Diff(d, DescriptionFrom(cross(t, DescriptionTo(d), &basev1.DescribeResponse{}))); diff != "" {
		t.Error(diff)
	}
}

func TestADescriptionIsFitForPeople(t *testing.T) {
	t.Parallel()
	wild := "a\x1b[2J" + strings.Repeat("x", 1000)
	d := DescriptionFrom(&basev1.DescribeResponse{
		Name: wild, Version: wild, Summary: wild, Kinds: []*basev1.Kind{{Name: wild, ConfigSchema: `{"type":`}},
	})
	for text, limit := range map[string]int{d.Name: 128, d.Version: 128, d.Summary: 512, d.Kinds[0].Name: 64} {
		if n := len(text); strings.ContainsRune(text, 0x1b) || n < limit || n > limit+len("…") {
			t.Errorf("%d bytes, want %d: %.20q", n, limit, text)
		}
	}
	if d.Kinds[0].Config != nil {
		t.Errorf("a schema that is no JSON: %s", d.Kinds[0].Config)
	}
}
