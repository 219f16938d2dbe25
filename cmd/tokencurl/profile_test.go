package main

import (
	"crypto/sha256"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestRecordBinds: the name of the record has all that decides where a token goes and what
// opens it, in a hash that nobody finds a second profile for. A new field has to be decided about here.
func TestRecordBinds(t *testing.T) {
	free := map[string]bool{"Method": true, "RefreshTimeout": true}
	was := (&profile{}).record("x")
	if _, sum, _ := strings.Cut(was, "@"); len(sum) != hex.EncodedLen(sha256.Size) {
		t.Errorf("the hash in %s has %d digits", was, len(sum))
	}
	for i := range reflect.TypeFor[profile]().NumField() {
		var p profile
		name := reflect.TypeFor[profile]().Field(i).Name
		switch f := reflect.ValueOf(&p).Elem().Field(i).Addr().Interface().(type) {
		case *string:
			*f = "y"
		case *[]string:
			*f = []string{"y"}
		case *time.Duration:
			*f = 1
		default:
			t.Fatalf("%s has a type that this test does not know", name)
		}
		if same := p.record("x") == was; same != free[name] {
			t.Errorf("%s: the record stays the same: %t", name, same)
		}
	}
}
