package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming/portforward"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	"k8s.io/utils/exec"
)

// exec runs a command in a container and streams its input and output.
func (s *server) exec(w http.ResponseWriter, r *http.Request) {
	o, err := remotecommand.NewOptions(r)
	if err != nil {
		refuse(w, Refuse(http.StatusBadRequest, "%v", err))
		return
	}
	id, err := s.Node.Container(r.Context(), r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("uid"), r.PathValue("container"))
	if err != nil {
		refuse(w, err)
		return
	}
	res, err := s.Runtime.Exec(r.Context(), &runtimeapi.ExecRequest{
		ContainerId: id, Cmd: r.URL.Query()["command"],
		Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr, Tty: o.TTY,
	})
	s.stream(w, r, res.GetUrl(), err)
}

// attach streams the input and output of a container's own process.
func (s *server) attach(w http.ResponseWriter, r *http.Request) {
	o, err := remotecommand.NewOptions(r)
	if err != nil {
		refuse(w, Refuse(http.StatusBadRequest, "%v", err))
		return
	}
	id, err := s.Node.Container(r.Context(), r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("uid"), r.PathValue("container"))
	if err != nil {
		refuse(w, err)
		return
	}
	res, err := s.Runtime.Attach(r.Context(), &runtimeapi.AttachRequest{
		ContainerId: id, Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr, Tty: o.TTY,
	})
	s.stream(w, r, res.GetUrl(), err)
}

// portForward streams connections to a pod's ports.
func (s *server) portForward(w http.ResponseWriter, r *http.Request) {
	o, err := portforward.NewV4Options(r)
	if err != nil {
		refuse(w, Refuse(http.StatusBadRequest, "%v", err))
		return
	}
	id, err := s.Node.Sandbox(r.Context(), r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("uid"))
	if err != nil {
		refuse(w, err)
		return
	}
	res, err := s.Runtime.PortForward(r.Context(), &runtimeapi.PortForwardRequest{PodSandboxId: id, Port: o.Ports})
	s.stream(w, r, res.GetUrl(), err)
}

// stream hands the request over to the runtime's stream server, in this
// process or at the URL. It never follows a redirect.
func (s *server) stream(w http.ResponseWriter, r *http.Request, at string, err error) {
	if err != nil {
		refuse(w, err)
		return
	}
	u, err := url.Parse(at)
	if err != nil {
		refuse(w, fmt.Errorf("the runtime's stream URL: %w", err))
		return
	}
	r = r.Clone(r.Context())
	r.URL.Path, r.URL.RawPath = u.Path, u.RawPath
	r.RequestURI = ""
	if s.Streaming != nil {
		s.Streaming.ServeHTTP(w, r)
		return
	}
	if u.Host == "" {
		refuse(w, errors.New("the runtime's stream URL names no host"))
		return
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = u.Scheme, u.Host
			p.Out.Host = u.Host
		},
		FlushInterval: -1,
		ModifyResponse: func(res *http.Response) error {
			if res.StatusCode >= 300 && res.StatusCode < 400 {
				return fmt.Errorf("the runtime's stream server answered with a redirect (%d)", res.StatusCode)
			}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			refuse(w, Refuse(http.StatusBadGateway, "the runtime's stream server: %v", err))
		},
	}
	proxy.ServeHTTP(w, r)
}

// runTimeout bounds a command of run.
const runTimeout = 2 * time.Minute

// run runs a command in a container and answers with what it printed.
func (s *server) run(w http.ResponseWriter, r *http.Request) {
	id, err := s.Node.Container(r.Context(), r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("uid"), r.PathValue("container"))
	if err != nil {
		refuse(w, err)
		return
	}
	cmd := strings.Fields(r.URL.Query().Get("cmd"))
	if len(cmd) == 0 {
		refuse(w, Refuse(http.StatusBadRequest, "query parameter cmd is required"))
		return
	}
	stdout, stderr, err := s.Runtime.ExecSync(r.Context(), id, cmd, runTimeout)
	var code exec.ExitError
	if err != nil && !errors.As(err, &code) {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Length", strconv.Itoa(len(stdout)+len(stderr)))
	io.WriteString(w, string(stdout)+string(stderr))
}
