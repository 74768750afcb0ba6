package mcpool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestAServerRestartUnderLoadFailsNoReadOnlyCall(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		p := s.open(func(c *Config) { c.Replay = ReplayReadOnly; c.RestartGrace = time.Minute; c.CircuitMax = time.Second })
		if err := p.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		stop := make(chan struct{})
		var calls, failed atomic.Int32
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					res, err := p.Call(ctx, "echo", map[string]any{"text": "x"})
					cancel()
					calls.Add(1)
					if err != nil || text(t, res, err) != "x" {
						failed.Add(1)
						t.Errorf("a call failed: %v", err)
						return
					}
				}
			})
		}
		for range 2 {
			before := calls.Load()
			poll(t, "calls to go through", func() bool { return calls.Load() > before+50 })
			s.kill()
			<-time.After(300 * time.Millisecond)
			s.start()
		}
		before := calls.Load()
		poll(t, "calls to go through again", func() bool { return calls.Load() > before+50 })
		close(stop)
		wg.Wait()
		if failed.Load() != 0 {
			t.Errorf("%d of %d calls failed", failed.Load(), calls.Load())
		}
	})
}

// goneAnswers are the ways in which servers say that they do not know a session.
var goneAnswers = map[string]func(w http.ResponseWriter){
	"go":  func(w http.ResponseWriter) { http.Error(w, "session not found", http.StatusNotFound) },
	"404": func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
	"python": func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Session not found"}}`)
	},
	"typescript": func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}`)
	},
	"typescript bare": func(w http.ResponseWriter) { http.Error(w, "Bad Request", http.StatusBadRequest) },
	"not initialized": func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: Server not initialized"},"id":null}`)
	},
	"html": func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, "<html>no</html>")
	},
	"410": func(w http.ResponseWriter) { w.WriteHeader(http.StatusGone) },
}

func TestASessionThatIsGoneCostsNobodyACall(t *testing.T) {
	t.Parallel()
	for name, answer := range goneAnswers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, oldEra)
			p := s.open(func(c *Config) { c.Min = 3 })
			if err := p.WaitReady(t.Context()); err != nil {
				t.Fatal(err)
			}
			old := make(map[string]bool)
			for _, r := range s.seen() {
				old[r.header.Get("Mcp-Session-Id")] = true
			}
			s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if id := r.Header.Get("Mcp-Session-Id"); id == "" || !old[id] {
					return false
				}
				answer(w)
				return true
			})
			var wg sync.WaitGroup
			for range 12 {
				wg.Go(func() {
					res, err := p.Call(t.Context(), "write", map[string]any{"text": "x"}) // not read-only
					if err != nil || text(t, res, err) != "x" {
						t.Errorf("got %v, %v", res, err)
					}
				})
			}
			wg.Wait()
			if n := s.ran("write"); n != 12 {
				t.Errorf("12 calls ran %d times", n)
			}
			if n := p.Stats().Losses; n != 1 {
				t.Errorf("%d losses counted for one", n)
			}
		})
	}
}

func TestTheOlderSiblingsOfALostSessionRetire(t *testing.T) {
	t.Parallel()
	s := newServer(t, oldEra)
	p := s.open(func(c *Config) { c.Min = 3 })
	if err := p.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.kill()
	s.start()
	// Whether a request got to the old server before its connection ended is not
	// always known, so the call has to be one that may be repeated then.
	if _, err := p.Call(t.Context(), "echo", nil, WithReplay(ReplayReadOnly)); err != nil {
		t.Fatal(err)
	}
	poll(t, "3 sessions to be replaced", func() bool {
		st := p.Stats().Sessions
		return st.Closed == 3 && st.Live == 3
	})
}

// cutOff ends the connection of tools/call after it has been run.
func cutOff(s *server, tool string, times int32) {
	var n atomic.Int32
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Cut") != tool || n.Add(1) > times {
			return false
		}
		s.mu.Lock()
		s.runs[tool]++
		s.mu.Unlock()
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = conn.Close()
		}
		return true
	})
}

