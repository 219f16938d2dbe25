// Package browser tests with a real browser: Debian's Chromium, without a window, with a
// profile of its own. For logins it opens the page of a server, types, presses a button, and is
// led back to the program. On the live page of package page it does what a person does, with the
// mouse and by the keyboard, and axe-core looks for what others could not use.
package browser
