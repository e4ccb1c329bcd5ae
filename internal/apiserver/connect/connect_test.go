package connect

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"clipper/internal/auth"
	"clipper/internal/scheme"

	"github.com/gorilla/websocket"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	transportspdy "k8s.io/client-go/transport/spdy"
	exec "k8s.io/client-go/util/exec"
	kubeletportforward "k8s.io/cri-streaming/pkg/streaming/portforward"
	kubeletremotecommand "k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
)

// objects is the cluster that a test makes up.
type objects []runtime.Object

func resourceOf(o runtime.Object) schema.GroupResource {
	switch o.(type) {
	case *corev1.Pod:
		return pods
	case *corev1.Service:
		return services
	case *corev1.Node:
		return schema.GroupResource{Resource: "nodes"}
	case *discoveryv1.EndpointSlice:
		return endpointSlices
	}
	panic("unknown kind")
}

func (l objects) Object(r schema.GroupResource, namespace, name string) metav1.Object {
	for _, o := range l {
		if m := o.(metav1.Object); resourceOf(o) == r && m.GetNamespace() == namespace && m.GetName() == name {
			return m
		}
	}
	return nil
}

func (l objects) Objects(r schema.GroupResource, namespace string) []runtime.Object {
	var found []runtime.Object
	for _, o := range l {
		if resourceOf(o) == r && o.(metav1.Object).GetNamespace() == namespace {
			found = append(found, o)
		}
	}
	return found
}

// runtimeFake runs "commands" in the test's own process.
type runtimeFake struct {
	mu      sync.Mutex
	sizes   []kubeletremotecommand.TerminalSize
	stopped chan struct{} // of "hang"
}

type exitError int

func (e exitError) Error() string   { return fmt.Sprintf("command terminated with exit code %d", int(e)) }
func (e exitError) String() string  { return e.Error() }
func (e exitError) Exited() bool    { return true }
func (e exitError) ExitStatus() int { return int(e) }

func (f *runtimeFake) ExecInContainer(ctx context.Context, _ string, _ string, container string, cmd []string, in io.Reader, out, errOut io.WriteCloser, tty bool, resize <-chan kubeletremotecommand.TerminalSize, _ time.Duration) error {
	switch cmd[0] {
	case "cat":
		io.Copy(out, in)
	case "both":
		io.WriteString(out, "to stdout in "+container)
		io.WriteString(errOut, "to stderr")
	case "exit":
		code, _ := strconv.Atoi(cmd[1])
		return exitError(code)
	case "much":
		out.Write(bytes.Repeat([]byte("0123456789abcdef"), 1<<16))
		// The library's server resets a connection on which something comes in
		// while it closes, and with it the output.
		io.Copy(io.Discard, in)
	case "resize":
		size := <-resize
		fmt.Fprintf(out, "%dx%d", size.Width, size.Height)
	case "hang":
		io.WriteString(out, "hanging")
		io.Copy(io.Discard, in)
		close(f.stopped)
	}
	return nil
}

func (f *runtimeFake) AttachContainer(ctx context.Context, _ string, _ string, container string, in io.Reader, out, errOut io.WriteCloser, tty bool, resize <-chan kubeletremotecommand.TerminalSize) error {
	io.WriteString(out, "attached to "+container)
	return nil
}

func (f *runtimeFake) PortForward(ctx context.Context, _ string, _ string, port int32, stream io.ReadWriteCloser) error {
	if port == 81 {
		return errors.New("nothing listens on 81")
	}
	line := make([]byte, 5)
	if _, err := io.ReadFull(stream, line); err != nil {
		return err
	}
	fmt.Fprintf(stream, "%s to port %d", line, port)
	return nil
}

type cluster struct {
	*testing.T
	pki     *auth.PKI
	runtime *runtimeFake
	url     string             // of the API server
	asked   chan *http.Request // what the kubelet was asked, besides streams
	rest    *rest.Config
	objects objects
}

