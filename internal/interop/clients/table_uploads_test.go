package clients_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
	"google.golang.org/api/storage/v1"
)

// Clients that need several requests for one upload.

func staticLayer(data []byte) (v1.Layer, error) { return static.NewLayer(data, types.OCILayer), nil }

func streamLayer(data []byte) (v1.Layer, error) {
	return stream.NewLayer(io.NopCloser(bytes.NewReader(data))), nil
}

// overRegistry pushes a layer to a registry that has the digest of what arrived checked, and
// pulls it.
func overRegistry(o setting, layer func([]byte) (v1.Layer, error)) func(*testing.T, *rig) sender {
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

// overGoogle uploads media as Cloud Storage takes it: in one request, or if chunk is less, in
// several. The token is then revoked at the one that begins at second.
func overGoogle(chunk int, second int64) func(*testing.T, *rig) sender {
	return func(t *testing.T, r *rig) sender {
		r.mux.Handle("POST /upload/storage/v1/b/bucket/o", &bucket{rig: r})
		if second > 0 {
			r.hits = func(req *http.Request) bool {
				return strings.HasPrefix(req.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", second))
			}
		}
		service, err := storage.NewService(t.Context(), option.WithHTTPClient(r.client()), option.WithEndpoint(r.url+"/storage/v1/"))
		if err != nil {
			t.Fatal(err)
		}
		return func(ctx context.Context, data []byte) error {
			_, err := service.Objects.Insert("bucket", &storage.Object{Name: "object"}).
				Media(bytes.NewReader(data), googleapi.ChunkSize(chunk)).Context(ctx).Do()
			if e := (*googleapi.Error)(nil); errors.As(err, &e) {
				return judgeStatus(e.Code)
			}
			return err
		}
	}
}

// bucket takes uploads of Google's two kinds, one at a time.
type bucket struct {
	rig *rig
	got bytes.Buffer // of the upload in chunks
}

func (b *bucket) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	query := req.URL.Query()
	switch {
	case query.Get("upload_id") != "":
		if _, err := b.got.ReadFrom(req.Body); err != nil {
			return
		}
		if strings.HasSuffix(req.Header.Get("Content-Range"), "/*") { // more is to come
			w.Header().Set("X-Http-Status-Code-Override", "308")
			return
		}
		b.rig.arrives(&b.got)
	case query.Get("uploadType") == "resumable":
		b.got.Reset()
		w.Header().Set("Location", b.rig.url+req.URL.Path+"?upload_id=1")
		return
	default:
		media, err := secondPart(req)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		b.rig.arrives(media)
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, "{}")
}

// secondPart returns the media of a multipart/related body, behind what is said of it.
func secondPart(req *http.Request) (io.Reader, error) {
	_, params, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	parts := multipart.NewReader(req.Body, params["boundary"])
	if _, err := parts.NextPart(); err != nil {
		return nil, err
	}
	return parts.NextPart()
}
