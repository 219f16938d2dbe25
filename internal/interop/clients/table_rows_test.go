package clients_test

import (
	"context"
	"net/http"
	"testing"

	"google.golang.org/api/googleapi"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
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
	{"azcore of the Azure SDK, retries off", "an `io.ReadSeekCloser`", whole, whole, "`ClientOptions.Transport: session.Wrap(client)`", []int{10, 4 * mib}, overAzcore(azcoreAlone)},
	{"azcore with its `BearerTokenPolicy`, retries off", "an `io.ReadSeekCloser`", whole, whole, "the same, and a `TokenCredential` that returns `session.Token`", []int{2 * mib}, overAzcore(azcoreBearer)},
	{"hashicorp/go-retryablehttp", "`[]byte`", whole, whole, "`HTTPClient: session.Wrap(client)`", []int{2 * mib}, overRetryable(retryableBytes)},
	{"hashicorp/go-retryablehttp", "an `io.ReadSeeker`, a file", whole, whole, "`HTTPClient: session.Wrap(client)`", []int{2 * mib}, overRetryable(retryableFile)},
	{"go-resty/resty/v2", "`[]byte`", whole, whole, "`resty.NewWithClient(session.Wrap(client))`", []int{2 * mib}, overResty(restyBytes)},
	{"go-resty/resty/v2", "an `io.Reader`", whole, whole, "`resty.NewWithClient(session.Wrap(client))`", []int{2 * mib}, overResty(restyReader)},
	{"go-resty/resty/v2", "a file in a multipart form", whole, whole, "`resty.NewWithClient(session.Wrap(client))`", []int{2 * mib}, overResty(restyMultipart)},
	{"google/go-containerregistry", "a layer", whole, whole, "`remote.WithTransport(session.Transport(base))`", []int{2 * mib}, overRegistry(nil, staticLayer)},
	{"google/go-containerregistry", "a `stream.Layer`, longer than `MaxReplayBody`", whole, whole, "`remote.WithTransport(transport)`, `Transport.SpoolDir`", []int{2 * mib}, overRegistry(spool, streamLayer)},
	{"google.golang.org/api", "media in one request", whole, whole, "`option.WithHTTPClient(session.Wrap(client))`", []int{10, 2 * mib}, overGoogle(googleapi.DefaultUploadChunkSize, 0)},
	{"google.golang.org/api", "media in chunks, refused at the second", whole, whole, "`option.WithHTTPClient(session.Wrap(client))`", []int{900 * kib}, overGoogle(googleapi.MinUploadChunkSize, googleapi.MinUploadChunkSize)},
}

// setting sets a field of the Transport of a row. nil: none.
type setting = func(t *testing.T, transport *tokenclient.Transport)

func spool(t *testing.T, transport *tokenclient.Transport) { transport.SpoolDir = t.TempDir() }

func ask100(_ *testing.T, transport *tokenclient.Transport) { transport.ExpectContinue = true }

// clientWith returns a client over the session's transport with o.
func (r *rig) clientWith(t *testing.T, o setting) *http.Client {
	transport := r.transport()
	if o != nil {
		o(t, transport)
	}
	return &http.Client{Transport: transport}
}
