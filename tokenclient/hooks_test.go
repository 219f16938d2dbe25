package tokenclient_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestJoinHooks fails when a field of Hooks is forgotten.
func TestJoinHooks(t *testing.T) {
	var calls []string
	record := func(who string) *tokenclient.Hooks {
		h := new(tokenclient.Hooks)
		v := reflect.ValueOf(h).Elem()
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			v.Field(i).Set(reflect.MakeFunc(v.Field(i).Type(), func([]reflect.Value) []reflect.Value {
				calls = append(calls, who+name)
				if name == "ForKey" {
					return []reflect.Value{reflect.ValueOf((*tokenclient.Hooks)(nil))}
				}
				return nil
			}))
		}
		return h
	}
	joined := reflect.ValueOf(tokenclient.JoinHooks(nil, record("1 "), new(tokenclient.Hooks), record("2 "), record("3 "))).Elem()
	alone := reflect.ValueOf(tokenclient.JoinHooks(new(tokenclient.Hooks), nil)).Elem()
	for i := range joined.NumField() {
		name := joined.Type().Field(i).Name
		if joined.Field(i).IsNil() || !alone.Field(i).IsNil() {
			t.Errorf("%s: nil %v, and of nothing %v", name, joined.Field(i).IsNil(), alone.Field(i).IsNil())
			continue
		}
		var args []reflect.Value
		for j := range joined.Field(i).Type().NumIn() {
			args = append(args, reflect.Zero(joined.Field(i).Type().In(j)))
		}
		calls = nil
		joined.Field(i).Call(args)
		if want := "1 " + name + ",2 " + name + ",3 " + name; strings.Join(calls, ",") != want {
			t.Errorf("%s calls %q", name, calls)
		}
	}
}

// TestJoinForKey: what is joined is the hooks for one key.
func TestJoinForKey(t *testing.T) {
	var told []string
	forKey := func(who string) *tokenclient.Hooks {
		return &tokenclient.Hooks{ForKey: func(key string) *tokenclient.Hooks {
			return &tokenclient.Hooks{Replayed: func(method, _ string) { told = append(told, who+key+" "+method) }}
		}}
	}
	none := &tokenclient.Hooks{ForKey: func(string) *tokenclient.Hooks { return nil }}
	tokenclient.JoinHooks(forKey("1 "), none, forKey("2 ")).ForKey("alice").Replayed("GET", "")
	if want := []string{"1 alice GET", "2 alice GET"}; !slices.Equal(told, want) {
		t.Errorf("%q, want %q", told, want)
	}
}

func TestCauseString(t *testing.T) {
	var names []string
	for c := range tokenclient.CauseTimer + 2 {
		names = append(names, c.String())
	}
	want := []string{"none", "soft", "hard", "rejected", "forced", "timer", "invalid cause"}
	if !slices.Equal(names, want) {
		t.Errorf("%q, want %q", names, want)
	}
}
