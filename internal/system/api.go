package system

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"clipper/internal/admission"
	"clipper/internal/apiserver"
	"clipper/internal/apiserver/connect"
	"clipper/internal/apiserver/discovery"
	"clipper/internal/apiserver/openapi"
	"clipper/internal/apiserver/table"
	"clipper/internal/auth"
	"clipper/internal/cel"
	"clipper/internal/client"
	"clipper/internal/controller/nodeipam"
	"clipper/internal/informer"
	"clipper/internal/run"
	"clipper/internal/scheme"
	"clipper/internal/store/encrypt"
	"clipper/internal/store/pebble"
	"clipper/internal/validate"
)

const domain = "cluster.local"

// api is how the parts of this process reach the API: an API server in the
// same process, or one over the network.
type api struct {
	informers informers.SharedInformerFactory
	// as returns the configuration of a client that acts as a user.
	as     func(name string, groups ...string) *rest.Config
	layout layout
	// share is this node's part of the pods' network.
	share netip.Prefix
	// kubeletTLS is what the node serves with, kubeletCA signs who may call it.
	kubeletTLS *tls.Config
	kubeletCA  *x509.CertPool
	// Only with a server in this process:
	pki    *auth.PKI
	source informer.Source
	table  *scheme.Table
	names  []string // of the API server
	// requests counts those of this process's clients.
	requests *client.Requests
	// registry is where the control plane's metrics are.
	registry prometheus.Registerer
	home     string // the node in this process, if there is one
}

// client returns a typed client that acts as a user.
func (a *api) client(name string, groups ...string) (kubernetes.Interface, error) {
	return client.New(a.as(name, groups...))
}

// feed returns the list-watch of a resource from the watch cache, whose objects
// it shares, or nil if it has none.
func (a *api) feed(r schema.GroupVersionResource) cache.ListerWatcher {
	if row := a.table.ByGVR(r); row != nil {
		if f := a.source(row, "", nil, nil); f != nil {
			return informer.ListerWatcher(f)
		}
	}
	return nil
}

func (p *process) api() (*api, error) {
	if p.Server == nil {
		return p.join()
	}
	return p.server()
}

// dnsAddress is the cluster IP of the DNS Service: the range's tenth, as
// everywhere.
func dnsAddress(services netip.Prefix) netip.Addr {
	a := services.Masked().Addr()
	for range 10 {
		a = a.Next()
	}
	return a
}

// permit asks the authoriser about what admission must know.
func permit(by auth.Authorizer) admission.Permit {
	return func(ctx context.Context, u user.Info, verb, resource, name string) (bool, error) {
		ok, _, err := by.Authorize(ctx, auth.Attributes{
			User: u, Verb: verb, APIGroup: "certificates.k8s.io", APIVersion: "*", Resource: resource, Name: name,
		})
		return ok, err
	}
}

