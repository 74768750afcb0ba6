package plugintest

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/host"
)

// garbage: what is no configuration is refused, and the error says where it is wrong.
func (b *binarySuite) garbage(r *report) {
	run := b.launch(r)
	refused := func(what, doc, field string) {
		in := host.Instance{Name: "garbage", Config: json.RawMessage(doc)}
		p, err := b.through(run).open(context.Background(), in)
		switch {
		case err == nil:
			_ = p.Close(context.Background())
			r.faultf("the plugin takes a configuration with %s", what)
		case len(fields(err)) == 0:
			r.faultf("refusing %s, the error is no *auth.ConfigError: %v", what, err)
		case !slices.Contains(fields(err), field) && field != "":
			r.faultf("refusing %s, the error does not name the field %s: %v", what, field, err)
		}
		r.inspectError("the refusal of "+what, err)
	}
	refused("[]", `[]`, "")
	refused("null", `null`, "")
	refused("half an object", `{"`, "")
	refused("a field that does not exist", `{"no_such_field":1}`, "no_such_field")
	var schema struct {
		Properties map[string]struct {
			Type      string `json:"type"`
			WriteOnly bool   `json:"writeOnly"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(kindOf(run.Describe()).Config, &schema); err != nil {
		r.Fatalf("the plugin's schema: %v", err)
	}
	wrong := map[string]string{"string": "7", "integer": `"x"`, "number": `"x"`, "boolean": `"x"`, "array": "7", "object": "7"}
	for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
		value, known := wrong[schema.Properties[name].Type]
		if schema.Properties[name].WriteOnly {
			refused("the secret "+name+" in it", `{"`+name+`":"garbage-4711"}`, name)
		} else if known {
			refused("a value of another type in "+name, `{"`+name+`":`+value+`}`, name)
		}
	}
	b.works(r, run, "after garbage")
}

// works asks for credentials once.
func (b *binarySuite) works(r *report, run *host.Running, when string) {
	u := b.through(run).use(r, b.auth.opts.Config)
	r.within("Credentials "+when, func() {
		if _, _, err := u.send(context.Background(), b.auth.opts.Request); err != nil {
			r.faultf("Credentials %s: %v", when, err)
		}
	})
}

// large: a message that is large is taken, and one that is too large costs nobody the
// plugin.
func (b *binarySuite) large(r *report) {
	realm := `Bearer realm="` + strings.Repeat("a", 1<<20) + `"`
	for limit, refused := range map[int]bool{16 << 20: false, 128 << 10: true} {
		run := b.launch(r, func(p *host.Plugin) { p.Limits.MessageBytes = limit })
		u := b.through(run).use(r, b.auth.opts.Config)
		r.within("Challenge", func() {
			ctx := context.Background()
			sent, generation, err := u.send(ctx, b.auth.opts.Request)
			if err != nil {
				r.faultf("Credentials of %v: %v", b.auth.opts.Request, err)
				return
			}
			ch := b.auth.opts.Challenge(sent, generation)
			ch.Header = http.Header{"Www-Authenticate": {realm}}
			_, err = u.Challenge(ctx, b.auth.opts.Request, ch)
			if e, ok := errors.AsType[*host.Error](err); refused && (!ok || !strings.Contains(e.Message, "MessageBytes")) {
				r.faultf("a Challenge of 1 MiB, with MessageBytes = %d: %v", limit, err)
			}
			if _, _, err := u.send(ctx, b.auth.opts.Request); err != nil {
				r.faultf("Credentials after a Challenge of 1 MiB: %v", err)
			}
		})
		if n := run.Stats().Starts; n != 1 {
			r.faultf("a Challenge of 1 MiB ended the plugin: it was started %d times", n)
		}
	}
}

// many: instances come and go at the same time.
func (b *binarySuite) many(r *report) {
	run := b.launch(r)
	s := b.through(run)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			r.shield("an instance among others", func() {
				for range 2 {
					ctx := context.Background()
					p, err := s.open(ctx, b.auth.opts.Config)
					if err != nil {
						r.faultf("opening one of %d instances: %v", callers, err)
						return
					}
					if _, err := p.Credentials(ctx, b.auth.opts.Request); err != nil {
						r.faultf("Credentials of one of %d instances: %v", callers, err)
					}
					if err := p.Close(ctx); err != nil {
						r.faultf("closing one of %d instances: %v", callers, err)
					}
				}
			})
		})
	}
	r.within("instances at the same time", wg.Wait)
	if n := run.Stats().Starts; n != 1 {
		r.faultf("the plugin was started %d times: instances that came and went ended it", n)
	}
}

// kill: kill -9 under load costs nobody a call. A call is repeated once, so everybody
// has begun and ended one between two kills.
func (b *binarySuite) kill(r *report) {
	run := b.launch(r)
	u := b.through(run).use(r, b.auth.opts.Config)
	b.leased(r, run)
	var answers [callers]atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for n := range callers {
		wg.Go(func() {
			r.shield("a caller", func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if _, _, err := u.send(context.Background(), b.auth.opts.Request); err != nil {
						r.faultf("a call that kill -9 hit: %v", err)
						return
					}
					answers[n].Add(1)
				}
			})
		})
	}
	for range 3 {
		var before [callers]int64
		for i := range callers {
			before[i] = answers[i].Load()
		}
		served := r.poll(func() bool {
			for i := range callers {
				if answers[i].Load() < before[i]+2 && !r.Failed() {
					return false
				}
			}
			return true
		})
		if !served {
			r.faultf("not every caller was served within %v after kill -9", b.patience)
		}
		starts := run.Stats().Starts
		killProcess(run.Stats().PID)
		if !r.poll(func() bool { return run.Stats().Starts > starts }) {
			r.faultf("after kill -9, the plugin was not started again within %v", b.patience)
		}
	}
	close(stop)
	r.within("callers", wg.Wait)
	b.killStalled(r, run)
}

// leased: who holds credentials goes on while the plugin is gone.
func (b *binarySuite) leased(r *report, run *host.Running) {
	p, err := b.through(run).open(context.Background(), b.auth.opts.Config)
	if err != nil {
		r.Fatalf("opening an instance: %v", err)
	}
	cache, err := auth.NewCache(p, auth.CacheConfig{})
	if err != nil {
		r.Fatalf("a cache: %v", err)
	}
	defer func() { _ = cache.Close(context.Background()) }()
	first, err := cache.Credentials(context.Background(), b.auth.opts.Request)
	if err != nil {
		r.faultf("Credentials through a cache: %v", err)
		return
	}
	if !first.Expires.IsZero() && time.Until(first.Expires) < time.Minute {
		r.Log("credentials that last less than a minute: that they stay in use is not checked")
		return
	}
	starts := run.Stats().Starts
	killProcess(run.Stats().PID)
	ended, cancel := context.WithCancel(context.Background())
	cancel() // nobody waits for anything
	again, err := cache.Credentials(ended, b.auth.opts.Request)
	if err != nil || again.Expired(time.Now()) {
		r.faultf("after kill -9, credentials that are valid were not in use any more: %v", err)
	}
	if !r.poll(func() bool { return run.Stats().Starts > starts }) {
		r.faultf("after kill -9, the plugin was not started again within %v", b.patience)
	}
}

// killStalled: a call under way when its process dies is asked of the next one, and
// ends with its context.
func (b *binarySuite) killStalled(r *report, run *host.Running) {
	if b.auth.opts.Stalled == nil {
		return
	}
	u := b.through(run).use(r, *b.auth.opts.Stalled)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	call := r.start("Credentials", func() {
		if _, _, err := u.send(ctx, b.auth.opts.Request); ctx.Err() == nil {
			r.faultf("Stalled: Credentials ended with kill -9, and was not repeated: %v", err)
		}
	})
	time.Sleep(b.auth.opts.lull) // lets it get under way, and proves nothing
	starts := run.Stats().Starts
	killProcess(run.Stats().PID)
	if !r.poll(func() bool { return run.Stats().Starts > starts }) {
		r.faultf("after kill -9, the plugin was not started again within %v", b.patience)
	}
	cancel()
	r.wait("Credentials whose context was cancelled after kill -9", call)
}

// killProcess is kill -9 where there is one. A process that is gone is no harm.
func killProcess(pid int) {
	if pid == 0 {
		return
	}
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}
