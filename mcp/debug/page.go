package debug

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	mcpool "github.com/go-mcpool/mcpool/mcp"
)

// Config configures a Page. The zero value of each field means its default.
type Config struct {
	// Interval is the time between two points of the plots. Default: 1 s.
	Interval time.Duration
	// Points is how many of them are kept. Default: 300, at most 10 000.
	Points int
	// Events is how many changes, and how many calls that failed, are kept. What
	// repeats counts once. Default: 100 of each, at most 10 000.
	Events int
	// Tools is for how many tools and methods times are kept; what comes later is
	// "_other", as is a tool that the server does not list. Default: 100, at most 10 000.
	Tools int
	// Rows is how many sessions, and how many tools of the catalog, are shown.
	// Default: 200, at most 10 000.
	Rows int
	// Authorize decides who may see the page. It runs on the goroutine of the request
	// and has to be safe for several at once. With it, Host and Forwarded headers
	// are its business. Default: requests of this machine, not forwarded by a proxy.
	Authorize func(r *http.Request) bool
}

// Errors of Watch and Close.
var (
	ErrWatching = errors.New("debug: the page watches a pool already: make one page for each")
	ErrClosed   = errors.New("debug: the page is closed")
)

// ConfigError is a fault of a Config.
type ConfigError struct {
	Field   string
	Problem string
}

func (e *ConfigError) Error() string { return "debug: Config." + e.Field + " " + e.Problem }

// Page is an http.Handler that shows one pool. Make one with New, end it with Close.
type Page struct {
	// Immutable after creation.
	cfg      Config
	template *template.Template
	records  *records
	waitMax  atomic.Int64 // since the last point, in nanoseconds
	stop     chan struct{}
	done     chan struct{} // closed when the sampler has ended

	pool atomic.Pointer[source]

	mu     sync.Mutex
	closed bool // guarded by mu
}

var _ http.Handler = (*Page)(nil)

// source is what a page shows.
type source struct{ *mcpool.Pool }

//go:embed page.html
var pageHTML string

// New returns a page that watches nothing yet. It reports every fault of cfg at once.
func New(cfg Config) (*Page, error) {
	var errs []error
	if cfg.Interval == 0 {
		cfg.Interval = time.Second
	} else if cfg.Interval < 0 {
		errs = append(errs, &ConfigError{"Interval", fmt.Sprintf("is %v: give a time above zero, or 0 for the default", cfg.Interval)})
	}
	for _, f := range []struct {
		name string
		v    *int
		zero int
	}{{"Points", &cfg.Points, 300}, {"Events", &cfg.Events, 100}, {"Tools", &cfg.Tools, 100}, {"Rows", &cfg.Rows, 200}} {
		if *f.v == 0 {
			*f.v = f.zero
		} else if *f.v < 0 || *f.v > 10_000 {
			errs = append(errs, &ConfigError{f.name, fmt.Sprintf("is %d: give 1 to 10000, or 0 for the default", *f.v)})
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	t, err := template.New("page").Parse(pageHTML)
	if err != nil {
		return nil, fmt.Errorf("debug: %w", err)
	}
	return &Page{cfg: cfg, template: t, records: newRecords(cfg), stop: make(chan struct{}), done: make(chan struct{})}, nil
}

// Watch has the page show the pool. A page watches one pool, until Close.
func (p *Page) Watch(pool *mcpool.Pool) error {
	if pool == nil {
		return errors.New("debug: Watch of a nil pool")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	if !p.pool.CompareAndSwap(nil, &source{pool}) {
		return ErrWatching
	}
	go p.sample()
	return nil
}

// Close ends the plots. The page still shows what the pool is doing. It does not
// close the pool.
func (p *Page) Close(ctx context.Context) error {
	p.mu.Lock()
	again := p.closed
	p.closed = true
	p.mu.Unlock()
	if again {
		return ErrClosed
	}
	close(p.stop)
	if p.pool.Load() == nil {
		return nil
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("debug: the page is still reading statistics: %w", context.Cause(ctx))
	}
}

// sample adds a point at each interval.
func (p *Page) sample() {
	defer close(p.done)
	tick := time.NewTicker(p.cfg.Interval)
	defer tick.Stop()
	before, at := p.pool.Load().Stats(), time.Now()
	p.records.addPoint(newPoint(at, before, before, 0, 0))
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
		}
		stats, now := p.pool.Load().Stats(), time.Now()
		p.records.addPoint(newPoint(now, stats, before, now.Sub(at), time.Duration(p.waitMax.Swap(0))))
		before, at = stats, now
	}
}
