package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// commands are those that pages for users have in blocks, with who runs each, or why nobody does.
var commands = map[string]string{
	"go run ./examples/quickstart":         ".ci/run examples",
	"go run ./examples/mockserver -for 3s": ".ci/run examples",
	"go run ./examples/stampede":           "the example's own test, and .ci/run examples",
	"go run ./examples/login":              "the example's own test, and .ci/run examples",
	"go run ./examples/device":             "the example's own test, and .ci/run examples",
	"go run ./examples/sliding":            "the example's own test, and .ci/run examples",
	"go run ./examples/cli":                "the example's own test, and .ci/run examples",
	"go run ./examples/sdk":                "the example's own test, and .ci/run examples",
	"go run ./examples/database":           "the example's own test, and .ci/run examples",
	"go run ./examples/gateway":            "the example's own test, and .ci/run examples",
	"go run ./examples/signatures":         "the example's own test, and .ci/run examples",
	"go run ./examples/upload":             "the example's own test, and .ci/run examples",
	"go test work":                         ".ci/run test takes it from README.md",

	"go get github.com/seed-fbfaa0ec/silentrefresh":                       "internal/release, for a consumer",
	"go get github.com/seed-fbfaa0ec/silentrefresh/store/redisstore":      "the same",
	"go get github.com/seed-fbfaa0ec/silentrefresh/store/keyring":         "the same",
	"go get github.com/seed-fbfaa0ec/silentrefresh/tokenclient/otelhooks": "the same",
	"go get github.com/seed-fbfaa0ec/silentrefresh/tokenclient/grpcauth":  "the same",

	"go install github.com/seed-fbfaa0ec/silentrefresh/cmd/tokencurl@latest": ".ci/run consumer, at the packed version",

	"tokencurl login --issuer https://auth.example.com --client-id my-cli --scope offline_access --origin https://api.example.com": "TestPage of cmd/tokencurl",
	"tokencurl login --login-url https://api.example.com/login --refresh-url https://api.example.com/token/refresh":                "the same",
	"tokencurl https://api.example.com/me":                         "the same",
	"tokencurl --json '{\"name\":\"x\"}' /things":                  "the same",
	"tokencurl -F photo=@me.jpg -F name=me -o answer.json /photos": "the same",
	"tokencurl -T backup.tar /upload/":                             "the same",

	"go run ./internal/bench -charts docs/charts":                                       "nobody: measures for five minutes, and the page is what it printed",
	"go test ./internal/interop/fleet -run '^$' -bench '^BenchmarkPool$' -benchtime 5x": "nobody: the same",
}

var command = regexp.MustCompile(`(?m)^ {4,}((?:go|git|curl|tokencurl|ssh|gomobile|make|\.ci/run|\./|\$ )\b.*)$`)

// TestCommands: each command in a block of a page for users is in the list above, and the list has
// no other.
func TestCommands(t *testing.T) {
	seen := map[string]bool{}
	for _, pattern := range []string{"README*.md", "docs/*.md"} {
		pages, err := filepath.Glob(filepath.Join(repository, pattern))
		if err != nil || len(pages) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, page := range pages {
			for _, m := range command.FindAllStringSubmatch(prose(t, page), -1) {
				seen[m[1]] = true
				if commands[m[1]] == "" {
					t.Errorf("%s: who runs %q?", page, m[1])
				}
			}
			if text, err := os.ReadFile(page); err != nil || strings.Contains(string(text), "```sh") || strings.Contains(string(text), "```bash") {
				t.Errorf("%s: write commands as an indented block: %v", page, err)
			}
		}
	}
	for c := range commands {
		if !seen[c] {
			t.Errorf("no page has %q", c)
		}
	}
}
