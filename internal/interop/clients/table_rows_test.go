package clients_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/go-resty/resty/v2"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/hashicorp/go-retryablehttp"
	"golang.org/x/oauth2"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/xoauth2"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

// A sender has a client of other people's send data to the API of the rig that it was made
// for. It returns nil if the client is content, and errRefused if it got the 401.
type sender = func(ctx context.Context, data []byte) error

// clientRows are the rows of docs/clients.md, which has the first texts of each in its columns.
var clientRows = []struct {
	client, body string
	early, late  outcome
	set          string // "": nothing but the session's client or transport
	sizes        []int
	over         func(t *testing.T, r *rig) sender
}{
	{"net/http", "`bytes.Reader`, with the `GetBody` of `http.NewRequest`", whole, whole, "", []int{4 * mib}, overNetHTTP(nil, plainBytes)},
	{"net/http", "`os.File`, without a `GetBody`", whole, whole, "", []int{4 * mib}, overNetHTTP(nil, file)},
	{"net/http", "a pipe, up to `MaxReplayBody` (1 MiB)", whole, whole, "", []int{10, 900 * kib}, overNetHTTP(nil, pipe)},
	{"net/http", "a longer pipe", either, refused, "", []int{2 * mib}, overNetHTTP(nil, pipe)},
	{"net/http", "a longer pipe", whole, whole, "`Transport.SpoolDir`", []int{2 * mib}, overNetHTTP(spool, pipe)},
	{"net/http", "a longer pipe", whole, refused, "`Transport.ExpectContinue`", []int{2 * mib}, overNetHTTP(ask100, pipe)},
	{"golang.org/x/oauth2, `Transport`", "`bytes.Reader`", whole, whole, "`Source: xoauth2.TokenSource(ctx, session)`, `Base: session.Transport(base)`", []int{2 * mib}, overOAuth2},
	{"connectrpc.com/connect", "a unary call", whole, whole, "", []int{10, 2 * mib}, overConnectUnary},
	{"connectrpc.com/connect", "a client stream, up to `MaxReplayBody`", whole, whole, "", []int{10, 900 * kib}, overConnectStream(nil)},
	{"connectrpc.com/connect", "a longer client stream", either, refused, "", []int{2 * mib}, overConnectStream(nil)},
	{"connectrpc.com/connect", "a longer client stream", whole, whole, "`Transport.SpoolDir`", []int{2 * mib}, overConnectStream(spool)},
	{"azcore of the Azure SDK, retries off", "an `io.ReadSeekCloser`", whole, whole, "`ClientOptions.Transport: session.Wrap(client)`", []int{10, 4 * mib}, overAzcore},
	{"hashicorp/go-retryablehttp", "`[]byte`", whole, whole, "`client.HTTPClient = session.Wrap(base)`", []int{2 * mib}, overRetryable(retryableBytes)},
	{"hashicorp/go-retryablehttp", "an `io.ReadSeeker`, a file", whole, whole, "`client.HTTPClient = session.Wrap(base)`", []int{2 * mib}, overRetryable(retryableFile)},
	{"go-resty/resty/v2", "`[]byte`", whole, whole, "`resty.NewWithClient(session.Wrap(base))`", []int{2 * mib}, overResty(restyBytes)},
	{"go-resty/resty/v2", "an `io.Reader`", whole, whole, "`resty.NewWithClient(session.Wrap(base))`", []int{2 * mib}, overResty(restyReader)},
	{"go-resty/resty/v2", "a file in a multipart form", whole, whole, "`resty.NewWithClient(session.Wrap(base))`", []int{2 * mib}, overResty(restyMultipart)},
	{"google/go-containerregistry", "a layer", whole, whole, "`remote.WithTransport(session.Transport(base))`", []int{2 * mib}, overRegistry(nil, staticLayer)},
	{"google/go-containerregistry", "a `stream.Layer`, longer than `MaxReplayBody`", whole, whole, "`remote.WithTransport(transport)`, `Transport.SpoolDir`", []int{2 * mib}, overRegistry(spool, streamLayer)},
}

// option sets a field of the Transport of a row. nil: none.
type option = func(t *testing.T, transport *tokenclient.Transport)

func spool(t *testing.T, transport *tokenclient.Transport) { transport.SpoolDir = t.TempDir() }

