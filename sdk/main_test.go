package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/go-mcpool/mcpool/sdk/auth"
	"github.com/go-mcpool/mcpool/sdk/internal/wire"
	"github.com/go-mcpool/mcpool/sdk/metrics"
	"github.com/go-mcpool/mcpool/sdk/probe"
	"github.com/go-mcpool/mcpool/sdk/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type settings struct {
	Name  string      `json:"name"`
	Count int         `json:"count"`
	Key   auth.Secret `json:"key"`
	Inner struct {
		Key  auth.Secret `json:"key"`
		Note string      `json:"note"`
	} `json:"inner"`
	Func func() `json:"-"`
}

type signer struct {
	auth.Provider
	auth.Signer
}

// versatile has every ability, and maybe has one or the other.
type versatile struct {
	auth.Provider
	auth.Signer
	auth.Interactive
	auth.Observer
}

type maybe struct{ auth.Provider }

func (maybe) Signer() (auth.Signer, bool)           { return nil, false }
func (maybe) Interactive() (auth.Interactive, bool) { return nil, false }
func (maybe) Observer() (auth.Observer, bool)       { return nil, false }

func factory(context.Context, settings) (signer, error) { return signer{}, nil }

func dial(context.Context, settings) (transport.Dialer, error) { return nil, errors.New("not here") }

func plain(context.Context, settings) (auth.Provider, error) { return nil, errors.New("not here") }

func TestDescribePrintsWhatAHostLearns(t *testing.T) {
	t.Parallel()
	info, kinds := Info{Name: "acme", Version: "1.2.3", Summary: "So.", Environment: []string{"ACME_*"}}, []Kind{Auth(factory, Headers("Authorization", "X-Acme"))}
	var out, errOut, again bytes.Buffer
	code := run(info, kinds, []string{"--describe"}, &out, &errOut)
	if code := run(info, kinds, []string{"x", "-describe"}, &again, &errOut); code != 0 || again.String() != out.String() {
		t.Errorf("-describe: code %d, %s", code, &again)
	}
	var d wire.Description
	if err := json.Unmarshal(out.Bytes(), &d); err != nil || code != 0 || errOut.Len() > 0 {
		t.Fatalf("code %d, %v, %s", code, err, &errOut)
	}
	k := d.Kinds[0]
	if d.Name != "acme" || d.Summary != "So." || d.Version != "1.2.3" || !slices.Equal(d.Environment, []string{"ACME_*"}) || k.Name != "auth" ||
		!slices.Equal(k.Majors, []uint32{1}) || !slices.Equal(k.Headers, []string{"Authorization", "X-Acme"}) {
		t.Errorf("%+v", d)
	}
	var schema struct {
		Properties map[string]map[string]any `json:"properties"`
		Required   []string                  `json:"required"`
	}
	if err := json.Unmarshal(k.Config, &schema); err != nil {
		t.Fatal(err)
	}
	if schema.Properties["key"]["writeOnly"] != true || !strings.Contains(out.String(), "\n  \"name\": \"acme\",\n") || schema.Properties["count"]["type"] != "integer" ||
		schema.Properties["Func"] != nil || len(schema.Required) != 0 {
		t.Errorf("schema %s", k.Config)
	}
}

func TestTheTypeOrAnOptionTellsWhatAnInstanceCan(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		kind Kind
		want []string
	}{
		"a concrete signer":    {Auth(factory), []string{"sign"}},
		"an interface":         {Auth(plain), nil},
		"a dialer":             {Transport(dial), nil},
		"a dialer, helped":     {Transport(dial, DialsWithSubject()), []string{"subject"}},
		"one of all":           {Auth(func(context.Context, settings) (versatile, error) { return versatile{}, nil }, Signs()), []string{"login", "observe", "sign"}},
		"one that may have":    {Auth(func(context.Context, settings) (maybe, error) { return maybe{}, nil }), []string{"login", "observe", "sign"}},
		"an interface, helped": {Auth(plain, Signs(), LogsIn(), UsesSubject(), Observes()), []string{"login", "observe", "sign", "subject"}},
	} {
		d, err := test.kind.impl.describe()
		if err != nil || !slices.Equal(d.Capabilities, test.want) {
			t.Errorf("%s: %q, %v", name, d.Capabilities, err)
		}
	}
}

