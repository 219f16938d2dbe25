package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"flag"
	"io"
	"net/http"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/storytest"
)

// words splits a line as a shell does, with quotes and variables.
func words(line string, variables map[string]string) (words []string) {
	var word strings.Builder
	in, quote := false, byte(0)
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			in, quote = true, c
		case quote == 0 && c == '\\':
			i++
			in = true
			word.WriteByte(line[i])
		case quote != '\'' && c == '$':
			end := i + 1
			for end < len(line) && (line[end] >= 'A' && line[end] <= 'Z' || line[end] >= '0' && line[end] <= '9') {
				end++
			}
			in = true
			word.WriteString(variables[line[i+1:end]])
			i = end - 1
		case quote == 0 && c == ' ':
			if in {
				words = append(words, word.String())
			}
			word.Reset()
			in = false
		default:
			in = true
			word.WriteByte(c)
		}
	}
	return append(words, word.String())
}

// curl does what curl does with a line's arguments.
func curl(t *testing.T, arguments []string) (status int, body string) {
	t.Helper()
	var data []string
	var target string
	header := http.Header{}
	client := http.DefaultClient
	for i := 0; i < len(arguments); i++ {
		switch arguments[i] {
		case "-i":
		case "-ik":
			transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
			defer transport.CloseIdleConnections()
			client = &http.Client{Transport: transport}
		case "-d":
			i++
			data = append(data, arguments[i])
		case "-u":
			i++
			user, password, _ := strings.Cut(arguments[i], ":")
			header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
		case "-H":
			i++
			name, value, _ := strings.Cut(arguments[i], ": ")
			header.Set(name, value)
		default:
			target = arguments[i]
		}
	}
	method := "GET"
	if data != nil {
		method = "POST"
		if header.Get("Content-Type") == "" {
			header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(strings.Join(data, "&")))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	req.Close = true
	resp, err := client.Do(req)
	if err != nil {
		t.Fatalf("%q: %v", arguments, err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(got)
}

// play reads what the program prints up to its last curl line, does what it
// says, and returns the statuses and what was printed.
func play(t *testing.T, stdout *bufio.Scanner) (statuses []int, printed string) {
	t.Helper()
	variables := map[string]string{}
	for stdout.Scan() {
		line := stdout.Text()
		printed += line + "\n"
		name, value, isSet := strings.Cut(line, "=")
		switch {
		case strings.HasPrefix(line, "curl "):
			status, body := curl(t, words(line, variables)[1:])
			statuses = append(statuses, status)
			if strings.Contains(line, "echo=1") && status == http.StatusOK && body != "hello" {
				t.Errorf("%s: %s", line, body)
			}
		case isSet && !strings.Contains(name, " "):
			variables[name] = value
		}
		if len(statuses) > 0 && strings.Contains(line, "ACCESS2") {
			return statuses, printed
		}
	}
	t.Fatalf("the program ended after %s", printed)
	return nil, ""
}

func TestRun(t *testing.T) {
	strict := []int{200, 200, 200, 200, 401, 401, 200, 200, 401}
	lax := []int{200, 200, 200, 200, 200, 200, 401}
	for name, test := range map[string]struct {
		args   []string
		want   []int
		logins int // 0: 1
	}{
		"defaults":     {args: nil, want: strict},
		"X-Auth-Token": {args: []string{"-header", "X-Auth-Token", "-milliseconds"}, want: strict},
		"secrets":      {args: []string{"-client-secret", `a'b" :$x`, "-user", `o'neill:"$x\`, "-opaque"}, want: strict},
		"HTTP/2":       {args: []string{"-http2"}, want: strict},
		"no rotation":  {args: []string{"-no-rotation", "-no-expires-in", "-clock-skew", "1h"}, want: lax},
		"asked": {args: []string{"-ask", "-client-secret", "secret"}, logins: 2,
			want: []int{200, 200, 200, 200, 200, 401, 401, 200, 200, 401}},
		"sliding": {args: []string{"-sliding-header", "-header", "X-Auth-Token", "-milliseconds"},
			want: []int{200, 200, 200, 200, 200, 401, 401, 200, 200, 401}},
		"grace": {args: []string{"-reuse-grace", "1m", "-max-uses", "1", "-latency", "1ms"}, want: lax},
		"faults": {args: []string{"-fail-refresh", "1", "-fail-status", "503", "-fail-header", "Retry-After: 7",
			"-fail-body", "no", "-fail-after-commit"}, want: []int{200, 200, 200, 503, 401, 401, 200, 200, 401}},
		"scheme": {args: []string{"-scheme", "Token"}, want: strict},
		"demands": {args: []string{"-demand", "path=/api/orders&acr_values=mfa+phr&max_age=5m", "-demand", "path=/api/pay&scope=a+b", "-demand", `path=/api/x&claims={"a":1}`},
			want: []int{200, 200, 401, 403, 401, 200, 200, 401, 401, 200, 200, 401}},
		"proofs": {args: []string{"-dpop-api-nonce"}, want: []int{200, 401, 401, 400, 400, 401, 400, 200, 401}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r, w := io.Pipe()
			done := make(chan error, 1)
			go func() {
				err := run(ctx, append([]string{"-addr", "127.0.0.1:0"}, test.args...), w)
				_ = w.CloseWithError(err)
				done <- err
			}()
			stdout := bufio.NewScanner(r)
			got, printed := play(t, stdout)
			if !slices.Equal(got, test.want) {
				t.Errorf("statuses %v, want %v, of\n%s", got, test.want, printed)
			}
			cancel()
			var last string
			for stdout.Scan() {
				last = stdout.Text()
			}
			if !strings.HasPrefix(last, "Stopped. Seen: {Logins:"+strconv.Itoa(max(1, test.logins))+" ") {
				t.Errorf("the last line is %q", last)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// TestEveryKnob: what main.go and the README promise.
func TestEveryKnob(t *testing.T) {
	s, err := parse([]string{
		"-http2", "-access-lifetime", "1s", "-refresh-lifetime", "1s", "-reuse-grace", "1s", "-latency", "1s", "-clock-skew", "1s", "-no-rotation",
		"-opaque", "-no-expires-in", "-milliseconds", "-max-uses", "1", "-lag", "1s", "-scheme", "Token", "-header", "X", "-sliding-header",
		"-client-secret", "x", "-demand", "path=/api/a&scope=s&acr_values=v&max_age=1s&claims={}",
		"-dpop-token-nonce", "-dpop-api-nonce", "-dpop-nonce-uses", "1", "-dpop-nonce-lifetime", "1s", "-dpop-window", "1s",
	})
	if err != nil {
		t.Fatal(err)
	}
	o := s.options
	if len(o.Demands) != 1 || o.DPoP == nil {
		t.Fatalf("%+v", o)
	}
	for _, part := range []any{o, o.Dialect, o.Demands[0], *o.DPoP} {
		v := reflect.ValueOf(part)
		for field, value := range v.Fields() {
			if field.Name != "InMemory" && field.Type.Kind() != reflect.Func && value.IsZero() { // a program has no use for that
				t.Errorf("no flag sets %s.%s", v.Type(), field.Name)
			}
		}
	}
	for args, want := range map[string]bool{"-dpop": true, "-opaque": false} {
		if s, err := parse([]string{args}); err != nil || (s.options.DPoP != nil) != want {
			t.Errorf("%s: %+v, error %v", args, s, err)
		}
	}
}

func TestRunEndsByItself(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), []string{"-addr", "127.0.0.1:0", "-for", "1ms"}, &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{", for 1ms.", "Stopped."} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	storytest.Shown(t, out.String(), `for \d+m?s\.`)
}

func TestFlagErrors(t *testing.T) {
	for _, args := range [][]string{
		{"extra"}, {"-addr", "nowhere"}, {"-user", "alice"}, {"-fail-header", "x"}, {"-for", "soon"},
		{"-demand", "scopes=a"}, {"-demand", "max_age=60"}, {"-demand", "%"},
	} {
		if err := run(t.Context(), args, io.Discard); err == nil || errors.Is(err, flag.ErrHelp) {
			t.Errorf("%v: error %v", args, err)
		}
	}
}

// TestProgram runs the real thing: it plays the story, and goes on until a signal ends it.
func TestProgram(t *testing.T) {
	program := storytest.Build(t)
	for _, end := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(end.String(), func(t *testing.T) {
			args := []string{"-addr", "127.0.0.1:0"}
			if runtime.GOOS == "windows" { // where no process can be interrupted
				args = append(args, "-for", "3s")
			}
			cmd := exec.CommandContext(t.Context(), program, args...)
			cmd.Stderr = os.Stderr
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			got, _ := play(t, bufio.NewScanner(stdout))
			if want := []int{200, 200, 200, 200, 401, 401, 200, 200, 401}; !slices.Equal(got, want) {
				t.Errorf("statuses %v, want %v", got, want)
			}
			if runtime.GOOS != "windows" {
				if err := cmd.Process.Signal(end); err != nil {
					t.Fatal(err)
				}
			}
			rest, err := io.ReadAll(stdout)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(rest), "Stopped. Seen: ") {
				t.Errorf("at the end it printed %q", rest)
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}
