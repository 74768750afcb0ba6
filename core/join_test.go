package core

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type nameKey struct{}

func namesIn(ctx context.Context) string {
	names, _ := ctx.Value(nameKey{}).(string)
	return names
}

// hooksNamed sets every hook there is, by reflection. Each writes down who was
// called, with which event, and what contexts the Start hooks had made; the Start
// hooks add their name to the context.
func hooksNamed(name string, log *[]string) Hooks {
	var h Hooks
	all := reflect.ValueOf(&h).Elem()
	for i := range all.NumField() {
		field, hook := all.Type().Field(i), all.Field(i)
		hook.Set(reflect.MakeFunc(hook.Type(), func(args []reflect.Value) []reflect.Value {
			line := fmt.Sprintf("%s %s", field.Name, name)
			if hook.Type().NumIn() == 2 {
				ctx := args[0].Interface().(context.Context)
				line += " after " + namesIn(ctx)
				args[0] = reflect.ValueOf(context.WithValue(ctx, nameKey{}, namesIn(ctx)+name))
			}
			*log = append(*log, line)
			if hook.Type().NumOut() == 1 {
				return args[:1]
			}
			return nil
		}))
	}
	return h
}

// callAll calls every hook that is set with a zero event, and returns their names.
func callAll(t *testing.T, h Hooks) (names []string) {
	t.Helper()
	all := reflect.ValueOf(h)
	for i := range all.NumField() {
		hook := all.Field(i)
		if hook.IsNil() {
			continue
		}
		names = append(names, all.Type().Field(i).Name)
		var args []reflect.Value
		for in := range hook.Type().Ins() {
			args = append(args, reflect.New(in).Elem())
		}
		if len(args) == 2 {
			args[0] = reflect.ValueOf(t.Context())
		}
		if out := hook.Call(args); len(out) == 1 && namesIn(out[0].Interface().(context.Context)) != "abc" {
			t.Errorf("%s made a context of %q, want one of abc", names[len(names)-1], namesIn(out[0].Interface().(context.Context)))
		}
	}
	return names
}

func TestJoinHooksCallsEveryHookOfEach(t *testing.T) {
	t.Parallel()
	var log, want []string
	joined := JoinHooks(hooksNamed("a", &log), Hooks{}, hooksNamed("b", &log), hooksNamed("c", &log))
	for _, name := range callAll(t, joined) {
		switch {
		case strings.HasSuffix(name, "Start"):
			want = append(want, name+" a after ", name+" b after a", name+" c after ab")
		case strings.HasSuffix(name, "End"):
			want = append(want, name+" c after ", name+" b after ", name+" a after ")
		default:
			want = append(want, name+" a", name+" b", name+" c")
		}
	}
	if n := 3 * reflect.TypeFor[Hooks]().NumField(); len(want) != n {
		t.Errorf("%d calls for three times every hook, want %d", len(want), n)
	}
	if diff := cmp.Diff(want, log); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestJoinHooksLeavesUnsetWhatNobodySets(t *testing.T) {
	t.Parallel()
	for _, joined := range []Hooks{JoinHooks(), JoinHooks(Hooks{}), JoinHooks(Hooks{}, Hooks{})} {
		if names := callAll(t, joined); names != nil {
			t.Errorf("set: %v", names)
		}
	}
	released := func(Released) {}
	joined := JoinHooks(Hooks{Released: released}, Hooks{})
	if reflect.ValueOf(joined.Released).Pointer() != reflect.ValueOf(released).Pointer() {
		t.Error("a single hook was wrapped")
	}
}

func TestJoinedHooksAreCalledAlthoughOnePanics(t *testing.T) {
	t.Parallel()
	for _, at := range []int{0, 1, 2} {
		var log []string
		three := []Hooks{hooksNamed("a", &log), hooksNamed("b", &log), hooksNamed("c", &log)}
		three[at] = JoinHooks(three[at], Hooks{
			AcquireStart: func(context.Context, AcquireStart) context.Context { panic("start") },
			AcquireEnd:   func(context.Context, AcquireEnd) { panic("end") },
			Resized:      func(Resized) { panic("event") },
		})
		joined := JoinHooks(three...)
		for want, call := range map[string]func(){
			"start": func() { joined.AcquireStart(t.Context(), AcquireStart{}) },
			"end":   func() { joined.AcquireEnd(t.Context(), AcquireEnd{}) },
			"event": func() { joined.Resized(Resized{}) },
		} {
			func() {
				log = nil
				defer func() {
					if v := recover(); v != want || len(log) != 3 {
						t.Errorf("panic %v after %v, want %q after all three", v, log, want)
					}
				}()
				call()
			}()
		}
	}
}

func TestJoinedStartThatMakesNoContextChangesNothing(t *testing.T) {
	t.Parallel()
	var log []string
	none := Hooks{OpenStart: func(context.Context, OpenStart) context.Context { return nil }}
	for _, joined := range []Hooks{
		JoinHooks(none, hooksNamed("a", &log)), JoinHooks(hooksNamed("a", &log), none), JoinHooks(none, hooksNamed("a", &log), none),
	} {
		if made := joined.OpenStart(t.Context(), OpenStart{}); made == nil || namesIn(made) != "a" {
			t.Error("the context of the other hook is lost")
		}
	}
}