func TestRunByHandItExplainsItself(t *testing.T) {
	const does = "\nIt does nothing by itself: a program that uses mcpool starts it, with host.Launch.\n"
	const more = "\n\n--describe prints this and the schema of its configuration as JSON.\n"
	for want, test := range map[string]struct {
		info  Info
		kinds []Kind
	}{
		"acme dev is a plugin for mcpool." + does + "\nkind auth, major [1], sets Authorization" + more: {Info{Name: "acme"}, []Kind{Auth(plain)}},
		"acme 1.2.3 is a plugin for mcpool. It is one of many." + does +
			"\nkind auth, major [1], can sign, subject, sets A, B-*, C\nkind probe, major [1]\nenvironment it can use: A, B_*" + more: {
			Info{Name: "acme", Version: "1.2.3", Summary: "It is one of many.", Environment: []string{"A", "B_*"}},
			[]Kind{
				Auth(plain, Headers("A", "B-*"), UsesSubject(), Headers("C"), Signs()),
				Probe(func(context.Context, settings) (probe.Prober, error) { return nil, errors.New("not here") }),
			},
		},
	} {
		for _, cookie := range []string{"", "another program's"} {
			t.Setenv(wire.CookieKey, cookie)
			var out, errOut bytes.Buffer
			if code := run(test.info, test.kinds, nil, &out, &errOut); code != 2 || out.Len() > 0 || errOut.String() != want {
				t.Errorf("code %d, %s%s\nwant %s", code, &out, &errOut, want)
			}
			for _, arg := range []string{"--help", "-help", "-h"} {
				out, errOut = bytes.Buffer{}, bytes.Buffer{}
				if code := run(test.info, test.kinds, []string{arg}, &out, &errOut); code != 0 || out.String() != want || errOut.Len() > 0 {
					t.Errorf("%s: code %d, %s%s\nwant %s", arg, code, &out, &errOut, want)
				}
			}
			for _, args := range [][]string{{"describe"}, {"--version"}, {"help", "me"}, {"-"}, {""}} {
				out, errOut = bytes.Buffer{}, bytes.Buffer{}
				problem := fmt.Sprintf("acme: it takes --describe or --help, and not %q\n\n", args)
				if code := run(test.info, test.kinds, args, &out, &errOut); code != 2 || out.Len() > 0 || errOut.String() != problem+want {
					t.Errorf("%q: code %d, %s%s", args, code, &out, &errOut)
				}
			}
		}
	}
}

func TestTheMistakesOfAnAuthorAreTold(t *testing.T) {
	t.Parallel()
	for want, test := range map[string]struct {
		info  Info
		kinds []Kind
	}{
		"Info.Name is missing":         {Info{}, []Kind{Auth(plain)}},
		"was given no kind":            {Info{Name: "x"}, nil},
		"a zero Kind":                  {Info{Name: "x"}, []Kind{{}}},
		"auth twice":                   {Info{Name: "x"}, []Kind{Auth(plain), Auth(plain)}},
		"is a struct, not int":         {Info{Name: "x"}, []Kind{Auth(func(context.Context, int) (auth.Provider, error) { return nil, errors.New("not here") })}},
		"Auth was given no factory":    {Info{Name: "x"}, []Kind{Auth[settings, auth.Provider](nil)}},
		"Probe was given no factory":   {Info{Name: "x"}, []Kind{Probe[settings, probe.Prober](nil)}},
		"Metrics was given no factory": {Info{Name: "x"}, []Kind{Metrics[settings, metrics.Sink](nil)}},
		"is a struct, not []string":    {Info{Name: "x"}, []Kind{Probe(func(context.Context, []string) (probe.Prober, error) { return nil, errors.New("not here") })}},
		"Name is missing\nsdk: Main was given a zero Kind\nsdk: Probe was given no factory": {Info{}, []Kind{Auth(plain), {}, Probe[settings, probe.Prober](nil)}},
	} {
		for _, args := range [][]string{{"--describe"}, nil} {
			var out, errOut bytes.Buffer
			if code := run(test.info, test.kinds, args, &out, &errOut); code != 1 || out.Len() > 0 || !strings.Contains(errOut.String(), want) {
				t.Errorf("want %q, got code %d, %s%s", want, code, &out, &errOut)
			}
		}
	}
}

func TestADescriptionThatCannotBePrintedIsAFailure(t *testing.T) {
	t.Parallel()
	var errOut bytes.Buffer
	code := run(Info{Name: "acme"}, []Kind{Auth(plain)}, []string{"--describe"}, full{}, &errOut)
	if code != 1 || !strings.Contains(errOut.String(), "no space left") {
		t.Errorf("code %d, %s", code, &errOut)
	}
}

