package replay

import (
	"bytes"
	"io"
	"net/http"
	"reflect"
	"strings"
)

// standard has the GetBody functions that http.NewRequest makes. Each body that they give
// has a cursor of its own.
var standard = func() (list [3]uintptr) {
	for i, body := range []io.Reader{bytes.NewBufferString("b"), bytes.NewReader([]byte("b")), strings.NewReader("b")} {
		req, err := http.NewRequest(http.MethodPost, "http://localhost", body)
		if err == nil && req.GetBody != nil {
			list[i] = reflect.ValueOf(req.GetBody).Pointer()
		}
	}
	return list
}()

// isStandard reports whether getBody was made by http.NewRequest. Two functions of the same
// code are, whatever they have captured.
func isStandard(getBody func() (io.ReadCloser, error)) bool {
	if getBody == nil {
		return false
	}
	p := reflect.ValueOf(getBody).Pointer()
	return p == standard[0] || p == standard[1] || p == standard[2]
}
