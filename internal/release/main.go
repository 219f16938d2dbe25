// Command release makes a version of all modules that users import, and tries one the
// way a user gets it.
//
//	go run ./internal/release v0.2.0       # says what it would do, and changes nothing
//	go run ./internal/release -do v0.2.0   # does it, up to the push
//	go run ./internal/release -api         # what has changed in the exported API since the last release
//	go run ./internal/release -consumer    # packs this tree and uses it from an empty folder
//	go run ./internal/release -licences DIR # bills of materials, and the licence of each dependency
//
// # Versions
//
// All public modules have one version, and each requires the others at it. On main a
// nested module has a replace for the core, so that its tests see the tree as it is, and
// requires the version that was tagged last. A tagged go.mod has no replace: `go install
// module@version` refuses one. So there are two commits. The tags are on the first, whose
// modules are as users get them; the second puts the replaces back, with the new version
// above them.
//
// A nested module's go.sum has the hash of the core that is tagged with it. The hash is
// computed before there is a tag: a module's zip has none of the files of the modules
// inside it, so what is written into a nested module does not change the core.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	do := flags.Bool("do", false, "commit and tag; without it nothing changes")
	diff := flags.Bool("api", false, "print what has changed in the exported API since the last release")
	consumer := flags.Bool("consumer", false, "pack this tree as a module proxy and use each module from an empty folder")
	bills := flags.String("licences", "", "write bills of materials (CycloneDX) to this `folder` and print all licences")
	if err := flags.Parse(args); err != nil {
		return err
	}
	root, err := git(ctx, ".", "rev-parse", "--show-toplevel")
	if err != nil {
		return err
	}
	if *diff {
		return api(ctx, root, os.Stdout)
	}
	if *consumer {
		return consume(ctx, root, "v0.1.0-ci", os.Stdout)
	}
	if *bills != "" {
		return licences(ctx, root, *bills, os.Stdout)
	}
	if flags.NArg() != 1 {
		return errors.New("say which version, such as v0.2.0")
	}
	return release(ctx, root, flags.Arg(0), *do, os.Stdout)
}
