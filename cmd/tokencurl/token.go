package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// What asks for a token by a protocol of its own.
const (
	helperGit     = "git"
	helperDocker  = "docker"
	helperKubectl = "kubectl"
)

func (t *tool) tokenCommand() *cobra.Command {
	var kind, user string
	cmd := &cobra.Command{
		Use:   "token [operation]",
		Short: "Print an access token that has not expired, or hand it to git, docker or kubectl",
		Long: `token prints an access token for a script. It is a secret: whoever reads it has what
the session may do until the token expires.

With --exec it speaks the protocol of a credential helper, and gives the token only for
the origins of the session:

  git      git config --global credential.https://git.example.com.helper '!tokencurl token --exec git'
  docker   a link named docker-credential-tokencurl to tokencurl, and "credHelpers":
           {"registry.example.com": "tokencurl"} in ~/.docker/config.json
  kubectl  exec: {apiVersion: client.authentication.k8s.io/v1, command: tokencurl,
           args: [token, --exec, kubectl], interactiveMode: Never, provideClusterInfo: true}`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			h := &helper{tool: t, user: user}
			operation := ""
			if len(args) > 0 {
				operation = args[0]
			}
			run, ok := map[string]func(context.Context, string) error{
				"": h.print, helperGit: h.git, helperDocker: h.docker, helperKubectl: h.kubectl,
			}[kind]
			if !ok {
				return usage(fmt.Errorf("--exec %q: choose %s, %s or %s", kind, helperGit, helperDocker, helperKubectl))
			}
			return run(cmd.Context(), operation)
		},
	}
	cmd.Flags().StringVar(&kind, "exec", "", "speak the protocol of `git`, docker or kubectl")
	cmd.Flags().StringVar(&user, "username", "", "the user's `name` that goes with the token to git and docker, where servers want one; oauth2 if it is not set")
	_ = cmd.RegisterFlagCompletionFunc("exec", cobra.FixedCompletions([]string{helperGit, helperDocker, helperKubectl}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// A helper hands the token out.
type helper struct {
	*tool
	user string
}

// token is one that is good now.
func (h *helper) token(ctx context.Context) (_ *tokenclient.Token, err error) {
	c, err := h.open(nil)
	if err != nil {
		return nil, err
	}
	defer c.close(ctx, &err)
	return c.Token(ctx)
}

func (h *helper) print(ctx context.Context, operation string) error {
	if operation != "" {
		return usage(errors.New("token takes an operation only with --exec"))
	}
	t, err := h.token(ctx)
	if err != nil {
		return err
	}
	return h.say("%s\n", t.AccessToken)
}

func (h *helper) say(format string, args ...any) error {
	if _, err := fmt.Fprintf(h.out, format, args...); err != nil {
		return &exitError{exitWrite, err}
	}
	return nil
}
