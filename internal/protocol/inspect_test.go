package protocol_test

import (
	"errors"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/protocol"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// TestInspect: a record is shown as it is stored, and its token if it can be opened. One that
// has none is no error, and one that cannot be opened is shown all the same.
func TestInspect(t *testing.T) {
	m := &faultyMedium{}
	sealer := &testSealer{}
	e := newEngine(m, nil, sealer)

	if r, token, err := e.Inspect(t.Context(), "k"); r != nil || token != nil || err != nil {
		t.Errorf("of nothing: %v, %v, %v", r, token, err)
	}
	rec := login(t, e, "k", "a")
	r, token, err := e.Inspect(t.Context(), "k")
	if err != nil || r == nil || r.Era != rec.Era || r.Number != 1 || r.State != tokenclient.Active || token == nil || token.RefreshToken != "refresh-a" {
		t.Errorf("of a login: %+v, %v, %v", r, token, err)
	}

	sealer.openErr = protocol.Unavailable(errors.New("the key is at home"))
	r, token, err = e.Inspect(t.Context(), "k")
	if !errors.Is(err, tokenclient.ErrStoreUnavailable) || r == nil || r.Era != rec.Era || token != nil {
		t.Errorf("without the key: %+v, %v, %v", r, token, err)
	}
	sealer.openErr = nil

	if _, _, err := e.Replace(t.Context(), "k", nil); err != nil {
		t.Fatal(err)
	}
	r, token, err = e.Inspect(t.Context(), "k")
	if err != nil || r == nil || r.State != tokenclient.LoggedOut || token != nil {
		t.Errorf("of a logout: %+v, %v, %v", r, token, err)
	}

	m.put("k", []byte("no record"))
	if r, token, err = e.Inspect(t.Context(), "k"); !errors.Is(err, tokenclient.ErrStoreCorrupt) || r != nil || token != nil {
		t.Errorf("of what is none: %+v, %v, %v", r, token, err)
	}
	m.down()
	if r, token, err = e.Inspect(t.Context(), "k"); !errors.Is(err, errDown) || r != nil || token != nil {
		t.Errorf("of a store that is down: %+v, %v, %v", r, token, err)
	}
	if r, token, err = new(protocol.Engine).Inspect(t.Context(), "k"); err == nil || r != nil || token != nil {
		t.Errorf("of a store that nobody made: %+v, %v, %v", r, token, err)
	}
}