// newCluster starts a kubelet and an API server with nothing but a Connector,
// both on real sockets with the cluster's certificates.
func newCluster(t *testing.T, more ...runtime.Object) *cluster {
	t.Helper()
	c := &cluster{T: t, runtime: &runtimeFake{stopped: make(chan struct{})}, asked: make(chan *http.Request, 10)}
	var err error
	if c.pki, err = auth.LoadOrCreate("", clock.RealClock{}); err != nil {
		t.Fatal(err)
	}
	kubeletTLS, err := c.pki.KubeletServingTLS("node-1")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(serve(t, kubeletTLS, c.kubeletHandler()))
	number, _ := strconv.Atoi(port)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
		Spec:       corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "app"}}},
	}
	two := pod.DeepCopy()
	two.Name = "two"
	two.Spec.Containers = append(two.Spec.Containers, corev1.Container{Name: "side"})
	two.Spec.InitContainers = []corev1.Container{{Name: "prepare"}}
	unbound := pod.DeepCopy()
	unbound.Name, unbound.Spec.NodeName = "unbound", ""
	elsewhere := pod.DeepCopy()
	elsewhere.Name, elsewhere.Spec.NodeName = "elsewhere", "node-2"
	node := func(name string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: corev1.NodeStatus{
			Addresses:       []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: "bad.example"}, {Type: corev1.NodeInternalIP, Address: "127.0.0.1"}},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(number)}},
		}}
	}
	c.objects = append(objects{pod, two, unbound, elsewhere, node("node-1"), node("node-2")}, more...)

	clientTLS, err := c.pki.ClientTLS(auth.APIServerToKubelet)
	if err != nil {
		t.Fatal(err)
	}
	connector := New(Config{
		Objects: c.objects, Kubelet: clientTLS, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		// Backends of a test are on this machine, at addresses that look as if
		// they were not.
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			host, port, _ := net.SplitHostPort(address)
			if strings.HasPrefix(host, "10.") {
				host = "127.0.0.1"
			}
			var d net.Dialer
			return d.DialContext(ctx, network, net.JoinHostPort(host, port))
		},
	})
	t.Cleanup(connector.Close)
	table := scheme.New()
	apiTLS, err := c.pki.ServingTLS("kube-apiserver", auth.APIServerNames("cluster.local")...)
	if err != nil {
		t.Fatal(err)
	}
	c.url = "https://" + serve(t, apiTLS, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// /api/v1/namespaces/NS/RESOURCE/NAME/SUB/path or /api/v1/nodes/...
		parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/api/v1/"), "/", 6)
		request := Request{}
		if parts[0] == "namespaces" {
			request.Namespace, parts = parts[1], parts[2:]
		} else {
			parts = strings.SplitN(strings.TrimPrefix(r.URL.Path, "/api/v1/"), "/", 4)
		}
		request.Resource, request.Name, request.Subresource = table.ByPath("", "v1", parts[0]), parts[1], parts[2]
		if len(parts) > 3 {
			request.Path = "/" + parts[3]
		}
		if err := connector.Connect(w, r, request); err != nil {
			status := err.(apierrors.APIStatus).Status()
			status.Kind, status.APIVersion = "Status", "v1"
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(int(status.Code))
			io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":`+strconv.Quote(status.Message)+`,"reason":"`+string(status.Reason)+`","code":`+strconv.Itoa(int(status.Code))+`}`)
		}
	}))
	c.rest = &rest.Config{Host: c.url, TLSClientConfig: rest.TLSClientConfig{CAData: c.pki.CABundle()}}
	return c
}

// serve returns the address of a server that ends with the test.
func serve(t *testing.T, config *tls.Config, handler http.Handler) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, TLSConfig: config, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		server.ServeTLS(listener, "", "")
	}()
	t.Cleanup(func() { server.Close(); <-done })
	return listener.Addr().String()
}

