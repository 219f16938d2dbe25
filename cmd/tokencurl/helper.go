package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

const (
	userVariable = "TOKENCURL_USERNAME"
	defaultUser  = "oauth2"
)

func (h *helper) userName() string { return cmp.Or(h.user, os.Getenv(userVariable), defaultUser) }

// git speaks git's protocol of credential helpers (gitcredentials(7), git-credential(1)). For
// other places than those of the session it says nothing, and git asks the next helper. What
// git calls "erase" is a server that refused the token: a new one is got for the next "get".
func (h *helper) git(ctx context.Context, operation string) (err error) {
	if operation != "get" && operation != "erase" {
		return nil // "store", and what may come: git says that helpers ignore it
	}
	asked, err := readAll(h.stdin)
	if err != nil {
		return &exitError{exitRead, err}
	}
	fields, bearer := gitFields(asked)
	c, err := h.open(nil)
	if errors.Is(err, errNoSession) {
		return nil
	}
	if err != nil {
		return err
	}
	defer c.close(ctx, &err)
	u, err := url.Parse(fields["protocol"] + "://" + fields["host"])
	if err != nil || u.Scheme != fields["protocol"] || u.Host != fields["host"] || !c.allows(u) {
		return nil
	}
	t, err := c.Token(ctx)
	if err != nil {
		return err
	}
	if operation == "erase" {
		if refused := cmp.Or(fields["credential"], fields["password"]); refused == t.AccessToken {
			_, err = c.RefreshRejected(ctx, t)
		}
		return err
	}
	if bearer {
		if err := h.say("capability[]=authtype\n"); err != nil {
			return err
		}
	}
	if !t.Expiry.IsZero() {
		if err := h.say("password_expiry_utc=%d\n", t.Expiry.Unix()); err != nil {
			return err
		}
	}
	if bearer {
		return h.say("authtype=Bearer\ncredential=%s\nephemeral=1\n", t.AccessToken)
	}
	return h.say("username=%s\npassword=%s\n", cmp.Or(fields["username"], h.userName()), t.AccessToken)
}

// gitFields reads what git asks; bearer reports whether git can send more than passwords.
func gitFields(asked string) (fields map[string]string, bearer bool) {
	fields = map[string]string{}
	for line := range strings.Lines(asked) {
		name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "=")
		if !ok {
			break
		}
		if name == "capability[]" {
			bearer = bearer || value == "authtype"
			continue
		}
		fields[name] = value
	}
	return fields, bearer
}

// dockerNotFound is what docker compares with.
const dockerNotFound = "credentials not found in native keychain"

// docker speaks the protocol of docker-credential-helpers. What it says of errors goes to
// standard output, where docker reads it.
func (h *helper) docker(ctx context.Context, operation string) error {
	err := h.dockerOperation(ctx, operation)
	if err == nil {
		return nil
	}
	_ = h.say("%s\n", said(err))
	return &exitError{code: 1} // docker knows no other
}

func (h *helper) dockerOperation(ctx context.Context, operation string) (err error) {
	switch operation {
	case "version":
		return h.say("tokencurl %s\n", version())
	case "store", "erase":
		return errors.New("log in and out by tokencurl, not by docker")
	case "get", "list":
	default:
		return fmt.Errorf("unknown operation %q", operation)
	}
	asked := ""
	if operation == "get" {
		if asked, err = readAll(h.stdin); err != nil {
			return err
		}
	}
	c, err := h.open(nil)
	if errors.Is(err, errNoSession) {
		return errors.New(dockerNotFound)
	}
	if err != nil {
		return err
	}
	defer c.close(ctx, &err)
	if operation == "list" {
		users := map[string]string{}
		for _, origin := range c.Origins {
			users[origin] = h.userName()
		}
		return json.NewEncoder(h.out).Encode(users)
	}
	server := strings.TrimSpace(asked)
	if !c.allowsServer(server) {
		return errors.New(dockerNotFound)
	}
	t, err := c.Token(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(h.out).Encode(struct{ ServerURL, Username, Secret string }{server, h.userName(), t.AccessToken})
}

// allowsServer takes what docker calls a server: a URL, or a host and perhaps a port.
func (p *profile) allowsServer(server string) bool {
	candidates := []string{server}
	if !strings.Contains(server, "://") {
		candidates = []string{"https://" + server, "http://" + server} // http is only among Origins within this machine
	}
	for _, s := range candidates {
		if u, err := url.Parse(s); err == nil && u.Host != "" && p.allows(u) {
			return true
		}
	}
	return false
}

const kubectlVariable = "KUBERNETES_EXEC_INFO"

// An execCredential is client.authentication.k8s.io, v1 and v1beta1.
type execCredential struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Spec       struct {
		Cluster *struct {
			Server string `json:"server"`
		} `json:"cluster,omitempty"`
	} `json:"spec"`
	Status *execStatus `json:"status,omitempty"`
}

type execStatus struct {
	Token               string `json:"token"`
	ExpirationTimestamp string `json:"expirationTimestamp,omitempty"`
}

// kubectl speaks the protocol of client-go's exec plugins.
func (h *helper) kubectl(ctx context.Context, operation string) (err error) {
	if operation != "" {
		return usage(errors.New("--exec kubectl takes no operation"))
	}
	answer := execCredential{}
	info := os.Getenv(kubectlVariable)
	if info == "" {
		return usage(errors.New(kubectlVariable + " is not set: this is for kubectl to call"))
	}
	if err := json.Unmarshal([]byte(info), &answer); err != nil {
		return usage(fmt.Errorf("%s: %w", kubectlVariable, err))
	}
	versions := []string{"client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"}
	if answer.Kind != "ExecCredential" || !slices.Contains(versions, answer.APIVersion) {
		return usage(fmt.Errorf("%s is a %s of %s, which is not known here", kubectlVariable, answer.Kind, answer.APIVersion))
	}
	if answer.Spec.Cluster == nil {
		return usage(errors.New("kubectl does not say for which cluster: set provideClusterInfo: true in its exec entry"))
	}
	c, err := h.open(nil)
	if err != nil {
		return err
	}
	defer c.close(ctx, &err)
	u, err := url.Parse(answer.Spec.Cluster.Server)
	if err != nil || !c.allows(u) {
		return &exitError{exitOrigin, fmt.Errorf("session %q is for %s, not for the cluster's %s", c.name, strings.Join(c.Origins, ", "), answer.Spec.Cluster.Server)}
	}
	t, err := c.Token(ctx)
	if err != nil {
		return err
	}
	answer.Status = &execStatus{Token: t.AccessToken}
	if !t.Expiry.IsZero() {
		answer.Status.ExpirationTimestamp = t.Expiry.UTC().Format(time.RFC3339)
	}
	answer.Spec.Cluster = nil // it is not asked for, and may be large
	return json.NewEncoder(h.out).Encode(answer)
}
