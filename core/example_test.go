package core_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-mcpool/mcpool/core"
)

// serve answers each line that it is sent in capitals.
func serve() (address string, stop func()) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					fmt.Fprintln(conn, strings.ToUpper(lines.Text()))
				}
			}()
		}
	}()
	return listener.Addr().String(), func() { _ = listener.Close() }
}

// A pool of TCP connections: at most ten, opened as they are needed.
func ExampleNew() {
	address, stop := serve()
	defer stop()
	ctx := context.Background()

	pool, err := core.New(core.Config[net.Conn]{
		Open: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		},
		Max: 10,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close(ctx)

	for _, word := range []string{"hello", "again"} {
		lease, err := pool.Acquire(ctx)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Fprintln(lease.Value(), word)
		answer, err := bufio.NewReader(lease.Value()).ReadString('\n')
		if err != nil {
			lease.Discard(err) // of no more use: closed, not lent again
			return
		}
		lease.Release()
		fmt.Print(answer)
	}
	fmt.Println(pool.Stats().Opened, "connection")
	// Output:
	// HELLO
	// AGAIN
	// 1 connection
}

// session stands for anything that is expensive to open.
type session struct{ id int64 }

func (s *session) Close() error { return nil }

func (s *session) Query(q string) (string, error) {
	if q == "crash" {
		return "", errGone
	}
	return fmt.Sprintf("session %d: %s", s.id, q), nil
}

var errGone = errors.New("session is gone")

// opener returns a function that opens sessions and numbers them.
func opener() func(context.Context) (*session, error) {
	var last atomic.Int64
	return func(context.Context) (*session, error) { return &session{id: last.Add(1)}, nil }
}

// Do leases a resource for the time of one function, and does not lend it again if
// that fails in a way that says it is broken.
func ExamplePool_Do() {
	ctx := context.Background()
	pool, err := core.New(core.Config[*session]{
		Open:   opener(),
		Broken: func(err error) bool { return errors.Is(err, errGone) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close(ctx)

	for _, q := range []string{"one", "crash", "two"} {
		err := pool.Do(ctx, func(_ context.Context, s *session) error {
			answer, err := s.Query(q)
			if err == nil {
				fmt.Println(answer)
			}
			return err
		})
		if err != nil {
			fmt.Println("failed:", err)
		}
	}
	// Output:
	// session 1: one
	// failed: session is gone
	// session 2: two
}

// With an affinity key a caller gets the resource that it used last.
func ExamplePool_AcquireWith() {
	ctx := context.Background()
	pool, err := core.New(core.Config[*session]{Open: opener()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close(ctx)

	anybody, err := pool.Acquire(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	alice := core.AcquireOptions{Key: "alice", Affinity: core.Pin}
	lease, err := pool.AcquireWith(ctx, alice)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("alice has", lease.Value().id)
	lease.Release()
	anybody.Release() // both are free

	lease, err = pool.AcquireWith(ctx, alice)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("alice has", lease.Value().id)
	lease.Discard(errGone)

	_, err = pool.AcquireWith(ctx, alice)
	if lost, ok := errors.AsType[*core.PinLostError](err); ok {
		fmt.Println("alice has lost", lost.ID)
	}
	// Output:
	// alice has 2
	// alice has 2
	// alice has lost 2
}

// On a resource that many share, an exclusive lease is one that nobody shares.
func ExamplePool_AcquireWith_exclusive() {
	ctx := context.Background()
	pool, err := core.New(core.Config[*session]{Open: opener(), ShareLimit: 8})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close(ctx)

	one, err := pool.Acquire(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer one.Release()
	two, err := pool.Acquire(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer two.Release()
	alone, err := pool.AcquireWith(ctx, core.AcquireOptions{Exclusive: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer alone.Release()
	fmt.Println(one.ID(), two.ID(), alone.ID())
	// Output: 1 1 2
}

// TryAcquire is for callers that have something better to do than to wait.
func ExamplePool_TryAcquire() {
	ctx := context.Background()
	pool, err := core.New(core.Config[*session]{Open: opener(), Min: 1, Max: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close(ctx)
	if err := pool.WaitReady(ctx); err != nil {
		fmt.Println(err)
		return
	}

	lease, ok := pool.TryAcquire(ctx)
	fmt.Println(ok)
	_, ok = pool.TryAcquire(ctx)
	fmt.Println(ok)
	lease.Release()
	// Output:
	// true
	// false
}

// Limits change while the pool is in use, in both directions.
func ExamplePool_Resize() {
	ctx := context.Background()
	pool, err := core.New(core.Config[*session]{Open: opener(), Max: 2})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close(ctx)

	one, _ := pool.Acquire(ctx)
	two, _ := pool.Acquire(ctx)
	if err := pool.Resize(ctx, 0, 1); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("leased:", pool.Stats().Leased) // nobody loses a lease
	one.Release()
	two.Release()
	fmt.Println("alive:", pool.Stats().Live)

	fmt.Println(pool.Resize(ctx, 3, 2))
	// Output:
	// leased: 2
	// alive: 1
	// core: Config.Min = 3 is more than Max
}

// Close waits for the leases, as long as its context lasts.
func ExamplePool_Close() {
	pool, err := core.New(core.Config[*session]{Open: opener()})
	if err != nil {
		fmt.Println(err)
		return
	}
	forgotten, err := pool.Acquire(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}

	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	err = pool.Close(ctx)
	if e, ok := errors.AsType[*core.CloseError](err); ok {
		fmt.Println(e.Revoked, "lease taken back")
	}
	fmt.Println(forgotten.Value() == nil)
	_, err = pool.Acquire(context.Background())
	fmt.Println(errors.Is(err, core.ErrClosed))
	// Output:
	// 1 lease taken back
	// true
	// true
}

// A pool for each tenant, with a limit on them all.
func ExampleKeyed() {
	ctx := context.Background()
	pools, err := core.NewKeyed(core.KeyedConfig[string, *session]{
		Open: func(_ context.Context, tenant string) (*session, error) {
			fmt.Println("opening a session of", tenant)
			return &session{}, nil
		},
		Pool:     core.Config[*session]{Max: 5},
		MaxTotal: 1,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pools.Close(ctx)

	for _, tenant := range []string{"red", "red", "blue"} { // blue takes red's place
		lease, err := pools.Acquire(ctx, tenant)
		if err != nil {
			fmt.Println(err)
			return
		}
		lease.Release()
	}
	fmt.Println(pools.Stats().Opened, "opened for", pools.Len(), "tenants")
	// Output:
	// opening a session of red
	// opening a session of blue
	// 2 opened for 2 tenants
}

// Hooks observe a pool; JoinHooks makes one of several.
func ExampleHooks() {
	ctx := context.Background()
	logger := core.Hooks{
		OpenEnd:  func(_ context.Context, e core.OpenEnd) { fmt.Println("opened", e.ID, e.Err) },
		CloseEnd: func(_ context.Context, e core.CloseEnd) { fmt.Println("closed", e.ID, e.Reason) },
	}
	type spanKey struct{}
	tracer := core.Hooks{
		AcquireStart: func(ctx context.Context, e core.AcquireStart) context.Context {
			return context.WithValue(ctx, spanKey{}, "span of "+e.Pool)
		},
		AcquireEnd: func(ctx context.Context, e core.AcquireEnd) { fmt.Println(ctx.Value(spanKey{}), "got", e.ID) },
	}
	pool, err := core.New(core.Config[*session]{
		Name: "db", Open: opener(), Hooks: core.JoinHooks(logger, tracer),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	lease, err := pool.Acquire(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	lease.Release()
	if err := pool.Close(ctx); err != nil {
		fmt.Println(err)
	}
	// Output:
	// opened 1 <nil>
	// span of db got 1
	// closed 1 closed
}

// Detach takes a resource out of the pool for good, to hand it to somebody who
// keeps it, say.
func ExampleLease_Detach() {
	ctx := context.Background()
	pool, err := core.New(core.Config[*session]{Open: opener(), Max: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close(ctx)
	lease, err := pool.Acquire(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	mine, err := lease.Detach()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer mine.Close()

	next, err := pool.Acquire(ctx) // its place is free
	if err != nil {
		fmt.Println(err)
		return
	}
	defer next.Release()
	fmt.Println(mine.id, next.Value().id)
	// Output: 1 2
}
