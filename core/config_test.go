package core

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func fieldsOf(t *testing.T, err error) []string {
	t.Helper()
	var fields []string
	for _, fault := range unjoin(err) {
		var e *ConfigError
		if !errors.As(fault, &e) || e.Problem == "" {
			t.Fatalf("fault %v does not tell of a field", fault)
		}
		if !strings.Contains(fault.Error(), "Config."+e.Field+" ") {
			t.Errorf("%q does not name the field %s", fault, e.Field)
		}
		fields = append(fields, e.Field)
	}
	return fields
}

func TestNewReportsEveryBadFieldAtOnce(t *testing.T) {
	t.Parallel()
	ok := (&workshop{}).open
	open := func(ctx context.Context) (*thing, error) { return ok(ctx, "") }
	for name, c := range map[string]struct {
		cfg  Config[*thing]
		want []string
	}{
		"nothing set":          {Config[*thing]{}, []string{"Open"}},
		"Min over Max":         {Config[*thing]{Open: open, Min: 3, Max: 2}, []string{"Min"}},
		"Min over the default": {Config[*thing]{Open: open, Min: 11}, []string{"Min"}},
		"Min over no limit":    {Config[*thing]{Open: open, Min: 1000, Max: Off}, nil},
		"negative Max":         {Config[*thing]{Open: open, Max: -2}, []string{"Max"}},
		"negative Max and Min": {Config[*thing]{Open: open, Min: 5, Max: -2}, []string{"Max"}},
		"share limit":          {Config[*thing]{Open: open, ShareLimit: 4096}, []string{"ShareLimit"}},
		"the largest":          {Config[*thing]{Open: open, ShareLimit: 4095}, nil},
		"negative share limit": {Config[*thing]{Open: open, ShareLimit: -2, GrowAt: 3}, []string{"ShareLimit"}},
		"grow past the seats":  {Config[*thing]{Open: open, ShareLimit: 4, GrowAt: 5}, []string{"GrowAt"}},
		"growth never":         {Config[*thing]{Open: open, ShareLimit: 4, GrowAt: Off}, nil},
		"retry bounds":         {Config[*thing]{Open: open, RetryMin: 3, RetryMax: 2}, []string{"RetryMin"}},
		"negative RetryMax":    {Config[*thing]{Open: open, RetryMin: 3, RetryMax: -2}, []string{"RetryMax"}},
		"retry pause off":      {Config[*thing]{Open: open, RetryMin: Off}, []string{"RetryMin"}},
		"circuit bounds":       {Config[*thing]{Open: open, CircuitMin: 3, CircuitMax: 2}, []string{"CircuitMin"}},
		"circuit pause off":    {Config[*thing]{Open: open, CircuitMax: Off}, []string{"CircuitMax"}},
		"negative lifetime":    {Config[*thing]{Open: open, MaxLifetime: -time.Hour}, []string{"MaxLifetime"}},
		"window over lifetime": {Config[*thing]{Open: open, MaxLifetime: 5, RecycleWindow: 5}, []string{"RecycleWindow"}},
		"window off":           {Config[*thing]{Open: open, MaxLifetime: 5, RecycleWindow: Off}, nil},
		"nothing to probe":     {Config[*thing]{Open: open, ProbeAfterIdle: 5}, []string{"ProbeAfterIdle"}},
		"several": {
			Config[*thing]{Min: -2, Max: -2, OpenTimeout: -2, RetryMin: 2, RetryMax: 1, GrowAt: 2},
			[]string{"Open", "Min", "Max", "OpenTimeout", "RetryMin", "GrowAt"},
		},
	} {
		_, err := New(c.cfg)
		if diff := cmp.Diff(c.want, fieldsOf(t, err)); diff != "" {
			t.Errorf("%s: faulty fields (-want +got):\n%s\n%v", name, diff, err)
		}
	}
}

