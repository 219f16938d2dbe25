package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/windows"
)

// On Windows modes do not tell who can get at a file. Its security descriptor does: an owner,
// and a list of who may do what (DACL).

// currentUser is whom the program runs as.
var currentUser = sync.OnceValues(func() (*windows.SID, error) {
	u, err := windows.GetCurrentProcessToken().GetTokenUser()
	if err != nil {
		return nil, fmt.Errorf("whom the program runs as: %w", err)
	}
	return u.User.Sid, nil
})

// private is the descriptor of what is for the user, SYSTEM and Administrators, as is what
// comes into a folder that has it. It inherits nothing (P).
var private = sync.OnceValues(func() (*windows.SecurityAttributes, error) {
	user, err := currentUser()
	if err != nil {
		return nil, err
	}
	sd, err := windows.SecurityDescriptorFromString("D:P(A;OICI;FA;;;" + user.String() + ")(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)")
	if err != nil {
		return nil, err
	}
	sa := &windows.SecurityAttributes{SecurityDescriptor: sd}
	sa.Length = uint32(unsafe.Sizeof(*sa))
	return sa, nil
})

// makeFolders makes dir and its parents where they are missing, for nobody else.
func makeFolders(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		return &fs.PathError{Op: "mkdir", Path: dir, Err: windows.ERROR_DIRECTORY}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if parent := filepath.Dir(dir); parent != dir {
		if err := makeFolders(parent); err != nil {
			return err
		}
	}
	sa, err := private()
	if err != nil {
		return err
	}
	name, err := windows.UTF16PtrFromString(dir)
	if err == nil {
		err = windows.CreateDirectory(name, sa)
	}
	if err != nil && !errors.Is(err, windows.ERROR_ALREADY_EXISTS) { // another process was faster
		return &fs.PathError{Op: "mkdir", Path: dir, Err: err}
	}
	return nil
}

// createPrivate is os.CreateTemp for a file that is for nobody else from the beginning, in
// whatever folder.
func createPrivate(dir, pattern string) (*os.File, error) {
	sa, err := private()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, strings.Replace(pattern, "*", rand.Text(), 1))
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	h, err := windows.CreateFile(name, windows.GENERIC_READ|windows.GENERIC_WRITE,
		windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE, sa, windows.CREATE_NEW, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(h), path), nil
}

// checkAccess has find say who else can get at path, if anybody.
func checkAccess(path string, find func(sd *windows.SECURITY_DESCRIPTOR, user *windows.SID) (string, error)) error {
	user, err := currentUser()
	if err != nil {
		return err
	}
	target := path
	if info, err := os.Lstat(path); err != nil {
		return err
	} else if info.Mode()&fs.ModeSymlink != 0 { // of a key file: a link has a list of its own
		if target, err = filepath.EvalSymlinks(path); err != nil {
			return err
		}
	}
	var sd *windows.SECURITY_DESCRIPTOR
	if err := retryInUse(context.Background(), func() (err error) {
		sd, err = windows.GetNamedSecurityInfo(target, windows.SE_FILE_OBJECT,
			windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
		return err
	}); err != nil {
		return &fs.PathError{Op: "look at the access list of", Path: path, Err: err}
	}
	found, err := find(sd, user)
	if err != nil {
		return &fs.PathError{Op: "look at the access list of", Path: path, Err: err}
	}
	if found == "" {
		return nil
	}
	rights := "F"
	if info, err := os.Stat(target); err == nil && info.IsDir() {
		rights = "(OI)(CI)F"
	}
	// Without the reset entries that are not inherited would stay.
	return fmt.Errorf(`%s %s: make it the user's own (icacls "%[1]s" /setowner "%%USERNAME%%", icacls "%[1]s" /reset, and icacls "%[1]s" /inheritance:r /grant:r "%%USERNAME%%:%[3]s")`,
		path, found, rights)
}

// ownerOf says who the owner is if that is somebody else: who owns a file can change its list.
// What belongs to the system or the administrators is as good as the user's own.
func ownerOf(sd *windows.SECURITY_DESCRIPTOR, user *windows.SID) (string, error) {
	owner, _, err := sd.Owner()
	if err != nil {
		return "", err
	}
	if owner == nil || !trusted(owner, user) {
		return "belongs to " + nameOf(owner), nil
	}
	return "", nil
}

// harmless are the rights that let nobody read or change anything.
const harmless = windows.SYNCHRONIZE | windows.READ_CONTROL | windows.FILE_READ_ATTRIBUTES | windows.FILE_READ_EA | windows.FILE_EXECUTE

// othersOf says who else has rights to what sd is of, or to what comes into it.
func othersOf(sd *windows.SECURITY_DESCRIPTOR, user *windows.SID) (string, error) {
	list, _, err := sd.DACL()
	if errors.Is(err, windows.ERROR_OBJECT_NOT_FOUND) || err == nil && list == nil {
		return "has no access list, which lets everybody at it", nil
	}
	if err != nil {
		return "", err
	}
	for i := range uint32(list.AceCount) {
		var ace *windows.ACCESS_ALLOWED_ACE
		if err := windows.GetAce(list, i, &ace); err != nil {
			return "", err
		}
		const denied, allowedIf, deniedIf = 1, 9, 10
		switch ace.Header.AceType {
		case denied, deniedIf:
			continue
		case windows.ACCESS_ALLOWED_ACE_TYPE, allowedIf:
		default:
			return fmt.Sprintf("has an entry of type %d in its access list, which is not known", ace.Header.AceType), nil
		}
		sid := (*windows.SID)(unsafe.Pointer(&ace.SidStart))
		inherits := ace.Header.AceFlags&windows.INHERIT_ONLY_ACE != 0
		switch {
		case ace.Mask&^harmless == 0, trusted(sid, user):
		case sid.IsWellKnown(windows.WinCreatorOwnerRightsSid): // the owner, who is looked at by himself
		case inherits && sid.IsWellKnown(windows.WinCreatorOwnerSid): // who makes a file, which is us
		default:
			return "has an access list that lets " + nameOf(sid) + " at it", nil
		}
	}
	return "", nil
}

// trusted reports whether sid is the user, or can get at all that is his anyhow.
func trusted(sid, user *windows.SID) bool {
	return sid.Equals(user) || sid.IsWellKnown(windows.WinLocalSystemSid) || sid.IsWellKnown(windows.WinBuiltinAdministratorsSid)
}

func nameOf(sid *windows.SID) string {
	if sid == nil {
		return "nobody"
	}
	account, domain, _, err := sid.LookupAccount("")
	switch {
	case err != nil:
		return sid.String()
	case domain == "":
		return account
	}
	return domain + `\` + account
}
