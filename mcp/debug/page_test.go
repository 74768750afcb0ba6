package debug

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/go-mcpool/mcpool/core"
	mcpool "github.com/go-mcpool/mcpool/mcp"
)

// hostile is text that would run or break out if it were not escaped.
const hostile = `</script><script>alert(1)</script>"'<img src=x onerror=alert(1)>`

type bundle struct {
	page *Page
	pool *mcpool.Pool
	http *httptest.Server // the MCP server
}

// setup returns a page that watches a pool of a real MCP server.
func setup(t *testing.T, cfg Config) *bundle {
	t.Helper()
	server := mcp.NewServer(&mcp.Implementation{Name: "server", Version: "1"}, nil)
	type none struct{}
	mcp.AddTool(server, &mcp.Tool{Name: "fine", Description: hostile, Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true}},
		func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, none, error) {
			return nil, none{}, nil
		})
	mcp.AddTool(server, &mcp.Tool{Name: "refuses"},
		func(context.Context, *mcp.CallToolRequest, none) (*mcp.CallToolResult, none, error) {
			return nil, none{}, errors.New("no")
		})
	h := httptest.NewServer(mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil))
	page, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	pool, err := mcpool.Open(ctx, mcpool.Config{Name: hostile, Endpoint: h.URL, Min: 1, NoListener: true, Hooks: page.Hooks()})
	if err != nil {
		t.Fatal(err)
	}
	if err := page.Watch(pool); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := page.Close(context.Background()); err != nil {
			t.Error(err)
		}
		_ = pool.Close(context.Background())
		h.CloseClientConnections()
		h.Close()
		for session := range server.Sessions() {
			_ = session.Close()
		}
	})
	return &bundle{page, pool, h}
}

