package system

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"

	"k8s.io/client-go/kubernetes"

	"clipper/internal/auth"
	"clipper/internal/config"
)

// defaultNodeBits is how long a node's share of the pods' network is, as a
// prefix: room for more pods than a node runs.
const defaultNodeBits = 24

// layout is how the cluster's network is laid out: what a node has to know
// before it can read anything else.
type layout struct {
	Pods     netip.Prefix `json:"pods"`
	Services netip.Prefix `json:"services"`
	Domain   string       `json:"domain"`
}

func layoutOf(s *config.Server) layout {
	return layout{Pods: s.PodCIDR, Services: s.ServiceCIDR, Domain: domain}
}

func nodeBits(s *config.Server) int {
	if s.NodeBits == 0 {
		return defaultNodeBits
	}
	return s.NodeBits
}

// ServeHTTP answers with the layout.
func (l layout) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(l) // the caller has gone, then
}

// readLayout asks the server for it.
func readLayout(ctx context.Context, c kubernetes.Interface) (l layout, err error) {
	data, err := c.Discovery().RESTClient().Get().AbsPath(auth.NetworkPath).DoRaw(ctx)
	if err == nil {
		err = json.Unmarshal(data, &l)
	}
	if err == nil && (!l.Pods.IsValid() || !l.Services.IsValid() || l.Domain == "") {
		err = fmt.Errorf("%s lacks something", data)
	}
	if err != nil {
		return l, fmt.Errorf("the layout of the cluster's network: %w", err)
	}
	return l, nil
}

// serveCA gives the CA's certificate to anyone: a token's hash says whether it
// is the right one.
func serveCA(document []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-pem-file")
		_, _ = w.Write(document) // the caller has gone, then
	})
}
