package login

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// openPatience is how long a program that is to show a page has to fail.
const openPatience = 2 * time.Second

// OpenBrowser has the system show a page in the browser of its user: by xdg-open, or
// wslview, on Linux and the BSDs, by open on macOS, and by rundll32 on Windows, with no shell
// between. It waits up to two seconds for that to fail, and no longer: what it starts may be
// the browser itself, and lives on.
//
// There is an error if there is nobody to see a page, as in a container or over SSH, if the
// program is not there or fails, if ctx ends, or if the URL is not http or https. A browser
// that opens and cannot show the page is no error that anybody learns of: tell the person the
// address all the same, as Browser does without a Config.Prompt.
func OpenBrowser(ctx context.Context, rawURL string) error { return open(ctx, rawURL, openPatience) }

func open(ctx context.Context, rawURL string, patience time.Duration) error {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return errors.New("login: OpenBrowser: the URL is not one that begins with https:// or http://")
	}
	argv, err := opener(runtime.GOOS, os.Getenv, exec.LookPath)
	if err != nil {
		return fmt.Errorf("login: OpenBrowser: %w", err)
	}
	if err := start(ctx, append(argv, u.String()), patience); err != nil {
		return fmt.Errorf("login: OpenBrowser: %w", err)
	}
	return nil
}

var errNobody = errors.New("there is no display, and so nobody to see a page")

// opener returns the program that shows pages, and its arguments but for the address.
func opener(goos string, env func(string) string, look func(string) (string, error)) ([]string, error) {
	switch goos {
	case "darwin":
		return []string{"/usr/bin/open"}, nil
	case "windows":
		root := env("SystemRoot")
		if root == "" {
			return nil, errors.New("the environment has no SystemRoot")
		}
		return []string{filepath.Join(root, "System32", "rundll32.exe"), "url.dll,FileProtocolHandler"}, nil
	}
	name := "xdg-open"
	switch {
	case env("DISPLAY") != "" || env("WAYLAND_DISPLAY") != "":
	case env("WSL_DISTRO_NAME") != "":
		name = "wslview" // shows it in Windows
	default: // xdg-open would take the terminal for a browser in it
		return nil, errNobody
	}
	path, err := look(name)
	if err != nil {
		return nil, err
	}
	return []string{path}, nil
}

// start starts a program, and returns when it has ended, or lives on after its time to fail.
func start(ctx context.Context, argv []string, patience time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := exec.Command(argv[0], argv[1:]...) // not CommandContext: it is to live on
	if err := c.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }() // it ends with the program, which is not ours to end
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case err := <-ended:
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(argv[0]), err)
		}
		return nil
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
