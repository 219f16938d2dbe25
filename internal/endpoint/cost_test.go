package endpoint_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
)

// TestCost: many strings that look like the text of an object are not searched for one each.
// What is counted is allocations, which are as many on every machine.
func TestCost(t *testing.T) {
	const members, most = 5000, 60
	var b strings.Builder
	for i := range members {
		fmt.Fprintf(&b, `,"%d":"{{{{{{{{{{{{{{{{{}"`, i)
	}
	body := []byte("{" + b.String()[1:] + "}")
	a := &endpoint.Answer{Status: http.StatusBadRequest, Header: http.Header{}, Body: body}
	for what, f := range map[string]func(){
		"read":    func() { _, _ = endpoint.Read(body, endpoint.Names{}, clock) },
		"verdict": func() { endpoint.RefusesToken(a) },
	} {
		if n := testing.AllocsPerRun(1, f) / members; n > most {
			t.Errorf("%s: %.0f allocations for each member, want %d at most", what, n, most)
		}
	}
}
