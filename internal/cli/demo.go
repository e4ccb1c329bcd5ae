package cli

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"clipper/internal/cli/demo"
	"clipper/internal/cli/embedded"
	"clipper/internal/cli/local"
)

func (a *App) demo() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "demo", Short: "Deploy a small web server and ask it for a page",
		Long: `Demo loads an image that clipper itself carries, deploys two pods of it behind a
Service in the namespace default, and prints where it answers and what.`,
		Example: "  clipper start && clipper demo",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
			defer cancel()
			c, err := local.Load(a.Dirs, name)
			if err != nil {
				return err
			}
			return a.runDemo(ctx, c)
		},
	}
	a.nameFlag(cmd, &name)
	return cmd
}

func (a *App) runDemo(ctx context.Context, c *local.Cluster) error {
	progress := a.progress()
	program, err := embedded.Program("clipper-demo")
	if err != nil {
		return err
	}
	var image bytes.Buffer
	if err := demo.WriteImage(&image, program, runtime.GOARCH); err != nil {
		return fmt.Errorf("making the demo's image: %w", err)
	}
	for _, node := range c.Nodes {
		var loaded []string
		if err := c.Ask(ctx, node, http.MethodPost, "/images", bytes.NewReader(image.Bytes()), &loaded); err != nil {
			return err
		}
	}
	progress("image " + demo.Image + " is loaded")
	admin, err := adminConfig(c)
	if err != nil {
		return err
	}
	rest, err := clientcmd.NewDefaultClientConfig(*admin, nil).ClientConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return err
	}
	port, err := demo.Deploy(ctx, client, "default")
	if err != nil {
		return err
	}
	progress("Deployment and Service demo are ready")
	url := fmt.Sprintf("http://%s:%d/", c.NodeIP(c.Nodes[0]), port)
	answer, err := demo.Fetch(ctx, url)
	if err != nil {
		return fmt.Errorf("the demo runs but does not answer: %w", err)
	}
	kubeconfig := os.Getenv("KUBECONFIG")
	if kubeconfig == "" {
		kubeconfig = clientcmd.RecommendedHomeFile
	}
	self := "clipper"
	if found, err := os.Executable(); err == nil {
		self = shortest(found)
	}
	which := ""
	if c.Name != defaultName {
		which = " --name " + c.Name
	}
	fmt.Fprintf(a.Out, `
  %s
  answered: %s

  kubeconfig  %s (context %q)

Next things to try:
  %[5]s kubectl get pods -o wide
  %[5]s kubectl scale deployment demo --replicas=5
  %[5]s kubectl logs -f deployment/demo
  %[5]s status%[6]s
  %[5]s delete%[6]s
`, url, strings.TrimSpace(answer), kubeconfig, local.Context(c.Name), self, which)
	return nil
}

// shortest returns how a user would type a program's path from here.
func shortest(path string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, path); err == nil && !strings.HasPrefix(rel, "..") {
			return rel
		}
	}
	return path
}
