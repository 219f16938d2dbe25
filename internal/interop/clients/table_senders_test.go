package clients_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/go-resty/resty/v2"
	"github.com/hashicorp/go-retryablehttp"
	"golang.org/x/oauth2"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient/xoauth2"
)

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

func overNetHTTP(o setting, body func(*testing.T, []byte) (io.Reader, error)) func(*testing.T, *rig) sender {
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

func overConnectStream(o setting) func(*testing.T, *rig) sender {
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

func overAzcore(perRetry func(*rig) []policy.Policy) func(*testing.T, *rig) sender {
	return func(_ *testing.T, r *rig) sender {
		return func(ctx context.Context, data []byte) error {
			pipeline := runtime.NewPipeline("sink", "v1.0.0", runtime.PipelineOptions{PerRetry: perRetry(r)},
				&policy.ClientOptions{Transport: r.client(), Retry: policy.RetryOptions{MaxRetries: -1}})
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
}

func azcoreAlone(*rig) []policy.Policy { return nil }

// azcoreBearer is for clients of the SDK that take nothing but a credential.
func azcoreBearer(r *rig) []policy.Policy {
	return []policy.Policy{runtime.NewBearerTokenPolicy(credential{r.session}, nil, &policy.BearerTokenOptions{InsecureAllowCredentialWithHTTP: true})}
}

// credential is an azcore.TokenCredential that hands out the session's tokens.
type credential struct{ session *tokenclient.Session }

func (c credential) GetToken(ctx context.Context, _ policy.TokenRequestOptions) (azcore.AccessToken, error) {
	t, err := c.session.Token(ctx)
	if err != nil {
		return azcore.AccessToken{}, err
	}
	return azcore.AccessToken{Token: t.AccessToken, ExpiresOn: t.Expiry}, nil
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

// serveResty takes a body as it is, or the parts of a form.
func (r *rig) serveResty(w http.ResponseWriter, req *http.Request) {
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
}

func overResty(put func(*resty.Request, []byte)) func(*testing.T, *rig) sender {
	return func(_ *testing.T, r *rig) sender {
		r.mux.HandleFunc("/resty", r.serveResty)
		client := resty.NewWithClient(r.client()).SetRetryCount(3)
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
