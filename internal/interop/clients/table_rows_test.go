package clients_test

import (
	"context"
	"net/http"
	"slices"
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

// A clientRow is a row of docs/clients.md, which has the first texts in its columns.
type clientRow struct {
	client, module string // module is that of client; net/http has none
	scenario       string
	early, late    outcome
	set            string // "": nothing but the session's client or transport
	sizes          []int
	over           func(t *testing.T, r *rig) sender
	http           int // the only major version of HTTP that the client speaks, 0: 1 and 2
}

func (row *clientRow) versions() []int {
	if row.http != 0 {
		return []int{row.http}
	}
	return []int{1, 2}
}

var clientRows = slices.Concat(uploadRows, callRows, streamRows, layerRows)

// uploadRows are about bodies of all kinds.
var uploadRows = []clientRow{
	{"net/http", "", "`bytes.Reader`, with the `GetBody` of `http.NewRequest`", whole, whole, "", []int{4 * mib}, overNetHTTP(nil, plainBytes), 0},
	{"net/http", "", "`os.File`, without a `GetBody`", whole, whole, "", []int{4 * mib}, overNetHTTP(nil, file), 0},
	{"net/http", "", "a pipe, up to `MaxReplayBody` (1 MiB)", whole, whole, "", []int{10, 900 * kib}, overNetHTTP(nil, pipe), 0},
	{"net/http", "", "a longer pipe", either, refused, "", []int{2 * mib}, overNetHTTP(nil, pipe), 0},
	{"net/http", "", "a longer pipe", whole, whole, "`Transport.SpoolDir`", []int{2 * mib}, overNetHTTP(spool, pipe), 0},
	{"net/http", "", "a longer pipe", whole, refused, "`Transport.ExpectContinue`", []int{2 * mib}, overNetHTTP(ask100, pipe), 0},
	{"golang.org/x/oauth2, `Transport`", "golang.org/x/oauth2", "`bytes.Reader`", whole, whole, "`Source: xoauth2.TokenSource(ctx, session)`, `Base: session.Transport(base)`", []int{2 * mib}, overOAuth2, 0},
	{"connectrpc.com/connect", "connectrpc.com/connect", "a unary call", whole, whole, "", []int{10, 2 * mib}, overConnectUnary, 0},
	{"connectrpc.com/connect", "connectrpc.com/connect", "a client stream, up to `MaxReplayBody`", whole, whole, "", []int{10, 900 * kib}, overConnectStream(nil), 0},
	{"connectrpc.com/connect", "connectrpc.com/connect", "a longer client stream", either, refused, "", []int{2 * mib}, overConnectStream(nil), 0},
	{"connectrpc.com/connect", "connectrpc.com/connect", "a longer client stream", whole, whole, "`Transport.SpoolDir`", []int{2 * mib}, overConnectStream(spool), 0},
	{"azcore of the Azure SDK, retries off", "github.com/Azure/azure-sdk-for-go/sdk/azcore", "an `io.ReadSeekCloser`", whole, whole, "`ClientOptions.Transport: session.Wrap(client)`", []int{10, 4 * mib}, overAzcore(azcoreAlone), 0},
	{"azcore with its `BearerTokenPolicy`, retries off", "github.com/Azure/azure-sdk-for-go/sdk/azcore", "an `io.ReadSeekCloser`", whole, whole, "the same, and a `TokenCredential` that returns `session.Token`", []int{2 * mib}, overAzcore(azcoreBearer), 0},
	{"hashicorp/go-retryablehttp", "github.com/hashicorp/go-retryablehttp", "`[]byte`", whole, whole, "`HTTPClient: session.Wrap(client)`", []int{2 * mib}, overRetryable(retryableBytes), 0},
	{"hashicorp/go-retryablehttp", "github.com/hashicorp/go-retryablehttp", "an `io.ReadSeeker`, a file", whole, whole, "`HTTPClient: session.Wrap(client)`", []int{2 * mib}, overRetryable(retryableFile), 0},
	{"go-resty/resty/v2, retries on", "github.com/go-resty/resty/v2", "`[]byte`", whole, whole, "`resty.NewWithClient(session.Wrap(client))`", []int{2 * mib}, overResty(restyBytes), 0},
	{"go-resty/resty/v2, retries on", "github.com/go-resty/resty/v2", "an `io.Reader`", whole, whole, "`resty.NewWithClient(session.Wrap(client))`", []int{2 * mib}, overResty(restyReader), 0},
	{"go-resty/resty/v2, retries on", "github.com/go-resty/resty/v2", "a file in a multipart form", whole, whole, "`resty.NewWithClient(session.Wrap(client))`", []int{2 * mib}, overResty(restyMultipart), 0},
	{"google/go-containerregistry", "github.com/google/go-containerregistry", "a layer", whole, whole, "`remote.WithTransport(session.Transport(base))`", []int{2 * mib}, overRegistry(nil, staticLayer), 0},
	{"google/go-containerregistry", "github.com/google/go-containerregistry", "a `stream.Layer`, longer than `MaxReplayBody`", whole, whole, "`remote.WithTransport(transport)`, `Transport.SpoolDir`", []int{2 * mib}, overRegistry(spool, streamLayer), 0},
	{"google.golang.org/api", "google.golang.org/api", "media in one request", whole, whole, "`option.WithHTTPClient(session.Wrap(client))`", []int{10, 2 * mib}, overGoogle(googleapi.DefaultUploadChunkSize, 0), 0},
	{"google.golang.org/api", "google.golang.org/api", "media in chunks, refused at the second", whole, whole, "`option.WithHTTPClient(session.Wrap(client))`", []int{900 * kib}, overGoogle(googleapi.MinUploadChunkSize, googleapi.MinUploadChunkSize), 0},
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
