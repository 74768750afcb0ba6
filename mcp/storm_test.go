package mcpool

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// listServer is a server in memory whose lists take a second. It tells its sessions
// when its tools change.
type listServer struct {
	*mcp.Server

	broken  atomic.Bool   // tools/list fails
	hang    chan struct{} // the first tools/list waits for it, if there is one
	mu      sync.Mutex
	listing int // guarded by mu; now
	most    int // guarded by mu; at a time
	asked   int // guarded by mu
}

func newListServer() *listServer {
	s := &listServer{Server: memoryServer()}
	s.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
			if method != "tools/list" {
				return next(ctx, method, req)
			}
			first := s.entered(1) == 1
			defer s.entered(-1)
			if s.hang != nil && first {
				res, err := next(ctx, method, req)
				<-s.hang
				return res, err
			}
			time.Sleep(time.Second)
			if s.broken.Load() {
				return nil, errors.New("out of order")
			}
			return next(ctx, method, req)
		}
	})
	return s
}

// entered counts a request, or takes it off again, and returns how many there were.
func (s *listServer) entered(by int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listing += by
	s.most = max(s.most, s.listing)
	if by > 0 {
		s.asked++
	}
	return s.asked
}

func (s *listServer) counts() (asked, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked, s.most
}

// storm has the tools change every 30 ms until the function it returns is called.
// The SDK's server says nothing as long as they change every 10 ms.
func (s *listServer) storm() (stop func()) {
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-over:
				return
			case <-time.After(30 * time.Millisecond):
				addNamed(s.Server, fmt.Sprintf("storm%d", i))
				s.RemoveTools(fmt.Sprintf("storm%d", i-3))
			}
		}
	}()
	return func() {
		close(over)
		<-ended
	}
}

func (s *listServer) open(t *testing.T, change func(*Config)) *Pool {
	t.Helper()
	cfg := Config{Transport: InMemory(s.Server)}
	change(&cfg)
	p, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func shut(t *testing.T, p *Pool) {
	t.Helper()
	if err := p.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func TestChangesOfToolsThatNeverRestAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newListServer()
		var mu sync.Mutex
		var told []SchemaChange
		p := s.open(t, func(c *Config) {
			c.OnSchemaChanged = func(e SchemaChange) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, e)
			}
		})
		time.Sleep(3 * time.Second)
		before, _ := s.counts()
		stop := s.storm()
		time.Sleep(time.Minute)
		mu.Lock()
		during := len(told)
		mu.Unlock()
		asked, most := s.counts()
		// A fetch takes a second, and then it rests for one.
		if n := asked - before; during < n/2 || n < 20 || n > 31 || most != 1 {
			t.Errorf("in a minute of changes %d were told, the server was asked %d times, %d at once", during, n, most)
		}
		stop()
		addNamed(s.Server, "last")
		time.Sleep(5 * time.Second)
		tools, err := p.ListTools(t.Context())
		if err != nil || !names(tools)["last"] {
			t.Fatalf("%v, %v", names(tools), err)
		}
		mu.Lock()
		defer mu.Unlock()
		for i := 1; i < len(told); i++ {
			if told[i].Old != told[i-1].New {
				t.Fatalf("change %d does not begin where the one before ended", i)
			}
		}
		if told[len(told)-1].New != SchemaHash(tools) {
			t.Error("the last change that was told is not that to the tools of now")
		}
		shut(t, p)
	})
}

func TestWhoAsksForToolsThatNeverRestGetsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newListServer()
		p := s.open(t, func(*Config) {})
		if _, err := p.ListTools(t.Context()); err != nil {
			t.Fatal(err)
		}
		stop := s.storm()
		time.Sleep(50 * time.Millisecond) // the pool has heard of it
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 77 * time.Millisecond)
				mine := fmt.Sprintf("mine%d", i)
				addNamed(s.Server, mine)
				time.Sleep(20 * time.Millisecond) // the pool has heard of it
				began := time.Now()
				tools, err := p.ListTools(t.Context())
				if err != nil || !names(tools)[mine] {
					t.Errorf("a tool from before the call is not listed (%v)", err)
				}
				// At worst one fetch that began before, and the next.
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("took %v", took)
				}
			})
		}
		wg.Wait()
		if asked, most := s.counts(); most != 1 || asked > 12 {
			t.Errorf("the server was asked %d times, %d at once", asked, most)
		}
		stop()
		time.Sleep(time.Second)
		// Nothing that was overtaken is in memory.
		tools, err := p.ListTools(t.Context())
		if err != nil {
			t.Error(err)
		}
		if again, err := p.ListTools(t.Context()); err != nil || SchemaHash(again) != SchemaHash(tools) {
			t.Errorf("got another list without a change (%v)", err)
		}
		shut(t, p)
	})
}

func TestAFetchThatHangsHoldsUpTheNextForSomeSecondsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newListServer()
		s.hang = make(chan struct{})
		p := s.open(t, func(c *Config) { c.NoListener = true })
		first := make(chan map[string]bool, 1)
		go func() {
			tools, _ := p.ListTools(t.Context())
			first <- names(tools)
		}()
		synctest.Wait()
		addNamed(s.Server, "added")
		p.InvalidateTools()
		began := time.Now()
		tools, err := p.ListTools(t.Context())
		if took := time.Since(began); err != nil || !names(tools)["added"] || took != listPatience+time.Second {
			t.Errorf("%v, %v, after %v", names(tools), err, took)
		}
		close(s.hang)
		if old := <-first; len(old) == 0 || old["added"] {
			t.Errorf("who asked first got %v", old)
		}
		// What came late does not take the place of what came after it.
		if tools, err := p.ListTools(t.Context()); err != nil || !names(tools)["added"] || p.Stats().ListFetches != 2 {
			t.Errorf("%v, %v, fetched %d times", names(tools), err, p.Stats().ListFetches)
		}
		shut(t, p)
	})
}

