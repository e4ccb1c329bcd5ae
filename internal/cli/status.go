package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"clipper/internal/cli/local"
)

// nodeStatus is what is known of a node.
type nodeStatus struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	// Process is Running or Stopped; Ready is the API's word: True, False,
	// Unknown, or "" when the API does not answer.
	Process string `json:"process"`
	Ready   string `json:"ready"`
	Log     string `json:"log"`
}

type clusterStatus struct {
	Name    string       `json:"name"`
	State   string       `json:"state"`
	API     string       `json:"api"`
	Version string       `json:"version,omitempty"`
	Context string       `json:"context"`
	Nodes   []nodeStatus `json:"nodes"`
}

// look gathers the status of a cluster. An API that does not answer in time
// leaves its parts empty.
func (a *App) look(ctx context.Context, name string) (*clusterStatus, error) {
	c, err := local.Load(a.Dirs, name)
	if err != nil {
		return nil, err
	}
	s := &clusterStatus{Name: c.Name, State: "Stopped", API: fmt.Sprintf("https://127.0.0.1:%d", c.Port), Context: local.Context(c.Name)}
	processes, err := c.Processes()
	if err != nil {
		return nil, err
	}
	running := false
	for _, n := range c.Nodes {
		ns := nodeStatus{Name: n, Address: c.NodeIP(n).String(), Process: "Stopped", Log: c.LogFile(n)}
		if processes[n] {
			ns.Process, running = "Running", true
		}
		s.Nodes = append(s.Nodes, ns)
	}
	if !running {
		return s, nil
	}
	s.State = "Running"
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	nodes, version, err := askAPI(ctx, c)
	if err != nil {
		s.State = "Running, but its API does not answer: " + err.Error()
		return s, nil
	}
	s.Version = version
	for i := range s.Nodes {
		for _, n := range nodes {
			if n.Name == s.Nodes[i].Name {
				s.Nodes[i].Ready = readyCondition(&n)
			}
		}
	}
	return s, nil
}

func askAPI(ctx context.Context, c *local.Cluster) ([]corev1.Node, string, error) {
	admin, err := adminConfig(c)
	if err != nil {
		return nil, "", err
	}
	rest, err := clientcmd.NewDefaultClientConfig(*admin, nil).ClientConfig()
	if err != nil {
		return nil, "", err
	}
	rest.Timeout = 3 * time.Second
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return nil, "", err
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, "", err
	}
	version, err := client.Discovery().ServerVersion()
	if err != nil {
		return nil, "", err
	}
	return nodes.Items, version.GitVersion, nil
}

func readyCondition(n *corev1.Node) string {
	for _, cond := range n.Status.Conditions {
		if cond.Type == corev1.NodeReady {
			return string(cond.Status)
		}
	}
	return ""
}

func (a *App) status() *cobra.Command {
	var name, format string
	cmd := &cobra.Command{
		Use: "status", Short: "Say how a cluster is", Args: cobra.NoArgs,
		Long:    "Status prints a cluster's state. Its exit status is 0 when every node is Ready, else 1.",
		Example: "  clipper status -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.look(cmd.Context(), name)
			if err != nil {
				return err
			}
			if format == "" {
				fmt.Fprintf(a.Out, "cluster   %s\nstate     %s\nAPI       %s\nversion   %s\ncontext   %s\n\n", s.Name, s.State, s.API, s.Version, s.Context)
			}
			if err := write(a.Out, format, s, nodeHeader, func(w io.Writer) { printNodes(w, s.Nodes) }); err != nil {
				return err
			}
			for _, n := range s.Nodes {
				if n.Ready != "True" {
					return exitStatus(1)
				}
			}
			return nil
		},
	}
	a.nameFlag(cmd, &name)
	outputFlag(cmd, &format)
	return cmd
}

const nodeHeader = "NODE\tADDRESS\tPROCESS\tREADY\tLOG"

func printNodes(w io.Writer, nodes []nodeStatus) {
	for _, n := range nodes {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", n.Name, n.Address, n.Process, n.Ready, n.Log)
	}
}

func (a *App) node() *cobra.Command {
	return group("node", "Look at a cluster's nodes", "  clipper node ls", a.nodeList())
}

func (a *App) nodeList() *cobra.Command {
	var name, format string
	cmd := &cobra.Command{
		Use: "ls", Aliases: []string{"list"}, Short: "List the nodes", Args: cobra.NoArgs,
		Example: "  clipper node ls -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.look(cmd.Context(), name)
			if err != nil {
				return err
			}
			return write(a.Out, format, s.Nodes, nodeHeader, func(w io.Writer) { printNodes(w, s.Nodes) })
		},
	}
	a.nameFlag(cmd, &name)
	outputFlag(cmd, &format)
	return cmd
}
