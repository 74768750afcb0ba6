package auth

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

type observingFake struct {
	fake
	seen  []Observation
	panic bool
}

func (*observingFake) ObservedHeaders() []string { return []string{"dpop-nonce"} }

func (f *observingFake) Observe(_ Request, o Observation) {
	if f.panic {
		panic("in Observe")
	}
	f.seen = append(f.seen, o)
}

func TestCacheHasTheObserverOfItsProviderAndNoOther(t *testing.T) {
	if _, ok := AsObserver(newCache(t, &fake{}, CacheConfig{})); ok {
		t.Error("a cache observes for a provider that does not")
	}
	p := &observingFake{}
	c, err := NewCache(p, CacheConfig{})
	if err != nil {
		t.Fatal(err)
	}
	o, ok := AsObserver(c)
	if !ok || fmt.Sprint(o.ObservedHeaders()) != "[dpop-nonce]" {
		t.Fatalf("%v, %v", o, ok)
	}
	o.Observe(request("a"), Observation{Status: 200})
	p.panic = true
	o.Observe(request("a"), Observation{Status: 200}) // nobody's program ends for it
	p.panic = false
	if err := c.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	o.Observe(request("a"), Observation{Status: 200})
	if len(p.seen) != 1 {
		t.Errorf("%d observations, want the one before Close", len(p.seen))
	}
}

func TestAnObservationPrintsNoValue(t *testing.T) {
	o := Observation{URL: "https://crm.example/mcp?key=" + token, Status: 200, Header: http.Header{"Dpop-Nonce": {token}}}
	data, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprintf("%v %+v %#v %s", o, o, o, o), string(data), o.LogValue().String()} {
		if strings.Contains(s, token) || !strings.Contains(s, "Dpop-Nonce") {
			t.Errorf("%s", s)
		}
	}
}
