package protocol_test

import (
	"os/exec"
	"regexp"
	"testing"
	"time"

	"github.com/seed-fbfaa0ec/silentrefresh/internal/planted"
)

// plant makes a world of which the protocol expects better. Bugs of the code are
// planted there.
func (w *world) plant() {
	switch planted.Name() {
	case "lease shorter than a request lingers":
		w.set.lingerDead = true
	case "second try while the first lingers":
		w.set.lingerGone = true
	case "logout deletes, save recreates":
		w.set.deletes = true
	case "logout deletes the key (ABA)":
		w.set.deletes, w.set.absent = true, true
	case "requests of the dead outlive the promise":
		w.lockIt()
		w.set.promiseBroken = true
	case "the promise counts from the claim", "lock let go while the request may be at work":
		w.lockIt()
	}
}

// A plantedBug is a mistake that somebody could make, or has made.
type plantedBug struct {
	name    string
	want    string // the property that it breaks; several in brackets
	patches []patch
}

// A patch is a planted.Patch.
type patch struct{ file, old, new string }

const (
	refreshFile = "internal/protocol/refresh.go"
	presentFile = "internal/protocol/present.go"
	saveFile    = "internal/protocol/save.go"
	refuseFile  = "internal/protocol/refuse.go"
	replaceFile = "internal/protocol/replace.go"
	leaseFile   = "internal/protocol/lease.go"
	recordFile  = "internal/protocol/record.go"
	waitFile    = "internal/protocol/wait.go"
)

