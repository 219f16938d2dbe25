package main

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// The text of a token in this part is as long as that of servers whose access tokens
// are JWTs.
const (
	accessLength  = 850
	refreshLength = 600
)

// pools measures the memory of many sessions, and what a Pool adds to a request.
func pools(p *page, s settings) error {
	text, err := textBytes(s.live)
	if err != nil {
		return err
	}
	fmt.Fprintf(p, "## Many sessions\n\nThe memory of sessions that hold a token and do nothing, each by itself or in a Pool with this MaxIdle, after each of so many users has asked for a token once. Every token has a text of its own, of %d and %d bytes, whose memory, %d bytes, is in the last column only; that of the session's key is in both, and what the store keeps in neither.\n\n", accessLength, refreshLength, text)
	t := newTable("", "live", "bytes of a live session", "all")
	picture := chart{name: "many-sessions", title: "Memory of many sessions", groups: []group{
		{title: "Bytes of a live session, beyond the text of its token", unit: "bytes"},
		{title: "All, with the text", unit: "MB"},
	}}
	add := func(name string, live int, bytes int64) {
		each, all := float64(bytes)/float64(live)-float64(text), float64(bytes)/1e6
		cells := []string{fmt.Sprintf("%.0f", each), fmt.Sprintf("%.1f MB", all)}
		t.add(name, fmt.Sprint(live), cells[0], cells[1])
		picture.groups[0].bars = append(picture.groups[0].bars, bar{label: name, value: each, text: cells[0]})
		picture.groups[1].bars = append(picture.groups[1].bars, bar{label: name, value: all, text: cells[1]})
	}

	bytes, err := aloneBytes(s.live)
	if err != nil {
		return err
	}
	add(fmt.Sprintf("%d, without a Pool", s.live), s.live, bytes)
	var took *lookupTook
	for _, row := range []struct {
		maxIdle, known int
		meanwhile      func(*tokenclient.Pool) error
	}{
		{s.live, s.live, nil},
		{s.live, s.known, func(pool *tokenclient.Pool) (err error) {
			took, err = lookups(pool, s)
			return err
		}},
		{s.known, s.known, nil},
	} {
		live, bytes, err := poolBytes(row.maxIdle, row.known, row.meanwhile)
		if err != nil {
			return err
		}
		add(fmt.Sprintf("Pool, %d of %d", row.maxIdle, row.known), live, bytes)
	}
	t.print(p)
	if err := p.draw(picture); err != nil {
		return err
	}
	return printLookups(p, s, took)
}

// textBytes returns the memory that the text of one of n tokens takes.
func textBytes(n int) (int64, error) {
	texts := make([][2]string, n)
	bytes, err := growth(func() error {
		for i := range texts {
			t := longToken(i)
			texts[i] = [2]string{t.AccessToken, t.RefreshToken}
		}
		return nil
	})
	runtime.KeepAlive(texts)
	return bytes / int64(n), err
}

// aloneBytes returns the memory of n sessions.
func aloneBytes(n int) (int64, error) {
	ctx := context.Background()
	sessions := make([]*tokenclient.Session, n)
	bytes, err := growth(func() error {
		for i := range sessions {
			c := longConfig()
			c.Store, c.Key = longStore{}, user(i)
			s, err := tokenclient.New(c)
			if err != nil {
				return err
			}
			if _, err := s.Token(ctx); err != nil {
				return err
			}
			sessions[i] = s
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for _, s := range sessions {
		if err := s.Close(ctx); err != nil {
			return 0, err
		}
	}
	return bytes, nil
}

// poolBytes returns how many sessions are live in a Pool, and its memory, after each of
// so many users has asked for a token. It calls meanwhile, if that is not nil, before
// it closes the Pool.
func poolBytes(maxIdle, known int, meanwhile func(*tokenclient.Pool) error) (live int, bytes int64, err error) {
	ctx := context.Background()
	pool, err := tokenclient.NewPool(tokenclient.PoolConfig{
		Store:   longStore{},
		Config:  func(context.Context, string) (tokenclient.Config, error) { return longConfig(), nil },
		MaxIdle: maxIdle,
		IdleFor: 24 * time.Hour,
	})
	if err != nil {
		return 0, 0, err
	}
	bytes, err = growth(func() error {
		for i := range known {
			s, err := pool.Session(ctx, user(i))
			if err != nil {
				return err
			}
			if _, err := s.Token(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	live = pool.Stats().Live
	if err == nil && meanwhile != nil {
		err = meanwhile(pool)
	}
	if closed := pool.Close(ctx); err == nil {
		err = closed
	}
	return live, bytes, err
}

// growth returns how much more memory is in use after f, when what f has let go of is
// gone.
func growth(f func() error) (int64, error) {
	before := inUse()
	if err := f(); err != nil {
		return 0, err
	}
	after := inUse()
	for range 20 { // what is removed after a collection waits for the next
		last := after
		if after = inUse(); after > last-last/1000 {
			break
		}
	}
	return int64(after) - int64(before), nil
}

func user(i int) string { return fmt.Sprintf("user-%07d", i) }

// longStore has a token for every key, and remembers none. Nothing is refreshed here.
type longStore struct{ tokenclient.Store }

func (longStore) Load(_ context.Context, key string) (tokenclient.Record, error) {
	i, err := strconv.Atoi(key[len("user-"):])
	return tokenclient.Record{State: tokenclient.Active, Token: longToken(i), Number: 1}, err
}

func longToken(i int) *tokenclient.Token {
	return &tokenclient.Token{
		AccessToken: numbered(i, accessLength), RefreshToken: numbered(i, refreshLength), Expiry: time.Now().Add(time.Hour),
	}
}

// numbered is a text of that length.
func numbered(i, length int) string {
	var text [accessLength]byte
	for at := range text {
		text[at] = byte('0' + i%10)
		i /= 10
	}
	return string(text[:length])
}

// longConfig is the same for all users.
func longConfig() tokenclient.Config {
	return tokenclient.Config{Refresher: longRefresher, Origins: longOrigins}
}

var (
	longRefresher = ourRefresher{newIssuer()}
	longOrigins   = []string{origin}
)