func TestWhatMayHaveRunIsNotRepeated(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		p := s.open(func(c *Config) { c.Replay = ReplayReadOnly })
		cutOff(s, "write", 1)
		_, err := p.Call(t.Context(), "write", nil, WithHeader("X-Cut", "write"))
		if !errors.Is(err, ErrMayHaveRun) {
			t.Errorf("got %v", err)
		}
		if n := s.ran("write"); n != 1 {
			t.Errorf("ran %d times", n)
		}
	})
}

func TestWhatOnlyReadsIsRepeatedIfAllowed(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		p := s.open(nil)
		cutOff(s, "echo", 2)
		if _, err := p.Call(t.Context(), "echo", nil, WithHeader("X-Cut", "echo")); !errors.Is(err, ErrMayHaveRun) {
			t.Errorf("not allowed, and got %v", err)
		}
		if _, err := p.Call(t.Context(), "echo", nil, WithHeader("X-Cut", "echo"), WithReplay(ReplayReadOnly)); err != nil {
			t.Errorf("allowed, and got %v", err)
		}
	})
}

func TestAnswersThatAreNoneAreTypedAndForTheCallAlone(t *testing.T) {
	t.Parallel()
	for _, e := range []era{oldEra, modernEra} {
		for status, check := range map[int]func(error) bool{
			400: isStatus(400), 401: isAuth(401), 403: isAuth(403), 405: isStatus(405), 413: isStatus(413),
			429: isThrottled, 500: isStatus(500), 502: isStatus(502), 503: isThrottled, 504: isStatus(504),
		} {
			t.Run(fmt.Sprint(e, status), func(t *testing.T) {
				t.Parallel()
				s := newServer(t, e)
				p := s.open(nil)
				if err := p.WaitReady(t.Context()); err != nil {
					t.Fatal(err)
				}
				s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
					if r.Header.Get("X-Status") == "" {
						return false
					}
					w.Header().Set("Retry-After", "7")
					http.Error(w, "because of Bearer hunter22", status)
					return true
				})
				_, err := p.Call(t.Context(), "echo", nil, WithHeader("X-Status", "1"))
				if !check(err) {
					t.Errorf("got %v", err)
				}
				if _, err := p.Call(t.Context(), "echo", nil); err != nil {
					t.Errorf("the next call: %v", err)
				}
				if n := p.Stats().Sessions.ClosedBy[1]; n != 0 {
					t.Errorf("%d sessions were discarded", n)
				}
			})
		}
	}
}

func isStatus(status int) func(error) bool {
	return func(err error) bool {
		var e *StatusError
		return errors.As(err, &e) && e.Status == status && errors.Is(err, ErrMayHaveRun) == (status >= 500 && status != 501)
	}
}

func isAuth(status int) func(error) bool {
	return func(err error) bool {
		var e *AuthError
		return errors.As(err, &e) && e.Status == status
	}
}

func isThrottled(err error) bool {
	var e *ThrottledError
	return errors.As(err, &e) && e.RetryAfter == 7*time.Second
}

func TestTruncatedAndOversizedAnswersAreForTheCallAlone(t *testing.T) {
	t.Parallel()
	answers := map[string]func(w http.ResponseWriter){
		"truncated": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, `{"jsonrpc":"2.0",`)
		},
		"garbage": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `]]]`)
		},
		"oversized": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":1,"result":"%01000000d"}`, 1)
		},
		"stream without events": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, ": hello\n\n")
		},
		"stream of garbage": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "event: message\ndata: ]]]\n\n")
		},
		"stream of no events": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "<html>\n")
		},
		"stream cut off": func(w http.ResponseWriter) { // cleanly, as some proxies do
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":")
		},
		"stream torn off": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
		"stream with an oversized event": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprintf(w, "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"%01000000d\"}\n\n", 1)
		},
		"stream that can be resumed and is gone": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "id: nowhere_1\ndata: \n\n")
		},
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bothEras(t, func(t *testing.T, e era) {
				s := newServer(t, e)
				p := s.open(func(c *Config) { c.HTTP.MaxBodyBytes, c.HTTP.MaxEventBytes, c.Min, c.Max = 100_000, 100_000, 1, 1 })
				stop := s.neighbour(p)
				s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
					if r.Header.Get("X-Bad") == "" {
						return false
					}
					if r.Method == http.MethodGet {
						w.WriteHeader(http.StatusBadRequest)
						return true
					}
					answer(w)
					return true
				})
				for range 3 {
					if _, err := p.Call(t.Context(), "echo", nil, WithHeader("X-Bad", "1")); !errors.Is(err, ErrMayHaveRun) {
						t.Errorf("got %v", err)
					}
				}
				if _, err := p.Call(t.Context(), "echo", nil); err != nil {
					t.Errorf("the next call: %v", err)
				}
				if n := p.Stats().Losses; n != 0 {
					t.Errorf("%d sessions were lost over it", n)
				}
				stop()
			})
		})
	}
}