// plantedBugs are those that a model of the protocol was checked with, and some more.
// All of that model apply. But some are mistakes in what this code relies on, and no
// patch makes them: a server that works on a request for too long, an engine that
// takes a logout for a deletion; see world.plant. And nothing renews a hold here, so
// it is with its caller, not with the hold, that a call is cancelled.
var plantedBugs = []plantedBug{
	{"ambiguous loss taken back", "P1", []patch{{presentFile,
		"	case notSpent(res.err):",
		"	case notSpent(res.err) || BUG:"}}},
	{"hold given up after a timeout", "P6", []patch{{presentFile,
		"	case res.late || timedOut(res.err):",
		"	case (res.late || timedOut(res.err)) && !BUG:"}}},
	{"one lease id for two holds", "P1", []patch{{refreshFile,
		"		patience: *e.patience(),\n	}\n",
		"		patience: *e.patience(),\n	}\n	if BUG {\n		f.lease = [16]byte{}\n		copy(f.lease[:], fmt.Sprintf(\"%p\", e))\n	}\n"}}},
	{"re-read refreshes the lease age", "P1", []patch{{refreshFile,
		"	r := *q.rec\n	r.WriteID = newID()\n	if r.Lease",
		"	if BUG && q.rec.Lease == f.lease {\n		f.issued = f.e.timing.now()\n		cur.Announced = int(q.rec.Announced)\n		return q, cur, nil\n	}\n" +
			"	r := *q.rec\n	r.WriteID = newID()\n	if r.Lease"}}},
	{"lease shorter than a request lingers", "P[16]", nil},
	{"second try while the first lingers", "P[136]", nil}, // each such try is waited for, too
	{"lease shorter than the call", "P1", []patch{{refreshFile,
		"	r.LeaseLen = f.timeout + f.margin\n",
		"	r.LeaseLen = f.timeout + f.margin\n	if BUG {\n		r.LeaseLen = f.timeout / 4\n	}\n"}}},
	{"plain overwrite", "P4", []patch{{saveFile,
		"	case q.rec == nil || q.rec.Era != s.next.Era:",
		"	case q.rec == nil || q.rec.Era != s.next.Era && !BUG:"}}},
	{"wall clock", "P1", []patch{
		// The space ends the number: the rest of the id is left to chance, and a digit in it would be read along.
		{refreshFile,
			"	f.claiming, f.issued = true, f.e.timing.now()\n",
			"	f.claiming, f.issued = true, f.e.timing.now()\n	if BUG {\n		copy(f.lease[:], fmt.Sprint(f.issued.UnixNano()/1e6, \" \"))\n		r.Lease = f.lease\n	}\n"},
		{leaseFile,
			"	left := r.Hold() - now.Sub(t.since)\n",
			"	left := r.Hold() - now.Sub(t.since)\n	if BUG {\n		var ms int64\n		_, _ = fmt.Sscan(string(r.Lease[:13]), &ms)\n		left = r.LeaseLen - now.Sub(time.UnixMilli(ms))\n	}\n"}}},
	{"newcomer trusts no lease", "P1", []patch{{leaseFile,
		"	if t.claim != r.WriteID {",
		"	if BUG && t.claim == [16]byte{} {\n		return true, nil\n	}\n	if t.claim != r.WriteID {"}}},
	{"no re-read under the lease", "P[1-6]", []patch{
		{refreshFile,
			"q.rec.Number > f.seen.Number:",
			"q.rec.Number > f.seen.Number && !BUG:"},
		{presentFile,
			"	arg.Token = cur.Token.Clone() // fn may change it\n",
			"	arg.Token = cur.Token.Clone() // fn may change it\n	if BUG {\n		arg.Token = f.seen.Token.Clone()\n	}\n"}}},
	{"unconditional delete", "P[45]", []patch{
		{refuseFile,
			"			case found.rec.Era != r.Era || found.rec.Number > r.Number:",
			"			case (found.rec.Era != r.Era || found.rec.Number > r.Number) && !BUG:"},
		{refuseFile,
			"			case found.rec.Lease != f.lease && !bytes.Equal(found.raw, q.raw):",
			"			case found.rec.Lease != f.lease && !bytes.Equal(found.raw, q.raw) && !BUG:"}}},
	{"logout deletes, save recreates", "P[24]", []patch{{saveFile,
		"		return s.lost(ctx, q, tokenclient.ErrReplaced)",
		"		if BUG && q.rec == nil {\n			break\n		}\n		return s.lost(ctx, q, tokenclient.ErrReplaced)"}}},
	{"no fence in memory", "P4", []patch{{"tokenclient/session_state_refresh.go",
		"	fenced := st.fence != f.fence\n",
		"	fenced := st.fence != f.fence && !BUG\n"}}},
	{"presentations not announced", "P1", []patch{{refreshFile,
		"		r.Announced = min(r.Announced, 254) + 1\n",
		"		if !BUG {\n			r.Announced = min(r.Announced, 254) + 1\n		}\n"}}},
	{"two announcements end the session", "P5", []patch{{refreshFile,
		"		held, cur, err := f.claim(ctx, q)\n",
		"		if BUG && q.rec.Announced >= 2 && q.rec.Lease != f.lease {\n			rec, _, err := f.refuse(ctx, q, tokenclient.ErrRefused)\n			return rec, err\n		}\n" +
			"		held, cur, err := f.claim(ctx, q)\n"}}},
	{"second try without a new announcement", "P1", []patch{{presentFile,
		"	res := call(fnCtx, f.fn, arg)\n",
		"	res := call(fnCtx, f.fn, arg)\n	if BUG && res.err != nil && !notSpent(res.err) && !errors.Is(res.err, tokenclient.ErrRefused) {\n		res = call(fnCtx, f.fn, arg)\n	}\n"}}},
	{"holder without lease drops its pair", "P2", []patch{{saveFile,
		"		s.over = q\n",
		"		if BUG && q.rec.Lease != s.over.rec.Lease {\n			return s.lost(ctx, q, tokenclient.ErrOvertaken)\n		}\n		s.over = q\n"}}},
	{"call cancelled with its caller", "P2", []patch{{presentFile,
		"	detached := context.WithoutCancel(ctx)\n",
		"	detached := context.WithoutCancel(ctx)\n	if BUG {\n		detached = ctx\n	}\n"}}},
	{"failed save given up", "P2", []patch{{saveFile,
		"		if rec, err = s.try(tryCtx); settled(err) {",
		"		if rec, err = s.try(tryCtx); BUG && !settled(err) {\n			return s.saved(), nil\n		} else if settled(err) {"}}},
	{"clock that stops in suspend", "P1", []patch{{waitFile,
		"	return max(now.Sub(then), wall), wall >= 0\n",
		"	if BUG {\n		return now.Sub(then), true\n	}\n	return max(now.Sub(then), wall), wall >= 0\n"}}},
	{"no clock check before the send", "P1", []patch{{refreshFile,
		"!ok || age > f.margin-f.reserve {",
		"(!ok || age > f.margin-f.reserve) && !BUG {"}}},
	{"own lease not recognised", "P3", []patch{{refreshFile,
		"		if q.rec.Lease != f.lease {\n			if ready",
		"		if q.rec.Lease != f.lease || BUG {\n			if ready"}}},
	{"logout deletes the key (ABA)", "P4", nil},
	{"login write repeated without era", "P4", []patch{{replaceFile,
		"		if q.era() != first {",
		"		if q.era() != first && !BUG {"}}},

	// Beyond the model.
	{"save in spite of an announcement", "P[12]", []patch{{saveFile,
		"	case int(q.rec.Announced) > s.seen.Announced:",
		"	case int(q.rec.Announced) > s.seen.Announced && !BUG:"}}},
	{"save that looks at announcements once", "P[12]", []patch{{saveFile,
		"		if rec, err := s.mayReplace(ctx, q); err != nil {",
		"		if rec, err := s.mayReplace(ctx, q); err != nil && !(BUG && errors.Is(err, tokenclient.ErrAnnounced)) {"}}},
	{"save of a refresh token that was refused", "P5", []patch{{saveFile,
		"		if q.rec.Number == s.seen.Number &&",
		"		if !BUG && q.rec.Number == s.seen.Number &&"}}},
	{"save over a newer token", "P[245]", []patch{{saveFile,
		"	case q.rec.Number >= s.next.Number:",
		"	case q.rec.Number >= s.next.Number && !(BUG && s.seen != nil):"}}},
	{"a token that was not stored is taken for the newest", "P[12]", []patch{{saveFile,
		"	if !s.spends() {",
		"	if !s.spends() && !BUG {"}}},
	{"late pair dropped because of a claim", "P2", []patch{{saveFile,
		"	case int(q.rec.Announced) > s.seen.Announced",
		"	case BUG && int(q.rec.Announced) > s.seen.Announced:\n		return q.header(), tokenclient.ErrAnnounced\n	case int(q.rec.Announced) > s.seen.Announced"}}},
	{"every look begins the wait anew", "P3", []patch{{leaseFile,
		"	left := r.Hold() - now.Sub(t.since)\n",
		"	if BUG {\n		t.since = now\n	}\n	left := r.Hold() - now.Sub(t.since)\n"}}},
	{"requests of the dead outlive the promise", "P6", nil},
	{"lock let go while the request may be at work", "P1", []patch{{refreshFile,
		"		f.turn.End(f.lingers)\n",
		"		if BUG {\n			f.lingers = 0\n		}\n		f.turn.End(f.lingers)\n"}}},
	{"the promise counts from the claim", "P[16]", []patch{{recordFile,
		"		left = min(left, promised)\n",
		"		left = min(left, promised)\n		if BUG {\n			left = min(left, promised-passed)\n		}\n"}}},
	{"hold as long as the machine slept", "P6", []patch{{refreshFile,
		"2*min(age, OperationTimeout)",
		"2*map[bool]time.Duration{true: age, false: min(age, OperationTimeout)}[BUG]"}}},
}

