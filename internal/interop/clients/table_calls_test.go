package clients_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/Khan/genqlient/graphql"
	"github.com/google/go-github/v89/github"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	resty3 "resty.dev/v3"
)

const (
	githubModule  = "github.com/google/go-github/v89"
	restyModule   = "resty.dev/v3"
	graphqlModule = "github.com/Khan/genqlient"
	mcpModule     = "github.com/modelcontextprotocol/go-sdk"
	kubeModule    = "k8s.io/client-go"
)

// callRows are about clients of one API or of one protocol.
var callRows = []clientRow{
	{"google/go-github", githubModule, "a call", whole, whole, "`github.WithHTTPClient(session.Wrap(client))`", []int{10, 100 * kib}, overGitHubCall, 0},
	{"google/go-github", githubModule, "an asset of a release, from a file", whole, whole, "`github.WithHTTPClient(session.Wrap(client))`", []int{2 * mib}, overGitHubAsset, 0},
	{"resty v3, retries on", restyModule, "`[]byte`", whole, whole, "`resty.NewWithClient(session.Wrap(client))`", []int{2 * mib}, overResty3(resty3Bytes), 0},
	{"resty v3, retries on", restyModule, "an `io.Reader`, up to `MaxReplayBody`", whole, whole, "`resty.NewWithClient(session.Wrap(client))`", []int{900 * kib}, overResty3(resty3Reader), 0},
	{"resty v3, retries on", restyModule, "a file in a multipart form, up to `MaxReplayBody`", whole, whole, "`resty.NewWithClient(session.Wrap(client))`", []int{900 * kib}, overResty3(resty3Multipart), 0},
	{"Khan/genqlient", graphqlModule, "a mutation", whole, whole, "`graphql.NewClient(url, session.Wrap(client))`", []int{10, 200 * kib}, overGraphQL, 0},
	{"the MCP Go SDK, `StreamableClientTransport`", mcpModule, "a tool call", whole, whole, "`HTTPClient: session.Wrap(client)`", []int{10, 200 * kib}, overMCP, 0},
	{"client-go of Kubernetes", kubeModule, "`[]byte`", whole, whole, "`rest.Config.Wrap`, and no credentials in the config: see above", []int{2 * mib}, overKubernetes(kubeBytes), 0},
	{"client-go of Kubernetes", kubeModule, "an `io.Reader`, up to `MaxReplayBody`", whole, whole, "the same", []int{900 * kib}, overKubernetes(kubeReader), 0},
}

// document is a JSON document whose data arrives.
type document struct {
	Body      string            `json:"body,omitempty"`
	Variables map[string]string `json:"variables,omitempty"`
}

// serveJSON has pick say what of a document arrives, and answers with answer.
func (r *rig) serveJSON(pattern, answer string, pick func(*document) []byte) {
	r.mux.HandleFunc(pattern, func(w http.ResponseWriter, req *http.Request) {
		var d document
		if err := json.NewDecoder(req.Body).Decode(&d); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.arrives(bytes.NewReader(pick(&d)))
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	})
}

// text makes of data what JSON can hold, and untext makes data of it again.
func text(data []byte) string { return hex.EncodeToString(data) }

func untext(text string) []byte {
	data, _ := hex.DecodeString(text) // else it is not what was sent
	return data
}