// server builds the control plane: store, API server, controllers, scheduler.
func (p *process) server() (*api, error) {
	s := p.Server
	engine, err := pebble.Open(pebble.Config{
		Dir: filepath.Join(p.StateDir, "store"), Memory: s.MemoryStore, Clock: p.clock, Logger: p.log,
	})
	if err != nil {
		return nil, err
	}
	key, err := auth.EncryptionKey(filepath.Join(p.StateDir, "pki"))
	if err != nil {
		return nil, err
	}
	st, err := encrypt.New(engine, key, p.clock, "/registry/secrets/")
	if err != nil {
		return nil, err
	}
	p.group.Add(run.Part{Name: "store", Run: func(ctx context.Context) error {
		<-ctx.Done()
		return st.Close()
	}})

	pki, err := auth.LoadOrCreate(filepath.Join(p.StateDir, "pki"), p.clock)
	if err != nil {
		return nil, err
	}
	rows := scheme.New()
	watched := apiserver.NewCache(st, rows, p.clock, p.log)
	found := newObjects(watched, rows)
	signer, err := auth.NewSigner(pki.TokenKey(), p.clock)
	if err != nil {
		return nil, err
	}
	verifier, err := auth.NewVerifier(pki.TokenKey(), p.clock, found)
	if err != nil {
		return nil, err
	}
	rules := auth.NewRules(found, found)
	toKubelets, err := pki.ClientTLS(auth.APIServerToKubelet)
	if err != nil {
		return nil, err
	}
	address := netip.AddrPortFrom(s.Address, s.Port)
	issuer, err := signer.Discovery("https://" + address.String() + "/openid/v1/jwks")
	if err != nil {
		return nil, err
	}
	tracer, err := p.tracer()
	if err != nil {
		return nil, err
	}
	server, err := apiserver.New(apiserver.Config{
		RequestLog: s.RequestLog, Tracer: tracer,
		Store: st, Table: rows, Cache: watched,
		Authenticator: auth.NewAuthenticator(auth.AuthenticatorConfig{
			ClientCA: pki.CAPool(), Tokens: verifier, Authorizer: rules, Clock: p.clock, Logger: p.log,
		}),
		Authorizer: rules,
		Admission:  admission.New(admission.Config{Objects: found, Clock: p.clock, Suffix: rand.String, Permit: permit(rules)}),
		Validator:  validate.New(rows, cel.NewCompiler()),
		Signer:     signer, Verifier: verifier,
		Connector: connect.New(connect.Config{Objects: found, Kubelet: toKubelets, Logger: p.log}),
		Tabler:    table.New(p.clock),
		Discovery: discovery.New(discovery.Config{Table: rows, ServerAddress: address.String()}),
		Handlers: map[string]http.Handler{
			"/openapi/":                         openapi.New(rows),
			"/.well-known/openid-configuration": issuer,
			"/openid/v1/jwks":                   issuer,
			"/debug/pprof/":                     profiles(),
			auth.BootstrapPath:                  serveCA(pki.CABundle()),
			auth.NetworkPath:                    layoutOf(s),
		},
		ServiceCIDR: s.ServiceCIDR, Advertise: address,
		Version: p.versionInfo(), Clock: p.clock, Logger: p.log,
	})
	if err != nil {
		return nil, err
	}
	p.trims = append(p.trims, server.Trim, engine.Trim)
	p.group.Add(run.Part{Name: "API server", Run: server.Run, Ready: server.Ready})

	a := &api{
		pki: pki, source: informer.FromCache(watched), table: rows, registry: server.Registry(), requests: client.NewRequests(p.clock),
		layout: layoutOf(s), share: nodeipam.First(s.PodCIDR, nodeBits(s)), kubeletCA: pki.CAPool(),
		names: auth.APIServerNames(domain, append([]string{s.Address.String(), s.ServiceCIDR.Masked().Addr().Next().String(), p.Node}, s.Names...)...),
	}
	a.as = func(name string, groups ...string) *rest.Config {
		groups = append(groups[:len(groups):len(groups)], auth.Authenticated)
		return a.requests.Count(client.InProcess(server.Handler(), &user.DefaultInfo{Name: name, Groups: groups}, program(name)))
	}
	a.registry.MustRegister(a.requests.Collector())
	if err := p.tokens(a); err != nil {
		return nil, err
	}
	serving, err := pki.ServingTLS("kube-apiserver", a.names...)
	if err != nil {
		return nil, err
	}
	listeners, err := p.listeners(address)
	if err != nil {
		return nil, err
	}
	p.group.Add(run.Part{Name: "API", Run: func(ctx context.Context) error { return server.Serve(ctx, serving, listeners...) }})
	if err := p.writeKubeconfig(pki, address); err != nil {
		return nil, err
	}

	if p.Agent != nil {
		a.home = p.Node
		if a.kubeletTLS, err = pki.KubeletServingTLS(p.Node, p.Agent.NodeIP.String()); err != nil {
			return nil, err
		}
	}
	own, err := a.client(auth.APIServer, auth.Masters)
	if err != nil {
		return nil, err
	}
	a.informers = informer.New(rows, a.source, own)
	p.group.Add(run.Part{Name: "add-ons", Run: func(ctx context.Context) error { return addons(ctx, own, s.ServiceCIDR) }})
	if err := p.controllers(a); err != nil {
		return nil, err
	}
	return a, nil
}

// listeners opens the API's sockets: the node's own address, and the one that
// was handed down, if any.
func (p *process) listeners(address netip.AddrPort) ([]net.Listener, error) {
	own, err := net.Listen("tcp", address.String())
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		return nil, fmt.Errorf("the API's port: %w; give the node an address that this machine has", err)
	}
	if err != nil {
		return nil, fmt.Errorf("the API's port: %w; end what uses it, or choose another", err)
	}
	all := []net.Listener{own}
	if fd := p.Server.ListenFD; fd > 0 {
		f := os.NewFile(uintptr(fd), "listener")
		l, err := net.FileListener(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("the inherited socket: %w", err)
		}
		all = append(all, l)
	}
	return all, nil
}

// writeKubeconfig writes the administrator's kubeconfig.
func (p *process) writeKubeconfig(pki *auth.PKI, address netip.AddrPort) error {
	pair, err := pki.ClientCert(auth.Admin, auth.Masters)
	if err != nil {
		return err
	}
	cert, key, err := auth.EncodePair(pair)
	if err != nil {
		return err
	}
	server := "https://" + address.String()
	if p.Server.LocalPort != 0 {
		server = fmt.Sprintf("https://127.0.0.1:%d", p.Server.LocalPort)
	}
	data, err := client.Kubeconfig(p.Cluster, server, pki.CABundle(), cert, key)
	if err != nil {
		return err
	}
	path := filepath.Join(p.StateDir, "admin.kubeconfig")
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (p *process) versionInfo() version.Info {
	major, minor, _ := strings.Cut(strings.TrimPrefix(p.version, "v"), ".")
	minor, _, _ = strings.Cut(minor, ".")
	return version.Info{
		Major: major, Minor: minor, GitVersion: p.version + "+clipper", GitTreeState: "clean",
		GoVersion: goruntime.Version(), Compiler: goruntime.Compiler, Platform: goruntime.GOOS + "/" + goruntime.GOARCH,
	}
}

// program is what owners of fields call the component that writes as a user:
// upstream's name of it.
func program(user string) string {
	switch {
	case strings.HasPrefix(user, "system:node:"):
		return "kubelet"
	case strings.HasPrefix(user, "system:serviceaccount:kube-system:"):
		return "kube-controller-manager"
	}
	return user[strings.LastIndexByte(user, ':')+1:]
}
