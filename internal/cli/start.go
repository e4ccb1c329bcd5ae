package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"clipper/internal/cli/local"
)

func (a *App) start() *cobra.Command {
	var (
		o       local.Options
		wait    time.Duration
		mirrors []string
	)
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Start a cluster on this machine, or resume a stopped one",
		Long: `Start creates a cluster on this machine, or resumes one that was stopped, and
returns when every node is Ready. It writes a context for it to your kubeconfig
($KUBECONFIG, or ~/.kube/config) and makes that the current one.

The API is at 127.0.0.1 on a free port. Pods and Services can be reached from
this machine by their addresses.`,
		Example: `  clipper start
  clipper start --nodes 3                              # also makes a smaller cluster larger
  clipper start --name ci --no-uplink --memory-store   # nothing leaves the machine or touches the disk
  clipper start --mirror docker.io=http://10.0.0.5:5000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), wait)
			defer cancel()
			o.Program, o.Progress, o.Admit = a.Program, a.progress(), admit
			o.Registries = map[string][]string{}
			for _, m := range mirrors {
				registry, mirror, ok := strings.Cut(m, "=")
				if !ok {
					return fmt.Errorf("--mirror %q: write REGISTRY=URL, such as docker.io=http://10.0.0.5:5000", m)
				}
				o.Registries[registry] = append(o.Registries[registry], mirror)
			}
			if !cmd.Flags().Changed("nodes") {
				o.Nodes = 0
			}
			c, err := local.Start(ctx, a.Dirs, o)
			if err != nil {
				return err
			}
			file, err := mergeKubeconfig(c)
			if err != nil {
				return fmt.Errorf("cluster %q is Ready, but %w; `clipper kubeconfig --name %[1]s` prints what belongs there", c.Name, err)
			}
			o.Progress(fmt.Sprintf("cluster %q is Ready: https://127.0.0.1:%d, context %q in %s",
				c.Name, c.Port, local.Context(c.Name), file))
			return nil
		},
	}
	f := cmd.Flags()
	a.nameFlag(cmd, &o.Name)
	f.IntVar(&o.Nodes, "nodes", 1, "how many nodes the cluster has")
	f.BoolVar(&o.NoUplink, "no-uplink", false, "give the cluster no way out of this machine")
	f.BoolVar(&o.MemoryStore, "memory-store", false, "keep the cluster's state in memory only; it is gone after a stop")
	f.Uint16Var(&o.Port, "port", 0, "the API's port on 127.0.0.1 (default: a free one)")
	f.StringArrayVar(&mirrors, "mirror", nil, "ask a mirror before a registry, as REGISTRY=URL; may be repeated")
	f.DurationVar(&wait, "wait", 2*time.Minute, "how long to wait for the nodes to be Ready")
	f.BoolVar(&o.Debug, "debug", false, "let the nodes log more")
	return cmd
}

func (a *App) stop() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "stop", Short: "Stop a cluster; its state and images stay",
		Example: `  clipper stop
  clipper start      # goes on where it was`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := local.Stop(cmd.Context(), a.Dirs, name); err != nil {
				return err
			}
			_, err := fmt.Fprintf(a.Err, "cluster %q is stopped; `clipper start --name %s` resumes it\n", name, name)
			return err
		},
	}
	a.nameFlag(cmd, &name)
	return cmd
}

func (a *App) delete() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "delete", Short: "Delete a cluster and all that it left on this machine",
		Long: `Delete ends a cluster, in whatever state it is, and removes its processes,
namespaces, mounts, cgroups, links, rules, files and kubeconfig context.
Deleting a cluster that does not exist is no error.`,
		Example: "  clipper delete --name ci",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := local.Delete(a.Dirs, name); err != nil {
				return err
			}
			if err := dropKubeconfig(name); err != nil {
				return fmt.Errorf("cluster %q is gone, but %w", name, err)
			}
			_, err := fmt.Fprintf(a.Err, "cluster %q is gone\n", name)
			return err
		},
	}
	a.nameFlag(cmd, &name)
	return cmd
}
