package kubelet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	internalapi "k8s.io/cri-api/pkg/apis"
	"k8s.io/utils/clock"

	"clipper/internal/kubelet/node"
)

// Config of a Kubelet. Fields without a word on defaults are required.
type Config struct {
	Client kubernetes.Interface
	// Pods informs of the pods of this node, and of no others.
	Pods cache.SharedIndexInformer
	// Informers gives Services, for the variables pods are told of them by;
	// nil leaves these variables out.
	Informers informers.SharedInformerFactory

	Runtime internalapi.RuntimeService
	Images  internalapi.ImageManagerService
	// Streaming, when set, serves the paths of the URLs that the runtime gives
	// for exec, attach and port-forward. Otherwise these URLs are dialled.
	Streaming http.Handler

	NodeName string
	// Hostname defaults to NodeName.
	Hostname string
	// NodeIPs, the primary one first.
	NodeIPs []string
	// PodCIDR is what the node asks for; empty leaves it to the API.
	PodCIDR string
	Labels  map[string]string
	Taints  []v1.Taint

	// RootDir holds the node's own files on pods; LogDir the containers' logs.
	RootDir, LogDir string
	ClusterDNS      []string
	ClusterDomain   string
	// ResolvConf is the node's resolver configuration; default /etc/resolv.conf.
	ResolvConf string

	// MaxPods defaults to 110.
	MaxPods int
	// CgroupRoot is above the cgroups of all pods; default "/kubepods".
	CgroupRoot string
	// UnsafeSysctls that pods may set beside the safe ones; may end in "*".
	UnsafeSysctls []string
	// NoCgroups leaves the pods' cgroups to the runtime.
	NoCgroups bool
	// Reserved of the node's capacity, not for pods.
	Reserved v1.ResourceList
	Pressure node.Pressure
	// Version is what the node reports as the kubelet's; default v1.36.3.
	Version string
	// OSImage overrides what /etc/os-release says.
	OSImage string

	// Listener serves the node's API over TLS (port 10250); nil serves none.
	Listener   net.Listener
	ServingTLS *tls.Config
	// ClientCA signs those who may call the node's API.
	ClientCA *x509.CertPool
	// Authorize decides on a caller; default: system:masters and the API
	// server (CN kube-apiserver, or kube-apiserver-kubelet-client).
	Authorize func(ctx context.Context, user string, groups []string, verb, path string) error
	// Metrics of other parts of the process are served with the node's own.
	Metrics []prometheus.Collector

	Clock  clock.WithTickerAndDelayedExecution
	Logger *slog.Logger
}

const (
	defaultMaxPods    = 110
	defaultVersion    = "v1.36.3"
	defaultCgroupRoot = "/kubepods"
)

func (c *Config) complete() error {
	switch {
	case c.Client == nil, c.Pods == nil, c.Runtime == nil, c.Images == nil:
		return errors.New("kubelet: Client, Pods, Runtime and Images are required")
	case c.NodeName == "":
		return errors.New("kubelet: NodeName is required")
	case !filepath.IsAbs(c.RootDir) || !filepath.IsAbs(c.LogDir):
		return fmt.Errorf("kubelet: RootDir %q and LogDir %q must be absolute", c.RootDir, c.LogDir)
	case c.Listener != nil && (c.ServingTLS == nil || c.ClientCA == nil):
		return errors.New("kubelet: a Listener needs ServingTLS and ClientCA")
	}
	if c.Hostname == "" {
		c.Hostname = c.NodeName
	}
	if c.MaxPods == 0 {
		c.MaxPods = defaultMaxPods
	}
	if c.CgroupRoot == "" {
		c.CgroupRoot = defaultCgroupRoot
	}
	if c.Version == "" {
		c.Version = defaultVersion
	}
	if c.Pressure.Memory == 0 {
		c.Pressure.Memory = 100 << 20
	}
	if c.Pressure.Disk == 0 {
		c.Pressure.Disk = 1
	}
	if c.ResolvConf == "" {
		c.ResolvConf = "/etc/resolv.conf"
	}
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}
