package debug

import (
	"net/http"
	"testing"
)

func TestOnlyRequestsOfThisMachineSeeThePage(t *testing.T) {
	t.Parallel()
	page, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, host, peer, header string
		want                     int
	}{
		{"localhost", "localhost:80", "", "", 200},
		{"localhost without a port", "LOCALHOST", "", "", 200},
		{"IPv4", "127.0.0.1:8080", "", "", 200},
		{"all of 127", "127.1.2.3", "", "", 200},
		{"IPv6", "[::1]:8080", "[::1]:4000", "", 200},
		{"IPv6 without a port", "[::1]", "[::1]:4000", "", 200},
		{"IPv4 in IPv6", "localhost", "[::ffff:127.0.0.1]:4000", "", 200},
		{"a Unix socket", "localhost", "@", "", 200},
		{"another name", "pool.example", "", "", 403},
		{"a name that begins alike", "localhost.example", "", "", 403},
		{"an address that begins alike", "127.0.0.1.example", "", "", 403},
		{"any address", "0.0.0.0:80", "", "", 403},
		{"an address of the net", "192.168.1.2", "", "", 403},
		{"no host", "", "", "", 403},
		{"a peer elsewhere", "localhost", "192.168.1.9:4000", "", 403},
		{"Forwarded", "localhost", "", "Forwarded", 403},
		{"X-Forwarded-For", "localhost", "", "X-Forwarded-For", 403},
		{"X-Forwarded-Host", "localhost", "", "X-Forwarded-Host", 403},
		{"one of X-Forwarded that nobody knows", "localhost", "", "x-forwarded-anything", 403},
		{"X-Real-IP", "localhost", "", "X-Real-IP", 403},
		{"Via", "localhost", "", "Via", 403},
	} {
		w := get(page, func(r *http.Request) {
			r.Host = test.host
			if test.peer != "" {
				r.RemoteAddr = test.peer
			}
			if test.header != "" {
				r.Header[test.header] = []string{""} // as it came, and even if it is empty
			}
		})
		if w.Code != test.want {
			t.Errorf("%s: status %d, want %d", test.name, w.Code, test.want)
		}
		if w.Code == 403 && w.Body.String() != "the debug page is not shown to this request\n" {
			t.Errorf("%s: it says %q", test.name, w.Body)
		}
	}
}

func TestAuthorizeDecidesAlone(t *testing.T) {
	t.Parallel()
	page, err := New(Config{Authorize: func(r *http.Request) bool { return r.Header.Get("X-Forwarded-User") == "ann" }})
	if err != nil {
		t.Fatal(err)
	}
	w := get(page, func(r *http.Request) {
		r.Host, r.RemoteAddr = "pool.example", "192.168.1.9:4000"
		r.Header.Set("X-Forwarded-User", "ann")
	})
	if w.Code != 200 {
		t.Errorf("whom it allows gets %d", w.Code)
	}
	if w := get(page, nil); w.Code != 403 {
		t.Errorf("whom it does not allow gets %d", w.Code)
	}
}

func TestAcceptDecidesBetweenHTMLAndJSON(t *testing.T) {
	t.Parallel()
	for accept, want := range map[string]bool{
		"":                                 false,
		"*/*":                              false,
		"application/json":                 true,
		"APPLICATION/JSON":                 true,
		"application/*":                    true,
		"text/html,application/json":       false,
		"text/html;q=0.5,application/json": true,
		"application/json;q=0.4, text/html;q=0.5":                         false,
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": false,
		"*/*;q=0.9, text/html;q=0.1":                                      true,
		"application/json;q=2":                                            false,
		"application/json;q=x":                                            false,
		"application/json; charset=utf-8; Q=0.3":                          true,
		"application/json;q=0, */*":                                       false,
		"application/x-ndjson":                                            false,
	} {
		if got := wantsJSON([]string{accept}); got != want {
			t.Errorf("%q: JSON is %v, want %v", accept, got, want)
		}
	}
	if !wantsJSON([]string{"text/html;q=0.1", "application/json"}) {
		t.Error("the second of two headers does not count")
	}
}

func FuzzAccept(f *testing.F) {
	f.Add("text/html;q=0.5,application/json")
	f.Add(";;q=,*/*")
	f.Fuzz(func(t *testing.T, accept string) {
		if q := quality([]string{accept}, "application", "json"); !(q >= 0 && q <= 1) {
			t.Errorf("%q is worth %v", accept, q)
		}
	})
}