func (c *cluster) kubeletHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/exec/{ns}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("command") == "refuse" {
			http.Error(w, `container not found ("app")`, http.StatusNotFound)
			return
		}
		o, err := kubeletremotecommand.NewOptions(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		kubeletremotecommand.ServeExec(w, r, c.runtime, "", "", r.PathValue("container"), r.URL.Query()["command"], o, time.Hour, time.Minute, kubeletremotecommand.SupportedStreamingProtocols)
	})
	mux.HandleFunc("/attach/{ns}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		o, err := kubeletremotecommand.NewOptions(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		kubeletremotecommand.ServeAttach(w, r, c.runtime, "", "", r.PathValue("container"), o, time.Hour, time.Minute, kubeletremotecommand.SupportedStreamingProtocols)
	})
	mux.HandleFunc("/portForward/{ns}/{pod}", func(w http.ResponseWriter, r *http.Request) {
		o, err := kubeletportforward.NewV4Options(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		kubeletportforward.ServePortForward(w, r, c.runtime, "", "", o, time.Hour, time.Minute, kubeletportforward.SupportedProtocols)
	})
	mux.HandleFunc("/containerLogs/{ns}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		c.asked <- r
		if r.URL.Query().Get("previous") == "true" {
			http.Error(w, `previous terminated container "app" in pod "web" not found`, http.StatusBadRequest)
			return
		}
		io.WriteString(w, "first line\n")
		if r.URL.Query().Get("follow") == "true" {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			close(c.runtime.stopped)
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "kubelet's "+r.URL.RequestURI())
	})
	return mux
}

// executors are both ways in which a client can run something.
func (c *cluster) executors(path string, query url.Values) map[string]remotecommand.Executor {
	u, _ := url.Parse(c.url + path + "?" + query.Encode())
	webSocket, err := remotecommand.NewWebSocketExecutor(c.rest, "GET", u.String())
	if err != nil {
		c.Fatal(err)
	}
	spdy, err := remotecommand.NewSPDYExecutor(c.rest, "POST", u)
	if err != nil {
		c.Fatal(err)
	}
	return map[string]remotecommand.Executor{"websocket": webSocket, "spdy": spdy}
}

const web = "/api/v1/namespaces/default/pods/web"

func command(words ...string) url.Values {
	return url.Values{"command": words, "stdin": {"true"}, "stdout": {"true"}, "stderr": {"true"}}
}

func TestExec(t *testing.T) {
	c := newCluster(t)
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for _, test := range []struct {
		name, path     string
		query          url.Values
		stdin          []byte
		stdout, stderr string
		code           int
		fails          string
	}{
		{name: "stdin is closed", query: command("cat"), stdin: large, stdout: string(large)},
		{name: "both outputs", query: command("both"), stdin: []byte{}, stdout: "to stdout in app", stderr: "to stderr"},
		{name: "exit code", query: command("exit", "7"), stdin: []byte{}, code: 7},
		{name: "much output", query: command("much"), stdin: []byte{}, stdout: string(large)},
		{name: "kubelet refuses", query: command("refuse"), stdin: []byte{}, fails: `container not found ("app")`},
		{name: "no such container", query: url.Values{"command": {"cat"}, "stdout": {"true"}, "container": {"x"}}, fails: "container x is not valid for pod web"},
		{name: "which container", path: "/api/v1/namespaces/default/pods/two/exec", query: url.Values{"command": {"cat"}, "stdout": {"true"}}, fails: "a container name must be specified for pod two, choose one of: [app side] or one of the init containers: [prepare]"},
		{name: "no such pod", path: "/api/v1/namespaces/default/pods/none/exec", query: command("cat"), fails: `pods "none" not found`},
		{name: "not bound", path: "/api/v1/namespaces/default/pods/unbound/exec", query: command("cat"), fails: "pod unbound does not have a host assigned"},
		{name: "another node's kubelet", path: "/api/v1/namespaces/default/pods/elsewhere/exec", query: command("cat"), fails: "node-2"},
		{name: "no streams", query: url.Values{"command": {"cat"}}, fails: "you must specify at least 1 of stdin, stdout, stderr"},
		{name: "attach", path: web + "/attach", query: url.Values{"stdout": {"true"}}, stdout: "attached to app"},
	} {
		if test.path == "" {
			test.path = web + "/exec"
		}
		for kind, executor := range c.executors(test.path, test.query) {
			t.Run(test.name+"/"+kind, func(t *testing.T) {
				var stdout, stderr bytes.Buffer
				options := remotecommand.StreamOptions{Stdout: &stdout}
				if test.stdin != nil {
					options.Stdin = bytes.NewReader(test.stdin)
				}
				if test.query.Get("stderr") == "true" {
					options.Stderr = &stderr
				}
				err := executor.StreamWithContext(t.Context(), options)
				var exited exec.ExitError
				switch {
				case test.fails != "":
					if err == nil || !strings.Contains(err.Error(), test.fails) {
						t.Fatalf("error is %v, want one that says %s", err, test.fails)
					}
					return
				case test.code != 0:
					if !errors.As(err, &exited) || exited.ExitStatus() != test.code {
						t.Fatalf("error is %v, want exit code %d", err, test.code)
					}
				case err != nil:
					t.Fatal(err)
				}
				if stdout.String() != test.stdout {
					t.Errorf("stdout has %d bytes, want %d", stdout.Len(), len(test.stdout))
				}
				if stderr.String() != test.stderr {
					t.Errorf("stderr is %q, want %q", stderr.String(), test.stderr)
				}
			})
		}
	}
}

