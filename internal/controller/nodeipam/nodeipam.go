// Package nodeipam gives every Node its share of the pods' network.
//
// A Node keeps the share it has, also one that it was registered with; what
// Nodes hold when the controller starts is taken before anything is given out.
// A share comes back when its Node is deleted.
package nodeipam

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corelisters "k8s.io/client-go/listers/core/v1"

	"clipper/internal/controller"
)

// Config adds the network that is shared out.
type Config struct {
	controller.Config
	// Cluster is the pods' network, Bits the length of each Node's share.
	Cluster netip.Prefix
	Bits    int
	// Home is the name of the node in this process, if there is one: it takes
	// the first share before its Node exists, so that it need not wait for it.
	// Nobody else ever gets that one.
	Home string
}

// Controller gives out the shares.
type Controller struct {
	*controller.Loop[string]
	Config
	nodes corelisters.NodeLister

	mu     sync.Mutex
	shares *shares
	// without are Nodes for which nothing was left.
	without map[string]bool
}

// New returns the controller; Run starts it.
func New(c Config) *Controller {
	nodes := c.Informers.Core().V1().Nodes()
	i := &Controller{Config: c, nodes: nodes.Lister(), shares: newShares(c.Cluster, c.Bits), without: map[string]bool{}}
	i.shares.take(c.Home, First(c.Cluster, c.Bits))
	// One worker: a share is free until the one before has been given.
	i.Loop = controller.NewLoop("node-ipam-controller", c.Config, 1, i.sync)
	i.Watch(nodes.Informer(), controller.On(i.changed))
	return i
}

// First returns the share of the node in the control plane's process.
func First(cluster netip.Prefix, bits int) netip.Prefix {
	return netip.PrefixFrom(cluster.Masked().Addr(), bits)
}

// changed runs for every Node before the first sync does.
func (i *Controller) changed(before, now *corev1.Node) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if now == nil {
		if before.Name != i.Home {
			i.shares.release(before.Name)
		}
		delete(i.without, before.Name)
		for name := range i.without {
			i.Add(name)
		}
		return
	}
	held := cidrs(now)
	if len(held) == 0 {
		i.Add(now.Name)
		return
	}
	for _, cidr := range held {
		if p, err := netip.ParsePrefix(cidr); err == nil {
			i.shares.take(now.Name, p)
		}
	}
}

func cidrs(n *corev1.Node) []string {
	if len(n.Spec.PodCIDRs) == 0 && n.Spec.PodCIDR != "" {
		return []string{n.Spec.PodCIDR}
	}
	return n.Spec.PodCIDRs
}

var errFull = errors.New("the pods' network has no share left")

func (i *Controller) sync(ctx context.Context, name string) error {
	n, err := i.nodes.Get(name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil || len(cidrs(n)) > 0 {
		return err
	}
	i.mu.Lock()
	share, ok := i.shares.give(name)
	told := i.without[name]
	if ok {
		delete(i.without, name)
	} else {
		i.without[name] = true
	}
	i.mu.Unlock()
	if !ok {
		if !told {
			// It is tried again when a share comes back.
			i.Logger.Error("node gets no share of the pods' network", "node", name, "network", i.Cluster, "err", errFull)
			i.Events.For("nodeipam").Eventf(n, corev1.EventTypeNormal, "CIDRNotAvailable", "Node %s status is now: CIDRNotAvailable", name)
		}
		return nil
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": n.UID},
		"spec":     map[string]any{"podCIDR": share.String(), "podCIDRs": []string{share.String()}},
	})
	if err != nil {
		return err
	}
	_, err = i.Client.CoreV1().Nodes().Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
	if err = controller.GoneOrChanged(err); err != nil {
		return fmt.Errorf("giving node %s %s: %w", name, share, err)
	}
	return nil
}
