package main

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"
)

func twoRounds() *results {
	r := newResults("core", 2, []benchCase{
		{name: "serial", about: "alone", impls: []impl{{name: "core"}, {name: "puddle"}}},
		{name: "wait64", about: "many", fair: true, impls: []impl{{name: "core"}}},
	})
	for round := range 2 {
		x := float64(round)
		r.add("serial", "core", sample{ns: 20 + x, allocs: 0.001})
		r.add("serial", "puddle", sample{ns: 200 + 10*x, allocs: 1, bytes: 64})
		r.add("wait64", "core", sample{ns: 400, allocs: 0.126, bytes: 3.5, fairness: 1.25})
	}
	return r
}

// The JSON form is a contract: change it only together with those who read it.
func TestJSONForm(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := writeJSON(&b, twoRounds()); err != nil {
		t.Fatal(err)
	}
	want := `{"suite":"core","rounds":2,"cases":[` +
		`{"case":"serial","impl":"core","ns_per_op":20.5,"allocs_per_op":0,"bytes_per_op":0,"fairness":null},` +
		`{"case":"serial","impl":"puddle","ns_per_op":205,"allocs_per_op":1,"bytes_per_op":64,"fairness":null},` +
		`{"case":"wait64","impl":"core","ns_per_op":400,"allocs_per_op":0.13,"bytes_per_op":3.5,"fairness":1.25}]}` + "\n"
	if b.String() != want {
		t.Errorf("got  %swant %s", b.String(), want)
	}
}

func TestTableShowsCasesAndVerdicts(t *testing.T) {
	t.Parallel()
	r := twoRounds()
	targets := []target{
		{kase: "serial", impl: "core", versus: "puddle", max: 0.2, aim: 0.1},
		{kase: "wait64", impl: "core", metric: allocations, max: noAllocation},
		{kase: "parallel", impl: "core", versus: "puddle", max: 0.2},
	}
	var b bytes.Buffer
	if err := writeTable(&b, r, r.judge(targets)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"serial: alone", "wait64: many", "20.5", "1.25", "core / puddle", "≤ 0.2", "ok\n", "MISSED\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
	if strings.Contains(b.String(), "parallel") {
		t.Errorf("a case that was not measured is in\n%s", &b)
	}
}

func TestWriteErrorsAreReturned(t *testing.T) {
	t.Parallel()
	r := twoRounds()
	if err := writeTable(brokenWriter{}, r, nil); err == nil {
		t.Error("writeTable hid the error of its writer")
	}
	if err := writeJSON(brokenWriter{}, r); err == nil {
		t.Error("writeJSON hid the error of its writer")
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestRunPrintsOneJSONObject(t *testing.T) {
	t.Parallel()
	var out, progress bytes.Buffer
	args := []string{"-json", "-rounds", "2", "-duration", "1ms", "-case", "serial, wait64", "-impl", "channel"}
	if status := run(args, &out, &progress); status != 0 {
		t.Fatalf("status %d: %s", status, &progress)
	}
	dec := json.NewDecoder(&out)
	dec.DisallowUnknownFields()
	var rep report
	if err := dec.Decode(&rep); err != nil {
		t.Fatal(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		t.Errorf("after the object comes %v", err)
	}
	if rep.Suite != "core" || rep.Rounds != 2 || len(rep.Cases) != 2 {
		t.Fatalf("got %+v", rep)
	}
	if c := rep.Cases[0]; c.Case != "serial" || c.Impl != "channel" || c.Ns <= 0 || c.Fairness != nil {
		t.Errorf("first case is %+v", c)
	}
	if c := rep.Cases[1]; c.Case != "wait64" || c.Fairness == nil || *c.Fairness < 1 {
		t.Errorf("second case is %+v", c)
	}
	if !strings.Contains(progress.String(), "round 2 of 2") || !strings.Contains(progress.String(), "note:") {
		t.Errorf("progress is %q", progress.String())
	}
}

func TestACheckThatLookedAtNothingFails(t *testing.T) {
	t.Parallel()
	var progress bytes.Buffer
	args := []string{"-check", "-rounds", "1", "-duration", "1ms", "-case", "serial", "-impl", "channel"}
	if status := run(args, io.Discard, &progress); status != 1 || !strings.Contains(progress.String(), "no target could be checked") {
		t.Errorf("status %d, said %q", status, progress.String())
	}
}

func TestWrongUsage(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		`no suite "x"`:          {"-suite", "x"},
		`no case "x"`:           {"-case", "serial,x"},
		`no implementation "x"`: {"-impl", "x"},
		"nothing to measure":    {"-case", "shared64", "-impl", "puddle"},
		"must be positive":      {"-rounds", "0"},
		`unexpected argument`:   {"serial"},
		"not defined":           {"-nonsense"},
	} {
		var progress bytes.Buffer
		if status := run(args, io.Discard, &progress); status != 2 || !strings.Contains(progress.String(), want) {
			t.Errorf("%v: status %d, said %q, want %q", args, status, progress.String(), want)
		}
	}
}

func TestRunFailsWhenAMeasurementFails(t *testing.T) {
	t.Parallel()
	s := suite{name: "s", cases: []benchCase{{name: "c", goroutines: 1, impls: []impl{
		{name: "bad", open: func() (*fixture, error) { return nil, io.ErrUnexpectedEOF }},
	}}}}
	_, err := s.run(1, time.Millisecond, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "c, bad, round 1") {
		t.Errorf("error = %v, want one naming case, implementation and round", err)
	}
}
