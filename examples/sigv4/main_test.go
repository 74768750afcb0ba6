package main

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
)

func TestTheExampleHolds(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, options{json: true, each: 500 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if !r.OK || r.Application.Failed+r.People.Failed+r.Expired.Failed+r.Crossed != 0 || !r.Mallory || !r.Clock || !r.Changed || r.Sessions != 4 {
		t.Errorf("got %s", out.Bytes())
	}
}
