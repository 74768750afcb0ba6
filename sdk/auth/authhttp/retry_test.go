package authhttp

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-mcpool/mcpool/sdk/auth"
)

// eager is a provider that wants to try again whatever was refused, with whatever
// it is made to send.
type eager struct {
	credentials func() http.Header
	challenges  []auth.Challenge
	observed    []auth.Observation
}

func (p *eager) Credentials(context.Context, auth.Request) (auth.Credentials, error) {
	return auth.Credentials{Header: p.credentials(), Generation: fmt.Sprint(len(p.challenges))}, nil
}

func (p *eager) Challenge(_ context.Context, _ auth.Request, ch auth.Challenge) (auth.Outcome, error) {
	p.challenges = append(p.challenges, ch)
	return auth.Retry, nil
}

func (p *eager) Close(context.Context) error { return nil }

func (p *eager) ObservedHeaders() []string { return []string{"x-next"} }

func (p *eager) Observe(_ auth.Request, o auth.Observation) { p.observed = append(p.observed, o) }

// answers is a base that gives one after the other, the last one for ever.
type answers struct {
	list []answer
	sent int
}

type answer struct {
	status             int
	asked, nonce, next string
}

func (a *answers) RoundTrip(req *http.Request) (*http.Response, error) {
	now := a.list[min(a.sent, len(a.list)-1)]
	a.sent++
	if req.Body != nil {
		if data, err := io.ReadAll(req.Body); err != nil || string(data) != "the body" {
			return nil, fmt.Errorf("body %q, %w", data, err)
		}
	}
	h := make(http.Header)
	for name, v := range map[string]string{"WWW-Authenticate": now.asked, "DPoP-Nonce": now.nonce, "X-Next": now.next} {
		if v != "" {
			h.Set(name, v)
		}
	}
	return &http.Response{StatusCode: now.status, Header: h, Body: io.NopCloser(strings.NewReader("")), Request: req}, nil
}

var (
	ok      = answer{status: 200}
	no      = answer{status: 401, asked: "Bearer"}
	forbid  = answer{status: 403}
	scope   = answer{status: 403, asked: `Bearer error="insufficient_scope", scope="more"`}
	nonce   = answer{status: 401, asked: `DPoP error="use_dpop_nonce"`, nonce: "n"}
	another = answer{status: 401, asked: `DPoP error="use_dpop_nonce"`, nonce: "m"}
)

// send returns the final status, and how often the request was sent.
func send(t *testing.T, p *eager, list ...answer) (status, sent int) {
	t.Helper()
	base := &answers{list: list}
	tr, err := New(Config{Base: base, Provider: p, Request: at("https://mcp.example/")})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://mcp.example/", strings.NewReader("the body"))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode, base.sent
}

func TestARequestIsRepeatedOnceForEachKindOfRefusal(t *testing.T) {
	with := func() http.Header { return http.Header{"Authorization": {"x"}} }
	// Nothing the first time, as before a server is known.
	first := func(p *eager) func() http.Header {
		return func() http.Header {
			if len(p.challenges) == 0 {
				return nil
			}
			return with()
		}
	}
	for name, tt := range map[string]struct {
		bare         bool
		answers      []answer
		status, sent int
		asked        int // challenges
	}{
		"accepted":                          {answers: []answer{ok}, status: 200, sent: 1},
		"a token, then a nonce":             {bare: true, answers: []answer{no, nonce, ok}, status: 200, sent: 3, asked: 2},
		"everything that can be wanted":     {bare: true, answers: []answer{no, nonce, no, scope, ok}, status: 200, sent: 5, asked: 4},
		"a server that refuses every token": {answers: []answer{no}, status: 401, sent: 2, asked: 1},
		"and at first there was none":       {bare: true, answers: []answer{no}, status: 401, sent: 3, asked: 2},
		"a server that forbids everything":  {answers: []answer{no, forbid}, status: 403, sent: 2, asked: 1},
		"nonces without end":                {answers: []answer{nonce, another}, status: 401, sent: 2, asked: 1},
		"scopes without end":                {answers: []answer{scope}, status: 403, sent: 2, asked: 1},
	} {
		t.Run(name, func(t *testing.T) {
			p := &eager{credentials: with}
			if tt.bare {
				p.credentials = first(p)
			}
			status, sent := send(t, p, tt.answers...)
			if status != tt.status || sent != tt.sent || len(p.challenges) != tt.asked {
				t.Errorf("%d after %d requests and %d challenges", status, sent, len(p.challenges))
			}
		})
	}
}

// Whatever a server answers and a provider sends, a request ends.
func TestARequestIsSentFiveTimesAtMost(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	most := 0
	for range 5000 {
		p := &eager{credentials: func() http.Header {
			if r.IntN(2) == 0 {
				return nil
			}
			return http.Header{"Authorization": {"x"}}
		}}
		refusals := make([]answer, 50)
		for i := range refusals {
			refusals[i] = []answer{no, forbid, scope, nonce, another}[r.IntN(5)]
		}
		_, sent := send(t, p, refusals...)
		most = max(most, sent)
		if sent > 5 || len(p.challenges) != sent-1 {
			t.Fatalf("seed %d: %d requests, %d challenges", seed, sent, len(p.challenges))
		}
	}
	if most != 5 {
		t.Errorf("seed %d: never sent more than %d times", seed, most)
	}
}

func TestAnObserverSeesEveryAnswerThatNoChallengeIsAbout(t *testing.T) {
	p := &eager{credentials: func() http.Header { return http.Header{"Authorization": {"x"}} }}
	with := func(a answer, next string) answer { a.next = next; return a }
	send(t, p, ok)
	send(t, p, with(ok, "1"))
	send(t, p, with(no, "2"), with(answer{status: 500}, "3"))
	send(t, p, with(no, "4"), with(no, "5")) // the second one stands
	var got []string
	for _, o := range p.observed {
		got = append(got, fmt.Sprintf("%d %s %v", o.Status, o.URL, o.Header))
	}
	want := []string{
		"200 https://mcp.example/ map[X-Next:[1]]", "500 https://mcp.example/ map[X-Next:[3]]",
		"401 https://mcp.example/ map[X-Next:[5]]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("observed %q, want %q", got, want)
	}
	if len(p.challenges) != 2 || p.challenges[1].Header.Get("X-Next") != "4" {
		t.Errorf("challenges %v", p.challenges)
	}
}
