package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"clipper/internal/auth"
	"clipper/internal/client"
	"clipper/internal/informer"
	"clipper/internal/join"
	"clipper/internal/run"
)

// join makes this machine a node of the cluster at Agent.Server, and returns
// how its parts reach the API.
func (p *process) join() (*api, error) {
	ctx, c := p.ctx, p.Agent
	p.tell.Step("joining " + c.Server)
	credentials, err := join.Join(ctx, join.Config{
		Server: c.Server, Token: c.Token, Node: p.Node, Addresses: []netip.Addr{c.NodeIP},
		Dir: filepath.Join(p.StateDir, "pki"), Clock: p.clock, Logger: p.log.With("part", "join"), Say: p.tell.Step,
	})
	if err != nil {
		return nil, fmt.Errorf("joining the cluster: %w", err)
	}
	requests := client.NewRequests(p.clock)
	kubelet, err := client.New(requests.Count(credentials.Kubelet()))
	if err != nil {
		return nil, err
	}
	network, err := client.New(credentials.Network())
	if err != nil {
		return nil, err
	}
	a := &api{
		informers: informer.Remote(network), requests: requests,
		as: func(string, ...string) *rest.Config { return credentials.Kubelet() },
	}
	// The certificate that the node serves with is made while it waits for its
	// share of the network.
	served := make(chan error, 1)
	go func() {
		var err error
		a.kubeletTLS, err = credentials.Serving(ctx)
		served <- err
	}()
	file := filepath.Join(p.StateDir, "pod-network")
	had, err := readShare(file)
	if err == nil {
		err = credentials.Retry(ctx, func() (err error) {
			if a.layout, err = readLayout(ctx, network); err != nil {
				return err
			}
			a.share, err = p.claim(ctx, kubelet, a.layout, had)
			return err
		})
	}
	if err == nil && a.share != had {
		err = writeShare(file, a.share)
	}
	if err = errors.Join(err, <-served); err != nil {
		return nil, fmt.Errorf("joining the cluster: %w", err)
	}
	a.kubeletCA = credentials.CAPool()
	p.group.Add(run.Part{Name: "certificates", Run: credentials.Run})
	return a, nil
}

// claim registers the node and returns its share of the pods' network. A Node
// that was deleted asks for the share that it had, which its pods still use.
func (p *process) claim(ctx context.Context, c kubernetes.Interface, l layout, had netip.Prefix) (netip.Prefix, error) {
	nodes := c.CoreV1().Nodes()
	want := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: p.Node, Annotations: map[string]string{"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
	}}
	if had.IsValid() && l.Pods.Contains(had.Addr()) {
		want.Spec.PodCIDR, want.Spec.PodCIDRs = had.String(), []string{had.String()}
	}
	_, err := nodes.Create(ctx, want, metav1.CreateOptions{})
	if apierrors.IsForbidden(err) && want.Spec.PodCIDR != "" {
		want.Spec = corev1.NodeSpec{} // it is another's by now
		_, err = nodes.Create(ctx, want, metav1.CreateOptions{})
	}
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return netip.Prefix{}, fmt.Errorf("registering the node: %w", err)
	}
	var share netip.Prefix
	slow := p.clock.AfterFunc(3*time.Second, func() { p.tell.Step("waiting for the node's share of the pods' network") })
	defer slow.Stop()
	err = awaitNode(ctx, c, p.Node, func(n *corev1.Node) bool {
		share, err = netip.ParsePrefix(n.Spec.PodCIDR)
		return err == nil
	})
	if err != nil {
		return share, fmt.Errorf("the node's share of the pods' network: %w", err)
	}
	return share, nil
}

// readShare returns what writeShare wrote, or an invalid prefix.
func readShare(file string) (p netip.Prefix, err error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	if err != nil {
		return p, fmt.Errorf("%s: %w; remove it", file, err)
	}
	return p, nil
}

func writeShare(file string, p netip.Prefix) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// joinTokenLife is how long a token from the configuration is good for.
const joinTokenLife = time.Hour

// tokens makes the token of the configuration valid, before anyone can call.
func (p *process) tokens(a *api) error {
	if p.Server.JoinToken == "" {
		return nil
	}
	token, err := auth.ParseBootstrapToken(p.Server.JoinToken)
	if err != nil {
		return err
	}
	c, err := a.client(auth.APIServer, auth.Masters)
	if err != nil {
		return err
	}
	secrets := c.CoreV1().Secrets(metav1.NamespaceSystem)
	p.group.Add(run.Part{
		Name: "join token",
		Run:  func(ctx context.Context) error { <-ctx.Done(); return nil },
		Ready: func(ctx context.Context) error {
			_, err := secrets.Create(ctx, token.AsSecret("for the nodes that start beside the server", p.clock.Now().Add(joinTokenLife)), metav1.CreateOptions{})
			if apierrors.IsAlreadyExists(err) {
				return nil
			}
			return err
		},
	})
	return nil
}
