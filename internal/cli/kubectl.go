package cli

import (
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"clipper/internal/cli/embedded"
)

// Kubectl becomes upstream's kubectl, with the given arguments. It returns
// only an error.
func Kubectl(args []string) error {
	path, err := embedded.Kubectl()
	if err != nil {
		return err
	}
	return unix.Exec(path, append([]string{"kubectl"}, args...), os.Environ())
}

func (a *App) kubectl() *cobra.Command {
	return &cobra.Command{
		Use: "kubectl [arguments]", Short: "Run kubectl, which is built in",
		Long:               "Run upstream's kubectl with any arguments. A link to clipper that is named kubectl does the same.",
		Example:            "  clipper kubectl get pods -A\n  ln -s $(command -v clipper) /usr/local/bin/kubectl",
		DisableFlagParsing: true,
		RunE:               func(_ *cobra.Command, args []string) error { return Kubectl(args) },
	}
}