// full is a disk.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestDecodeIsStrictAndNamesFields(t *testing.T) {
	t.Parallel()
	_, paths, err := schemaOf[settings]()
	if err != nil || !slices.Equal(paths, []string{"key", "inner.key"}) {
		t.Fatalf("secrets %q, %v", paths, err)
	}
	secret := func(kv ...string) map[string][]byte {
		m := map[string][]byte{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = []byte(kv[i+1])
		}
		return m
	}
	c, err := decode[settings]([]byte(`{"name":"n","inner":{"note":"x"}}`), secret("key", `a"b`, "inner.key", "c"), paths)
	if err != nil || c.Name != "n" || c.Key.Reveal() != `a"b` || c.Inner.Key.Reveal() != "c" || c.Inner.Note != "x" {
		t.Errorf("%v %v", c.Name, err)
	}
	if _, err := decode[settings](nil, nil, paths); err != nil {
		t.Errorf("an empty configuration: %v", err)
	}
	for name, test := range map[string]struct {
		doc     string
		secrets map[string][]byte
		fields  []string
	}{
		"no object":           {`[]`, nil, []string{"the configuration"}},
		"null":                {`null`, nil, []string{"the configuration"}},
		"null, and a secret":  {`null`, secret("key", "hush4711"), []string{"the configuration"}},
		"no JSON":             {`{`, nil, []string{"the configuration"}},
		"no JSON, and where":  {"{\n\"name\":\"n\",}", nil, []string{"the configuration is not JSON, line 2, column 12: no comma"}},
		"unknown":             {`{"nam":"x"}`, nil, []string{"nam"}},
		"unknown below":       {`{"inner":{"x":1}}`, nil, []string{"inner.x"}},
		"type":                {`{"count":"x"}`, nil, []string{"count"}},
		"two at once":         {`{"count":"x","nam":1}`, nil, []string{"count", "nam"}},
		"a secret inline":     {`{"key":"hush4711"}`, nil, []string{"key"}},
		"one below":           {`{"inner":{"key":"hush4711"}}`, nil, []string{"inner.key"}},
		"no such secret":      {`{}`, secret("name", "hush4711"), []string{"name"}},
		"secret in no object": {`{"inner":7}`, secret("inner.key", "hush4711"), []string{"inner"}},
	} {
		_, err := decode[settings]([]byte(test.doc), test.secrets, paths)
		for _, field := range test.fields {
			if err == nil || !strings.Contains(err.Error(), "auth: config: "+field+" ") {
				t.Errorf("%s: %v does not name %s", name, err, field)
			}
		}
		if err != nil && strings.Contains(err.Error(), "hush4711") {
			t.Errorf("%s: %v shows a secret", name, err)
		}
		if _, ok := errors.AsType[*auth.ConfigError](err); !ok {
			t.Errorf("%s: %v is no ConfigError", name, err)
		}
	}
}

func TestTheSecretsOfAMapComeByTheirNames(t *testing.T) {
	t.Parallel()
	type mapped struct {
		Headers map[string]auth.Secret `json:"headers"`
		Inner   struct {
			Env map[string]auth.Secret `json:"env"`
		} `json:"inner"`
	}
	_, paths, err := schemaOf[mapped]()
	if err != nil || !slices.Equal(paths, []string{"headers.*", "inner.env.*"}) {
		t.Fatalf("secrets %q, %v", paths, err)
	}
	c, err := decode[mapped]([]byte(`{"headers":{"X-Plain":"p"}}`), map[string][]byte{
		"headers.Authorization": []byte("hush4711"), "headers.a.b": []byte("dots"), "inner.env.KEY": []byte("hush4712"),
	}, paths)
	if err != nil || len(c.Headers) != 3 || c.Headers["X-Plain"].Reveal() != "p" || c.Headers["Authorization"].Reveal() != "hush4711" ||
		c.Headers["a.b"].Reveal() != "dots" || c.Inner.Env["KEY"].Reveal() != "hush4712" {
		t.Errorf("%v, %v", c, err)
	}
	for name, test := range map[string]struct{ doc, secret, field string }{
		"the map itself": {`{}`, "headers", "headers"},
		"the pattern":    {`{}`, "headers.", "headers."},
		"no such map":    {`{}`, "header.X", "header.X"},
		"twice":          {`{"headers":{"X":"hush4712"}}`, "headers.X", "headers.X"},
		"no map":         {`{"headers":7}`, "headers.X", "headers"},
	} {
		_, err := decode[mapped]([]byte(test.doc), map[string][]byte{test.secret: []byte("hush4711")}, paths)
		if !strings.Contains(fmt.Sprint(err), "auth: config: "+test.field+" ") || strings.Contains(err.Error(), "hush471") {
			t.Errorf("%s: %v does not name %s, or shows a value", name, err, test.field)
		}
	}
}
