package cli

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"clipper/internal/auth"
	"clipper/internal/cli/local"
	"clipper/internal/config"
)

func (a *App) token() *cobra.Command {
	return group("token", "Make, list and delete the tokens by which machines join a cluster",
		"  clipper token create --ttl 1h\n  clipper token ls", a.tokenCreate(), a.tokenList(), a.tokenDelete())
}

// admitted is the cluster that a token is of.
type admitted struct {
	client kubernetes.Interface
	server string // where agents reach it
	ca     []byte
}

// admission is how a command finds its cluster.
type admission struct{ name, kubeconfig string }

func (w *admission) flags(a *App, cmd *cobra.Command) {
	a.nameFlag(cmd, &w.name)
	cmd.Flags().StringVar(&w.kubeconfig, "kubeconfig", "", "an administrator's kubeconfig, such as STATE-DIR/admin.kubeconfig of `clipper server`")
}

// find looks where the flags say; without any, at this machine's `clipper
// server` if there is no local cluster.
func (w *admission) find(a *App) (*admitted, error) {
	if w.kubeconfig != "" {
		return admittedBy(w.kubeconfig, "")
	}
	c, err := local.Load(a.Dirs, w.name)
	if errors.Is(err, local.ErrNotFound) && w.name == defaultName {
		file := filepath.Join(a.Dirs.State, config.Standalone, "admin.kubeconfig")
		if _, missing := os.Stat(file); missing == nil {
			return admittedBy(file, "")
		}
	}
	if err != nil {
		return nil, err
	}
	return admittedBy(filepath.Join(c.StateDir(), c.Nodes[0], "admin.kubeconfig"), "https://"+c.API().String())
}

func admittedBy(file, server string) (*admitted, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", file)
	if err != nil {
		return nil, fmt.Errorf("the cluster's credentials: %w", err)
	}
	cfg.Timeout = 10 * time.Second
	in := &admitted{server: server}
	if in.server == "" {
		in.server = cfg.Host
	}
	if err := rest.LoadTLSFiles(cfg); err != nil {
		return nil, err
	}
	in.ca = cfg.CAData
	in.client, err = kubernetes.NewForConfig(cfg)
	return in, err
}

// admit makes a token valid for the nodes that `clipper start` adds.
func admit(ctx context.Context, c *local.Cluster, token auth.BootstrapToken) error {
	in, err := admittedBy(filepath.Join(c.StateDir(), c.Nodes[0], "admin.kubeconfig"), "")
	if err != nil {
		return err
	}
	return in.create(ctx, token, "for nodes that clipper start adds", time.Now().Add(time.Hour))
}

func (in *admitted) create(ctx context.Context, token auth.BootstrapToken, description string, expires time.Time) error {
	_, err := in.client.CoreV1().Secrets(metav1.NamespaceSystem).Create(ctx, token.AsSecret(description, expires), metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("the token: %w", err)
	}
	return nil
}

// hash is that of the CA of a kubeconfig. Of several, a server's chain ends at
// one, and it cannot be told here which.
func (in *admitted) hash() (hash [sha256.Size]byte, err error) {
	if len(in.ca) == 0 {
		return hash, errors.New("the kubeconfig holds no CA by which agents could know the server")
	}
	return auth.CAHash(in.ca)
}

func (a *App) tokenCreate() *cobra.Command {
	var (
		in          admission
		ttl         time.Duration
		description string
	)
	cmd := &cobra.Command{
		Use: "create", Short: "Make a token, print it, and say how to join with it", Args: cobra.NoArgs,
		Long: `Create makes a token by which a machine joins the cluster as a node. The token
holds the hash of the cluster's CA, so that a machine joins no other cluster. It
lets nobody do more than ask for a node's certificate, until it expires or is
deleted; nodes that have joined need it no more.`,
		Example: `  clipper token create --ttl 1h
  clipper token create --kubeconfig /var/lib/clipper/server/admin.kubeconfig > token`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ttl < 0 {
				return fmt.Errorf("--ttl %s: a token cannot have expired before it is made; 0 is one that never does", ttl)
			}
			at, err := in.find(a)
			if err != nil {
				return err
			}
			var t auth.JoinToken
			if t.CA, err = at.hash(); err != nil {
				return err
			}
			if t.BootstrapToken, err = auth.NewBootstrapToken(rand.Reader); err != nil {
				return err
			}
			var expires time.Time
			if ttl > 0 {
				expires = a.Now().Add(ttl)
			}
			if err := at.create(cmd.Context(), t.BootstrapToken, description, expires); err != nil {
				return err
			}
			fmt.Fprintf(a.Err, "on the machine that is to join, as root:\n  clipper agent --server %s --token %s\n", at.server, t)
			_, err = fmt.Fprintln(a.Out, t)
			return err
		},
	}
	in.flags(a, cmd)
	cmd.Flags().DurationVar(&ttl, "ttl", 24*time.Hour, "how long the token is good for; 0 is for ever")
	cmd.Flags().StringVar(&description, "description", "", "what the token is for, for those who list it")
	return cmd
}

func (a *App) tokenList() *cobra.Command {
	var (
		in     admission
		format string
	)
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List the tokens, without what is secret of them", Args: cobra.NoArgs,
		Example: "  clipper token ls -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := in.find(a)
			if err != nil {
				return err
			}
			secrets, err := at.client.CoreV1().Secrets(metav1.NamespaceSystem).List(cmd.Context(), metav1.ListOptions{
				FieldSelector: fields.OneTermEqualSelector("type", string(auth.BootstrapTokenType)).String(),
			})
			if err != nil {
				return err
			}
			all := []auth.BootstrapInfo{}
			for i := range secrets.Items {
				// What is no token lets nobody in, and is not this command's.
				if info, err := auth.ReadBootstrapSecret(&secrets.Items[i]); err == nil {
					all = append(all, info)
				}
			}
			slices.SortFunc(all, func(a, b auth.BootstrapInfo) int { return strings.Compare(a.ID, b.ID) })
			return write(a.Out, format, all, "ID\tEXPIRES\tDESCRIPTION", func(w io.Writer) {
				for _, t := range all {
					expires := "never"
					switch left := t.Expires.Sub(a.Now()); {
					case t.Expires.IsZero():
					case left <= 0:
						expires = "expired"
					default:
						expires = "in " + left.Round(time.Second).String()
					}
					fmt.Fprintf(w, "%s\t%s\t%s\n", t.ID, expires, t.Description)
				}
			})
		},
	}
	in.flags(a, cmd)
	outputFlag(cmd, &format)
	return cmd
}

func (a *App) tokenDelete() *cobra.Command {
	var in admission
	cmd := &cobra.Command{
		Use: "delete ID...", Aliases: []string{"rm"}, Short: "Delete tokens, so that nobody joins with them any more",
		Example: "  clipper token delete abcdef",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, ids []string) error {
			at, err := in.find(a)
			if err != nil {
				return err
			}
			for _, id := range ids {
				id, _, _ = strings.Cut(id, ".") // the whole token is as good
				err := at.client.CoreV1().Secrets(metav1.NamespaceSystem).Delete(cmd.Context(), auth.BootstrapSecretName(id), metav1.DeleteOptions{})
				if apierrors.IsNotFound(err) {
					return fmt.Errorf("there is no token %q; `clipper token ls` lists them", id)
				}
				if err != nil {
					return err
				}
				fmt.Fprintf(a.Err, "token %s is gone\n", id)
			}
			return nil
		},
	}
	in.flags(a, cmd)
	return cmd
}