type oneSize struct{ sent bool }

func (s *oneSize) Next() *remotecommand.TerminalSize {
	if s.sent {
		return nil
	}
	s.sent = true
	return &remotecommand.TerminalSize{Width: 120, Height: 40}
}

func TestTerminalSize(t *testing.T) {
	c := newCluster(t)
	query := url.Values{"command": {"resize"}, "stdin": {"true"}, "stdout": {"true"}, "tty": {"true"}}
	for kind, executor := range c.executors(web+"/exec", query) {
		t.Run(kind, func(t *testing.T) {
			var stdout bytes.Buffer
			stdin, hold := io.Pipe()
			defer hold.Close()
			if err := executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: stdin, Stdout: &stdout, Tty: true, TerminalSizeQueue: &oneSize{}}); err != nil {
				t.Fatal(err)
			}
			if stdout.String() != "120x40" {
				t.Fatalf("size is %q", stdout.String())
			}
		})
	}
}

// A client that goes away takes its process's streams with it.
func TestClientGoesAway(t *testing.T) {
	for _, kind := range []string{"websocket", "spdy"} {
		t.Run(kind, func(t *testing.T) {
			c := newCluster(t)
			ctx, cancel := context.WithCancel(t.Context())
			stdin, hold := io.Pipe()
			defer hold.Close()
			stdout, written := io.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				c.executors(web+"/exec", command("hang"))[kind].StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: stdin, Stdout: written, Stderr: io.Discard})
			}()
			io.ReadFull(stdout, make([]byte, len("hanging")))
			cancel()
			<-done
			<-c.runtime.stopped
		})
	}
}

func TestPortForward(t *testing.T) {
	c := newCluster(t)
	u, _ := url.Parse(c.url + web + "/portforward")
	transport, upgrader, err := transportspdy.RoundTripperFor(c.rest)
	if err != nil {
		t.Fatal(err)
	}
	tunnel, err := portforward.NewSPDYOverWebsocketDialer(u, c.rest)
	if err != nil {
		t.Fatal(err)
	}
	spdy := transportspdy.NewDialer(upgrader, &http.Client{Transport: transport}, "POST", u)
	forwarders := map[string]func(stop, ready chan struct{}, errOut io.Writer) (*portforward.PortForwarder, error){
		"tunnel": func(stop, ready chan struct{}, errOut io.Writer) (*portforward.PortForwarder, error) {
			return portforward.NewOnAddresses(tunnel, []string{"127.0.0.1"}, []string{"0:80", "0:81"}, stop, ready, io.Discard, errOut)
		},
		"spdy": func(stop, ready chan struct{}, errOut io.Writer) (*portforward.PortForwarder, error) {
			return portforward.NewOnAddresses(spdy, []string{"127.0.0.1"}, []string{"0:80", "0:81"}, stop, ready, io.Discard, errOut)
		},
	}
	for kind, make := range forwarders {
		t.Run(kind, func(t *testing.T) {
			stop, ready, done := newChannel(), newChannel(), newChannel()
			errOut := &synced{}
			f, err := make(stop, ready, errOut)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				defer close(done)
				// A port where nothing listens ends the whole forwarding.
				if err := f.ForwardPorts(); err != nil && !errors.Is(err, portforward.ErrLostConnectionToPod) {
					t.Error(err)
				}
			}()
			defer func() { close(stop); <-done }()
			select {
			case <-ready:
			case <-done:
				return
			}
			ports, err := f.GetPorts()
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[0].Local))
				if err != nil {
					t.Fatal(err)
				}
				io.WriteString(conn, "hello")
				conn.(*net.TCPConn).CloseWrite()
				answer, err := io.ReadAll(conn)
				conn.Close()
				if err != nil || string(answer) != "hello to port 80" {
					t.Fatalf("answer is %q, %v", answer, err)
				}
			}
			conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[1].Local))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if answer, _ := io.ReadAll(conn); len(answer) > 0 {
				t.Fatalf("port 81 answers %q", answer)
			}
		})
	}
}

