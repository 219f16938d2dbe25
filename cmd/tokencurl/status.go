package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-fbfaa0ec/silentrefresh/store"
	"github.com/seed-fbfaa0ec/silentrefresh/tokenclient"
)

// A condition is how a session is, without a secret. Times that are not known are left out.
type condition struct {
	Session       string     `json:"session"`
	State         string     `json:"state"` // active, logged out, refused, absent, unknown
	Expiry        *time.Time `json:"expiry,omitempty"`
	RefreshExpiry *time.Time `json:"refresh_expiry,omitempty"`
	Issued        *time.Time `json:"issued,omitempty"` // the last login or refresh
	Era           string     `json:"era,omitempty"`
	Number        uint64     `json:"number,omitempty"`
	Announced     int        `json:"announced,omitempty"`
	Held          bool       `json:"held"`
	SealedBy      string     `json:"sealed_by,omitempty"`
	Key           string     `json:"key"`
	Origins       []string   `json:"origins"`
	Error         string     `json:"error,omitempty"`
}

func (t *tool) statusCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "List the sessions: expiry, last refresh, hold, key; never a secret",
		Long: `status lists all sessions, or with --session that one; then the exit code is 67 if
somebody has to log in.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.status(cmd.Context(), cmd.Flags().Changed("session"), asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as a JSON array")
	return cmd
}

func (t *tool) status(ctx context.Context, one, asJSON bool) error {
	home, err := t.home()
	if err != nil {
		return err
	}
	names := []string{t.name}
	if !one {
		if names, err = sessionNames(home); err != nil {
			return err
		}
	}
	conditions := []condition{} // not null in JSON
	for _, name := range names {
		p, err := readProfile(home, name)
		if err != nil {
			if one {
				return err
			}
			conditions = append(conditions, condition{Session: name, State: "unknown", Error: said(err)})
			continue
		}
		conditions = append(conditions, p.condition(ctx, home, name))
	}
	if asJSON {
		e := json.NewEncoder(t.out)
		e.SetIndent("", "  ")
		err = e.Encode(conditions)
	} else {
		err = t.list(conditions)
	}
	if err != nil {
		return &exitError{exitWrite, err}
	}
	if one && conditions[0].State != tokenclient.Active.String() {
		return &exitError{code: exitLogin}
	}
	return nil
}

// condition looks at the store. It makes no folder and no key; without the key it says what
// can be said.
func (p *profile) condition(ctx context.Context, home, name string) condition {
	c := condition{Session: name, State: tokenclient.Absent.String(), Key: p.Key, Origins: p.Origins}
	if _, err := os.Stat(tokensIn(home)); errors.Is(err, fs.ErrNotExist) {
		return c
	}
	sealer, keyErr := p.sealer(home, false)
	if keyErr != nil {
		sealer = store.Plaintext()
	}
	files, err := store.NewFile(tokensIn(home), sealer)
	var i store.Inspection
	if err == nil {
		i, err = store.Inspect(ctx, files, p.record(name))
	}
	if err != nil {
		c.Error = said(cmp.Or(keyErr, err))
		c.State = "unknown"
		if i.Era == [16]byte{} {
			return c
		}
	}
	c.State, c.Number, c.Announced, c.Held, c.SealedBy = i.State.String(), i.Number, i.Announced, i.Held, i.SealedBy
	if i.Era != [16]byte{} {
		c.Era = hex.EncodeToString(i.Era[:])
	}
	for at, to := range map[*time.Time]**time.Time{&i.Expiry: &c.Expiry, &i.RefreshExpiry: &c.RefreshExpiry, &i.Issued: &c.Issued} {
		if !at.IsZero() {
			*to = at
		}
	}
	return c
}

// list is for people.
func (t *tool) list(conditions []condition) error {
	if len(conditions) == 0 {
		_, err := fmt.Fprintln(t.out, "There is no session: run tokencurl login.")
		return err
	}
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SESSION\tSTATE\tEXPIRES\tREFRESHED\tERA\tNUMBER\tHOLD\tKEY\tORIGINS")
	for _, c := range conditions {
		hold := "free"
		if c.Held {
			hold = "held"
		}
		if c.Announced > 0 {
			hold += fmt.Sprintf(", announced %d", c.Announced)
		}
		key := c.Key
		if c.SealedBy != "" {
			key += " (" + c.SealedBy + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\n", c.Session, c.State, until(c.Expiry), since(c.Issued),
			cmp.Or(c.Era[:min(8, len(c.Era))], "-"), c.Number, hold, key, strings.Join(c.Origins, " "))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, c := range conditions {
		if c.Error != "" {
			fmt.Fprintf(t.out, "%s: %s\n", c.Session, c.Error)
		}
	}
	return nil
}

// until is how long until something is over, as a person reads it.
func until(at *time.Time) string {
	if at == nil {
		return "-"
	}
	d := time.Until(*at)
	if d <= 0 {
		return "expired"
	}
	return "in " + short(d)
}

func since(at *time.Time) string {
	if at == nil {
		return "-"
	}
	return short(max(0, time.Since(*at))) + " ago"
}

// short is d in its two largest units.
func short(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= 2*day:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return d.Round(time.Second).String()
}

func (t *tool) logoutCommand() *cobra.Command {
	var forget bool
	cmd := &cobra.Command{
		Use:   "logout",
		Short: "End a session, and have the server revoke its tokens",
		Long:  "logout ends a session. Where to log in stays known for the next login, unless --forget is given.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return t.logout(cmd.Context(), forget)
		},
	}
	cmd.Flags().BoolVar(&forget, "forget", false, "also forget where the session was logged in")
	return cmd
}

func (t *tool) logout(ctx context.Context, forget bool) (err error) {
	c, err := t.open(nil)
	if err != nil {
		return err
	}
	defer c.close(ctx, &err)
	if err := c.Logout(ctx); err != nil {
		if errors.Is(err, tokenclient.ErrStoreUnavailable) || errors.Is(err, tokenclient.ErrStoreCorrupt) || ctx.Err() != nil {
			return fmt.Errorf("not logged out: the token may still be stored, try again: %w", err)
		}
		return fmt.Errorf("logged out here, but not at the server: %w", err)
	}
	if forget {
		if err := os.Remove(profilePath(c.home, c.name)); err != nil {
			return &exitError{exitStore, err}
		}
	}
	fmt.Fprintf(t.err, "Logged out: session %q.\n", c.name)
	return nil
}
