package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/go-mcpool/mcpool/core"
)

// conn makes a pgx connection a core.Resource. Config.Close closes it with a
// context; this method is for everybody else.
type conn struct{ *pgx.Conn }

func (c *conn) Close() error { return c.Conn.Close(context.Background()) }

// newPool pools connections to the server at url.
func newPool(url string, size int) (*core.Pool[*conn], error) {
	return core.New(core.Config[*conn]{
		Name: "postgres",
		Open: func(ctx context.Context) (*conn, error) {
			c, err := pgx.Connect(ctx, url)
			if err != nil {
				return nil, err
			}
			return &conn{c}, nil
		},
		Close:      func(ctx context.Context, c *conn) error { return c.Conn.Close(ctx) },
		Probe:      func(ctx context.Context, c *conn) error { return c.Ping(ctx) },
		Broken:     broken,
		Min:        2,
		Max:        size,
		CircuitMin: 200 * time.Millisecond, // the server comes back soon
	})
}

// broken tells a connection that died from a statement that failed.
func broken(err error) bool {
	if fromServer, ok := errors.AsType[*pgconn.PgError](err); ok {
		return fromServer.Code[:2] == "57" // the server, or somebody, ended the session
	}
	return !errors.Is(err, pgx.ErrNoRows)
}

// run runs a statement that may be repeated, until it succeeds, fails for a reason
// of its own, or ctx ends.
func run(ctx context.Context, pool *core.Pool[*conn], repeats *atomic.Int64, fn func(context.Context, *conn) error) error {
	for {
		err := pool.Do(ctx, fn)
		var circuit *core.CircuitOpenError
		switch {
		case err == nil || ctx.Err() != nil || errors.Is(err, core.ErrClosed):
			return err
		case errors.As(err, &circuit):
			if !sleep(ctx, time.Until(circuit.Next)) {
				return err
			}
		case errors.As(err, new(*core.OpenError)):
		case !broken(err):
			return err
		}
		repeats.Add(1)
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// load is many clients that read and write as fast as they are answered.
type load struct {
	pool    *core.Pool[*conn]
	repeats atomic.Int64
	wg      sync.WaitGroup
	stop    context.CancelFunc

	mu       sync.Mutex
	phase    *phase
	nextID   int64
	inserted int64 // rows that the server said it has
}

// phase is what happened between two marks.
type phase struct {
	name          string
	queries       int64
	failed        int64
	repeated      int64
	worst         time.Duration
	lastErr       error
	opened, ended uint64
}

const patience = time.Minute // of one query; no outage here is that long

func startLoad(ctx context.Context, pool *core.Pool[*conn], clients int) *load {
	ctx, cancel := context.WithCancel(ctx)
	l := &load{pool: pool, stop: cancel, phase: &phase{}}
	for i := range clients {
		l.wg.Go(func() {
			for ctx.Err() == nil {
				l.query(i%4 == 0)
			}
		})
	}
	return l
}

// query runs one statement and books it. Its own deadline is all that may end it.
func (l *load) query(write bool) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	l.mu.Lock()
	l.nextID++
	id := l.nextID
	l.mu.Unlock()
	start := time.Now()
	err := run(ctx, l.pool, &l.repeats, func(ctx context.Context, c *conn) error {
		if write { // with its own key, so that repeating it does no harm
			_, err := c.Exec(ctx, "insert into seen (id) values ($1) on conflict do nothing", id)
			return err
		}
		var got int64
		if err := c.QueryRow(ctx, "select $1::bigint", id).Scan(&got); err != nil {
			return err
		}
		if got != id {
			return errors.New("the answer belongs to another question")
		}
		return nil
	})
	took := time.Since(start)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.phase.queries++
	l.phase.worst = max(l.phase.worst, took)
	if err != nil {
		l.phase.failed++
		l.phase.lastErr = err
	} else if write {
		l.inserted++
	}
}

// mark ends the phase that is under way and begins the next.
func (l *load) mark(name string) *phase {
	s := l.pool.Stats()
	l.mu.Lock()
	defer l.mu.Unlock()
	ended := l.phase
	ended.opened, ended.ended = s.Opened-ended.opened, s.Closed-ended.ended
	ended.repeated = l.repeats.Swap(0)
	l.phase = &phase{name: name, opened: s.Opened, ended: s.Closed}
	return ended
}

// end waits for the clients and returns the last phase.
func (l *load) end() *phase {
	l.stop()
	l.wg.Wait()
	return l.mark("")
}