func newChannel() chan struct{} { return make(chan struct{}) }

type synced struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *synced) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (c *cluster) get(path string, header http.Header) (*http.Response, string) {
	c.Helper()
	r, err := http.NewRequestWithContext(c.Context(), "GET", c.url+path, nil)
	if err != nil {
		c.Fatal(err)
	}
	for k, v := range header {
		r.Header[k] = v
	}
	client := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.pki.CAPool()}, ForceAttemptHTTP2: header == nil},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer client.CloseIdleConnections()
	response, err := client.Do(r)
	if err != nil {
		c.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		c.Fatal(err)
	}
	return response, string(body)
}

func TestLog(t *testing.T) {
	c := newCluster(t)
	for _, test := range []struct {
		path, asked, body string
		status            int
	}{
		{web + "/log?tailLines=10&timestamps=true&sinceTime=2024-01-02T03:04:05%2B01:00", "/containerLogs/default/web/app?sinceTime=2024-01-02T02%3A04%3A05Z&tailLines=10&timestamps=true", "first line\n", 200},
		{web + "/log?previous=true", "/containerLogs/default/web/app?previous=true", `previous terminated container \"app\" in pod \"web\" not found`, 400},
		{web + "/log?tailLines=-1", "", "tailLines: Invalid value: -1: must be greater than or equal to 0", 422},
		{web + "/log?limitBytes=x", "", "limitBytes", 400},
		{web + "/log?container=nope", "", "container nope is not valid for pod web", 400},
		{"/api/v1/namespaces/default/pods/two/log", "", "choose one of: [app side]", 400},
		{"/api/v1/namespaces/default/pods/two/log?container=prepare", "/containerLogs/default/two/prepare", "first line\n", 200},
		{"/api/v1/namespaces/default/pods/unbound/log", "", "", 204},
	} {
		response, body := c.get(test.path, nil)
		if response.StatusCode != test.status || !strings.Contains(body, test.body) {
			t.Errorf("%s: %d %s, want %d %s", test.path, response.StatusCode, body, test.status, test.body)
		}
		if test.asked != "" {
			if asked := (<-c.asked).URL.RequestURI(); asked != test.asked {
				t.Errorf("%s: kubelet was asked %s, want %s", test.path, asked, test.asked)
			}
		}
	}
}

func TestLogFollowed(t *testing.T) {
	c := newCluster(t)
	ctx, cancel := context.WithCancel(t.Context())
	r, _ := http.NewRequestWithContext(ctx, "GET", c.url+web+"/log?follow=true", nil)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: c.pki.CAPool()}, ForceAttemptHTTP2: true}}
	defer client.CloseIdleConnections()
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.ProtoMajor != 2 {
		t.Errorf("HTTP/%d", response.ProtoMajor)
	}
	// The line is there although there is no end to the log.
	line := make([]byte, len("first line\n"))
	if _, err := io.ReadFull(response.Body, line); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-c.runtime.stopped
}

