package xoauth2

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"golang.org/x/oauth2"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// Members of a token response that are a field in one of the two types only; no response has
// the last one, which is for the way there and back.
const (
	scope            = "scope"
	refreshExpiresIn = "refresh_expires_in" // as tokenclient.JSONFields has it
	binding          = "tokenclient_binding"
)

// FromToken returns t as a [tokenclient.Session] takes it. It is a copy; of a nil
// t it is nil.
//
// Issued is Expiry less ExpiresIn, and zero if t lacks one of them. Of the members
// that x/oauth2 has no field for, scope, id_token and refresh_expires_in (or
// refresh_token_expires_in) are taken over, and the Binding of what [ToToken] made. There is no way to find the others,
// as [oauth2.Token.Extra] only answers to names: put those you need into the
// result's Extra.
func FromToken(t *oauth2.Token) *tokenclient.Token {
	if t == nil {
		return nil
	}
	r := &tokenclient.Token{
		AccessToken:  t.AccessToken,
		RefreshToken: t.RefreshToken,
		TokenType:    t.TokenType,
		Expiry:       t.Expiry.Round(0),
	}
	r.Scope, _ = t.Extra(scope).(string)
	r.Binding, _ = t.Extra(binding).(string)
	if lifetime := seconds(t.ExpiresIn); lifetime > 0 && !r.Expiry.IsZero() {
		r.Issued = r.Expiry.Add(-lifetime)
	}
	for _, name := range []string{refreshExpiresIn, "refresh_token_expires_in"} {
		if lifetime := seconds(t.Extra(name)); lifetime > 0 && !r.Issued.IsZero() {
			r.RefreshExpiry = r.Issued.Add(lifetime)
			break
		}
	}
	if id := t.Extra("id_token"); id != nil && id != "" { // a form gives "" for what it lacks
		r.Extra = map[string]any{"id_token": id}
	}
	return r
}

// seconds reads a lifetime of any type that JSON, a form or a field makes of it.
// Zero: there is none, or it makes no sense.
func seconds(v any) time.Duration {
	n, err := strconv.ParseFloat(fmt.Sprint(v), 64)
	if err != nil || !(n > 0 && n < math.MaxInt64/float64(time.Second)) {
		return 0
	}
	return time.Duration(n) * time.Second
}

// ToToken returns t as packages take it that use x/oauth2. It is a copy; of a nil
// t it is nil.
//
// Scope, RefreshExpiry and Extra are what [oauth2.Token.Extra] answers, the second
// as refresh_expires_in; numbers are of type float64, as x/oauth2 has them.
// ExpiresIn is Expiry less Issued. Binding, which may be a private key, is there under a name
// that [FromToken] knows.
//
// The result has the refresh token. Who presents it beside a
// [tokenclient.Session] ends the session, where servers rotate; [TokenSource]
// leaves it out.
func ToToken(t *tokenclient.Token) *oauth2.Token {
	if t == nil {
		return nil
	}
	r := &oauth2.Token{
		AccessToken:  t.AccessToken,
		RefreshToken: t.RefreshToken,
		TokenType:    t.TokenType,
		Expiry:       t.Expiry,
	}
	extra := make(map[string]any)
	for name, v := range t.Extra {
		extra[name] = plain(v)
	}
	if t.Scope != "" {
		extra[scope] = t.Scope
	}
	if t.Binding != "" {
		extra[binding] = t.Binding
	}
	if !t.Issued.IsZero() && t.Expiry.After(t.Issued) {
		r.ExpiresIn = int64(t.Expiry.Sub(t.Issued) / time.Second)
	}
	if !t.Issued.IsZero() && t.RefreshExpiry.After(t.Issued) {
		extra[refreshExpiresIn] = math.Floor(t.RefreshExpiry.Sub(t.Issued).Seconds())
	}
	if len(extra) == 0 {
		return r
	}
	return r.WithExtra(extra)
}

// plain returns v with each json.Number as a float64. Nothing of v is changed.
func plain(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Float64(); err == nil {
			return n
		}
	case map[string]any:
		m := make(map[string]any, len(v))
		for name, e := range v {
			m[name] = plain(e)
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, e := range v {
			l[i] = plain(e)
		}
		return l
	}
	return v
}
