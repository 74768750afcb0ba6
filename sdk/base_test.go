package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/go-mcpool/mcpool/sdk/auth"
	basev1 "github.com/go-mcpool/mcpool/sdk/internal/gen/mcpool/base/v1"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
	"github.com/go-mcpool/mcpool/sdk/metrics"
	"github.com/go-mcpool/mcpool/sdk/probe"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

// picky refuses the name "bad".
type picky struct {
	Name string      `json:"name"`
	Key  auth.Secret `json:"key"`
}

func (p *picky) Validate() error {
	if p.Name == "bad" {
		return &auth.ConfigError{Field: "name", Problem: "is bad"}
	}
	return nil
}

// door is an instance of any kind, which is closed with a function.
type door struct {
	auth.Provider
	probe.Prober

	shut func(context.Context) error
}

func (d *door) Close(ctx context.Context) error { return d.shut(ctx) }

// glance is what has no Close.
type glance struct{}

func (glance) Probe(context.Context, probe.Target) (probe.Verdict, error) {
	return probe.Verdict{}, nil
}

// house is a base service of the kinds auth and probe, and what was built of them.
type house struct {
	*base

	built    atomic.Int64
	shut     func(ctx context.Context, name string) error
	refuses  error
	instance Instance
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{shut: func(context.Context, string) error { return nil }}
	build := func(ctx context.Context, cfg picky) (*door, error) {
		h.built.Add(1)
		h.instance, _ = InstanceOf(ctx)
		return &door{shut: func(ctx context.Context) error { return h.shut(ctx, cfg.Name) }}, h.refuses
	}
	d, kinds, err := describe(Info{Name: "house"}, []Kind{Auth(build), Probe(build)})
	if err != nil {
		t.Fatal(err)
	}
	h.base = &base{description: d, kinds: kinds, set: newInstances(), shutdown: func(bool) {}}
	return h
}

func (h *house) open(t *testing.T, name string) {
	t.Helper()
	if _, err := h.Open(t.Context(), h.request("auth", 1, name)); err != nil {
		t.Fatal(err)
	}
}

func (h *house) request(kind string, major uint32, name string) *basev1.OpenRequest {
	return &basev1.OpenRequest{Kind: kind, Major: major, Instance: name, Config: fmt.Appendf(nil, `{"name":%q}`, name)}
}

func TestAnInstanceLearnsWhatTheHostGaveIt(t *testing.T) {
	buf := logged(t)
	h := newHouse(t)
	if _, ok := InstanceOf(t.Context()); ok {
		t.Error("there is an instance where there is no host")
	}
	req := h.request("auth", 1, "a")
	req.StateDir = "/state/a"
	if _, err := h.Open(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	h.instance.Logger.Info("hello")
	var rec struct{ Msg, Instance string }
	if err := json.Unmarshal(buf.Bytes(), &rec); err != nil || rec.Msg != "hello" || rec.Instance != "a" {
		t.Errorf("logged %s, %v", buf, err)
	}
	if h.instance.Name != "a" || h.instance.StateDir != "/state/a" {
		t.Errorf("it learned %+v", h.instance)
	}
}

func TestWhatIsNotSpokenIsRefusedWithWhatIs(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.description.Kinds[1].Majors = []uint32{1, 3}
	for want, req := range map[string]*basev1.OpenRequest{
		"the plugin is of the kind auth, probe, not metrics":                        h.request("metrics", 1, "a"),
		"major 3 of the kind auth is not among those spoken here, [1]":              h.request("auth", 3, "a"),
		"major 2 of the kind probe is not among those spoken here, [1 3]":           h.request("probe", 2, "a"),
		"the instance has no name":                                                  h.request("auth", 1, ""),
		`instance "b" is open already, with another configuration`:                  h.request("auth", 1, "b"),
		`config: key is a secret and stands in the configuration: deliver it among`: {Kind: "probe", Major: 3, Instance: "c", Config: []byte(`{"key":"hush4711"}`)},
	} {
		if req.GetInstance() == "b" { // with another secret
			h.open(t, "b")
			req.Secrets = map[string][]byte{"key": []byte("hush4711")}
		}
		built := h.built.Load()
		_, err := h.Open(t.Context(), req)
		if !strings.Contains(fmt.Sprint(err), want) || strings.Contains(err.Error(), "hush4711") || h.built.Load() != built {
			t.Errorf("got %v, want %s", err, want)
		}
		if strings.Contains(want, "config") {
			continue
		}
		if !errors.Is(err, auth.ErrUnsupported) {
			t.Errorf("%v is not told as unsupported", err)
		}
	}
	if _, err := h.Open(t.Context(), h.request("probe", 3, "d")); err != nil {
		t.Errorf("a major that is spoken: %v", err)
	}
}

func TestAConfigurationIsValidatedWithoutOpening(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for _, kind := range []string{"auth", "probe"} {
		for config, field := range map[string]string{`{"name":"good"}`: "", `{"name":"bad"}`: "name", `{"nam":""}`: "nam", `{"key":"hush4711"}`: "key"} {
			_, err := h.Validate(t.Context(), &basev1.ValidateRequest{Kind: kind, Major: 1, Config: []byte(config)})
			fault, _ := errors.AsType[*auth.ConfigError](err)
			if field == "" && err != nil || field != "" && (fault == nil || fault.Field != field) {
				t.Errorf("%s of the kind %s: %v", config, kind, err)
			}
		}
		if _, err := h.Validate(t.Context(), &basev1.ValidateRequest{Kind: kind, Major: 2}); !errors.Is(err, auth.ErrUnsupported) {
			t.Errorf("another major of the kind %s: %v", kind, err)
		}
	}
	if n := h.built.Load(); n != 0 {
		t.Errorf("%d instances were made", n)
	}
}

func TestWhatAnInstancesCloseSaysReachesTheHost(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	broken := errors.New("the door is stuck")
	h.shut = func(context.Context, string) error { return broken }
	h.open(t, "a")
	if _, err := h.CloseInstance(t.Context(), &basev1.CloseInstanceRequest{Instance: "a"}); !errors.Is(err, broken) {
		t.Errorf("closing: %v", err)
	}
	if _, err := h.CloseInstance(t.Context(), &basev1.CloseInstanceRequest{Instance: "a"}); err != nil {
		t.Errorf("closing what is closed already: %v", err)
	}
}

func TestAShutdownClosesEveryInstanceAtOnceAndSaysWhatWentWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		broken, meet, closed := errors.New("the door is stuck"), make(chan struct{}), atomic.Int64{}
		h.shut = func(_ context.Context, name string) error {
			closed.Add(1)
			switch name {
			case "stuck":
				return broken
			case "panics":
				panic("hush4711")
			case "gives":
				meet <- struct{}{}
			case "takes":
				<-meet
			}
			return nil
		}
		for _, name := range []string{"stuck", "panics", "gives", "takes"} {
			h.open(t, name)
		}
		_, err := h.Shutdown(t.Context(), &basev1.ShutdownRequest{})
		if !errors.Is(err, broken) || !errors.Is(err, wire.ErrPanic) || strings.Contains(err.Error(), "hush4711") {
			t.Errorf("got %v", err)
		}
		if n := closed.Load(); n != 4 {
			t.Errorf("%d of 4 were closed", n)
		}
		if _, err := h.Open(t.Context(), h.request("auth", 1, "late")); !errors.Is(err, auth.ErrClosed) {
			t.Errorf("opening afterwards: %v", err)
		}
	})
}

