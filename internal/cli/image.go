package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"clipper/internal/cli/local"
	"clipper/internal/config"
)

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
The file - is standard input.`,
		Example: `  clipper image load app.tar
  docker save app:dev | clipper image load -`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			c, err := local.Load(a.Dirs, name)
			if err != nil {
				return err
			}
			for _, file := range files {
				if err := a.load(cmd.Context(), c, file); err != nil {
					return err
				}
			}
			return nil
		},
	}
	a.nameFlag(cmd, &name)
	return cmd
}

// load gives all nodes an archive, side by side, and prints what it held.
func (a *App) load(ctx context.Context, c *local.Cluster, file string) error {
	if file == "-" && len(c.Nodes) > 1 {
		kept, err := spool(os.Stdin)
		if err != nil {
			return err
		}
		defer os.Remove(kept)
		file = kept
	}
	loaded, failed := make([][]string, len(c.Nodes)), make([]error, len(c.Nodes))
	var nodes sync.WaitGroup
	for i, node := range c.Nodes {
		nodes.Go(func() {
			var in io.Reader = os.Stdin
			if file != "-" {
				f, err := os.Open(file)
				if err != nil {
					failed[i] = err
					return
				}
				defer f.Close()
				in = f
			}
			if err := c.Ask(ctx, node, http.MethodPost, "/images", in, &loaded[i]); err != nil {
				failed[i] = fmt.Errorf("%s: %w", file, err)
			}
		})
	}
	nodes.Wait()
	if err := errors.Join(failed...); err != nil {
		return err
	}
	for _, image := range loaded[0] {
		fmt.Fprintln(a.Out, image)
	}
	return nil
}

// spool keeps what can be read only once, for several readers, in a file.
func spool(from io.Reader) (string, error) {
	f, err := os.CreateTemp("", "clipper-images-*")
	if err != nil {
		return "", err
	}
	if _, err := io.Copy(f, from); err != nil {
		return "", errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return f.Name(), f.Close()
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
				if err := c.Ask(cmd.Context(), node, http.MethodGet, "/images", nil, &images); err != nil {
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
