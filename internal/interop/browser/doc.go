// Package browser tests logins with a real browser: Debian's Chromium, without a window, with
// a profile of its own. It opens the page of a server, types, presses a button, and is led back
// to the program.
package browser