var foundBug = regexp.MustCompile(`seed (\d+): (.*)`)

// TestSimulationFindsBugs plants each of plantedBugs in the code, and has the
// simulation look for what it does not know. The code is patched on its way to the
// compiler, once for all of them; they are chosen by the environment.
func TestSimulationFindsBugs(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the package anew")
	}
	if planted.Name() != "" {
		return
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skipf("without the go command the bugs cannot be compiled: %v", err)
	}
	var bugs []planted.Bug
	for _, b := range plantedBugs {
		bug := planted.Bug{Name: b.name}
		for _, p := range b.patches {
			bug.Patches = append(bug.Patches, planted.Patch{File: p.file, Old: p.old, New: p.new})
		}
		bugs = append(bugs, bug)
	}
	exe := planted.Build(t, "../..", bugs)
	if out, err := exec.Command(exe, "-test.run=^TestSimulation$", "-test.short").CombinedOutput(); err != nil {
		t.Fatalf("patched, but no bug is planted: %v\n%s", err, out)
	}
	for _, b := range plantedBugs {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(exe, "-test.run=^TestSimulation$", "-test.timeout=60s", "-simulation.seeds=40000",
				"-test.parallel=1") // so that it is the same seed each time
			cmd.Env = planted.Environ(b.name)
			begin := time.Now()
			out, err := cmd.CombinedOutput()
			found := foundBug.FindSubmatch(out)
			if err == nil || found == nil {
				t.Fatalf("not found: %v\n%s", err, out)
			}
			t.Logf("seed %s, after %v: %s", found[1], time.Since(begin).Round(time.Millisecond), found[2])
			if !regexp.MustCompile("^" + b.want + ":").Match(found[2]) {
				t.Errorf("found as %q, want %s", found[2], b.want)
			}
		})
	}
}