func TestAFactoryMakesSomethingOrSaysWhyNot(t *testing.T) {
	t.Parallel()
	no := errors.New("no")
	closed := 0
	shut := func(context.Context) error { closed++; return nil }
	for name, test := range map[string]struct {
		kind Kind
		want string // empty where it works
	}{
		"auth, an error":            {Auth(func(context.Context, picky) (*door, error) { return &door{}, no }), "no"},
		"auth, nil":                 {Auth(nothing[*door]), "neither a provider nor an error"},
		"auth, no interface":        {Auth(nothing[auth.Provider]), "neither a provider nor an error"},
		"auth, undeclared":          {Auth(func(context.Context, picky) (auth.Provider, error) { return signs{&door{shut: shut}, nil}, nil }), `"sign", which the plugin does not declare`},
		"auth, declared":            {Auth(func(context.Context, picky) (auth.Provider, error) { return signs{&door{}, nil}, nil }, Signs()), ""},
		"probe, an error":           {Probe(func(context.Context, picky) (*door, error) { return &door{}, no }), "no"},
		"probe, nil":                {Probe(nothing[*door]), "neither a probe nor an error"},
		"metrics, no interface":     {Metrics(nothing[metrics.Sink]), "neither a metrics nor an error"},
		"transport, no interface":   {Transport(nothing[transport.Dialer]), "neither a transport nor an error"},
		"transport, an empty value": {Transport(func(context.Context, picky) (dials, error) { return dials{}, nil }), ""},
	} {
		o, err := test.kind.impl.open(t.Context(), nil, nil)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v", name, err)
		}
		if test.want == "" && o.value == nil {
			t.Errorf("%s: there is nothing", name)
		}
	}
	if closed != 1 {
		t.Errorf("what may not be used was closed %d times", closed)
	}
}

// nothing is a factory that makes nothing and says nothing.
func nothing[V any](context.Context, picky) (none V, err error) { return none, nil }

type signs struct {
	*door
	auth.Signer
}

type dials struct{ transport.Dialer }

func TestAKindWithoutCloseNeedsNoneAndOneWithItIsClosed(t *testing.T) {
	t.Parallel()
	closed := 0
	d := &door{shut: func(context.Context) error { closed++; return nil }}
	for name, kind := range map[string]Kind{
		"probe":              Probe(func(context.Context, picky) (glance, error) { return glance{}, nil }),
		"probe with a Close": Probe(func(context.Context, picky) (*door, error) { return d, nil }),
		"auth":               Auth(func(context.Context, picky) (*door, error) { return d, nil }),
	} {
		o, err := kind.impl.open(t.Context(), nil, nil)
		if err == nil {
			err = o.close(t.Context())
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if closed != 2 {
		t.Errorf("closed %d of 2", closed)
	}
}

func TestTwoConfigurationsAreToldApart(t *testing.T) {
	t.Parallel()
	seen := make(map[[32]byte]string)
	for name, test := range map[string]struct {
		config  string
		secrets map[string][]byte
	}{
		"nothing":                    {},
		"a configuration":            {"x", nil},
		"a secret":                   {"x", map[string][]byte{"k": []byte("v")}},
		"another of the same name":   {"x", map[string][]byte{"k": []byte("w")}},
		"one of another name":        {"x", map[string][]byte{"l": []byte("v")}},
		"the same letters elsewhere": {"xk", map[string][]byte{"": []byte("v")}},
		"and elsewhere":              {"x", map[string][]byte{"kv": nil}},
	} {
		d := digestOf([]byte(test.config), test.secrets)
		if other, found := seen[d]; found {
			t.Errorf("%s is %s", name, other)
		}
		seen[d] = name
	}
	secrets := map[string][]byte{"a": []byte("1"), "b": []byte("2"), "c": []byte("3")}
	want := digestOf(nil, secrets)
	for range 20 { // a map has another order each time
		if digestOf(nil, secrets) != want {
			t.Fatal("the same is told apart")
		}
	}
}
