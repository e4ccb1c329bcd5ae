package main

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"clipper/internal/config"
	"clipper/internal/join"
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
	c      config.Config
	agent  config.Agent
	nodeIP string
}

func (f *flags) add(cmd *cobra.Command) {
	host, _ := os.Hostname()
	fs := cmd.Flags()
	fs.StringVar(&f.c.Node, "node-name", strings.ToLower(host), "the node's name")
	fs.StringVar(&f.c.StateDir, "state-dir", "/var/lib/clipper/"+config.Standalone, "folder for what must outlive a reboot")
	fs.StringVar(&f.c.RunDir, "run-dir", "/run/clipper/"+config.Standalone, "folder for sockets and the like")
	fs.StringVar(&f.nodeIP, "node-ip", "", "the node's address (default: that of the default route)")
	fs.BoolVar(&f.agent.Uplink, "uplink", true, "let pods out, from behind the node's address")
	fs.StringArrayVar(&f.agent.Resolvers, "resolver", nil, "name server for names outside the cluster; may be repeated")
	fs.BoolVar(&f.c.Debug, "debug", false, "log more")
}

// config returns the configuration of a node.
func (f *flags) config() (*config.Config, error) {
	var err error
	if f.nodeIP == "" {
		f.agent.NodeIP, err = system.DefaultAddress()
	} else {
		f.agent.NodeIP, err = netip.ParseAddr(f.nodeIP)
	}
	if err != nil {
		return nil, err
	}
	if !f.agent.NodeIP.Is4() {
		return nil, fmt.Errorf("--node-ip %s: this version serves only IPv4", f.agent.NodeIP)
	}
	f.c.Cluster, f.c.CgroupParent = config.Standalone, filepath.Join("clipper", config.Standalone, f.c.Node)
	f.c.Agent = &f.agent
	return &f.c, nil
}

// checkAddresses tells whether a cluster can have the addresses it is given.
func checkAddresses(s *config.Server) error {
	const longest = 30 // room for a node's own address and one pod
	for _, p := range []netip.Prefix{s.PodCIDR, s.ServiceCIDR} {
		if !p.Addr().Is4() {
			return fmt.Errorf("%s: this version serves only IPv4", p)
		}
	}
	switch {
	case s.NodeBits < s.PodCIDR.Bits() || s.NodeBits > longest:
		return fmt.Errorf("--node-cidr-mask-size %d: no share of --cluster-cidr %s that a node can use", s.NodeBits, s.PodCIDR)
	case s.ServiceCIDR.Overlaps(s.PodCIDR):
		return fmt.Errorf("--service-cidr %s and --cluster-cidr %s overlap", s.ServiceCIDR, s.PodCIDR)
	case s.PodCIDR.Contains(s.Address) || s.ServiceCIDR.Contains(s.Address):
		return fmt.Errorf("--node-ip %s is one of the cluster's own addresses; choose other ranges, or another address", s.Address)
	}
	return nil
}

func server() *cobra.Command {
	var (
		f                        flags
		disableAgent             bool
		serviceCIDR, clusterCIDR string
	)
	s := &config.Server{}
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Run a control plane, and a node, in the foreground",
		Long: `Server runs the control plane and, unless --disable-agent is given, a node in
the foreground, for a service manager. It writes the administrator's kubeconfig
to STATE-DIR/admin.kubeconfig. ` + "`clipper token create`" + ` says how other machines join.`,
		Example: "  clipper server --node-ip 192.0.2.10 --tls-san cluster.example.com",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if s.PodCIDR, err = netip.ParsePrefix(clusterCIDR); err != nil {
				return err
			}
			if s.ServiceCIDR, err = netip.ParsePrefix(serviceCIDR); err != nil {
				return err
			}
			c, err := f.config()
			if err != nil {
				return err
			}
			s.Address = c.Agent.NodeIP
			if err := checkAddresses(s); err != nil {
				return err
			}
			if disableAgent {
				c.Agent = nil
			}
			c.Server = s
			return system.Run(cmd.Context(), c, kubernetes, nil)
		},
	}
	f.add(cmd)
	fs := cmd.Flags()
	fs.BoolVar(&disableAgent, "disable-agent", false, "run no node in this process")
	fs.StringVar(&clusterCIDR, "cluster-cidr", "10.42.0.0/16", "addresses of the cluster's pods")
	fs.IntVar(&s.NodeBits, "node-cidr-mask-size", 24, "how long a prefix of them each node gets")
	fs.StringVar(&serviceCIDR, "service-cidr", "10.43.0.0/16", "addresses of Services")
	fs.Uint16Var(&s.Port, "port", 6443, "the API's port")
	fs.StringArrayVar(&s.Names, "tls-san", nil, "further name or address in the API's certificate; may be repeated")
	fs.BoolVar(&s.MemoryStore, "memory-store", false, "keep the cluster's state in memory only")
	fs.DurationVar(&s.RequestLog, "request-log", 0, "log requests that take at least this long, such as 1ns for all; slow ones are logged anyway, unless it is below zero")
	fs.StringVar(&s.Tracing, "tracing-endpoint", "", "`URL` of an OpenTelemetry collector (OTLP over HTTP), such as http://127.0.0.1:4318")
	fs.IntVar(&s.TracingRate, "tracing-rate-per-million", 0, "how many requests to trace, besides those that are part of a trace already")
	return cmd
}

func agent() *cobra.Command {
	var (
		f         flags
		tokenFile string
	)
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run a node of a cluster that runs elsewhere, in the foreground",
		Long: `Agent makes this machine a node of the cluster at --server, and runs the node in
the foreground, for a service manager. The first time it needs a token, which
` + "`clipper token create`" + ` makes at the server. Its keys and certificates are in
STATE-DIR/pki from then on, and are renewed by themselves.`,
		Example: `  clipper agent --server https://192.0.2.10:6443 --token-file /etc/clipper/token
  clipper agent --server https://192.0.2.10:6443       # after it has joined`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := join.Address(f.agent.Server); err != nil {
				return err
			}
			if tokenFile != "" {
				token, err := readToken(tokenFile)
				if err != nil {
					return err
				}
				f.agent.Token = token
			}
			c, err := f.config()
			if err != nil {
				return err
			}
			return system.Run(cmd.Context(), c, kubernetes, nil)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.agent.Server, "server", "", "where the API is, as https://HOST:PORT (required)")
	cmd.Flags().StringVar(&f.agent.Token, "token", "", "a token to join with; other users of this machine can see it, so --token-file is better")
	cmd.Flags().StringVar(&tokenFile, "token-file", "", "file with the token")
	cmd.MarkFlagsMutuallyExclusive("token", "token-file")
	_ = cmd.MarkFlagRequired("server")
	return cmd
}

func readToken(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	const most = 4096
	data, err := io.ReadAll(io.LimitReader(f, most))
	return strings.TrimSpace(string(data)), err
}
