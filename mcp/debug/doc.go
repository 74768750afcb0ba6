// Package debug shows one pool on one page: whether it is ready, who waits and how
// long, which sessions there are, what died and why, and what was done about it.
//
//	page, err := debug.New(debug.Config{})
//	…
//	pool, err := mcpool.Open(ctx, mcpool.Config{Endpoint: url, Hooks: page.Hooks()})
//	…
//	err = page.Watch(pool)
//	mux.Handle("/debug/mcp", page)
//	mux.Handle("/healthz", debug.Healthz())
//	mux.Handle("/readyz", debug.Readyz(pool))
//
// A browser gets a page that keeps itself up to date and loads nothing from
// elsewhere; whoever asks for application/json gets the same as JSON. The page reads
// and changes nothing: it opens no session and sends nothing to the server.
//
// # Who may see it
//
// The page names tools, sessions and causes of errors. Unless Config.Authorize
// decides, it answers only requests that come from this machine, for a Host that is
// this machine, and that no proxy has passed on. Healthz and Readyz say one word and
// answer everybody.
//
// # Memory
//
// It is bounded, whatever the pool does: Config says how many points, events, tools
// and rows are kept. What repeats is kept once, with a count.
//
// # Concurrency
//
// Everything may be called from any goroutine at any time.
package debug
