// Package cli is what a user types: local clusters, their images and their
// kubeconfig. Clusters themselves are managed by cli/local.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"clipper/internal/cli/local"
)

// App is what the commands share.
type App struct {
	Out, Err io.Writer
	Dirs     local.Dirs
	// Program is the file that runs a node.
	Program string
	// Version is what `clipper version` prints.
	Version string
	// Now is the clock that progress is measured by.
	Now func() time.Time
}

// New returns the root command, with the given commands beside the package's own.
func New(a *App, more ...*cobra.Command) *cobra.Command {
	root := &cobra.Command{
		Use:   "clipper",
		Short: "Kubernetes as one small, fast program",
		Long: `Clipper is a whole Kubernetes cluster in one program. Every Kubernetes client,
manifest and tool works with it unchanged.`,
		Example: `  clipper start                        # a cluster on this machine, Ready in a moment
  clipper kubectl get nodes            # kubectl is built in
  clipper image load app.tar           # give it images without a registry
  clipper delete                       # leave nothing behind`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       a.Version,
	}
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	root.AddCommand(a.start(), a.stop(), a.delete(), a.status(), a.kubeconfig(), a.image(), a.node(), a.token(), a.kubectl(), a.demo(), a.version())
	root.AddCommand(more...)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; `%s --help` lists the flags", err, cmd.CommandPath())
	})
	return root
}

// group returns a command that only holds others.
func group(use, short, example string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Example: example,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command %q; `%s --help` lists them", args[0], cmd.CommandPath())
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(commands...)
	return cmd
}

// Execute runs the command line and returns the process's exit status.
func Execute(ctx context.Context, root *cobra.Command) int {
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var status exitStatus
	if errors.As(err, &status) {
		return int(status)
	}
	fmt.Fprintln(root.ErrOrStderr(), "clipper:", err)
	return 1
}

// exitStatus ends the program with a status and without a message.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

const defaultName = "clipper"

// nameFlag gives a command the flag that names the cluster.
func (a *App) nameFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "name", defaultName, "the cluster's name")
	_ = cmd.RegisterFlagCompletionFunc("name", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var names []string
		for _, c := range local.List(a.Dirs) {
			names = append(names, c.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
}

func (a *App) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version of clipper and of Kubernetes that it serves", Args: cobra.NoArgs,
		Example: "  clipper version",
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(a.Out, a.Version)
			return err
		},
	}
}

// progress prints steps as they come, each with the time since the start.
func (a *App) progress() func(string) {
	begin := a.Now()
	return func(step string) {
		fmt.Fprintf(a.Err, "%6.2f s  %s\n", a.Now().Sub(begin).Seconds(), step)
	}
}

// Main is the usual App of this process.
func Main(version string) (*App, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return &App{
		Out: os.Stdout, Err: os.Stderr, Dirs: local.DefaultDirs(),
		Program: program, Version: version, Now: time.Now,
	}, nil
}