func TestAChangeWhoseFetchFailedIsToldWhenOneSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newListServer()
		var told atomic.Int32
		p := s.open(t, func(c *Config) { c.OnSchemaChanged = func(SchemaChange) { told.Add(1) } })
		time.Sleep(5 * time.Second)
		s.broken.Store(true)
		addNamed(s.Server, "added")
		time.Sleep(10 * time.Second)
		s.broken.Store(false)
		time.Sleep(20 * time.Second)
		if n := told.Load(); n != 1 {
			t.Errorf("told %d times, want 1", n)
		}
		// A server that stays broken is left alone in the end, until it says something.
		s.broken.Store(true)
		before, _ := s.counts()
		addNamed(s.Server, "more")
		time.Sleep(3 * time.Minute)
		tried, _ := s.counts()
		if n := tried - before; n < 5 || n > 8 {
			t.Errorf("tried %d times", n)
		}
		s.broken.Store(false)
		time.Sleep(time.Hour)
		if now, _ := s.counts(); now != tried {
			t.Errorf("tried %d times more", now-tried)
		}
		addNamed(s.Server, "most")
		time.Sleep(5 * time.Second)
		if n := told.Load(); n != 2 {
			t.Errorf("told %d times, want 2", n)
		}
		shut(t, p)
	})
}

func TestOnSchemaChangedHoldsNobodyUpAndIsToldInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newListServer()
		changes, proceed := make(chan SchemaChange, 10), make(chan struct{})
		p := s.open(t, func(c *Config) {
			c.OnSchemaChanged = func(e SchemaChange) {
				changes <- e
				<-proceed
				runtime.Goexit() // as a failing test would
			}
		})
		time.Sleep(5 * time.Second)
		for _, name := range []string{"one", "two", "three"} {
			addNamed(s.Server, name)
			time.Sleep(5 * time.Second)
			if tools, err := p.ListTools(t.Context()); err != nil || !names(tools)[name] {
				t.Errorf("while the hook runs: %v, %v", names(tools), err)
			}
		}
		if c := <-changes; fmt.Sprint(c.Added) != "[one]" || len(changes) != 0 {
			t.Errorf("told %v, and %d more", c.Added, len(changes))
		}
		proceed <- struct{}{}
		addNamed(s.Server, "four")
		time.Sleep(5 * time.Second)
		if c := <-changes; fmt.Sprint(c.Added) != "[four three two]" {
			t.Errorf("told %v", c.Added)
		}
		// Close waits for it a while, and no longer.
		began := time.Now()
		shut(t, p)
		if took := time.Since(began); took > 2*p.cfg.ConnectTimeout {
			t.Errorf("Close took %v", took)
		}
		close(proceed)
	})
}

func TestOnSchemaChangedDoesNotRunOnTheGoroutineOfACaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newListServer()
		returned, told := make(chan struct{}), make(chan struct{})
		p := s.open(t, func(c *Config) {
			c.NoListener, c.CheckArguments, c.ToolsTTL = true, true, Off
			c.OnSchemaChanged = func(SchemaChange) {
				<-returned
				close(told)
			}
		})
		time.Sleep(5 * time.Second)
		addNamed(s.Server, "added")
		if err := p.Do(t.Context(), func(ctx context.Context, lent *Session) error {
			_, err := lent.CallTool(ctx, callNamed("added")) // it lists the tools
			return err
		}); err != nil {
			t.Error(err)
		}
		close(returned)
		<-told
		shut(t, p)
	})
}

func TestAStormOfChangesReachesThePoolOverHTTP(t *testing.T) {
	t.Parallel()
	bothEras(t, func(t *testing.T, e era) {
		s := newServer(t, e)
		changes := make(chan SchemaChange, 1000)
		p := s.open(func(c *Config) { c.OnSchemaChanged = func(e SchemaChange) { changes <- e } })
		if _, err := p.ListTools(t.Context()); err != nil {
			t.Fatal(err)
		}
		poll(t, "the listener", func() bool { return s.listeners() > 0 })
		// A list takes longer than what the server lets pass between two notifications.
		s.intercept(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost {
				<-time.After(60 * time.Millisecond)
			}
			return false
		})
		var over atomic.Bool
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := 0; !over.Load(); i++ {
				s.offer(fmt.Sprintf("storm%d", i))
				s.mcp.RemoveTools(fmt.Sprintf("storm%d", i-3))
				<-time.After(20 * time.Millisecond)
			}
		})
		var last SchemaChange
		for range 2 {
			last = next(t, changes)
			res, err := p.Call(t.Context(), "echo", textArgs{Text: "hi"})
			if text(t, res, err) != "hi" {
				t.Error("not what was sent")
			}
			if tools, err := p.ListTools(t.Context()); err != nil || !names(tools)["echo"] {
				t.Errorf("%v, %v", names(tools), err)
			}
		}
		over.Store(true)
		wg.Wait()
		s.offer("last")
		poll(t, "the end of it to be told", func() bool {
			for len(changes) > 0 {
				last = <-changes
			}
			tools, err := p.ListTools(t.Context())
			return err == nil && names(tools)["last"] && last.New == SchemaHash(tools)
		})
	})
}
