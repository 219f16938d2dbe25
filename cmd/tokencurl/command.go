package main

import (
	"cmp"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
)

const defaultSession = "default"

// rootCommand is a request; what is none is a command below it.
func (t *tool) rootCommand() *cobra.Command {
	r := &request{tool: t}
	root := &cobra.Command{
		Use:   "tokencurl [flags] URL",
		Short: "Make HTTP requests that never see an expired token",
		Long: `tokencurl makes HTTP requests with the token of a session, which "tokencurl login" began.
The token is refreshed before it expires and after a 401, once for all processes.
It goes only to the origins that the session was logged in for.

URL may be a path, such as /me, if the session has one origin.`,
		Example: `  tokencurl login --issuer https://auth.example.com --client-id my-cli --origin https://api.example.com
  tokencurl https://api.example.com/me
  tokencurl --json '{"name":"x"}' /things
  tokencurl -T backup.tar -o answer.json /upload`,
		Args:          cobra.ArbitraryArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.run(cmd.Context(), args)
		},
	}
	root.SetVersionTemplate("tokencurl {{.Version}}\n")
	root.PersistentFlags().StringVar(&t.name, "session", cmp.Or(os.Getenv(sessionVariable), defaultSession), "the session's `name`; or "+sessionVariable)
	_ = root.RegisterFlagCompletionFunc("session", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		home, err := t.home()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		names, _ := sessionNames(home)
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	r.flags(root)
	root.AddCommand(t.loginCommand(), t.logoutCommand(), t.statusCommand(), t.tokenCommand())
	for _, cmd := range append(root.Commands(), root) {
		run := cmd.RunE
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			t.understood = true
			return run(cmd, args)
		}
	}
	return root
}

// flags are curl's, with its letters and its meanings.
func (r *request) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVarP(&r.method, "request", "X", "", "the `method`")
	f.StringArrayVarP(&r.headers, "header", "H", nil, "a `header` 'Name: value'; 'Name:' takes one away, 'Name;' sends it empty")
	f.VarP(&dataFlag{list: &r.data, read: true, strip: true}, "data", "d", "send `data`, by POST; @file or @- reads it, without line breaks; several are joined by &")
	f.Var(&dataFlag{list: &r.data}, "data-raw", "as -d, and @ is no file")
	f.Var(&dataFlag{list: &r.data, read: true}, "data-binary", "as -d, and line breaks stay")
	f.Var(&dataFlag{list: &r.json, read: true}, "json", "send `data` as JSON, and ask for JSON")
	f.StringArrayVarP(&r.form, "form", "F", nil, "a `part` of a multipart form: name=text, name=@file, name=<file; ;type= and ;filename= may follow")
	f.StringVarP(&r.upload, "upload-file", "T", "", "send `file` by PUT; - is standard input")
	f.BoolVarP(&r.get, "get", "G", false, "send the data of -d in the URL, by GET")
	f.BoolVarP(&r.head, "head", "I", false, "ask for the headers only")
	f.StringVarP(&r.output, "output", "o", "", "write the answer to `file`")
	f.BoolVarP(&r.include, "include", "i", false, "write the answer's status and headers too")
	f.BoolVarP(&r.verbose, "verbose", "v", false, "tell what happens, without secrets, on standard error")
	f.BoolVarP(&r.fail, "fail", "f", false, "exit with 22, and write nothing, if the status is 400 or above")
	f.BoolVar(&r.failWithBody, "fail-with-body", false, "as -f, and write the answer")
	f.BoolVarP(&r.silent, "silent", "s", false, "no progress, and nothing about errors")
	f.BoolVarP(&r.showError, "show-error", "S", false, "with -s, say what went wrong all the same")
	f.BoolVarP(&r.follow, "location", "L", false, "follow redirects; the token does not follow to another origin")
	f.BoolVar(&r.compressed, "compressed", false, "ask for a compressed answer, and write it uncompressed")
	f.StringVarP(&r.agent, "user-agent", "A", "tokencurl/"+version(), "the `User-Agent`")
	f.Float64VarP(&r.maxTime, "max-time", "m", 0, "give up after so many `seconds`")
}

// version is what go install got.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
