package protocol_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// What becomes of the outcome of fn.

// during returns a fn that does something between the presentation and the answer.
func during(do func(ctx context.Context)) refreshFunc {
	return func(ctx context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
		do(ctx)
		return next(ctx, cur)
	}
}

func TestSaveWithFaults(t *testing.T) {
	eachWriteFault(t, func(t *testing.T, list []fault) {
		m, a, b := bed(false)
		seen := login(t, a, "k", "a")
		rec, err := a.Refresh(t.Context(), "k", seen, time.Second, during(func(context.Context) { m.faults(list...) }))
		if err != nil {
			t.Fatal(err)
		}
		wantToken(t, rec, "refresh-a'", 2)
		m.land()
		wantStored(t, b, "k", "refresh-a'", 2)
		m.free(t, 0)
	})
}

func TestSaveWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := bed(false)
		seen := login(t, a, "k", "a")
		ctx, cancel := context.WithCancel(t.Context())
		rec, err := a.Refresh(ctx, "k", seen, time.Second, during(func(context.Context) {
			m.down()
			time.AfterFunc(3*time.Second, m.up)
			cancel() // does not stop the save
		}))
		if err != nil {
			t.Fatal(err)
		}
		wantToken(t, rec, "refresh-a'", 2)
		wantStored(t, b, "k", "refresh-a'", 2)
	})
}

// TestSaveAfterLostHold: the holder was away for long, and another took the hold.
// It has presented nothing, so the holder's pair is the only one: to drop it would
// end the session.
func TestSaveAfterLostHold(t *testing.T) {
	m, a, b := bed(true)
	seen := login(t, a, "k", "a")
	bResult := make(chan tokenclient.Record)
	bGo, bClaimed := make(chan struct{}), make(chan struct{})
	rec, err := a.Refresh(t.Context(), "k", seen, time.Minute, during(func(context.Context) {
		go func() {
			rec, err := b.Refresh(t.Context(), "k", seen, time.Minute, func(_ context.Context, cur tokenclient.Record) (*tokenclient.Token, error) {
				if cur.Announced != 2 {
					t.Errorf("taker sees %d announced", cur.Announced)
				}
				close(bClaimed)
				<-bGo
				return tok("b"), nil
			})
			if !errors.Is(err, tokenclient.ErrOvertaken) {
				t.Errorf("taker: %v", err)
			}
			bResult <- rec
		}()
		<-bClaimed
	}))
	if err != nil {
		t.Fatal(err)
	}
	wantToken(t, rec, "refresh-a'", 2)
	m.free(t, 0)
	close(bGo)
	wantToken(t, <-bResult, "refresh-a'", 2) // the taker's own pair is dropped, not revoked
	wantStored(t, a, "k", "refresh-a'", 2)
}

func TestSaveOvertaken(t *testing.T) {
	_, a, b := bed(true)
	seen := login(t, a, "k", "a")
	rec, err := a.Refresh(t.Context(), "k", seen, time.Minute, during(func(ctx context.Context) {
		two, err := b.Refresh(ctx, "k", seen, time.Minute, func(context.Context, tokenclient.Record) (*tokenclient.Token, error) { return tok("b"), nil })
		if err != nil {
			t.Error(err)
		}
		if _, err = b.Refresh(ctx, "k", two, time.Minute, next); err != nil {
			t.Error(err)
		}
	}))
	wantErr(t, err, tokenclient.ErrOvertaken)
	wantToken(t, rec, "refresh-b'", 3)
	wantStored(t, a, "k", "refresh-b'", 3)
}

// TestSaveWithLostReplyThenOvertaken: the save was done, its reply was lost, and the
// next refresh is stored already when the record is read.
func TestSaveWithLostReplyThenOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, a, b := bed(true)
		seen := login(t, a, "k", "a")
		m.onWrite = func(n int, _, _ []byte) fault {
			if n != 3 {
				return fine
			}
			m.mu.Lock()
			m.onRead = func() error { // before the first read after the save
				m.mu.Lock()
				m.onRead = nil
				m.mu.Unlock()
				two, err := b.Load(t.Context(), "k")
				if err == nil {
					_, err = b.Refresh(t.Context(), "k", two, time.Minute, next)
				}
				return err
			}
			m.mu.Unlock()
			return lostReply
		}
		rec, err := a.Refresh(t.Context(), "k", seen, time.Minute, next)
		wantErr(t, err, tokenclient.ErrOvertaken)
		wantToken(t, rec, "refresh-a''", 3)
	})
}

// TestSaveOverRefused: another presented the spent token after us and was refused.
// Our pair is what it could not get, and brings the session back.
func TestSaveOverRefused(t *testing.T) {
	m, a, b := bed(true)
	seen := login(t, a, "k", "a")
	rec, err := a.Refresh(t.Context(), "k", seen, time.Minute, during(func(ctx context.Context) {
		_, err := b.Refresh(ctx, "k", seen, time.Minute, fails(tokenclient.ErrRefused))
		wantErr(t, err, tokenclient.ErrRefused)
		if h := m.header(t); h.State != tokenclient.Refused {
			t.Errorf("%v", h.State)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	wantToken(t, rec, "refresh-a'", 2)
	wantStored(t, b, "k", "refresh-a'", 2)
}

func TestSaveReplacedByLogout(t *testing.T) {
	_, a, b := bed(false)
	seen := login(t, a, "k", "a")
	rec, err := a.Refresh(t.Context(), "k", seen, time.Minute, during(func(context.Context) {
		if _, _, err := b.Replace(t.Context(), "k", nil); err != nil {
			t.Error(err)
		}
	}))
	wantErr(t, err, tokenclient.ErrReplaced)
	if rec.State != tokenclient.LoggedOut {
		t.Errorf("%v", rec)
	}
	stored, err := b.Load(t.Context(), "k")
	wantErr(t, err, tokenclient.ErrNoToken)
	if stored != rec {
		t.Errorf("%v is stored", stored)
	}
}

func TestSaveReplacedByLogin(t *testing.T) {
	_, a, b := bed(false)
	seen := login(t, a, "k", "a")
	rec, err := a.Refresh(t.Context(), "k", seen, time.Minute, during(func(context.Context) { login(t, b, "k", "b") }))
	wantErr(t, err, tokenclient.ErrReplaced)
	wantToken(t, rec, "refresh-b", 1)
	wantStored(t, a, "k", "refresh-b", 1)
}

// TestSaveOverRolledBackRecord: an older record of the era is no reason to drop the
// newest pair.
func TestSaveOverRolledBackRecord(t *testing.T) {
	m, a, _ := bed(false)
	one := login(t, a, "k", "a")
	backup := m.raw("k")
	two, err := a.Refresh(t.Context(), "k", one, time.Second, next)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := a.Refresh(t.Context(), "k", two, time.Minute, during(func(context.Context) { m.put("k", backup) }))
	if err != nil {
		t.Fatal(err)
	}
	wantToken(t, rec, "refresh-a''", 3)
	wantStored(t, a, "k", "refresh-a''", 3)
}

func TestSaveAfterTheRecordWasDeleted(t *testing.T) {
	m, a, _ := bed(false)
	seen := login(t, a, "k", "a")
	rec, err := a.Refresh(t.Context(), "k", seen, time.Minute, during(func(context.Context) { m.put("k", nil) }))
	wantErr(t, err, tokenclient.ErrReplaced)
	if rec.State != tokenclient.Absent || m.raw("k") != nil {
		t.Errorf("%v", rec)
	}
}
