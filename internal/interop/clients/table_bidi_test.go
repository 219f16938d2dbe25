package clients_test

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// overConnectBidi has a server send back what it gets.
func overConnectBidi(outlives bool) func(*testing.T, *rig) sender {
	return func(_ *testing.T, r *rig) sender {
		if outlives {
			r.hits = func(req *http.Request) bool { return req.URL.Path == "/ok" }
		}
		r.mux.Handle(streamPath, connect.NewBidiStreamHandler(streamPath, func(_ context.Context, s *connect.BidiStream[wrapperspb.BytesValue, wrapperspb.BytesValue]) error {
			for {
				part, err := s.Receive()
				if err != nil {
					return nil // the end
				}
				if err := s.Send(part); err != nil {
					return err
				}
			}
		}))
		client := connect.NewClient[wrapperspb.BytesValue, wrapperspb.BytesValue](r.client(), r.url+streamPath)
		return func(ctx context.Context, data []byte) error {
			s := client.CallBidiStream(ctx)
			defer s.CloseResponse()
			var got bytes.Buffer
			receive := func() error {
				part, err := s.Receive()
				if err == nil {
					got.Write(part.Value)
				}
				return err
			}
			for part := range slices.Chunk(data, 60_000) {
				if err := s.Send(wrapperspb.Bytes(part)); err != nil {
					break // Receive says why
				}
				if !outlives {
					continue
				}
				if err := receive(); err != nil {
					return judgeConnect(err)
				}
				if got.Len() == len(part) { // the first one
					if err := r.get(ctx); err != nil {
						return err
					}
				}
			}
			if err := s.CloseRequest(); err != nil {
				return judgeConnect(err)
			}
			for got.Len() < len(data) {
				if err := receive(); err != nil {
					return judgeConnect(err)
				}
			}
			r.arrives(&got)
			return nil
		}
	}
}
