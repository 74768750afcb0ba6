// Command postgres pools connections to a real PostgreSQL server, which it starts
// by itself, and then treats that server badly: sessions are killed one by one, and
// the server is shut down and crashed, while clients go on asking. No query fails
// that could have succeeded.
//
//	go run ./examples/postgres
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"
)

func main() {
	clients := flag.Int("clients", 32, "clients that ask at the same time")
	size := flag.Int("size", 8, "most connections")
	each := flag.Duration("each", 2*time.Second, "length of each phase")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := demo(ctx, os.Stdout, *clients, *size, *each); err != nil {
		fmt.Fprintln(os.Stderr, "postgres:", err)
		stop()
		os.Exit(1)
	}
}

// demo runs the whole show and fails if a query did.
func demo(ctx context.Context, out io.Writer, clients, size int, each time.Duration) (err error) {
	fmt.Fprintln(out, "starting a PostgreSQL server …")
	c, err := newCluster()
	if err != nil {
		return err
	}
	defer c.remove()
	if err := c.start(ctx); err != nil {
		return err
	}
	defer c.stop(os.Kill)
	admin, err := pgx.Connect(ctx, c.url())
	if err != nil {
		return err
	}
	if _, err := admin.Exec(ctx, "create table seen (id bigint primary key)"); err != nil {
		return err
	}
	_ = admin.Close(ctx)

	pool, err := newPool(c.url(), size)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(err, pool.Close(ctx))
	}()
	if err := pool.WaitReady(ctx); err != nil {
		return err
	}

	fmt.Fprintf(out, "%d clients on at most %d connections\n\n", clients, size)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\tqueries\tfailed\trepeated\tslowest\topened\tclosed\t")
	failed := int64(0)
	report := func(p *phase) {
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%v\t%d\t%d\t\n",
			p.name, p.queries, p.failed, p.repeated, p.worst.Round(time.Millisecond), p.opened, p.ended)
		if p.failed > 0 {
			failed += p.failed
			fmt.Fprintf(table, "\t%v\t\n", p.lastErr)
		}
	}

	l := startLoad(ctx, pool, clients)
	l.mark("undisturbed")
	phases := []struct {
		next string
		do   func(context.Context) error
	}{
		{"sessions killed, 20 a second", func(ctx context.Context) error { pause(ctx, each); return nil }},
		{"server shut down and started", func(ctx context.Context) error { return killSessions(ctx, c.url(), each) }},
		{"server crashed and started", func(ctx context.Context) error { return restart(ctx, c, os.Interrupt, each) }},
		{"undisturbed again", func(ctx context.Context) error { return restart(ctx, c, os.Kill, each) }},
	}
	for _, p := range phases {
		if err := p.do(ctx); err != nil {
			l.end()
			return err
		}
		report(l.mark(p.next))
	}
	pause(ctx, each)
	report(l.end())
	_ = table.Flush()
	if ctx.Err() != nil {
		return ctx.Err()
	}

	rows, err := count(ctx, c.url())
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%d rows were acknowledged, %d are there\n", l.inserted, rows)
	if failed > 0 || rows < l.inserted {
		return fmt.Errorf("%d queries failed that could have succeeded, %d rows are missing", failed, l.inserted-rows)
	}
	fmt.Fprintln(out, "no query failed that could have succeeded")
	return nil
}

func pause(ctx context.Context, d time.Duration) { sleep(ctx, d) }

// killSessions ends a random session of the pool, again and again.
func killSessions(ctx context.Context, url string, each time.Duration) error {
	admin, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = admin.Close(ctx) }()
	for end := time.Now().Add(each); time.Now().Before(end); pause(ctx, 50*time.Millisecond) {
		if _, err := admin.Exec(ctx, `select pg_terminate_backend(pid) from pg_stat_activity
			where backend_type = 'client backend' and pid <> pg_backend_pid() order by random() limit 1`); err != nil {
			return err
		}
	}
	return nil
}

// restart takes the server away for a moment and gives the clients time to come back.
func restart(ctx context.Context, c *cluster, how os.Signal, each time.Duration) error {
	pause(ctx, each/4)
	c.stop(how)
	pause(ctx, each/4)
	if err := c.start(ctx); err != nil {
		return err
	}
	pause(ctx, each/2)
	return nil
}

func count(ctx context.Context, url string) (n int64, err error) {
	admin, err := pgx.Connect(ctx, url)
	if err != nil {
		return 0, err
	}
	defer func() { _ = admin.Close(ctx) }()
	return n, admin.QueryRow(ctx, "select count(*) from seen").Scan(&n)
}