// work makes one call of each kind.
func (b *bundle) work(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	if _, err := b.pool.ListTools(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := b.pool.Call(ctx, "fine", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := b.pool.Call(ctx, "refuses", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := b.pool.Call(ctx, "made up "+hostile, nil); err == nil {
		t.Fatal("a tool that is not there was called")
	}
}

func get(h http.Handler, change func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "http://localhost:8080/debug", nil)
	r.RemoteAddr = "127.0.0.1:40000"
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func asJSON(r *http.Request) { r.Header.Set("Accept", "application/json") }

func TestThePageShowsThePool(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	b.work(t)
	w := get(b.page, nil)
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	body := w.Body.String()
	for _, want := range []string{
		">ready<", "session opened", "<code>fine</code>", "<code>refuses</code>", "<code>_other</code>", "<code>tools/list</code>",
		b.pool.Stats().SchemaHash, "read-only", "<polyline", ">default<",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
}

func TestThePageEscapesEverything(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	b.work(t)
	body := get(b.page, nil).Body.String()
	for _, bad := range []string{"alert(1)</script>", "<script>alert", "<img"} {
		if strings.Contains(body, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	if !strings.Contains(body, "&lt;img src=x") {
		t.Error("the page does not have the text either")
	}
	if n := strings.Count(body, "<script"); n != 1 {
		t.Errorf("%d scripts, want the page's own one", n)
	}
}

func TestThePageLoadsNothingAndItsPolicyAllowsNothingElse(t *testing.T) {
	t.Parallel()
	page, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	nonces := make(map[string]bool)
	for range 3 {
		w := get(page, nil)
		m := regexp.MustCompile(`^default-src 'none'; style-src 'nonce-([A-Z2-7]{26})'; script-src 'nonce-([A-Z2-7]{26})'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$`).
			FindStringSubmatch(w.Header().Get("Content-Security-Policy"))
		if m == nil || m[1] != m[2] || nonces[m[1]] {
			t.Fatalf("policy %q", w.Header().Get("Content-Security-Policy"))
		}
		nonces[m[1]] = true
		body := w.Body.String()
		if n := strings.Count(body, `nonce="`+m[1]+`"`); n != 2 {
			t.Errorf("the nonce stands %d times, want at one style and one script", n)
		}
		for _, bad := range []string{"src=", "href=", "style=", "url(", "@import", " onclick", "<form", "<link"} {
			if strings.Contains(body, bad) {
				t.Errorf("the page has %q", bad)
			}
		}
	}
}

func TestJSONIsTheSame(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	b.work(t)
	w := get(b.page, asJSON)
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Fatalf("Content-Type %q", got)
	}
	var v struct {
		Stats    map[string]any
		Sessions []map[string]any
		Events   []Event
		Failed   []Event `json:"failed_calls"`
		Calls    []Calls
		Catalog  Catalog
		Points   []Point
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	if v.Stats["name"] != hostile || v.Stats["circuit_state"] != "closed" || v.Stats["degraded"] != false {
		t.Errorf("stats %v", v.Stats)
	}
	if len(v.Sessions) != 1 || v.Sessions[0]["identity"] != "default" {
		t.Errorf("sessions %v", v.Sessions)
	}
	if len(v.Events) == 0 || v.Events[len(v.Events)-1].What != "session opened" || v.Events[len(v.Events)-1].Level != Good {
		t.Errorf("events %v", v.Events)
	}
	if len(v.Failed) != 1 || v.Failed[0].What != other || v.Failed[0].Cause == "" {
		t.Errorf("failed calls %v", v.Failed)
	}
	calls := make(map[string]Calls)
	for _, c := range v.Calls {
		calls[c.Name] = c
	}
	if c := calls["fine"]; c.Count != 1 || c.Failed != 0 || c.P50 <= 0 || c.P50 > c.Max {
		t.Errorf("calls of fine: %+v", c)
	}
	if c := calls["refuses"]; c.Count != 1 || c.Failed != 0 || c.ToolFailed != 1 {
		t.Errorf("calls of refuses: %+v", c)
	}
	if c := calls[other]; c.Count != 1 || c.Failed != 1 {
		t.Errorf("calls of others: %+v", c)
	}
	if len(v.Catalog.Tools) != 2 || v.Catalog.Hash != b.pool.Stats().SchemaHash || v.Catalog.Tools[0].Hash == v.Catalog.Tools[1].Hash {
		t.Errorf("catalog %+v", v.Catalog)
	}
	if len(v.Points) == 0 || v.Points[0].Time.IsZero() {
		t.Errorf("points %v", v.Points)
	}
}

func TestLookingAsksTheServerNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	before := b.pool.Stats()
	for range 3 {
		get(b.page, nil)
		get(b.page, asJSON)
	}
	after := b.pool.Stats()
	if before.Calls != after.Calls || before.ListFetches != after.ListFetches || after.ListMisses != 0 ||
		before.Sessions.Acquired != after.Sessions.Acquired {
		t.Errorf("before %v, after %v", before, after)
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch} {
		if w := get(b.page, func(r *http.Request) { r.Method = method }); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") == "" {
			t.Errorf("%s: status %d", method, w.Code)
		}
	}
}

func TestAPageBeforeWatchAndAfterCloseStillAnswers(t *testing.T) {
	t.Parallel()
	page, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	if w := get(page, nil); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "watches no pool yet") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	if w := get(page, asJSON); w.Code != http.StatusOK || strings.Contains(w.Body.String(), "null") {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
	if err := page.Watch(nil); err == nil {
		t.Error("a nil pool was taken")
	}
	if err := page.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := page.Close(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	if err := page.Watch(new(mcpool.Pool)); !errors.Is(err, ErrClosed) {
		t.Errorf("Watch after Close: %v", err)
	}
	if w := get(page, nil); w.Code != http.StatusOK {
		t.Errorf("status %d", w.Code)
	}
}

func TestPointsComeAtEachIntervalAndAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page, err := New(Config{Interval: time.Minute, Points: 5})
		if err != nil {
			t.Fatal(err)
		}
		pool, err := mcpool.Open(t.Context(), mcpool.Config{
			Lazy: true, Min: mcpool.Off,
			Transport: func(context.Context, mcpool.Dial) (mcp.Transport, error) { return nil, errors.New("away") },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close(context.Background())
		if err := page.Watch(pool); err != nil {
			t.Fatal(err)
		}
		if err := page.Watch(pool); !errors.Is(err, ErrWatching) {
			t.Errorf("second Watch: %v", err)
		}
		time.Sleep(3*time.Minute + time.Second)
		if n := len(page.view().Points); n != 4 {
			t.Errorf("%d points after three minutes, want one for the start and three", n)
		}
		time.Sleep(time.Hour)
		points := page.view().Points
		if len(points) != 5 || points[4].Time.Sub(points[0].Time) != 4*time.Minute || time.Since(points[4].Time) > time.Minute {
			t.Errorf("points %v", points)
		}
		if err := page.Close(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		if last := page.view().Points; last[4].Time != points[4].Time {
			t.Error("points came after Close")
		}
	})
}

func TestEveryFaultOfAConfigIsReported(t *testing.T) {
	t.Parallel()
	_, err := New(Config{Interval: -1, Points: -1, Events: 10_001, Tools: -5, Rows: 20_000})
	for _, field := range []string{"Interval", "Points", "Events", "Tools", "Rows"} {
		if err == nil || !strings.Contains(err.Error(), "Config."+field+" ") {
			t.Errorf("%v does not name %s", err, field)
		}
	}
}

func TestEveryAnswerSaysThatItIsNotToBeKeptGuessedOrFramed(t *testing.T) {
	t.Parallel()
	page, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range map[string]*httptest.ResponseRecorder{
		"html":      get(page, nil),
		"json":      get(page, asJSON),
		"forbidden": get(page, func(r *http.Request) { r.Host = "elsewhere.example" }),
		"not read":  get(page, func(r *http.Request) { r.Method = http.MethodPost }),
		"health":    get(Healthz(), nil),
		"readiness": get(Readyz(is(false)), nil),
	} {
		want := map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
		if name != "health" && name != "readiness" {
			want["Referrer-Policy"], want["Cross-Origin-Resource-Policy"], want["Vary"] = "no-referrer", "same-origin", "Accept"
		}
		for header, value := range want {
			if got := w.Header().Get(header); got != value {
				t.Errorf("%s: %s is %q, want %q", name, header, got, value)
			}
		}
		if policy := w.Header().Get("Content-Security-Policy"); (name == "json" || name == "forbidden") && policy != "default-src 'none'" {
			t.Errorf("%s: policy %q", name, policy)
		}
	}
	if w := get(page, func(r *http.Request) { r.Method, r.Host = http.MethodPost, "elsewhere.example" }); w.Code != http.StatusForbidden {
		t.Errorf("whoever may not see the page gets %d for a POST", w.Code)
	}
}

func TestTheFirstWordIsTheWorstThatThereIs(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{})
	for _, test := range []struct {
		change func(*mcpool.Stats)
		level  Level
		word   string
	}{
		{func(*mcpool.Stats) {}, Good, "ready"},
		{func(s *mcpool.Stats) { s.Sessions.Circuit = core.BreakerHalfOpen }, Warn, "circuit half-open"},
		{func(s *mcpool.Stats) { s.Ready = false }, Warn, "not ready"},
		{func(s *mcpool.Stats) { s.Ready, s.Degraded = false, true }, Bad, "degraded"},
		{func(s *mcpool.Stats) { s.Degraded, s.Sessions.Circuit = true, core.BreakerOpen }, Bad, "circuit open"},
	} {
		v := View{Stats: mcpool.Stats{Ready: true}}
		test.change(&v.Stats)
		if level, word := b.page.state(v); level != test.level || word != test.word {
			t.Errorf("%s %q, want %s %q", level, word, test.level, test.word)
		}
	}
}

func TestRowsAreBoundedAndSayHowManyThereAreBeyond(t *testing.T) {
	t.Parallel()
	b := setup(t, Config{Rows: 1})
	b.work(t)
	for range 2 {
		l, err := b.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer l.Release()
	}
	v := b.page.view()
	if len(v.Sessions) != 1 || v.More < 1 || v.More+1 != b.pool.Stats().Sessions.Live || len(v.Catalog.Tools) != 1 || v.Catalog.More != 1 {
		t.Errorf("%d sessions and %d more, %d tools and %d more", len(v.Sessions), v.More, len(v.Catalog.Tools), v.Catalog.More)
	}
	body := get(b.page, nil).Body.String()
	for _, want := range []string{"and 1 more tools<", "more</small></h2>"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
	c := b.page.catalog([]*mcp.Tool{{Name: strings.Repeat("n", 1000), Description: strings.Repeat("d", 1000)}, nil}, "")
	if tool := c.Tools[0]; len(tool.Name) > 103 || len(tool.Description) > 203 {
		t.Errorf("a name of %d bytes, a description of %d", len(tool.Name), len(tool.Description))
	}
}

func TestAListThatWasInvalidatedIsShownAsSuch(t *testing.T) {
	t.Parallel()
	const word = "The list was invalidated"
	b := setup(t, Config{})
	b.work(t)
	if strings.Contains(get(b.page, nil).Body.String(), word) {
		t.Error("a list that is current is called invalid")
	}
	b.pool.InvalidateTools()
	if w := get(b.page, nil); !strings.Contains(w.Body.String(), word) || !strings.Contains(w.Body.String(), "<code>fine</code>") {
		t.Error("the page does not say that the list was invalidated, or has forgotten it")
	}
}

func TestHealthAndReadinessSayOneWord(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		h    http.Handler
		code int
		body string
	}{
		{"alive", Healthz(), 200, "ok\n"},
		{"ready", Readyz(is(true), is(true)), 200, "ok\n"},
		{"one is not", Readyz(is(true), is(false)), 503, "not ready\n"},
	} {
		w := get(test.h, func(r *http.Request) { r.Host = "elsewhere.example" })
		if w.Code != test.code || w.Body.String() != test.body {
			t.Errorf("%s: %d %q", test.name, w.Code, w.Body)
		}
		if w := get(test.h, func(r *http.Request) { r.Method = http.MethodPost }); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: POST got %d", test.name, w.Code)
		}
	}
}

type is bool

func (r is) Ready() bool { return bool(r) }