func TestACallWaitsForARestartOnlyAsLongAsItMay(t *testing.T) {
	t.Parallel()
	s := newServer(t, oldEra)
	p := s.open(func(c *Config) { c.RestartGrace = 200 * time.Millisecond })
	s.kill()
	began := time.Now()
	if _, err := p.Call(t.Context(), "echo", nil); err == nil {
		t.Error("a call went through without a server")
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := p.Call(ctx, "echo", nil); err == nil {
		t.Error("a call went through without a server")
	}
}

func TestCancellingACallLeavesItsNeighboursAlone(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		p := s.open(func(c *Config) { c.Min, c.Max = 1, 1 })
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				if i%2 == 0 {
					ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
					defer cancel()
					if _, err := p.Call(ctx, "hang", nil); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("cancelled: %v", err)
					}
					return
				}
				for range 20 {
					if _, err := p.Call(t.Context(), "echo", nil); err != nil {
						t.Errorf("neighbour: %v", err)
					}
				}
			})
		}
		wg.Wait()
	})
}

// TestASessionLostWhileItIsOpenedIsOpenedAgain has the server forget a session
// between the two messages of its handshake, as one that is restarted then does.
func TestASessionLostWhileItIsOpenedIsOpenedAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t, oldEra)
	var forgot atomic.Bool
	s.intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Mcp-Session-Id") == "" || forgot.Swap(true) {
			return false
		}
		http.Error(w, "session not found", http.StatusNotFound)
		return true
	})
	p := s.open(func(c *Config) { c.Min, c.Max = 1, 1 })
	if _, err := p.Call(t.Context(), "write", nil); err != nil || !forgot.Load() {
		t.Errorf("got %v", err)
	}
}

// TestACallThatIsNeverAnsweredHoldsItsCallerAloneAndNoLongerThanItsDeadline has a
// server take calls and say nothing, as one that is stuck in them does.
func TestACallThatIsNeverAnsweredHoldsItsCallerAloneAndNoLongerThanItsDeadline(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		p := s.open(func(c *Config) { c.Min, c.Max, c.CallsPerSession, c.ProbeInterval = 1, 1, 4, Off })
		s.intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("X-Mute") == "" {
				return false
			}
			body, err := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			if err != nil || !bytes.Contains(body, []byte(`"tools/call"`)) {
				return false // that it was cancelled
			}
			<-r.Context().Done()
			return true
		})
		if _, err := p.Call(t.Context(), "echo", nil); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			var wg sync.WaitGroup
			for range 3 { // one seat is left
				wg.Go(func() {
					_, err := p.Call(t.Context(), "write", nil, WithHeader("X-Mute", "1"), WithTimeout(50*time.Millisecond))
					if !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("got %v", err)
					}
				})
			}
			wg.Go(func() {
				if _, err := p.Call(t.Context(), "write", nil); err != nil {
					t.Errorf("beside them: %v", err)
				}
			})
			wg.Wait()
		}
		// That a tool hangs says nothing about its session.
		if n := p.Stats().Sessions.Closed; n != 0 {
			t.Errorf("%d sessions closed", n)
		}
		if n := s.ran("write"); n != 3 {
			t.Errorf("%d calls ran, want those that were answered", n)
		}
	})
}
