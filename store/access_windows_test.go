package store_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/windows"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// me is the user of the descriptors in the tables.
const me = "S-1-5-21-1-2-3-1001"

func descriptor(t *testing.T, sddl string) *windows.SECURITY_DESCRIPTOR {
	t.Helper()
	sd, err := windows.SecurityDescriptorFromString(sddl)
	if err != nil {
		t.Fatalf("%s: %v", sddl, err)
	}
	return sd
}

func userSID(t *testing.T) *windows.SID {
	t.Helper()
	sid, err := windows.StringToSid(me)
	if err != nil {
		t.Fatal(err)
	}
	return sid
}

func TestAccessListOfOthers(t *testing.T) {
	user := userSID(t)
	for sddl, want := range map[string]string{ // "": nobody else
		"D:P(A;OICI;FA;;;" + me + ")(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)":        "",
		"D:AI(A;OICIID;FA;;;SY)(A;OICIID;FA;;;BA)(A;OICIID;FA;;;" + me + ")": "",
		"D:P":                                "",
		"D:(D;;FA;;;WD)(A;;FA;;;" + me + ")": "",
		"D:(A;;FA;;;" + me + ")(A;;0x1200a0;;;WD)":            "", // traverse, attributes, READ_CONTROL, SYNCHRONIZE
		"D:(A;;FA;;;" + me + ")(A;OICIIO;GA;;;CO)":            "", // as Windows has it in many folders
		"D:(A;;FA;;;" + me + ")(A;;FA;;;S-1-3-4)":             "",
		"D:(A;;FA;;;" + me + ")(A;;FR;;;WD)":                  "at it",
		"D:(A;;FA;;;" + me + ")(A;;0x1;;;BU)":                 "at it", // list, or read
		"D:(A;;FA;;;" + me + ")(A;;0x2;;;BU)":                 "at it", // add a file, or write
		"D:(A;;FA;;;" + me + ")(A;;0x10000;;;BU)":             "at it", // delete
		"D:(A;;FA;;;" + me + ")(A;;0x40000;;;BU)":             "at it", // change the list
		"D:(A;;FA;;;" + me + ")(A;;0x80000;;;BU)":             "at it", // take it
		"D:(A;;FA;;;" + me + ")(A;;0x40;;;BU)":                "at it", // delete what is in a folder
		"D:(A;;FA;;;" + me + ")(A;;GR;;;BU)":                  "at it",
		"D:(A;;FA;;;" + me + ")(A;OICIIO;GR;;;BU)":            "at it", // nothing in the folder itself
		"D:(A;;FA;;;" + me + ")(A;;GA;;;CO)":                  "at it",
		"D:(A;;FA;;;" + me + ")(A;;FR;;;AU)":                  "at it",
		"D:(A;;FA;;;" + me + ")(A;;FR;;;S-1-5-21-1-2-3-1002)": "S-1-5-21-1-2-3-1002 at it",
		"D:(A;;FA;;;" + me + ")(A;;FR;;;S-1-15-2-1)":          "at it", // all that come from the shop
		"O:" + me: "no access list",
	} {
		got, err := store.OthersOf(descriptor(t, sddl), user)
		if err != nil || (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, %v; want %q", sddl, got, err, want)
		}
	}
	empty, err := windows.NewSecurityDescriptor()
	if err == nil {
		err = empty.SetDACL(nil, true, false)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got, err := store.OthersOf(empty, user); err != nil || !strings.Contains(got, "no access list") {
		t.Errorf("a list that is nil: %q, %v", got, err)
	}
}

func TestOwnerOfAccess(t *testing.T) {
	for owner, ok := range map[string]bool{
		me: true, "SY": true, "BA": true,
		"BU": false, "S-1-5-21-1-2-3-1002": false, "WD": false,
	} {
		got, err := store.OwnerOf(descriptor(t, "O:"+owner+"D:P"), userSID(t))
		if err != nil || (got == "") != ok {
			t.Errorf("%s: %q, %v", owner, got, err)
		}
	}
}

// mkdir makes a folder with the access list of sddl, in which ME is the user.
func mkdir(t *testing.T, sddl string) string {
	t.Helper()
	u, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		t.Fatal(err)
	}
	sa := windows.SecurityAttributes{SecurityDescriptor: descriptor(t, strings.ReplaceAll(sddl, "ME", u.User.Sid.String()))}
	sa.Length = uint32(unsafe.Sizeof(sa))
	dir := filepath.Join(t.TempDir(), "folder")
	name, err := windows.UTF16PtrFromString(dir)
	if err == nil {
		err = windows.CreateDirectory(name, &sa)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

const (
	looseList   = "D:P(A;OICI;FA;;;ME)(A;OICI;FR;;;WD)"
	privateList = "D:P(A;OICI;FA;;;ME)"
)

// TestNewFileAccess: the folders that NewFile makes are for nobody else, whatever is above
// them; one that lets others at it is refused, with what to do.
func TestNewFileAccess(t *testing.T) {
	dir := filepath.Join(mkdir(t, looseList), "parent", "tokens")
	f := openFile(t, dir)
	login(t, f, "k", "a")
	for _, path := range []string{filepath.Dir(dir), dir, f.RecordPath("k")} {
		sd, err := windows.GetNamedSecurityInfo(path, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION)
		if err != nil {
			t.Fatal(err)
		}
		u, err := windows.GetCurrentProcessToken().GetTokenUser()
		if err != nil {
			t.Fatal(err)
		}
		if others, err := store.OthersOf(sd, u.User.Sid); err != nil || others != "" {
			t.Errorf("%s has %v: %s, %v", path, sd, others, err)
		}
	}
	loose := mkdir(t, looseList)
	_, err := store.NewFile(loose, store.Plaintext())
	wantErr(t, err, tokenclient.ErrStoreUnavailable)
	for _, want := range []string{loose, "icacls", "/reset", "(OI)(CI)F"} { // the entry for others is not inherited
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %s", err, want)
		}
	}
	if _, err := store.NewFile(mkdir(t, privateList), store.Plaintext()); err != nil {
		t.Error(err)
	}
}

// TestKeyFileAccess: a key that is made is for nobody else, also in a folder that others can
// read, and one that they can read is refused.
func TestKeyFileAccess(t *testing.T) {
	dir := mkdir(t, looseList)
	path := filepath.Join(dir, "key")
	if _, err := store.LoadOrCreateKeyFile(path); err != nil {
		t.Fatal(err)
	}
	if _, err := store.KeyFile(path); err != nil {
		t.Error(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	loose := filepath.Join(dir, "loose")
	if err := os.WriteFile(loose, b, 0o600); err != nil { // with the list of the folder
		t.Fatal(err)
	}
	if _, err := store.KeyFile(loose); err == nil || !strings.Contains(err.Error(), loose) || !strings.Contains(err.Error(), "icacls") {
		t.Errorf("a key that everybody can read: %v", err)
	}
}
