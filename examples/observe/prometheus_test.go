package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	mcpool "github.com/go-mcpool/mcpool/mcp"
)

// beside are the files that come with the collector.
const beside = "../../plugins/metrics/prometheus/"

// TestPrometheusReadsWhatThePoolSays has a real Prometheus scrape the example, read
// the alerts, and answer each query of the dashboard.
func TestPrometheusReadsWhatThePoolSays(t *testing.T) {
	binary, err := exec.LookPath("prometheus")
	if err != nil {
		if os.Getenv("MCPOOL_REQUIRE_PROMETHEUS") != "" {
			t.Fatal("MCPOOL_REQUIRE_PROMETHEUS is set: ", err)
		}
		t.Skip("no Prometheus here: install it, on Debian as prometheus")
	}
	ctx := t.Context()
	w, err := open(ctx, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}()
	for range 20 {
		if _, err := w.pool.Call(ctx, "echo", map[string]any{"text": "hello"}); err != nil {
			t.Fatal(err)
		}
	}
	p := startPrometheus(t, binary, strings.TrimPrefix(w.url, "http://"))

	for query, want := range map[string]float64{
		`mcpool_ready{pool="tools"}`:         1,
		`mcpool_max_sessions{pool="tools"}`:  4,
		`mcpool_circuit_state{pool="tools"}`: 0,
		// The histograms are native ones here: a whole distribution is one series.
		`histogram_count(mcpool_call_duration_seconds{pool="tools",tool="echo",outcome="ok"})`: 20,
		`up{job="pools"}`: 1,
	} {
		p.wait(t, query, func(v []float64) bool { return len(v) == 1 && v[0] == want })
	}
	// Probes of idle sessions come between, so these go on growing.
	before := w.pool.Stats()
	for query, number := range map[string]func(mcpool.Stats) uint64{
		`mcpool_calls_total{pool="tools"}`:            func(s mcpool.Stats) uint64 { return s.Calls },
		`mcpool_borrow_total{pool="tools"}`:           func(s mcpool.Stats) uint64 { return s.Sessions.Acquired },
		`mcpool_sessions_created_total{pool="tools"}`: func(s mcpool.Stats) uint64 { return s.Sessions.Opened },
	} {
		p.wait(t, query, func(v []float64) bool {
			return len(v) == 1 && v[0] >= float64(number(before)) && v[0] <= float64(number(w.pool.Stats()))
		})
	}

	t.Run("alerts", func(t *testing.T) {
		var rules struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
		checked := 0
		p.poll(t, "the rules to be evaluated", func() (bool, error) {
			if err := p.get(ctx, "/api/v1/rules", nil, &rules); err != nil {
				return false, err
			}
			checked = 0
			for _, g := range rules.Groups {
				for _, r := range g.Rules {
					if r.Health == "err" {
						t.Fatalf("alert %s: %s", r.Name, r.LastError)
					}
					if r.Health == "unknown" {
						return false, nil
					}
					checked++
				}
			}
			return checked > 0, nil
		})
		raw, err := os.ReadFile(beside + "alerts.yaml")
		if err != nil {
			t.Fatal(err)
		}
		if want := bytes.Count(raw, []byte("alert:")); checked != want {
			t.Errorf("%d alerts were evaluated, the file has %d", checked, want)
		}
	})
	t.Run("dashboard", func(t *testing.T) {
		raw, err := os.ReadFile(beside + "grafana.json")
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			Panels []struct {
				Title   string
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal(raw, &d); err != nil {
			t.Fatal(err)
		}
		asked := 0
		for _, panel := range d.Panels {
			for _, target := range panel.Targets {
				// As Grafana does when it asks.
				query := strings.NewReplacer("$pool", "tools", "$__rate_interval", "1m").Replace(target.Expr)
				if _, err := p.query(ctx, query); err != nil {
					t.Errorf("panel %s: %s: %v", panel.Title, query, err)
				}
				asked++
			}
		}
		if asked < 20 {
			t.Errorf("only %d queries were asked", asked)
		}
	})
}

// prom is a Prometheus that runs.
type prom struct {
	url string
	log *bytes.Buffer // to be read once it has ended
}

// startPrometheus has one scrape a target until the test ends. Its data is in a
// folder of the test, and its port is one that was free.
func startPrometheus(t *testing.T, binary, target string) *prom {
	t.Helper()
	dir := t.TempDir()
	rules, err := filepath.Abs(beside + "alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("global: {scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}\n"+
		"rule_files: [%q]\nscrape_configs:\n- job_name: pools\n  static_configs: [{targets: [%q]}]\n", rules, target)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for attempt := range 5 {
		// It cannot be told to choose a port, and another process may be faster.
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		l.Close()
		p := &prom{url: "http://" + addr, log: new(bytes.Buffer)}
		cmd := exec.Command(binary, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, strconv.Itoa(attempt)),
			"--web.listen-address="+addr, "--enable-feature=native-histograms", "--log.level=warn")
		cmd.Stdout, cmd.Stderr = p.log, p.log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { defer close(ended); _ = cmd.Wait() }()
		stop := func() {
			_ = cmd.Process.Kill()
			<-ended
		}
		starting, giveUp := context.WithDeadline(t.Context(), limit(t)) // so that its log is seen
		ready := p.ready(starting, ended)
		giveUp()
		if ready {
			t.Cleanup(func() {
				stop()
				http.DefaultClient.CloseIdleConnections()
				if t.Failed() {
					t.Logf("Prometheus said:\n%s", p.log)
				}
			})
			return p
		}
		stop()
		t.Logf("Prometheus did not start:\n%s", p.log)
	}
	t.Fatal("Prometheus did not start")
	return nil
}

