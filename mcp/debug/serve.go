package debug

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-mcpool/mcpool/core"
)

// ServeHTTP shows the page, or JSON to those whose Accept puts it before HTML.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Vary", "Accept")
	allow := p.cfg.Authorize
	if allow == nil {
		allow = local
	}
	if !allow(r) {
		h.Set("Content-Security-Policy", "default-src 'none'")
		http.Error(w, "the debug page is not shown to this request", http.StatusForbidden)
		return
	}
	if !reads(w, r) {
		return
	}
	if wantsJSON(r.Header.Values("Accept")) {
		h.Set("Content-Security-Policy", "default-src 'none'")
		p.answer(w, "application/json", func(b *bytes.Buffer) error {
			e := json.NewEncoder(b)
			e.SetIndent("", "  ")
			return e.Encode(p.view())
		})
		return
	}
	nonce := rand.Text()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+nonce+"'; script-src 'nonce-"+nonce+
		"'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	p.answer(w, "text/html; charset=utf-8", func(b *bytes.Buffer) error { return p.template.Execute(b, p.picture(nonce)) })
}

// answer writes a body that is whole before its first byte is sent.
func (p *Page) answer(w http.ResponseWriter, kind string, write func(*bytes.Buffer) error) {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	_, _ = b.WriteTo(w) // whoever asked has gone
}

// picture is what the template shows. All of it is text, which the template escapes.
type picture struct {
	Nonce, Refresh, Name, Time, About string
	State                             Level
	Word                              string // what State means
	Facts                             []fact
	Plots                             []plot
	Sessions                          []sessionRow
	More                              int
	Changes, Failures                 []eventRow
	Calls                             []callRow
	Catalog                           Catalog
}

type fact struct {
	Name, Value string
	Level       Level
}

type sessionRow struct {
	ID             uint64
	State, Level   string
	Identity       string
	Age, Idle      string
	Leases         int
	Served         uint64
	Keys, Protocol string
}

type eventRow struct {
	Event

	Ago, At string
}

type callRow struct {
	Calls

	P50, P90, P99, Max string
}

func (p *Page) picture(nonce string) picture {
	v := p.view()
	s := &v.Stats
	pic := picture{
		Nonce: nonce, Refresh: strconv.FormatInt(max(2000, p.cfg.Interval.Milliseconds()), 10),
		Name: clip(s.Name, 100), Time: v.Time.Format("2006-01-02 15:04:05 MST"),
		Plots: plots(v.Points), More: v.More, Catalog: v.Catalog,
	}
	pic.About = join(" · ", s.Transport, protocolText(s.Protocol), "up "+ago(s.Uptime))
	pic.State, pic.Word = p.state(v)
	pic.Facts = facts(v)
	for _, i := range v.Sessions {
		row := sessionRow{
			ID: i.ID, State: string(i.State), Identity: i.Identity, Age: ago(i.Age), Leases: i.Leases, Served: i.Served,
			Keys: clip(strings.Join(i.Keys, ", "), 100), Protocol: i.Protocol,
		}
		if i.State == core.StateIdle {
			row.Idle = ago(i.Idle)
		}
		if i.Reason != core.ReasonNone {
			row.State += ": " + i.Reason.String()
		}
		if i.Weak {
			row.State += ", weak"
		}
		pic.Sessions = append(pic.Sessions, row)
	}
	pic.Changes, pic.Failures = rows(v.Changes, v.Time, s.Name), rows(v.Failures, v.Time, s.Name)
	for _, c := range v.Calls {
		pic.Calls = append(pic.Calls, callRow{c, secondsText(c.P50), secondsText(c.P90), secondsText(c.P99), secondsText(c.Max)})
	}
	return pic
}

// state is the one word an operator looks for first.
func (p *Page) state(v View) (Level, string) {
	s := &v.Stats
	switch {
	case p.pool.Load() == nil:
		return Info, "watches no pool yet"
	case s.Sessions.Circuit == core.BreakerOpen:
		return Bad, "circuit open"
	case s.Degraded:
		return Bad, "degraded"
	case !s.Ready:
		return Warn, "not ready"
	case s.Sessions.Circuit == core.BreakerHalfOpen:
		return Warn, "circuit half-open"
	}
	return Good, "ready"
}

func facts(v View) []fact {
	s, c := &v.Stats, &v.Stats.Sessions
	n := func(u uint64) string { return strconv.FormatUint(u, 10) }
	d := strconv.Itoa
	limit := "no limit"
	if c.Max >= 0 {
		limit = "of " + d(c.Max)
	}
	level := func(bad bool) Level {
		if bad {
			return Warn
		}
		return ""
	}
	all := []fact{
		{"Sessions", d(c.Live) + " " + limit, ""},
		{"Idle", d(c.Idle), ""},
		{"Waiting", d(c.Waiting), level(c.Waiting > 0)},
		{"Circuit", c.Circuit.String(), level(c.Circuit != core.BreakerClosed)},
		{"Calls", n(s.Calls), ""},
		{"Failed calls", n(s.CallErrors), ""},
		{"Sent again", n(s.Replays), ""},
		{"Sessions lost", n(s.Losses), ""},
		{"Failed opens", n(c.OpenFailures), ""},
		{"Failed probes", n(c.ProbeFailures), ""},
		{"Identities", d(s.Identities), ""},
		{"Leaks", n(c.Leaks), level(c.Leaks > 0)},
	}
	return all
}

func rows(events []Event, now time.Time, pool string) []eventRow {
	out := make([]eventRow, 0, len(events))
	for _, e := range events {
		if e.Pool == pool {
			e.Pool = "" // it stands above
		}
		out = append(out, eventRow{e, ago(now.Sub(e.Last)), e.Last.Format("15:04:05.000")})
	}
	return out
}

func protocolText(version string) string {
	if version == "" {
		return ""
	}
	return "MCP " + version
}

// join joins what is not empty.
func join(sep string, parts ...string) string {
	var full []string
	for _, p := range parts {
		if p != "" {
			full = append(full, p)
		}
	}
	return strings.Join(full, sep)
}
