package main

import (
	"io"
	"testing"
)

func TestCheckLicences(t *testing.T) {
	for document, ok := range map[string]bool{
		`{"components":[{"name":"x","evidence":{"licenses":[{"license":{"id":"MIT"}}]}}]}`:                                   true,
		`{"components":[{"name":"x","evidence":{"licenses":[{"license":{"id":"AGPL-3.0"}}]}}]}`:                              false,
		`{"components":[{"name":"x","evidence":{"licenses":[{"license":{"id":"MIT"}},{"license":{"id":"GPL-2.0-only"}}]}}]}`: false,
		`{"components":[{"name":"x"}]}`:      false, // none was found
		`{"components":[{"name":"core/n"}]}`: true,  // ours
		`not JSON`:                           false,
	} {
		if err := checkLicences([]byte(document), "m", "core", io.Discard); (err == nil) != ok {
			t.Errorf("%s: %v", document, err)
		}
	}
}
