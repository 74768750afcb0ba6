//go:build unix

package host

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-mcpool/mcpool/sdk/metrics"
	"github.com/go-mcpool/mcpool/sdk/probe"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

func TestAnEndpointHasAnInstanceOfEveryKind(t *testing.T) {
	t.Setenv("GOOD_KEY", "hush")
	c, err := loadText(t, configDir(t), wholeConfig)
	if err != nil {
		t.Fatal(err)
	}
	g := launchConfig(t, c)
	all, err := g.Endpoint("all")
	if err != nil {
		t.Fatal(err)
	}
	if all.URL != "wss://all.example/mcp" || value(t, all.Auth, "key") != "hello hush" {
		t.Errorf("%+v is not as configured", all)
	}
	conn, err := all.Transport.Dial(t.Context(), transport.Open{Target: transport.Target{URL: all.URL}})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Send(t.Context(), []byte("hello")); err != nil {
		t.Error(err)
	}
	if m, err := conn.Receive(t.Context()); string(m) != "hello" || err != nil {
		t.Errorf("received %q, %v", m, err)
	}
	if err := conn.Close(t.Context(), transport.Done); err != nil {
		t.Error(err)
	}
	if v, err := all.Probe.Probe(t.Context(), &resource{id: "call:ping"}); v.Status != probe.Healthy || v.Reason == "" || err != nil {
		t.Errorf("the verdict is %v, %v", v, err)
	}
	// A Periodic closes its sink. The other endpoint's goes on.
	if err := all.Metrics.Close(t.Context()); err != nil {
		t.Error(err)
	}
	road, err := g.Endpoint("road")
	if err != nil {
		t.Fatal(err)
	}
	if road.URL != "" || road.Auth != nil || road.Probe != nil || road.Transport != all.Transport || road.Metrics != all.Metrics {
		t.Errorf("%+v is not as configured", road)
	}
	if res, err := road.Metrics.Export(t.Context(), batch("whole")); res.Rejected != 1 || err != nil {
		t.Errorf("exported with %+v, %v", res, err)
	}
}

func TestEndpointsThatShareASinkExportOneAfterTheOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slow := &slowSink{}
		shared := &sharedSink{sink: slow, turn: make(chan struct{}, 1)}
		for range 5 {
			go func() {
				if _, err := shared.Export(t.Context(), metrics.Batch{}); err != nil {
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, err := shared.Export(ctx, metrics.Batch{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one that waited too long: %v", err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if slow.together || slow.batches != 5 {
			t.Errorf("%d batches arrived, two together: %v", slow.batches, slow.together)
		}
	})
}

// slowSink takes a second for a batch. Within a bubble it needs no lock to notice that
// it is called twice at once.
type slowSink struct {
	busy, together bool
	batches        int
}

func (s *slowSink) Export(context.Context, metrics.Batch) (metrics.Result, error) {
	s.together = s.together || s.busy
	s.busy = true
	time.Sleep(time.Second)
	s.busy = false
	s.batches++
	return metrics.Result{}, nil
}

func (*slowSink) Close(context.Context) error { return errors.New("closed") }
