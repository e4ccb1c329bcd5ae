package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"clipper/internal/cli/local"
)

// adminConfig reads the kubeconfig that the cluster's first node wrote for its
// administrator, its entries named after the cluster's context.
func adminConfig(c *local.Cluster) (*api.Config, error) {
	file := filepath.Join(c.StateDir(), c.Nodes[0], "admin.kubeconfig")
	in, err := clientcmd.LoadFromFile(file)
	if err != nil {
		return nil, fmt.Errorf("the cluster's credentials: %w; `clipper start --name %s` writes them", err, c.Name)
	}
	ctx := in.Contexts[in.CurrentContext]
	if ctx == nil || in.Clusters[ctx.Cluster] == nil || in.AuthInfos[ctx.AuthInfo] == nil {
		return nil, fmt.Errorf("%s is damaged; `clipper stop` and `clipper start` write it again", file)
	}
	name := local.Context(c.Name)
	out := api.NewConfig()
	out.Clusters[name] = in.Clusters[ctx.Cluster]
	out.Clusters[name].Server = fmt.Sprintf("https://127.0.0.1:%d", c.Port)
	out.AuthInfos[name] = in.AuthInfos[ctx.AuthInfo]
	// Otherwise a merge would write them back to where they came from.
	out.Clusters[name].LocationOfOrigin, out.AuthInfos[name].LocationOfOrigin = "", ""
	out.Contexts[name] = &api.Context{Cluster: name, AuthInfo: name}
	out.CurrentContext = name
	return out, nil
}

// mergeKubeconfig writes the cluster's context to the user's kubeconfig, makes
// it current, and returns the file it wrote.
func mergeKubeconfig(c *local.Cluster) (string, error) {
	add, err := adminConfig(c)
	if err != nil {
		return "", err
	}
	access := clientcmd.NewDefaultPathOptions()
	// Made first, as there is nothing to lock before; why it cannot be made, the
	// writing tells.
	_ = os.MkdirAll(filepath.Dir(access.GetDefaultFilename()), 0o755)
	defer lockKubeconfig(access)()
	have, err := access.GetStartingConfig()
	if err != nil {
		return "", fmt.Errorf("your kubeconfig cannot be read: %w; mend it, or name another in KUBECONFIG", err)
	}
	name := local.Context(c.Name)
	file := access.GetDefaultFilename()
	// What was written elsewhere for a cluster of this name is replaced there.
	if old := have.Contexts[name]; old != nil {
		add.Contexts[name].Namespace = old.Namespace
		add.Contexts[name].LocationOfOrigin = old.LocationOfOrigin
		add.Clusters[name].LocationOfOrigin = old.LocationOfOrigin
		add.AuthInfos[name].LocationOfOrigin = old.LocationOfOrigin
		if old.LocationOfOrigin != "" {
			file = old.LocationOfOrigin
		}
	}
	have.Clusters[name], have.AuthInfos[name], have.Contexts[name] = add.Clusters[name], add.AuthInfos[name], add.Contexts[name]
	have.CurrentContext = name
	if err := clientcmd.ModifyConfig(access, *have, true); err != nil {
		return "", fmt.Errorf("your kubeconfig %s cannot be written: %w", file, err)
	}
	return file, nil
}

// lockKubeconfig waits until no other command of ours reads or writes the user's
// kubeconfig, and returns the function that lets go. client-go's own lock is only
// held for the writing, so what another wrote after the reading would be lost, and
// it fails where another holds it. The folders are what is locked: nothing is left.
// One that is not there, or a file system without locks, is no reason to refuse.
func lockKubeconfig(access clientcmd.ConfigAccess) func() {
	var dirs []string
	for _, file := range access.GetLoadingPrecedence() {
		dirs = append(dirs, filepath.Dir(file))
	}
	slices.Sort(dirs) // whoever locks several does so in the same order
	var held []*os.File
	for _, dir := range slices.Compact(dirs) {
		f, err := os.Open(dir)
		if err != nil {
			continue
		}
		held = append(held, f)
		for unix.Flock(int(f.Fd()), unix.LOCK_EX) == unix.EINTR {
		}
	}
	return func() {
		for _, f := range held {
			f.Close()
		}
	}
}

// dropKubeconfig removes the cluster's context from the user's kubeconfig.
func dropKubeconfig(cluster string) error {
	access := clientcmd.NewDefaultPathOptions()
	defer lockKubeconfig(access)()
	have, err := access.GetStartingConfig()
	if err != nil {
		return fmt.Errorf("your kubeconfig cannot be read: %w", err)
	}
	name := local.Context(cluster)
	if have.Contexts[name] == nil && have.Clusters[name] == nil && have.AuthInfos[name] == nil {
		return nil
	}
	delete(have.Contexts, name)
	delete(have.Clusters, name)
	delete(have.AuthInfos, name)
	if have.CurrentContext == name {
		have.CurrentContext = ""
	}
	if err := clientcmd.ModifyConfig(access, *have, true); err != nil {
		return fmt.Errorf("your kubeconfig cannot be written: %w", err)
	}
	return nil
}

func (a *App) kubeconfig() *cobra.Command {
	var (
		name  string
		merge bool
	)
	cmd := &cobra.Command{
		Use: "kubeconfig", Short: "Print a cluster's kubeconfig",
		Example: `  clipper kubeconfig > admin.conf
  clipper kubeconfig --merge           # into your own, and make it current`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			c, err := local.Load(a.Dirs, name)
			if err != nil {
				return err
			}
			if merge {
				file, err := mergeKubeconfig(c)
				if err == nil {
					fmt.Fprintf(a.Err, "context %q is current in %s\n", local.Context(name), file)
				}
				return err
			}
			cfg, err := adminConfig(c)
			if err != nil {
				return err
			}
			data, err := clientcmd.Write(*cfg)
			if err != nil {
				return err
			}
			_, err = a.Out.Write(data)
			return err
		},
	}
	a.nameFlag(cmd, &name)
	cmd.Flags().BoolVar(&merge, "merge", false, "write it to your kubeconfig instead, and make it the current context")
	return cmd
}
