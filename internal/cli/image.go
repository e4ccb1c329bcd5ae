package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"clipper/internal/cli/local"
	"clipper/internal/config"
)

// ask sends a request to a node over its unix socket and decodes the answer.
func ask(ctx context.Context, c *local.Cluster, node, method, path string, body io.Reader, answer any) error {
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", c.Socket(node))
		},
		DisableKeepAlives: true,
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://node"+path, body)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		var dial *net.OpError
		if errors.As(err, &dial) && dial.Op == "dial" {
			if os.Geteuid() != 0 {
				return fmt.Errorf("node %s cannot be reached (%w); run the command with sudo", node, dial.Err)
			}
			return fmt.Errorf("node %s does not run; `clipper start --name %s` starts it", node, c.Name)
		}
		return fmt.Errorf("node %s: %w", node, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 400 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return fmt.Errorf("node %s: %s", node, strings.TrimSpace(string(text)))
	}
	if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
		return fmt.Errorf("node %s: its answer cannot be read: %w", node, err)
	}
	return nil
}

func (a *App) image() *cobra.Command {
	return group("image", "Give a cluster images, and list those it has",
		"  clipper image load app.tar\n  clipper image ls", a.imageLoad(), a.imageList())
}

func (a *App) imageLoad() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "load FILE...", Short: "Load images from archives into every node",
		Long: `Load reads archives that "docker save" or another tool wrote (docker-archive or
OCI layout, as a tar, compressed by gzip or not) into every node of a cluster.
The file - is standard input, for a cluster of one node.`,
		Example: `  clipper image load app.tar
  docker save app:dev | clipper image load -`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			c, err := local.Load(a.Dirs, name)
			if err != nil {
				return err
			}
			for _, file := range files {
				for _, node := range c.Nodes {
					if err := a.load(cmd.Context(), c, node, file); err != nil {
						return err
					}
				}
			}
			return nil
		},
	}
	a.nameFlag(cmd, &name)
	return cmd
}

func (a *App) load(ctx context.Context, c *local.Cluster, node, file string) error {
	var in io.Reader = os.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	var loaded []string
	if err := ask(ctx, c, node, http.MethodPost, "/images", in, &loaded); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, image := range loaded {
		fmt.Fprintln(a.Out, image)
	}
	return nil
}

func (a *App) imageList() *cobra.Command {
	var name, format string
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List the images that the nodes hold", Args: cobra.NoArgs,
		Example: "  clipper image ls -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := local.Load(a.Dirs, name)
			if err != nil {
				return err
			}
			type row struct {
				Node string `json:"node"`
				config.Image
			}
			all := []row{}
			for _, node := range c.Nodes {
				var images []config.Image
				if err := ask(cmd.Context(), c, node, http.MethodGet, "/images", nil, &images); err != nil {
					return err
				}
				for _, image := range images {
					all = append(all, row{node, image})
				}
			}
			return write(a.Out, format, all, "NODE\tIMAGE\tID\tSIZE", func(w io.Writer) {
				for _, r := range all {
					id := strings.TrimPrefix(r.ID, "sha256:")
					for _, tag := range append(r.Tags[:len(r.Tags):len(r.Tags)], r.Digests[:min(len(r.Digests), max(0, 1-len(r.Tags)))]...) {
						fmt.Fprintf(w, "%s\t%s\t%.12s\t%.1f MB\n", r.Node, tag, id, float64(r.Size)/1e6)
					}
				}
			})
		},
	}
	a.nameFlag(cmd, &name)
	outputFlag(cmd, &format)
	return cmd
}