// ready waits until it answers, and returns false if it ends instead.
func (p *prom) ready(ctx context.Context, ended <-chan struct{}) bool {
	for {
		if _, err := p.query(ctx, "vector(1)"); err == nil {
			return true
		}
		select {
		case <-ended:
			return false
		case <-ctx.Done():
			return false
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (p *prom) get(ctx context.Context, path string, query url.Values, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	answer := struct {
		Status, Error string
		Data          any
	}{Data: into}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("%s: %w", res.Status, err)
	}
	if answer.Status != "success" {
		return errors.New(answer.Error)
	}
	return nil
}

// query returns the values of the series that an instant query has.
func (p *prom) query(ctx context.Context, query string) ([]float64, error) {
	var data struct {
		Result []struct{ Value [2]any }
	}
	if err := p.get(ctx, "/api/v1/query", url.Values{"query": {query}}, &data); err != nil {
		return nil, err
	}
	values := make([]float64, 0, len(data.Result))
	for _, r := range data.Result {
		v, err := strconv.ParseFloat(fmt.Sprint(r.Value[1]), 64)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, nil
}

// wait asks until the answer is right, or the test has no more time.
func (p *prom) wait(t *testing.T, query string, right func([]float64) bool) {
	t.Helper()
	p.poll(t, query, func() (bool, error) {
		got, err := p.query(t.Context(), query)
		if err == nil {
			err = fmt.Errorf("the last answer was %v", got)
		}
		return right(got), err
	})
}

// limit is until when to wait: there is time left then to say for what.
func limit(t *testing.T) time.Time {
	t.Helper()
	if end, limited := t.Deadline(); limited {
		return time.Now().Add(time.Until(end) * 3 / 4)
	}
	return time.Now().Add(2 * time.Minute)
}

func (p *prom) poll(t *testing.T, what string, done func() (bool, error)) {
	t.Helper()
	limit := limit(t)
	for {
		ok, err := done()
		if ok {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("waited in vain for %s (%v)", what, err)
		}
		<-time.After(50 * time.Millisecond)
	}
}