func ask100(_ *testing.T, transport *tokenclient.Transport) { transport.ExpectContinue = true }

// clientWith returns a client over the session's transport with o.
func (r *rig) clientWith(t *testing.T, o option) *http.Client {
	transport := r.transport()
	if o != nil {
		o(t, transport)
	}
	return &http.Client{Transport: transport}
}

// judge is what a client of net/http's kind got.
func judge(resp *http.Response, err error) error {
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	return judgeStatus(resp.StatusCode)
}

func judgeStatus(status int) error {
	switch status {
	case http.StatusOK:
		return nil
	case http.StatusUnauthorized:
		return errRefused
	}
	return fmt.Errorf("status %d", status)
}

// aFile returns data in a file that is open.
func aFile(t *testing.T, data []byte) (*os.File, error) {
	path := filepath.Join(t.TempDir(), "body")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return nil, err
	}
	return os.Open(path)
}

func plainBytes(_ *testing.T, data []byte) (io.Reader, error) { return bytes.NewReader(data), nil }

func file(t *testing.T, data []byte) (io.Reader, error) { return aFile(t, data) }

// pipe ends its goroutine when it is read whole, or closed.
func pipe(_ *testing.T, data []byte) (io.Reader, error) {
	r, w := io.Pipe()
	go func() {
		_, err := w.Write(data)
		_ = w.CloseWithError(err)
	}()
	return r, nil
}

func overNetHTTP(o option, body func(*testing.T, []byte) (io.Reader, error)) func(*testing.T, *rig) sender {
	return func(t *testing.T, r *rig) sender {
		client := r.clientWith(t, o)
		return func(ctx context.Context, data []byte) error {
			b, err := body(t, data)
			if err != nil {
				return err
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodPut, r.url+"/sink", b)
			if err != nil {
				return err
			}
			return judge(client.Do(req))
		}
	}
}

func overOAuth2(t *testing.T, r *rig) sender {
	client := &http.Client{Transport: &oauth2.Transport{Source: xoauth2.TokenSource(t.Context(), r.session), Base: r.transport()}}
	return func(ctx context.Context, data []byte) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, r.url+"/sink", bytes.NewReader(data))
		if err != nil {
			return err
		}
		return judge(client.Do(req))
	}
}

func judgeConnect(err error) error {
	if connect.CodeOf(err) == connect.CodeUnauthenticated {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	return err
}

func overConnectUnary(_ *testing.T, r *rig) sender {
	const procedure = "/sink.Sink/Put"
	r.mux.Handle(procedure, connect.NewUnaryHandler(procedure, func(_ context.Context, req *connect.Request[wrapperspb.BytesValue]) (*connect.Response[wrapperspb.BoolValue], error) {
		r.arrives(bytes.NewReader(req.Msg.Value))
		return connect.NewResponse(wrapperspb.Bool(true)), nil
	}))
	client := connect.NewClient[wrapperspb.BytesValue, wrapperspb.BoolValue](r.client(), r.url+procedure)
	return func(ctx context.Context, data []byte) error {
		_, err := client.CallUnary(ctx, connect.NewRequest(wrapperspb.Bytes(data)))
		return judgeConnect(err)
	}
}

func overConnectStream(o option) func(*testing.T, *rig) sender {
	const procedure = "/sink.Sink/Stream"
	return func(t *testing.T, r *rig) sender {
		r.mux.Handle(procedure, connect.NewClientStreamHandler(procedure, func(_ context.Context, s *connect.ClientStream[wrapperspb.BytesValue]) (*connect.Response[wrapperspb.BoolValue], error) {
			var all bytes.Buffer
			for s.Receive() {
				all.Write(s.Msg().Value)
			}
			if s.Err() == nil {
				r.arrives(&all)
			}
			return connect.NewResponse(wrapperspb.Bool(true)), s.Err()
		}))
		client := connect.NewClient[wrapperspb.BytesValue, wrapperspb.BoolValue](r.clientWith(t, o), r.url+procedure)
		return func(ctx context.Context, data []byte) error {
			s := client.CallClientStream(ctx)
			for part := data; len(part) > 0; {
				n := min(len(part), 60_000)
				if err := s.Send(wrapperspb.Bytes(part[:n])); errors.Is(err, io.EOF) {
					break // CloseAndReceive says why
				} else if err != nil {
					return judgeConnect(err)
				}
				part = part[n:]
			}
			_, err := s.CloseAndReceive()
			return judgeConnect(err)
		}
	}
}

func overAzcore(_ *testing.T, r *rig) sender {
	pipeline := runtime.NewPipeline("sink", "v1.0.0", runtime.PipelineOptions{},
		&policy.ClientOptions{Transport: r.client(), Retry: policy.RetryOptions{MaxRetries: -1}})
	return func(ctx context.Context, data []byte) error {
		req, err := runtime.NewRequest(ctx, http.MethodPut, r.url+"/sink")
		if err != nil {
			return err
		}
		if err := req.SetBody(streaming.NopCloser(bytes.NewReader(data)), "application/octet-stream"); err != nil {
			return err
		}
		return judge(pipeline.Do(req))
	}
}

func retryableBytes(_ *testing.T, data []byte) (any, error) { return data, nil }

func retryableFile(t *testing.T, data []byte) (any, error) { return aFile(t, data) }

func overRetryable(body func(*testing.T, []byte) (any, error)) func(*testing.T, *rig) sender {
	return func(t *testing.T, r *rig) sender {
		client := retryablehttp.NewClient()
		client.HTTPClient, client.Logger = r.client(), nil
		return func(ctx context.Context, data []byte) error {
			b, err := body(t, data)
			if err != nil {
				return err
			}
			req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodPut, r.url+"/sink", b)
			if err != nil {
				return err
			}
			return judge(client.Do(req))
		}
	}
}