// Every size and every duration is checked, whatever its name.
func TestNewRefusesNegativeValuesOfEveryField(t *testing.T) {
	t.Parallel()
	typ := reflect.TypeFor[Config[*thing]]()
	checked := 0
	for i := range typ.NumField() {
		if k := typ.Field(i).Type.Kind(); k != reflect.Int && k != reflect.Int64 {
			continue
		}
		checked++
		cfg := (&workshop{}).config(0)
		reflect.ValueOf(&cfg).Elem().Field(i).SetInt(-2)
		_, err := New(cfg)
		if diff := cmp.Diff([]string{typ.Field(i).Name}, fieldsOf(t, err)); diff != "" {
			t.Errorf("with %s at -2 (-want +got):\n%s\n%v", typ.Field(i).Name, diff, err)
		}
	}
	if checked < 20 {
		t.Errorf("only %d fields were found", checked)
	}
}

// "Default: 10 s." in the comment of a field is what withDefaults fills in.
func TestConfigDefaultsAreWhatTheCommentsSay(t *testing.T) {
	t.Parallel()
	got, err := Config[*thing]{Open: func(context.Context) (*thing, error) { return nil, nil }, ShareLimit: 5}.withDefaults() //nolint:nilnil // not called
	if err != nil {
		t.Fatal(err)
	}
	words := map[string]int64{
		"off": int64(never), "none, the context decides": int64(never), "half of ShareLimit, rounded up": 3,
	}
	values := reflect.ValueOf(got)
	for field, text := range defaultsInComments(t) {
		v := values.FieldByName(field)
		if !v.CanInt() || field == "ShareLimit" {
			continue
		}
		want, ok := words[text]
		if !ok {
			text, _, _ = strings.Cut(text, ", at most")
			n := strings.NewReplacer(" ", "", ",", "", "min", "m").Replace(text)
			if d, err := time.ParseDuration(n); err == nil {
				want = int64(d)
			} else if _, err := fmt.Sscan(n, &want); err != nil {
				t.Errorf("%s: what is %q?", field, text)
			}
		}
		if field == "ProbeInterval" { // a thing has nothing to probe
			want = int64(never)
		}
		if v.Int() != want {
			t.Errorf("%s: the comment says %q, it is %v", field, text, v)
		}
	}
}

// defaultsInComments reads config.go: what stands after "Default:" of each field.
func defaultsInComments(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	pattern := regexp.MustCompile(`Defaults?: ([^.:;]*)`)
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != "Config" {
			return true
		}
		for _, f := range spec.Type.(*ast.StructType).Fields.List {
			m := pattern.FindStringSubmatch(strings.Join(strings.Fields(f.Doc.Text()), " "))
			if m == nil {
				continue
			}
			texts := strings.Split(m[1], " and ")
			for i, name := range f.Names {
				found[name.Name] = texts[i]
			}
		}
		return false
	})
	if len(found) < 20 {
		t.Fatalf("only %d defaults were found: %v", len(found), found)
	}
	return found
}

func TestNewCopiesItsConfig(t *testing.T) {
	t.Parallel()
	cfg := (&workshop{}).config(1)
	p := newThings(t, cfg)
	cfg.Open, cfg.Max = nil, 0
	with(t, p, AcquireOptions{}).Release()
}

func TestOffMeansNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &workshop{}
		cfg := w.config(Off)
		cfg.Min, cfg.ShareLimit, cfg.GrowAt, cfg.MaxOpening = Off, Off, Off, Off
		cfg.ProbeInterval, cfg.ProbeAfterIdle, cfg.MaxIdleTime, cfg.MaxLifetime = Off, Off, Off, Off
		cfg.AcquireTimeout, cfg.OpenTimeout, cfg.CloseTimeout, cfg.ResetTimeout, cfg.ProbeTimeout = Off, Off, Off, Off, Off
		cfg.LeakAfter, cfg.CircuitFailures, cfg.MaxProbing, cfg.RecycleWindow = Off, Off, Off, Off
		p := newThings(t, cfg)
		leases := fill(t, p, 300)
		releaseAll(leases)
		time.Sleep(100 * time.Hour)
		if w.alive.Load() != 300 {
			t.Errorf("%d are left of 300", w.alive.Load())
		}
		p.Evict()
		synctest.Wait()
		if w.alive.Load() != 0 {
			t.Errorf("%d are left after Evict", w.alive.Load())
		}
	})
}

