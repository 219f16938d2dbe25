package behaviour_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"sync/atomic"
)

// replayPattern is a payload of any size that costs no memory.
type replayPattern struct{ left, at int64 }

// replayBlock is repeated. Its length is a prime, so that a piece that is lost or
// doubled shows.
var replayBlock = func() []byte {
	b := make([]byte, 65521)
	for i := range b {
		b[i] = byte(i * 31 >> 3)
	}
	return b
}()

func (p *replayPattern) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(int64(len(b)), p.left)], replayBlock[p.at%int64(len(replayBlock)):])
	p.left -= int64(n)
	p.at += int64(n)
	return n, nil
}

func replaySum(size int64) string {
	sum := sha256.New()
	_, _ = io.Copy(sum, &replayPattern{left: size})
	return hex.EncodeToString(sum.Sum(nil))
}

func replayBytes(size int64) []byte {
	b := make([]byte, size)
	_, _ = io.ReadFull(&replayPattern{left: size}, b)
	return b
}

// uploadBody is a stream that counts what is read of it, and how often it is
// closed.
type uploadBody struct {
	replayPattern
	read   atomic.Int64
	closed atomic.Int32
}

func newUpload(size int64) *uploadBody { return &uploadBody{replayPattern: replayPattern{left: size}} }

func (b *uploadBody) Read(p []byte) (int, error) {
	n, err := b.replayPattern.Read(p)
	b.read.Add(int64(n))
	return n, err
}

func (b *uploadBody) Close() error {
	b.closed.Add(1)
	return nil
}
