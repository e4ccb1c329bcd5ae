package system

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
	"k8s.io/client-go/tools/cache"

	"clipper/internal/auth"
	"clipper/internal/config"
	"clipper/internal/cri"
	"clipper/internal/cri/image"
	"clipper/internal/dns"
	"clipper/internal/informer"
	"clipper/internal/kubelet"
	"clipper/internal/network"
	"clipper/internal/proxy"
	"clipper/internal/run"
)

const kubeletPort = 10250

// agent adds a node to the process: network, runtime, proxy, DNS, kubelet.
func (p *process) agent(a *api) error {
	c := p.Agent
	k, err := a.client(auth.NodeUser(p.Node), auth.Nodes)
	if err != nil {
		return err
	}
	dnsIP := dnsAddress(a.layout.Services)
	nodes := a.informers.Core().V1().Nodes().Informer()

	pods, err := network.New(network.Config{
		NodeName: p.Node, StateDir: filepath.Join(p.StateDir, "network"),
		PodCIDR: a.share, ClusterPodCIDR: a.layout.Pods, ServiceCIDR: a.layout.Services,
		NodeIP: c.NodeIP, Addresses: []netip.Addr{dnsIP}, Uplink: c.Uplink, Nodes: nodes, Logger: p.log.With("part", "network"),
	})
	if err != nil {
		return err
	}
	p.group.Add(run.Part{Name: "network", Run: pods.Run, Ready: pods.Ready})

	runDir := filepath.Join(p.RunDir, "cri")
	if err := memoryDir(runDir); err != nil {
		return err
	}
	rt, err := cri.New(cri.Config{
		StateDir: filepath.Join(p.StateDir, "cri"), RunDir: runDir,
		Network: sandboxes{pods}, CgroupParent: "/" + p.CgroupParent,
		Registries: image.Registries{Mirrors: c.Registries},
		ImagesDir:  filepath.Join(p.StateDir, "airgap"),
		Logger:     p.log.With("part", "runtime"), Clock: p.clock,
	})
	if err != nil {
		return err
	}
	p.group.Add(run.Part{Name: "runtime", Run: rt.Run, Ready: rt.Ready})
	socket, err := p.listenSocket()
	if err != nil {
		return fmt.Errorf("the node's socket: %w", err)
	}
	p.group.Add(run.Part{Name: "socket", Run: func(ctx context.Context) error { return serveSocket(ctx, socket, config.Node{PodCIDR: a.share}, rt) }})

	services, err := proxy.New(proxy.Config{
		Informers: a.informers, NodeName: p.Node, NodeIPs: []netip.Addr{c.NodeIP},
		ClusterPodCIDR: a.layout.Pods, ServiceCIDR: a.layout.Services, Own: []netip.Addr{dnsIP},
		Clock: p.clock, Logger: p.log.With("part", "proxy"),
	})
	if err != nil {
		return err
	}
	names, err := dns.New(dns.Config{
		Informers: a.informers, Domain: a.layout.Domain, ClusterIP: dnsIP, Upstreams: c.Resolvers,
		Clock: p.clock, Logger: p.log.With("part", "dns"),
	})
	if err != nil {
		return err
	}
	var own cache.SharedIndexInformer
	if a.source != nil {
		own = informer.NodePods(a.table, a.source, p.Node)
	} else {
		own = informer.RemoteNodePods(k, p.Node)
		p.addInformers(a)
	}
	l, err := net.Listen("tcp", netip.AddrPortFrom(c.NodeIP, kubeletPort).String())
	if err != nil {
		return fmt.Errorf("the kubelet's port: %w; end what uses it", err)
	}
	kl, err := kubelet.New(kubelet.Config{
		Client: k, Pods: own, Informers: a.informers, Runtime: rt, Images: rt, Streaming: rt.StreamingHandler(),
		NodeName: p.Node, NodeIPs: []string{c.NodeIP.String()}, PodCIDR: a.share.String(),
		RootDir: filepath.Join(p.StateDir, "kubelet"), LogDir: filepath.Join(p.StateDir, "logs"),
		ClusterDNS: []string{dnsIP.String()}, ClusterDomain: a.layout.Domain, MaxPods: c.MaxPods,
		CgroupRoot: "/" + filepath.Join(p.CgroupParent, "kubepods"), Version: p.version + "+clipper",
		Listener: l, ServingTLS: a.kubeletTLS, ClientCA: a.kubeletCA, Metrics: []prometheus.Collector{a.requests.Collector()},
		Clock: p.clock, Logger: p.log.With("part", "kubelet"),
	})
	if err != nil {
		return err
	}
	p.group.Add(run.Part{Name: "pods' informer", Run: func(ctx context.Context) error { own.RunWithContext(ctx); return nil }})
	p.group.Add(run.Part{Name: "kubelet", Run: kl.Run, Ready: kl.Ready})
	p.group.Add(run.Part{Name: "proxy", Run: services.Run, Ready: services.Ready})
	p.group.Add(run.Part{Name: "dns", Run: names.Run, Ready: names.Ready})
	// The last part does nothing but be ready when the node is.
	p.group.Add(run.Part{
		Name: "node",
		Run:  func(ctx context.Context) error { <-ctx.Done(); return nil },
		Ready: func(ctx context.Context) error {
			p.tell.Step("waiting for node " + p.Node + " to be Ready")
			if err := awaitNode(ctx, k, p.Node, nodeReady); err != nil {
				return err
			}
			if a.source == nil {
				return nil
			}
			admin, err := a.client(auth.APIServer, auth.Masters)
			if err != nil {
				return err
			}
			if err := stateRole(ctx, admin, p.Node); err != nil {
				return err
			}
			return awaitAccount(ctx, admin)
		},
	})
	return nil
}

// memoryDir makes a folder that lies on a tmpfs: what is in it ends, at the
// latest, with the machine's uptime or the node's mount namespace.
func memoryDir(dir string) error {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return err
	}
	if fs.Type == unix.TMPFS_MAGIC {
		return nil
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0711"); err != nil {
		return fmt.Errorf("a tmpfs on %s: %w", dir, err)
	}
	return nil
}

// sandboxes is the node's network as the runtime sees it.
type sandboxes struct{ *network.Network }

func (s sandboxes) Setup(ctx context.Context, in cri.Sandbox) ([]netip.Addr, error) {
	out := network.Sandbox{ID: in.ID, Namespace: in.Namespace, Name: in.Name, UID: in.UID, NetNS: in.NetNS}
	for _, m := range in.Ports {
		out.Ports = append(out.Ports, network.PortMapping(m))
	}
	return s.Network.Setup(ctx, out)
}