func restyBytes(req *resty.Request, data []byte) { req.SetBody(data) }

func restyReader(req *resty.Request, data []byte) {
	req.SetBody(struct{ io.Reader }{bytes.NewReader(data)})
}

func restyMultipart(req *resty.Request, data []byte) {
	req.SetFileReader("file", "body", bytes.NewReader(data))
}

func overResty(put func(*resty.Request, []byte)) func(*testing.T, *rig) sender {
	return func(_ *testing.T, r *rig) sender {
		r.mux.HandleFunc("/resty", func(w http.ResponseWriter, req *http.Request) {
			if !strings.HasPrefix(req.Header.Get("Content-Type"), "multipart/") {
				r.arrives(req.Body)
				return
			}
			parts, err := req.MultipartReader()
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			for part, err := parts.NextPart(); err == nil; part, err = parts.NextPart() {
				r.arrives(part)
			}
		})
		client := resty.NewWithClient(r.client())
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

func staticLayer(data []byte) (v1.Layer, error) { return static.NewLayer(data, types.OCILayer), nil }

func streamLayer(data []byte) (v1.Layer, error) {
	return stream.NewLayer(io.NopCloser(bytes.NewReader(data))), nil
}

// overRegistry pushes a layer to a registry that has the digest of what arrived checked, and
// pulls it.
func overRegistry(o option, layer func([]byte) (v1.Layer, error)) func(*testing.T, *rig) sender {
	return func(t *testing.T, r *rig) sender {
		r.hits = func(req *http.Request) bool { return req.Method == http.MethodPatch } // the layer itself
		r.mux.Handle("/v2/", registry.New(registry.Logger(log.New(io.Discard, "", 0))))
		transport := r.clientWith(t, o).Transport
		host := strings.TrimPrefix(strings.TrimPrefix(r.url, "https://"), "http://")
		return func(ctx context.Context, data []byte) error {
			repo, err := name.NewRepository(host + "/layers")
			if err != nil {
				return err
			}
			l, err := layer(data)
			if err != nil {
				return err
			}
			options := []remote.Option{remote.WithTransport(transport), remote.WithContext(ctx)}
			if err := remote.WriteLayer(repo, l, options...); err != nil {
				return err
			}
			digest, err := l.Digest()
			if err != nil {
				return err
			}
			pulled, err := remote.Layer(repo.Digest(digest.String()), options...)
			if err != nil {
				return err
			}
			body, err := pulled.Uncompressed()
			if err != nil {
				return err
			}
			defer body.Close()
			r.arrives(body) // as it arrived there
			return nil
		}
	}
}
