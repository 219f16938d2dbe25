package sessiontest

import (
	"errors"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// WantErr checks that err is every one of targets.
func WantErr(t testing.TB, what string, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("%s: error %v, want one that is %v", what, err, target)
		}
	}
}

// WantTransient checks that err is a TokenError that says to try later.
func WantTransient(t testing.TB, what string, err error) {
	t.Helper()
	var te *tokenclient.TokenError
	if !errors.As(err, &te) || !te.Temporary() {
		t.Errorf("%s: error %v, want a TokenError that is Temporary", what, err)
	}
}
