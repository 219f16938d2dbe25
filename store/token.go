package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// storedToken is the form of a token before it is sealed. Token has a MarshalJSON
// of its own, which shows nothing. Names are those of RFC 6749 where it has some.
type storedToken struct {
	AccessToken   string                     `json:"access_token,omitempty"`
	RefreshToken  string                     `json:"refresh_token,omitempty"`
	TokenType     string                     `json:"token_type,omitempty"`
	Scope         string                     `json:"scope,omitempty"`
	Expiry        time.Time                  `json:"expiry,omitzero"`
	RefreshExpiry time.Time                  `json:"refresh_expiry,omitzero"`
	Issued        time.Time                  `json:"issued,omitzero"`
	Extra         map[string]json.RawMessage `json:"extra,omitempty"`
	Audiences     map[string]storedAudience  `json:"audiences,omitempty"`
	Binding       string                     `json:"binding,omitempty"`
}

// storedAudience is the form of a tokenclient.AudienceToken.
type storedAudience struct {
	Number uint64      `json:"number"`
	Token  storedToken `json:"token"`
}

// maxToken leaves room in a record for all else. What is longer than a record may be, nobody
// reads, nor replaces.
const maxToken = maxRecord - 1<<20

// encodeToken returns t as JSON from which decodeToken makes the same token again:
// what JSON would change on the way is an error. Times become UTC. Errors name the
// member at fault and show no value, since any may be a secret.
func encodeToken(t *tokenclient.Token) ([]byte, error) {
	if t == nil {
		return nil, errors.New("store: seal a token that is nil")
	}
	s, err := toStored(t)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(s)
	switch {
	case err != nil:
	case len(b) > maxToken:
		err = fmt.Errorf("store: cannot store a token of %d bytes, with its Extra and Audiences; at most %d are allowed", len(b), maxToken)
	case !json.Valid(b): // nested deeper than package json reads
		err = errors.New("store: cannot store a token whose Extra is nested too deeply")
	}
	return b, err
}

func toStored(t *tokenclient.Token) (*storedToken, error) {
	for _, f := range []struct{ name, value string }{
		{"AccessToken", t.AccessToken}, {"RefreshToken", t.RefreshToken},
		{"TokenType", t.TokenType}, {"Scope", t.Scope}, {"Binding", t.Binding},
	} {
		if !utf8.ValidString(f.value) {
			return nil, fmt.Errorf("store: cannot store a token whose %s is not valid UTF-8", f.name)
		}
	}
	s := storedToken{
		AccessToken: t.AccessToken, RefreshToken: t.RefreshToken, TokenType: t.TokenType, Scope: t.Scope,
		Binding: t.Binding,
	}
	for _, f := range []struct {
		name  string
		to    *time.Time
		value time.Time
	}{
		{"Expiry", &s.Expiry, t.Expiry}, {"RefreshExpiry", &s.RefreshExpiry, t.RefreshExpiry}, {"Issued", &s.Issued, t.Issued},
	} {
		*f.to = f.value.UTC()
		if y := f.to.Year(); y < 0 || y > 9999 { // RFC 3339, section 1
			return nil, fmt.Errorf("store: cannot store a token whose %s is in the year %d", f.name, y)
		}
	}
	for name, v := range t.Extra {
		raw, err := encodeExtra(v)
		if err != nil || !utf8.ValidString(name) {
			return nil, fmt.Errorf("store: cannot store a token whose Extra has %+q, a %T: JSON cannot hold it exactly", name, v)
		}
		if s.Extra == nil {
			s.Extra = make(map[string]json.RawMessage, len(t.Extra))
		}
		s.Extra[name] = raw
	}
	for name, a := range t.Audiences {
		if a.Token == nil || !utf8.ValidString(name) {
			return nil, fmt.Errorf("store: cannot store a token whose Audiences has %+q without a token, or not as UTF-8", name)
		}
		own, err := toStored(a.Token)
		if err != nil {
			return nil, err
		}
		if s.Audiences == nil {
			s.Audiences = make(map[string]storedAudience, len(t.Audiences))
		}
		s.Audiences[name] = storedAudience{a.Number, *own}
	}
	return &s, nil
}

var errNotUTF8 = errors.New("not valid UTF-8")

// encodeExtra is json.Marshal without its silent change of invalid UTF-8 into
// U+FFFD. Package json writes that replacement as an escape, and a U+FFFD that was
// there before as itself, which tells them apart at any depth and in any type.
func encodeExtra(v any) (b []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in %T", v) // a MarshalJSON of the caller's; the pair must not be lost to it
		}
	}()
	b, err = json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if !utf8.Valid(b) {
		return nil, errNotUTF8
	}
	for i := 0; i < len(b); i++ {
		if b[i] != '\\' {
			continue
		}
		if bytes.HasPrefix(b[i:], []byte(`\ufffd`)) {
			return nil, errNotUTF8
		}
		i++ // the character after a backslash begins no escape
	}
	return b, nil
}

// decodeToken reads what encodeToken wrote. Numbers in Extra become json.Number.
// Its errors are tokenclient.ErrStoreCorrupt and show nothing of b, which holds
// secrets.
func decodeToken(b []byte) (*tokenclient.Token, error) {
	defer clear(b)
	var s storedToken
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, protocol.Corruptf("the token is not in a form that this program reads")
	}
	return s.token()
}

func (s *storedToken) token() (*tokenclient.Token, error) {
	t := &tokenclient.Token{
		AccessToken: s.AccessToken, RefreshToken: s.RefreshToken, TokenType: s.TokenType, Scope: s.Scope, Binding: s.Binding,
		Expiry: s.Expiry.UTC(), RefreshExpiry: s.RefreshExpiry.UTC(), Issued: s.Issued.UTC(),
	}
	for name, raw := range s.Extra {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			return nil, protocol.Corruptf("the token is not in a form that this program reads")
		}
		if t.Extra == nil {
			t.Extra = make(map[string]any, len(s.Extra))
		}
		t.Extra[name] = v
	}
	for name, a := range s.Audiences {
		own, err := a.Token.token()
		if err != nil {
			return nil, err
		}
		if t.Audiences == nil {
			t.Audiences = make(map[string]tokenclient.AudienceToken, len(s.Audiences))
		}
		t.Audiences[name] = tokenclient.AudienceToken{Token: own, Number: a.Number}
	}
	return t, nil
}
