package endpoint_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/endpoint"
)

func TestEncodings(t *testing.T) {
	params := func(pairs ...string) (list []endpoint.Param) {
		for i := 0; i < len(pairs); i += 2 {
			list = append(list, endpoint.Param{Name: pairs[i], Value: pairs[i+1]})
		}
		return list
	}
	for _, c := range []struct {
		name      string
		encoding  endpoint.Encoding
		list      []endpoint.Param
		kind      string
		want, err string
	}{
		{"form", endpoint.Form, params("b", "1", "a", "x y&ü+"), "application/x-www-form-urlencoded", "a=x+y%26%C3%BC%2B&b=1", ""},
		{"form, twice", endpoint.Form, params("resource", "y", "resource", "x"), "application/x-www-form-urlencoded", "resource=y&resource=x", ""},
		{"form, nothing", endpoint.Form, nil, "application/x-www-form-urlencoded", "", ""},
		{"JSON", endpoint.JSON, params("b", "1", "a", `"\<ü`), "application/json", `{"a":"\"\\\u003cü","b":"1"}`, ""},
		{"JSON, nested", endpoint.JSON, params("data.old.access", "a", "data.refresh", "r", "x", ""), "application/json", `{"data":{"old":{"access":"a"},"refresh":"r"},"x":""}`, ""},
		{"JSON, nothing", endpoint.JSON, nil, "application/json", `{}`, ""},
		{"JSON, same name", endpoint.JSON, params("x", "2", "y", "0", "x", "1"), "application/json", `{"x":["2","1"],"y":"0"}`, ""},
		{"JSON, value and object", endpoint.JSON, params("x", "1", "x.y", "2"), "", "", `the names of the members to send clash at "x.y"`},
		{"JSON, object and value", endpoint.JSON, params("x.y", "1", "x", "2"), "", "", `the names of the members to send clash at "x.y"`},
	} {
		kind, body, err := c.encoding(c.list)
		if c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Errorf("%s: error %v, want %s", c.name, err, c.err)
			}
			continue
		}
		if err != nil || kind != c.kind || string(body) != c.want {
			t.Errorf("%s: %s, %s, %v; want %s, %s", c.name, kind, body, err, c.kind, c.want)
		}
	}
}

// TestPartsCombine: client authentication works with each encoding.
func TestPartsCombine(t *testing.T) {
	for _, encoding := range []endpoint.Encoding{endpoint.Form, endpoint.JSON} {
		srv, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
			got := map[string]string{}
			if r.Header.Get("Content-Type") == "application/json" {
				_ = json.NewDecoder(r.Body).Decode(&got)
			} else {
				_ = r.ParseForm()
				for name := range r.PostForm {
					got[name] = r.PostForm.Get(name)
				}
			}
			echo, _ := json.Marshal(map[string]string{"error": "x", "error_description": got["client_id"] + " " + got["grant_type"] + " " + got["user"]})
			if got["client_secret"] != plantedSecret || got["refresh_token"] != plantedRefresh {
				t.Errorf("got %v", got)
			}
			answer(400, "application/json", string(echo))(w, r)
		})
		c := refresh(srv)
		c.Encoding = encoding
		c.Secrets = nil
		c.Params = append(c.Params, endpoint.Param{Name: "user", Value: "alice-who-is-no-secret", Public: true})
		c.Authenticate = func(_ context.Context, _ string, form url.Values, _ http.Header) error {
			form.Set("client_id", "my-application-id")
			form.Set("client_secret", plantedSecret)
			return nil
		}
		f := wantAnswer(t, c).Failure(nil)
		if want := "my-application-id refresh_token alice-who-is-no-secret"; f.Description != want {
			t.Errorf("description %q, want %q", f.Description, want)
		}
	}
}
