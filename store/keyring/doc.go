// Package keyring keeps the key that seals tokens in the keyring of the operating
// system: the Secret Service on Linux and BSD desktops (GNOME Keyring, KWallet,
// KeePassXC), the Keychain on macOS, the Credential Manager on Windows.
//
// There is one name, [Key]. What it returns goes into [store.Seal]; the sealed
// tokens are in a [store.File]. Tokens themselves are not put into the keyring: on
// Windows an item holds 2,560 bytes, on macOS hardly more, and no keyring can
// compare and swap, without which two processes exchange the same token.
//
// # What it protects, and what it does not
//
// The key is on disk only as the keyring keeps it: encrypted with a password of the
// user's, mostly that of the login. So unlike with a key file, a backup or a stolen
// disk that has everything on it is of no use either, if the password is good; a
// user who is logged in without one often has a keyring that is not encrypted.
// While the keyring is unlocked, it protects no more than a key file does:
//
//   - Any program of the same user can read the key. GNOME Keyring does not tell
//     programs apart. On macOS the item belongs to the tool
//     /usr/bin/security, through which it is written, so whoever runs that tool gets
//     the key without a question. The Credential Manager gives it to any
//     process of the user.
//   - On its way over D-Bus the key is not encrypted; whoever may watch the session
//     bus, which is the user and root, sees it.
//   - After [Key] has returned, the key is in the memory of this program.
//
// # Where there is no keyring
//
// Services, containers, CI and logins over SSH mostly have none, or one that nobody
// unlocks. There Key fails, and says so; it never makes do with something weaker.
// Use [store.KeyFile] or [store.KeyEnv] for programs that run there. If a program
// chooses between the two by itself, it has to choose once, at login, and remember
// the choice: one that falls back to a key file when the keyring is locked cannot
// read its tokens, and logs in anew.
//
// A machine without a display can have one all the same, with the packages dbus and
// gnome-keyring: "gnome-keyring-daemon --unlock" with a password on its standard input,
// under dbus-run-session. But a program that starts before the daemon is ready meets a
// second one, which is locked, and the daemon may outlive its bus: for a service a key
// file is simpler.
//
// Android and iOS are not supported, nor is FreeBSD without cgo; there Key is
// [errors.ErrUnsupported]. On Android and iOS, write a [store.KeyWrapper] over the
// Keystore or the Keychain.
package keyring
