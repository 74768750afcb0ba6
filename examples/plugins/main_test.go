package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheExampleHolds(t *testing.T) {
	var out bytes.Buffer
	err := run(t.Context(), &out, options{json: true, kills: 2, samples: 20})
	if err != nil {
		t.Fatalf("%v\n%s", err, out.Bytes())
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	stops := 2
	if stopSignal() == nil {
		stops = 0
	}
	if !r.OK || r.SigV4.Calls == 0 || r.OAuth.Calls == 0 || r.SigV4.Failed+r.OAuth.Failed != 0 || r.Kills != 4 || r.Stops != stops ||
		!r.Replaced || !r.Refused || r.Left != 0 || r.SigV4.InProcess <= 0 || r.SigV4.Binary <= 0 {
		t.Errorf("got %s", out.Bytes())
	}
}