func TestLogOverWebSocket(t *testing.T) {
	c := newCluster(t)
	for protocol, want := range map[string]string{"": "first line\n", "binary.k8s.io": "first line\n", base64Binary: "Zmlyc3QgbGluZQo="} {
		d := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: c.pki.CAPool()}}
		if protocol != "" {
			d.Subprotocols = []string{protocol}
		}
		socket, _, err := d.DialContext(t.Context(), "wss"+strings.TrimPrefix(c.url, "https")+web+"/log", nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for {
			_, message, err := socket.ReadMessage()
			if err != nil {
				if !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
					t.Errorf("%q: %v", protocol, err)
				}
				break
			}
			got = append(got, string(message))
		}
		socket.Close()
		if len(got) == 0 || got[0] != "" || strings.Join(got, "") != want {
			t.Errorf("%q: %q", protocol, got)
		}
		<-c.asked
	}
	// A client that leaves ends a log that has no end.
	d := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: c.pki.CAPool()}}
	socket, _, err := d.DialContext(t.Context(), "wss"+strings.TrimPrefix(c.url, "https")+web+"/log?follow=true", nil)
	if err != nil {
		t.Fatal(err)
	}
	socket.Close()
	<-c.runtime.stopped
}

func TestProxy(t *testing.T) {
	hop := make(chan http.Header, 10)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hop <- r.Header.Clone()
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Strict-Transport-Security", "max-age=1")
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
			return
		}
		fmt.Fprintf(w, "%s %s", r.Method, r.URL.RequestURI())
	}))
	defer backend.Close()
	_, port, _ := net.SplitHostPort(backend.Listener.Addr().String())
	number, _ := strconv.Atoi(port)
	pod := func(name, ip string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
			Spec:   corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{{Name: "c", Ports: []corev1.ContainerPort{{ContainerPort: int32(number)}}}}},
			Status: corev1.PodStatus{PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}}}}
	}
	slice := func(service, address, target string) *discoveryv1.EndpointSlice {
		return &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: service + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: service}},
			Ports:      []discoveryv1.EndpointPort{{Name: ptr.To("http"), Port: ptr.To(int32(number))}},
			Endpoints:  []discoveryv1.Endpoint{{Addresses: []string{address}, TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: "default", Name: target}}},
		}
	}
	service := func(name string) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: "http", Port: 80}}}}
	}
	c := newCluster(t,
		pod("back", "10.0.0.1"), pod("self", "127.0.0.1"), pod("link", "169.254.169.254"), pod("mapped", "::ffff:127.0.0.1"),
		service("svc"), slice("svc", "10.0.0.1", "back"), service("lies"), slice("lies", "10.0.0.9", "back"), service("empty"),
	)
	ns := "/api/v1/namespaces/default/"
	for _, test := range []struct {
		path   string
		status int
		body   string
	}{
		{ns + "pods/back/proxy/a/b?c=d", 200, "GET /a/b?c=d"},
		{ns + "pods/back:" + port + "/proxy/", 200, "GET /"},
		{ns + "pods/http:back:" + port + "/proxy/x%2Fy", 200, "GET /x%2Fy"},
		{ns + "pods/back/proxy", 301, ""},
		{ns + "pods/ftp:back:1/proxy/", 400, "invalid pod request"},
		{ns + "pods/back:99999/proxy/", 400, "invalid port"},
		{ns + "pods/self/proxy/", 400, "address not allowed"},
		{ns + "pods/link/proxy/", 400, "address not allowed"},
		{ns + "pods/mapped/proxy/", 400, "address not allowed"},
		{ns + "pods/none/proxy/", 404, `pods \"none\" not found`},
		{ns + "services/svc:http/proxy/z", 200, "GET /z"},
		{ns + "services/svc:80/proxy/z", 200, "GET /z"},
		{ns + "services/svc:81/proxy/z", 503, `no service port 81 found for service \"svc\"`},
		{ns + "services/lies:http/proxy/z", 503, `no endpoints available for service \"lies:http\"`},
		{ns + "services/empty:http/proxy/z", 503, "no endpoints available"},
		{"/api/v1/nodes/node-1/proxy/stats/summary", 200, "kubelet's /stats/summary"},
		{"/api/v1/nodes/node-2/proxy/stats/summary", 503, "node-2"},
		{"/api/v1/nodes/node-1:1/proxy/", 400, "address not allowed"},
	} {
		response, body := c.get(test.path, nil)
		if response.StatusCode != test.status || !strings.Contains(body, test.body) {
			t.Errorf("%s: %d %s, want %d %s", test.path, response.StatusCode, body, test.status, test.body)
		}
		for _, h := range []string{"Access-Control-Allow-Origin", "Strict-Transport-Security"} {
			if response.Header.Get(h) != "" {
				t.Errorf("%s: the backend's %s was passed on", test.path, h)
			}
		}
	}
	response, _ := c.get(ns+"pods/back/proxy/away", nil)
	if got := response.Header.Get("Location"); got != ns+"pods/back/proxy/elsewhere" {
		t.Errorf("redirect leads to %q", got)
	}
	for len(hop) > 0 {
		<-hop
	}
	c.get(ns+"pods/back/proxy/", http.Header{"Authorization": {"Bearer secret"}, "X-Other": {"1"}})
	if h := <-hop; h.Get("Authorization") != "" || h.Get("X-Other") != "1" || h.Get("X-Forwarded-Uri") != ns+"pods/back/proxy/" {
		t.Errorf("backend was sent %v", h)
	}
	// An upgrade that is redirected ends here.
	response, body := c.get(ns+"pods/back/proxy/away", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}})
	if response.StatusCode != 500 || !strings.Contains(body, "not permitted") {
		t.Errorf("redirected upgrade: %d %s", response.StatusCode, body)
	}
}

