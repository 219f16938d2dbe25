package xoauth2_test

import (
	"encoding/json"
	"math"
	"net/url"
	"reflect"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/xoauth2"
)

// fields makes a failed test readable: a Token prints nothing.
func fields(t *tokenclient.Token) any {
	if t == nil {
		return nil
	}
	type plain tokenclient.Token
	return plain(*t)
}

func TestFromToken(t *testing.T) {
	expiry := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	hour := expiry.Add(-time.Hour)
	for name, c := range map[string]struct {
		in   *oauth2.Token
		want *tokenclient.Token
	}{
		"nil":   {nil, nil},
		"empty": {&oauth2.Token{}, &tokenclient.Token{}},
		"all": {
			(&oauth2.Token{AccessToken: "a", RefreshToken: "r", TokenType: "bearer", Expiry: expiry, ExpiresIn: 3600}).
				WithExtra(map[string]any{"scope": "x y", "id_token": "i", "refresh_expires_in": 7200.0, "other": 1.0}),
			&tokenclient.Token{
				AccessToken: "a", RefreshToken: "r", TokenType: "bearer", Scope: "x y", Expiry: expiry, Issued: hour,
				RefreshExpiry: expiry.Add(time.Hour), Extra: map[string]any{"id_token": "i"},
			},
		},
		"a form": {
			(&oauth2.Token{AccessToken: "a", Expiry: expiry, ExpiresIn: 3600}).
				WithExtra(url.Values{"scope": {"x"}, "refresh_token_expires_in": {"7200"}}),
			&tokenclient.Token{AccessToken: "a", Scope: "x", Expiry: expiry, Issued: hour, RefreshExpiry: expiry.Add(time.Hour)},
		},
		"no expires_in": {&oauth2.Token{AccessToken: "a", Expiry: expiry}, &tokenclient.Token{AccessToken: "a", Expiry: expiry}},
		"no expiry":     {&oauth2.Token{AccessToken: "a", ExpiresIn: 3600}, &tokenclient.Token{AccessToken: "a"}},
		"nonsense": {
			(&oauth2.Token{AccessToken: "a", Expiry: expiry, ExpiresIn: math.MaxInt64}).
				WithExtra(map[string]any{"scope": 7.0, "refresh_expires_in": "soon", "id_token": nil}),
			&tokenclient.Token{AccessToken: "a", Expiry: expiry},
		},
		"negative": {
			(&oauth2.Token{AccessToken: "a", Expiry: expiry, ExpiresIn: 3600}).
				WithExtra(map[string]any{"refresh_expires_in": -1.0, "refresh_token_expires_in": math.NaN()}),
			&tokenclient.Token{AccessToken: "a", Expiry: expiry, Issued: hour},
		},
	} {
		if got := xoauth2.FromToken(c.in); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, fields(got), fields(c.want))
		}
	}
	now := time.Now() // with a monotonic reading, which a suspend stops
	if got := xoauth2.FromToken(&oauth2.Token{Expiry: now}); got.Expiry != now.Round(0) {
		t.Errorf("expiry %v", got.Expiry)
	}
}

func TestToToken(t *testing.T) {
	if xoauth2.ToToken(nil) != nil {
		t.Error("of nil there is a token")
	}
	issued := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	in := &tokenclient.Token{
		AccessToken: "a", RefreshToken: "r", TokenType: "DPoP", Scope: "x", Issued: issued, Expiry: issued.Add(time.Hour),
		RefreshExpiry: issued.Add(2 * time.Hour), Binding: "key:b",
		Extra: map[string]any{
			"id_token": "i", "n": json.Number("1.5"), "big": json.Number("1e999"),
			"deep": map[string]any{"list": []any{json.Number("2"), "s", nil}},
		},
	}
	before := in.Clone()
	got := xoauth2.ToToken(in)
	if got.AccessToken != "a" || got.RefreshToken != "r" || got.TokenType != "DPoP" || !got.Expiry.Equal(in.Expiry) || got.ExpiresIn != 3600 {
		t.Errorf("%+v", got)
	}
	for name, want := range map[string]any{
		"scope": "x", "id_token": "i", "n": 1.5, "big": json.Number("1e999"), "refresh_expires_in": 7200.0, "none": nil,
		"deep": map[string]any{"list": []any{2.0, "s", nil}},
	} {
		if got := got.Extra(name); !reflect.DeepEqual(got, want) {
			t.Errorf("Extra(%s) is %#v, want %#v", name, got, want)
		}
	}
	if !reflect.DeepEqual(in, before) {
		t.Error("the token was changed")
	}
	// And back: what has a field is the same to the second.
	back := xoauth2.FromToken(got)
	in.Extra = map[string]any{"id_token": "i"}
	if !reflect.DeepEqual(back, in) {
		t.Errorf("there and back:\n got %+v\nwant %+v", fields(back), fields(in))
	}
	bare := &tokenclient.Token{AccessToken: "a"}
	if got := xoauth2.ToToken(bare); got.Extra("scope") != nil || got.ExpiresIn != 0 || !got.Expiry.IsZero() {
		t.Errorf("%+v", got)
	}
}
