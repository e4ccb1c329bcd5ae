package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"clipper/internal/config"
	"clipper/internal/system"
)

// runNode is what a local cluster starts for each of its nodes.
func runNode() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "run-node", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Read(file)
			if err != nil {
				return err
			}
			return system.Run(cmd.Context(), c, kubernetes, system.TellFD())
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "the node's configuration")
	return cmd
}

// flags are those that server and agent share.
type flags struct {
	c            config.Config
	agent        config.Agent
	nodeIP       string
	podCIDR      string
	serviceCIDR  string
	clusterCIDR  string
	disableAgent bool
}

func (f *flags) add(cmd *cobra.Command) {
	host, _ := os.Hostname()
	fs := cmd.Flags()
	fs.StringVar(&f.c.Node, "node-name", host, "the node's name")
	fs.StringVar(&f.c.StateDir, "state-dir", "/var/lib/clipper/"+config.Standalone, "folder for what must outlive a reboot")
	fs.StringVar(&f.c.RunDir, "run-dir", "/run/clipper/"+config.Standalone, "folder for sockets and the like")
	fs.StringVar(&f.nodeIP, "node-ip", "", "the node's address (default: that of the default route)")
	fs.StringVar(&f.clusterCIDR, "cluster-cidr", "10.42.0.0/16", "addresses of the cluster's pods")
	fs.StringVar(&f.podCIDR, "node-pod-cidr", "10.42.0.0/24", "this node's share of them")
	fs.StringVar(&f.serviceCIDR, "service-cidr", "10.43.0.0/16", "addresses of Services")
	fs.BoolVar(&f.agent.Uplink, "uplink", true, "let pods out, from behind the node's address")
	fs.StringArrayVar(&f.agent.Resolvers, "resolver", nil, "name server for names outside the cluster; may be repeated")
	fs.BoolVar(&f.c.Debug, "debug", false, "log more")
}

func (f *flags) config() (*config.Config, error) {
	var err error
	parse := func(s string) (p netip.Prefix) {
		if err == nil {
			p, err = netip.ParsePrefix(s)
		}
		return p
	}
	f.agent.ClusterPodCIDR, f.agent.PodCIDR, f.agent.ServiceCIDR = parse(f.clusterCIDR), parse(f.podCIDR), parse(f.serviceCIDR)
	if err != nil {
		return nil, err
	}
	if f.nodeIP == "" {
		f.agent.NodeIP, err = system.DefaultAddress()
	} else {
		f.agent.NodeIP, err = netip.ParseAddr(f.nodeIP)
	}
	if err != nil {
		return nil, err
	}
	if err := f.checkAddresses(); err != nil {
		return nil, err
	}
	f.c.Cluster, f.c.CgroupParent = config.Standalone, filepath.Join("clipper", config.Standalone, f.c.Node)
	if !f.disableAgent {
		f.c.Agent = &f.agent
	}
	return &f.c, nil
}

// checkAddresses tells whether a cluster can have the addresses it is given.
func (f *flags) checkAddresses() error {
	a := &f.agent
	for _, p := range []netip.Prefix{a.ClusterPodCIDR, a.PodCIDR, a.ServiceCIDR, netip.PrefixFrom(a.NodeIP, a.NodeIP.BitLen())} {
		if !p.Addr().Is4() {
			return fmt.Errorf("%s: this version serves only IPv4", p)
		}
	}
	switch {
	case a.PodCIDR.Bits() < a.ClusterPodCIDR.Bits() || !a.ClusterPodCIDR.Contains(a.PodCIDR.Addr()):
		return fmt.Errorf("--node-pod-cidr %s is no part of --cluster-cidr %s", a.PodCIDR, a.ClusterPodCIDR)
	case a.ServiceCIDR.Overlaps(a.ClusterPodCIDR):
		return fmt.Errorf("--service-cidr %s and --cluster-cidr %s overlap", a.ServiceCIDR, a.ClusterPodCIDR)
	case a.ClusterPodCIDR.Contains(a.NodeIP) || a.ServiceCIDR.Contains(a.NodeIP):
		return fmt.Errorf("--node-ip %s is one of the cluster's own addresses; choose other ranges, or another address", a.NodeIP)
	}
	return nil
}

func server() *cobra.Command {
	var f flags
	s := &config.Server{}
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Run a control plane, and a node, in the foreground",
		Long: `Server runs the control plane and, unless --disable-agent is given, a node in
the foreground, for a service manager. It writes the administrator's kubeconfig
to STATE-DIR/admin.kubeconfig.`,
		Example: "  clipper server --node-ip 192.0.2.10 --tls-san cluster.example.com",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.config()
			if err != nil {
				return err
			}
			s.Address, s.ServiceCIDR, s.PodCIDR = f.agent.NodeIP, f.agent.ServiceCIDR, f.agent.ClusterPodCIDR
			c.Server = s
			return system.Run(cmd.Context(), c, kubernetes, nil)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&f.disableAgent, "disable-agent", false, "run no node in this process")
	cmd.Flags().Uint16Var(&s.Port, "port", 6443, "the API's port")
	cmd.Flags().StringArrayVar(&s.Names, "tls-san", nil, "further name or address in the API's certificate; may be repeated")
	cmd.Flags().BoolVar(&s.MemoryStore, "memory-store", false, "keep the cluster's state in memory only")
	return cmd
}

func agent() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:     "agent",
		Short:   "Run a node alone in the foreground",
		Hidden:  true, // until a node can get its certificates over the network
		Example: "  clipper agent --kubeconfig node.kubeconfig --node-pod-cidr 10.42.1.0/24",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := f.config()
			if err != nil {
				return err
			}
			return system.Run(cmd.Context(), c, kubernetes, nil)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.agent.Kubeconfig, "kubeconfig", "", "how the node reaches the API (required)")
	_ = cmd.MarkFlagRequired("kubeconfig")
	return cmd
}