// WebSockets of protocols that the other side understands go straight through:
// to what runs in a pod, and to a kubelet.
func TestWebSocketsPassThrough(t *testing.T) {
	upgrader := websocket.Upgrader{Subprotocols: []string{"echo"}}
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		socket, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer socket.Close()
		for {
			kind, message, err := socket.ReadMessage()
			if err != nil {
				return
			}
			socket.WriteMessage(kind, append([]byte(r.URL.Path+" "), message...))
		}
	}))
	defer backend.Close()
	_, port, _ := net.SplitHostPort(backend.Listener.Addr().String())
	c := newCluster(t, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "back"}, Status: corev1.PodStatus{PodIP: "10.0.0.1"}})
	dial := func(path, protocol string) *websocket.Conn {
		t.Helper()
		d := websocket.Dialer{TLSClientConfig: &tls.Config{RootCAs: c.pki.CAPool()}, Subprotocols: []string{protocol}}
		socket, response, err := d.DialContext(t.Context(), strings.Replace(c.url, "https", "wss", 1)+path, nil)
		if err != nil {
			t.Fatalf("%s: %v %v", path, err, response)
		}
		if socket.Subprotocol() != protocol {
			t.Errorf("%s: protocol %q", path, socket.Subprotocol())
		}
		return socket
	}

	socket := dial("/api/v1/namespaces/default/pods/back:"+port+"/proxy/ws", "echo")
	for _, text := range []string{"one", "two"} {
		socket.WriteMessage(websocket.TextMessage, []byte(text))
		if _, got, err := socket.ReadMessage(); err != nil || string(got) != "/ws "+text {
			t.Fatalf("%q, %v", got, err)
		}
	}
	socket.Close()

	socket = dial(web+"/exec?command=both&stdout=true&stderr=true", "v4.channel.k8s.io")
	defer socket.Close()
	var told [channels]string
	for {
		_, message, err := socket.ReadMessage()
		if err != nil {
			break
		}
		told[message[0]] += string(message[1:])
	}
	if told[stdout] != "to stdout in app" || told[stderr] != "to stderr" || !strings.Contains(told[status], `"Success"`) {
		t.Errorf("channels say %q", told)
	}

	// Two ports, each with a channel for data and one for errors.
	socket = dial(web+"/portforward?ports=80,90", "v4.channel.k8s.io")
	defer socket.Close()
	socket.WriteMessage(websocket.BinaryMessage, append([]byte{2}, "hello"...))
	for {
		_, message, err := socket.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		if message[0] == 2 && strings.Contains(string(message), "hello to port 90") {
			break
		}
	}
}