func (r *rig) gitHub(t *testing.T) *github.Client {
	url := r.url + "/"
	client, err := github.NewClient(github.WithHTTPClient(r.client()), github.WithURLs(&url, &url))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func judgeGitHub(err error) error {
	if e := (*github.ErrorResponse)(nil); errors.As(err, &e) {
		return judgeStatus(e.Response.StatusCode)
	}
	return err
}

func overGitHubCall(t *testing.T, r *rig) sender {
	r.serveJSON("POST /repos/o/r/issues/1/comments", `{"id": 1}`, func(d *document) []byte { return untext(d.Body) })
	client := r.gitHub(t)
	return func(ctx context.Context, data []byte) error {
		body := text(data)
		_, _, err := client.Issues.CreateComment(ctx, "o", "r", 1, &github.IssueComment{Body: &body})
		return judgeGitHub(err)
	}
}

func overGitHubAsset(t *testing.T, r *rig) sender {
	r.mux.HandleFunc("POST /repos/o/r/releases/1/assets", func(w http.ResponseWriter, req *http.Request) {
		r.arrives(req.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id": 1}`)
	})
	client := r.gitHub(t)
	return func(ctx context.Context, data []byte) error {
		f, err := aFile(t, data)
		if err != nil {
			return err
		}
		defer f.Close()
		_, _, err = client.Repositories.UploadReleaseAsset(ctx, "o", "r", 1, &github.UploadOptions{Name: "body"}, f)
		return judgeGitHub(err)
	}
}

func resty3Bytes(req *resty3.Request, data []byte) { req.SetBody(data) }

func resty3Reader(req *resty3.Request, data []byte) {
	req.SetBody(struct{ io.Reader }{bytes.NewReader(data)})
}

func resty3Multipart(req *resty3.Request, data []byte) {
	req.SetMultipartField("file", "body", "application/octet-stream", bytes.NewReader(data))
}

func overResty3(put func(*resty3.Request, []byte)) func(*testing.T, *rig) sender {
	return func(t *testing.T, r *rig) sender {
		r.mux.HandleFunc("/resty", r.serveResty)
		client := resty3.NewWithClient(r.client()).SetRetryCount(3).SetRetryAllowNonIdempotent(true)
		t.Cleanup(func() { _ = client.Close() })
		return func(ctx context.Context, data []byte) error {
			req := client.R().SetContext(ctx)
			put(req, data)
			resp, err := req.Post(r.url + "/resty")
			if err != nil {
				return err
			}
			return judgeStatus(resp.StatusCode())
		}
	}
}

func overGraphQL(_ *testing.T, r *rig) sender {
	r.serveJSON("/graphql", `{"data": {"put": true}}`, func(d *document) []byte { return untext(d.Variables["data"]) })
	client := graphql.NewClient(r.url+"/graphql", r.client())
	return func(ctx context.Context, data []byte) error {
		var got struct{ Put bool }
		err := client.MakeRequest(ctx, &graphql.Request{
			OpName: "Put", Query: "mutation Put($data: String!) { put(data: $data) }", Variables: map[string]string{"data": text(data)},
		}, &graphql.Response{Data: &got})
		if err == nil && !got.Put {
			err = errors.New("another answer")
		}
		return err
	}
}

func overMCP(t *testing.T, r *rig) sender {
	server := mcp.NewServer(&mcp.Implementation{Name: "sink", Version: "1"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "put"}, func(_ context.Context, _ *mcp.CallToolRequest, in document) (*mcp.CallToolResult, any, error) {
		r.arrives(bytes.NewReader(untext(in.Body)))
		return &mcp.CallToolResult{Content: []mcp.Content{}}, nil, nil
	})
	r.mux.Handle("/mcp", mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, nil))
	client, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(),
		&mcp.StreamableClientTransport{Endpoint: r.url + "/mcp", HTTPClient: r.client()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return func(ctx context.Context, data []byte) error {
		result, err := client.CallTool(ctx, &mcp.CallToolParams{Name: "put", Arguments: document{Body: text(data)}})
		if err == nil && result.IsError {
			err = fmt.Errorf("the tool failed: %v", result.Content)
		}
		return err
	}
}

func kubeBytes(data []byte) any { return data }

func kubeReader(data []byte) any { return struct{ io.Reader }{bytes.NewReader(data)} }

func overKubernetes(body func([]byte) any) func(*testing.T, *rig) sender {
	return func(t *testing.T, r *rig) sender {
		config := overSession(&rest.Config{Host: r.url}, r.session)
		config.Transport = r.base
		config.GroupVersion, config.APIPath = new(schema.GroupVersion), "/"
		config.NegotiatedSerializer = serializer.NewCodecFactory(runtime.NewScheme()).WithoutConversion()
		client, err := rest.RESTClientFor(config)
		if err != nil {
			t.Fatal(err)
		}
		return func(ctx context.Context, data []byte) error {
			status := 0
			result := client.Put().AbsPath("/sink").Body(body(data)).Do(ctx).StatusCode(&status)
			if status == http.StatusUnauthorized {
				return errRefused
			}
			return result.Error()
		}
	}
}
