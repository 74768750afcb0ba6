// Command tcp pools plain TCP connections to an echo server in the same process.
// It needs nothing but Go, and shows what a pool gains over a connection per call,
// and what happens when the server hangs up on everybody, again and again.
//
//	go run ./examples/tcp
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/go-mcpool/mcpool/core"
)

// line is a connection that speaks lines.
type line struct {
	net.Conn
	r *bufio.Reader
}

func dial(ctx context.Context, addr string) (*line, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &line{Conn: c, r: bufio.NewReader(c)}, nil
}

// Reset checks that nothing unread is left for the next holder.
func (l *line) Reset(context.Context) error {
	if l.r.Buffered() > 0 {
		return errors.New("an answer was left unread")
	}
	return nil
}

// ask sends a line and returns the answer.
func (l *line) ask(ctx context.Context, question string) (string, error) {
	deadline, _ := ctx.Deadline()
	if err := l.SetDeadline(deadline); err != nil {
		return "", err
	}
	if _, err := io.WriteString(l, question+"\n"); err != nil {
		return "", err
	}
	answer, err := l.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	return answer[:len(answer)-1], nil
}

func newPool(addr string, size int) (*core.Pool[*line], error) {
	return core.New(core.Config[*line]{
		Name:   "echo",
		Open:   func(ctx context.Context) (*line, error) { return dial(ctx, addr) },
		Broken: func(error) bool { return true }, // after any error the stream is out of step
		Max:    size,
	})
}

func main() {
	callers := flag.Int("callers", 64, "callers at the same time")
	size := flag.Int("size", 8, "most connections in the pool")
	each := flag.Duration("each", time.Second, "length of each phase")
	flag.Parse()
	if err := demo(context.Background(), os.Stdout, *callers, *size, *each); err != nil {
		fmt.Fprintln(os.Stderr, "tcp:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context, out io.Writer, callers, size int, each time.Duration) (err error) {
	s, err := startServer()
	if err != nil {
		return err
	}
	defer s.stop()
	pool, err := newPool(s.addr(), size)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		err = errors.Join(err, pool.Close(ctx))
	}()

	perCall := func(ctx context.Context, q string) (string, error) {
		l, err := dial(ctx, s.addr())
		if err != nil {
			return "", err
		}
		defer func() { _ = l.Close() }()
		return l.ask(ctx, q)
	}
	pooled := func(ctx context.Context, q string) (answer string, err error) {
		for { // an echo may be asked for twice, so a lost connection costs nobody an answer
			err = pool.Do(ctx, func(ctx context.Context, l *line) (err error) {
				answer, err = l.ask(ctx, q)
				return err
			})
			if err == nil || ctx.Err() != nil || errors.Is(err, core.ErrClosed) {
				return answer, err
			}
		}
	}

	fmt.Fprintf(out, "%d callers, at most %d pooled connections, %v each\n\n", callers, size, each)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\tcalls/s\tp50\tp99\tfailed\tconnections\t")
	wrong := 0
	measure := func(name string, call func(context.Context, string) (string, error), disturb func()) {
		r := drive(ctx, callers, each, call, disturb)
		fmt.Fprintf(table, "%s\t%.0f\t%v\t%v\t%d\t%d\t\n", name, float64(len(r.took))/each.Seconds(),
			r.quantile(0.50), r.quantile(0.99), r.failed, s.taken())
		wrong += r.failed
	}
	measure("a connection per call", perCall, nil)
	measure("pooled", pooled, nil)
	measure("pooled, server hangs up 20 times a second", pooled, s.hangUp)
	_ = table.Flush()

	st := pool.Stats()
	fmt.Fprintf(out, "\n%d leases, %d of them after a wait; %d connections opened, %d closed because they broke\n",
		st.Acquired, st.Waits, st.Opened, st.ClosedBy[core.ReasonBroken])
	if wrong > 0 {
		return fmt.Errorf("%d calls failed", wrong)
	}
	return nil
}

// result is what came of a phase.
type result struct {
	took   []time.Duration // sorted
	failed int
}

func (r *result) quantile(q float64) time.Duration {
	if len(r.took) == 0 {
		return 0
	}
	return r.took[int(q*float64(len(r.took)-1))].Round(time.Microsecond)
}

// drive has callers call for a while, each with a deadline of half a minute.
func drive(ctx context.Context, callers int, each time.Duration,
	call func(context.Context, string) (string, error), disturb func(),
) *result {
	var mu sync.Mutex
	var wg sync.WaitGroup
	r := &result{}
	end := time.Now().Add(each)
	for i := range callers {
		wg.Go(func() {
			var took []time.Duration
			failed := 0
			for n := 0; time.Now().Before(end); n++ {
				q := strconv.Itoa(i) + "/" + strconv.Itoa(n)
				ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
				start := time.Now()
				answer, err := call(ctx, q)
				took = append(took, time.Since(start))
				cancel()
				if err != nil || answer != q {
					failed++
				}
			}
			mu.Lock()
			defer mu.Unlock()
			r.took = append(r.took, took...)
			r.failed += failed
		})
	}
	if disturb != nil {
		for time.Now().Before(end) {
			time.Sleep(50 * time.Millisecond)
			disturb()
		}
	}
	wg.Wait()
	slices.Sort(r.took)
	return r
}