// Every method that takes a context says so if it gets none.
func TestNilContextIsAnErrorEverywhere(t *testing.T) {
	t.Parallel()
	p := newThings(t, (&workshop{}).config(1))
	var none context.Context
	_, err1 := p.Acquire(none)
	_, err2 := p.AcquireWith(none, AcquireOptions{})
	for i, err := range []error{
		err1, err2, p.Do(none, func(context.Context, *thing) error { return nil }),
		p.Resize(none, 0, 1), p.WaitReady(none), p.Close(none),
	} {
		if !errors.Is(err, ErrNilContext) {
			t.Errorf("call %d: %v, want ErrNilContext", i, err)
		}
	}
	if _, ok := p.TryAcquire(none); ok {
		t.Error("TryAcquire gave a lease")
	}
	with(t, p, AcquireOptions{}).Release() // no capacity is lost, and it is not closed
}

func TestUseAfterCloseIsAnErrorEverywhere(t *testing.T) {
	t.Parallel()
	p := newThings(t, (&workshop{}).config(1))
	l := with(t, p, AcquireOptions{})
	l.Release()
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err1 := p.Acquire(t.Context())
	_, err2 := p.AcquireWith(t.Context(), AcquireOptions{Key: "k", Affinity: Pin, Exclusive: true})
	_, err3 := p.AcquireWith(t.Context(), AcquireOptions{NoWait: true})
	for i, err := range []error{
		err1, err2, err3, p.Do(t.Context(), func(context.Context, *thing) error { return nil }),
		p.Resize(t.Context(), 0, 1), p.WaitReady(t.Context()),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("call %d: %v, want ErrClosed", i, err)
		}
	}
	if _, ok := p.TryAcquire(t.Context()); ok || p.Ready() {
		t.Error("a closed pool is ready, or gives a lease")
	}
	p.Evict()
	l.Release()
	if info := p.Snapshot(); info != nil || p.Stats().Live != 0 {
		t.Errorf("a closed pool has resources: %+v", info)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error("Close again:", err)
	}
}

// pipe is a resource of every kind that can be nil.
type (
	pipe chan int
	dict map[int]int
	list []int
	fun  func()
)

func (pipe) Close() error { return nil }
func (dict) Close() error { return nil }
func (list) Close() error { return nil }
func (fun) Close() error  { return nil }

func TestNilResourceFromOpenIsAnErrorAndLosesNoCapacity(t *testing.T) {
	t.Run("pointer", nilResource[*thing])
	t.Run("interface", nilResource[Resource])
	t.Run("channel", nilResource[pipe])
	t.Run("map", nilResource[dict])
	t.Run("slice", nilResource[list])
	t.Run("function", nilResource[fun])
}

func nilResource[T Resource](t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := New(Config[T]{
			Open: func(context.Context) (t T, err error) { return t, nil },
			Max:  1, OpenRetries: Off, CircuitFailures: Off,
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			_, err := p.Acquire(t.Context())
			var e *OpenError
			if !errors.As(err, &e) || !strings.Contains(err.Error(), "Open returned a nil resource") {
				t.Errorf("Acquire: %v", err)
			}
		}
		if s := p.Stats(); s.Live != 0 || s.Opening != 0 || s.OpenFailures != 3 {
			t.Errorf("%+v", s)
		}
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A nil pointer in an interface is nil as well.
func TestNilPointerInAnInterfaceIsANilResource(t *testing.T) {
	t.Parallel()
	p, err := New(Config[Resource]{
		Open: func(context.Context) (Resource, error) { return (*thing)(nil), nil }, OpenRetries: Off,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	l, err := p.Acquire(t.Context())
	defer l.Release()
	if err == nil || !strings.Contains(err.Error(), "nil resource") {
		t.Errorf("Acquire: %v", err)
	}
}
