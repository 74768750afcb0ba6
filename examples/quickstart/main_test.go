package main

import (
	"bytes"
	"encoding/json"
	"os"
	"slices"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if os.Getenv("MCPOOL_QUICKSTART") == "serve" { // this binary is the server
		if err := runServer(os.Args[len(os.Args)-1]); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestTheQuickStartHolds(t *testing.T) {
	var out bytes.Buffer
	failed := run(t.Context(), &out, options{json: true, each: 200 * time.Millisecond})
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v (%v)", err, failed)
	}
	// So short a measurement beside other tests says nothing about speed.
	problems := slices.DeleteFunc(r.Problems, func(p string) bool { return p == slower })
	if len(problems) > 0 || failed != nil && len(r.Problems) == 0 {
		t.Errorf("%v", failed)
	}
	if r.Restart.Failed != 0 || r.Identities.Crossed != 0 || r.Restart.Calls == 0 || r.Identities.Calls != 640 ||
		!r.Header || !r.Affinity || !r.Schema {
		t.Errorf("got %s", out.Bytes())
	}
}
